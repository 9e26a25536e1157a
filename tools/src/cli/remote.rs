//! Which server a command reads, and by what it is known.

use std::path::{Path, PathBuf};

use thingdb::Hash;
use zeroize::Zeroizing;

use super::global::Global;
use super::input::card;
use crate::client::address::Address;
use crate::client::can_be_token;
use crate::console::{Console, passphrase};
use crate::error::{Failure, Outcome};
use crate::reader::server::{Pin, Server};
use crate::text::{after_mark, quoted};

/// The commands that have [`RemoteArgs`].
pub(crate) const COMMANDS: &str = "get, log, show, ls, diff, stats, forks, erasures, checkpoint, export, prove";

/// The options of [`RemoteArgs`].
const OPTIONS: [&str; 4] = ["--url", "--token-file", "--card", "--tls-fingerprint"];

/// What to say where one of the options stands that the command does not have.
pub(crate) fn misplaced(problem: &clap::Error) -> Option<Failure> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if problem.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(found)) = problem.get(ContextKind::InvalidArg) else { return None };
    let option = OPTIONS.into_iter().find(|option| found == option)?;
    let failure = Failure::usage(format!("{option} is for commands that read a server, and stands after them"))
        .cause(format!("these do: {COMMANDS}; all others need a database here"));
    Some(failure.hint("to check what a server has: thingdb export --url … | thingdb import -, then thingdb verify"))
}

/// Which server to read instead of a database, and by what it is known.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Reading from a server")]
pub(crate) struct RemoteArgs {
    /// Read from a server: https://HOST:PORT
    ///
    /// No database and no passphrase are needed. What a server answers is its word: who wants to
    /// check it exports or pulls the entries and verifies them. http:// is for loopback only.
    #[arg(long, value_name = "URL", env = "THINGDB_URL", hide_env_values = true)]
    url: Option<String>,

    /// The file with the token that the server gave, - for stdin; made there with thingdb token new
    #[arg(long, value_name = "FILE", env = "THINGDB_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,

    /// The card of the server's node, or the file with it, - for stdin: it names the certificate
    #[arg(long, value_name = "CARD", env = "THINGDB_CARD", hide_env_values = true)]
    card: Option<String>,

    /// SHA-256 of the server's certificate, instead of a card
    #[arg(long, value_name = "HEX")]
    tls_fingerprint: Option<String>,

    /// Which of these an argument said, and not the environment.
    #[arg(skip)]
    pub(crate) named: Named,
}

/// What arguments said, and not the environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named {
    pub(crate) url: bool,
    pub(crate) token_file: bool,
    pub(crate) card: bool,
    pub(crate) tls_fingerprint: bool,
}

impl RemoteArgs {
    /// The server to read, if it is one. An argument wins over the environment;
    /// where both say the same of two places, nobody can tell which is meant.
    pub(crate) fn chosen(&self, global: &Global) -> Outcome<Option<&str>> {
        let url = self.url.as_deref().filter(|url| !url.is_empty());
        let has_db = global.db.as_deref().is_some_and(|dir| !dir.as_os_str().is_empty());
        match url {
            None => self.only_with_url().map(|()| None),
            Some(_) if global.is_db_named && self.named.url => {
                Err(Failure::usage("--db names a database here and --url a server; one of them is read"))
            }
            Some(_) if global.is_db_named => self.only_with_url().map(|()| None),
            Some(_) if has_db && !self.named.url => Err(Failure::usage(
                "THINGDB_DIR names a database here and THINGDB_URL a server; which one is to be read?",
            )
            .hint("--db DIR or --url URL")),
            Some(url) => Ok(Some(url)),
        }
    }

    /// The options that name the server, for a command that is to read it again.
    pub(crate) fn named_options(&self) -> Option<String> {
        let Named { url, token_file, card, tls_fingerprint } = self.named;
        let token = self.token_file.as_deref().map(Path::to_string_lossy);
        let options = [
            (url, "--url", self.url.as_deref()),
            (card, "--card", self.card.as_deref()),
            (tls_fingerprint, "--tls-fingerprint", self.tls_fingerprint.as_deref()),
            (token_file, "--token-file", token.as_deref()),
        ];
        let named = options.into_iter().filter(|(is_named, ..)| *is_named);
        let named: Vec<String> =
            named.filter_map(|(_, option, value)| Some(format!("{option} {}", quoted(value?)))).collect();
        (!named.is_empty()).then(|| named.join(" "))
    }

    fn only_with_url(&self) -> Outcome {
        let Named { url: _, token_file, card, tls_fingerprint } = self.named;
        let options = [(token_file, "--token-file"), (card, "--card"), (tls_fingerprint, "--tls-fingerprint")];
        match options.iter().find(|(is_named, _)| *is_named) {
            None => Ok(()),
            Some((_, option)) => Err(Failure::usage(format!("{option} is for reading from a server: which one?"))
                .hint(format!("{option} … --url https://HOST:PORT"))),
        }
    }

    /// The server at `url`.
    pub(crate) fn server(&self, url: &str, console: &Console) -> Outcome<Server> {
        let wrong = |problem: &str| Failure::usage(format!("{url:?}: {problem}")).hint("--url https://HOST:PORT");
        let address = Address::of_url(url).map_err(wrong)?;
        let pin = self.pin(&address, console)?;
        let token = self.token(&address, console)?;
        Server::new(address, &token, pin, console)
    }

    fn pin(&self, address: &Address, console: &Console) -> Outcome<Pin> {
        let card = self.card.as_deref().filter(|card| !card.is_empty());
        if card == Some("-") && self.token_file.as_deref() == Some(Path::new("-")) {
            return Err(Failure::usage("--card and --token-file both name stdin; one of them has to be a file"));
        }
        if address.is_plain() {
            let card = card.map(|file| card::read(console, file)).transpose()?;
            return Ok(Pin::Loopback { node: card.map(|(card, _)| card.node_key) });
        }
        match (&self.tls_fingerprint, card) {
            (Some(_), Some(_)) if self.named.card => {
                Err(Failure::usage("--card and --tls-fingerprint both name the certificate; give one"))
            }
            (Some(hex), _) => {
                let tls: Hash = hex.to_ascii_lowercase().parse().map_err(|_| {
                    Failure::usage(format!("{hex:?} is no SHA-256: 64 hex digits"))
                        .hint("the member `certificate` of thingdb card --json, at the other side")
                })?;
                Ok(Pin::Certificate(tls))
            }
            (None, Some(file)) => {
                let (card, _) = card::read(console, file)?;
                let Some(tls) = card.tls else {
                    return Err(Failure::usage(format!("the card {file} names no certificate"))
                        .hint("get a newer one: thingdb card, at the other side"));
                };
                Ok(Pin::Card { tls, node: card.node_key })
            }
            (None, None) => Err(Failure::usage(format!("nothing says by what the server at {address} is known"))
                .cause("whoever answered could see the token and tell anything")
                .hint("--card FILE, with what thingdb card prints at the other side; or --tls-fingerprint HEX")),
        }
    }

    fn token(&self, address: &Address, console: &Console) -> Outcome<Zeroizing<String>> {
        let Some(path) = self.token_file.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Err(Failure::usage(format!("the server at {address} answers nobody without a token"))
                .hint("--token-file FILE; made at the other side: thingdb token new --name NAME --scope read"));
        };
        read_token(console, path, "thingdb token new --name NAME --scope read")
    }
}

/// The token in a file, or on stdin for `-`; `made` is how the other side makes
/// one.
pub(crate) fn read_token(console: &Console, path: &Path, made: &str) -> Outcome<Zeroizing<String>> {
    let (name, bytes) = if path == Path::new("-") {
        ("stdin".to_owned(), passphrase::secret_stdin(console, "token")?)
    } else {
        (path.display().to_string(), passphrase::secret_file(console, path, "token")?)
    };
    let text = after_mark(&bytes).map_err(|problem| Failure::utf16(&name, &problem))?;
    let text = std::str::from_utf8(text).unwrap_or_default().trim();
    if !can_be_token(text) {
        return Err(Failure::usage(format!("{name} holds no token")).hint(format!("made at the other side: {made}")));
    }
    Ok(Zeroizing::new(text.to_owned()))
}
