//! `thingdb serve`: holds the database open for many, and makes it reachable.

mod limits;
mod retention;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thingdb::{Db, Options};
use tokio::sync::Notify;

use crate::cli::context::Context;
use crate::console::interrupt;
use crate::error::{Exit, Failure, Outcome};
use crate::local::{Client, Listener, Run};
use crate::server::config::{Config, TlsFiles, Transport};
use crate::server::log::{self, LogFormat, LogLevel};
use crate::server::shutdown::Shutdown;
use crate::server::{self, Addresses, certificate};
use crate::text::printable;
use limits::LimitArgs;

/// How long commands may take to end when the server ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `thingdb serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb serve --db /srv/things --passphrase-file /run/keys/things
  thingdb serve --listen 0.0.0.0:7443
  thingdb serve --listen 0.0.0.0:7443 --tls-cert server.pem --tls-key server.key
  thingdb serve --listen 127.0.0.1:8080 --plain-http     behind a proxy on this machine
  thingdb token new --name hall --scope read             what clients need

As long as it runs, every command on that directory runs in it, with the same
output and the same exit codes, and without a passphrase: whoever may connect to
the socket in the directory (its owner, and root) could read the server's memory
as well.

With --listen, other nodes and programs reach it over HTTPS, with tokens.
Without --tls-cert the server shows the certificate of the node itself, whose
fingerprint is on the card: peers know it by that. Its log goes to stderr.

Ctrl-C and SIGTERM end it: requests that are under way are finished, commands
that run are asked to stop, and what was reported as stored is stored. SIGHUP
reads certificates again; they are also read again when their files change.")]
pub(crate) struct Args {
    /// Where clients connect: an address or a name of this machine; port 0 is any
    /// that is free
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// A certificate chain in PEM, instead of the node's own certificate
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "listen"])]
    tls_cert: Option<PathBuf>,

    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Only clients whose certificate one of these authorities signed (PEM)
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_client_ca: Option<PathBuf>,

    /// No TLS; on loopback only
    #[arg(long, requires = "listen", conflicts_with_all = ["tls_cert", "tls_client_ca"])]
    plain_http: bool,

    /// Where metrics are read, without a token; a port alone is on loopback
    #[arg(long, value_name = "[ADDR:]PORT", requires = "listen", value_parser = metrics_address)]
    metrics: Option<SocketAddr>,

    /// Do not erase each day what is due, as thingdb retain says
    #[arg(long)]
    no_retention: bool,

    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,

    /// What is logged
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    log_level: LogLevel,

    /// Keep it possible to show single fields of what is written here, by prove, the
    /// rest hidden. It costs hashes for each value
    #[arg(long)]
    fields_provable: bool,

    #[command(flatten)]
    limits: Box<LimitArgs>,
}

/// Where the server can be found; the members of its JSON.
#[derive(Serialize)]
struct Serving {
    db: String,
    url: String,
    /// SHA-256 of the node's own certificate, if that is what is shown.
    certificate: Option<String>,
    metrics: Option<String>,
}

/// Serves until somebody wants it to end.
pub(crate) fn run(context: &Context, args: &Args, run: Run) -> Outcome {
    let config = args.config()?;
    let dir = context.dir()?;
    if Client::connect(dir)?.is_some() {
        return Err(Failure::held_by_server(dir));
    }
    if let Err(problem) = thingdb::forbid_dumps() {
        let fact = format!("a dump of this process's memory would hold its keys: {problem}");
        context.console.warning("dumps", fact).say();
    }
    let options = Options::new().fields_provable(args.fields_provable);
    let db = Arc::new(context.open_with(&options)?.into_own()?);
    if let Some(failure) = context.read_only_medium() {
        return Err(failure.cause("a server has its socket there; thingdb --read-only … reads it without one"));
    }
    let shutdown = Shutdown::new();
    let _patience = context.console.patience();
    let wish = shutdown.clone();
    interrupt::on_request(Box::new(move || wish.request()));
    if context.console.is_interrupted() {
        // It came before there was somebody to tell.
        shutdown.request();
    }
    let socket = |problem| Failure::file(&format!("the socket in {}", dir.display()), &problem);
    let listener = Listener::start(&db, run).map_err(socket)?;
    let retention = || {
        // There is a log where the network is served.
        let console = args.listen.is_none().then(|| context.console.clone());
        (!args.no_retention).then(|| retention::start(&db, &shutdown, console)).transpose()
    };
    let erasing;
    let served = match config {
        Some(config) => {
            log::begin(args.log_format, args.log_level);
            erasing = retention()?;
            reachable(context, &db, config, &shutdown)
        }
        None => {
            erasing = retention()?;
            context.console.note(&format!("serving {}", dir.display()));
            shutdown.wait()
        }
    };
    let left = listener.stop(PATIENCE);
    shutdown.request();
    if let Some(erasing) = erasing {
        // An erasure that has begun is carried out.
        let _ended = erasing.join();
    }
    match Arc::try_unwrap(db) {
        Ok(db) => db.close()?,
        // A command or a thread that does not end still has it.
        Err(db) => db.settle_all()?,
    }
    served?;
    if left > 0 {
        return Err(Failure::new(
            Exit::Unexpected,
            "not-ended",
            format!("{left} commands did not end; what they reported as stored is stored"),
        ));
    }
    Ok(())
}

/// Serves clients over the network, too.
fn reachable(context: &Context, db: &Arc<Db>, config: Config, shutdown: &Shutdown) -> Outcome {
    let reread = Arc::new(Notify::new());
    let asked = Arc::clone(&reread);
    interrupt::on_hangup(Box::new(move || asked.notify_one()));
    let transport = config.transport.clone();
    server::run(db, config, shutdown, reread, |addresses| say(context, db, &transport, addresses))
}

fn say(context: &Context, db: &Db, transport: &Transport, addresses: Addresses) -> Outcome {
    let (scheme, certificate) = match transport {
        Transport::Plain => ("http", None),
        Transport::Tls { files: Some(_), .. } => ("https", None),
        Transport::Tls { files: None, .. } => ("https", Some(certificate::of_node(db)?.fingerprint().to_string())),
    };
    let serving = Serving {
        db: db.dir().display().to_string(),
        url: format!("{scheme}://{}", addresses.listen),
        certificate,
        metrics: addresses.metrics.map(|address| format!("http://{address}/metrics")),
    };
    if context.output.is_json() {
        return context.output.object(&serving);
    }
    let mut text = context.output.text();
    text.line(&format!("serving {} at {}", printable(&serving.db), serving.url))?;
    if let Some(certificate) = &serving.certificate {
        text.line(&format!("  certificate  {certificate}"))?;
    }
    if let Some(metrics) = &serving.metrics {
        text.line(&format!("  metrics      {metrics}"))?;
    }
    text.end()
}

impl Args {
    /// How to be reachable, if at all.
    fn config(&self) -> Outcome<Option<Config>> {
        let Some(listen) = self.listen else { return Ok(None) };
        let transport = if self.plain_http {
            if !listen.ip().is_loopback() {
                let fact = format!("{listen} is not loopback: plain HTTP would show tokens to the network");
                return Err(Failure::usage(fact).hint("leave --plain-http out"));
            }
            Transport::Plain
        } else {
            let files = self.tls_cert.clone().zip(self.tls_key.clone());
            let files = files.map(|(certificate, key)| TlsFiles { certificate, key });
            Transport::Tls { files, client_ca: self.tls_client_ca.clone() }
        };
        Ok(Some(Config { listen, transport, metrics: self.metrics, limits: self.limits.resolved() }))
    }
}

/// An address, or a name that has one.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let resolved = text.to_socket_addrs().map_err(|problem| {
        format!("{problem}; write for example 127.0.0.1:7443, [::1]:7443, or 0.0.0.0:7443 for all interfaces")
    })?;
    // A name of loopback has two; most clients try the older kind, too.
    let mut found: Vec<SocketAddr> = resolved.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "the name has no address".to_owned())
}

/// An address, or a port on loopback.
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "ADDR:PORT or PORT is expected".to_owned())
}
