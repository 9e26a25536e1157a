//! The peer server: HTTP over TLS, over the engine's public API.
//!
//! [`routes`] is the table of what can be asked; [`router`] admits a request
//! and has it done; a module for each group of routes does it. [`listen`] and
//! [`tls`] are about connections, [`pipe`] is between them and the engine,
//! which knows no asynchronous code. No path of a file is ever made from what
//! a client sends.

mod call;
pub(crate) mod certificate;
mod checkpoint;
pub(crate) mod config;
mod description;
mod encoding;
mod entries;
mod erasures;
mod export;
mod flow;
mod forks;
mod guard;
mod have;
mod health;
mod ids;
mod import;
mod info;
mod listen;
pub(crate) mod log;
mod metrics;
mod node;
mod one_entry;
mod pipe;
mod places;
mod problem;
mod proof;
mod query;
mod room;
mod route;
mod router;
mod routes;
pub(crate) mod shutdown;
mod stats;
mod stream;
mod sync;
mod tags;
mod things;
mod tls;
mod witness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use thingdb::Db;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::error::{Exit, Failure, Outcome};
use config::{Config, Transport};
use listen::Listener;
use node::Node;
use places::Scarce;
use shutdown::Shutdown;
use tls::Tls;

/// How long the threads of streams that were left may take to store what they
/// have.
const LAST_WORK: Duration = Duration::from_secs(30);

/// Where a server can be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// For clients.
    pub(crate) listen: SocketAddr,
    /// For metrics.
    pub(crate) metrics: Option<SocketAddr>,
}

/// Serves the database until `shutdown` is requested. Tells `ready` where, as
/// soon as clients can connect. Certificates are read again when `reread` says
/// so. What was under way is finished, within a bound, before it returns.
pub(crate) fn run(
    db: &Arc<Db>,
    config: Config,
    shutdown: &Shutdown,
    reread: Arc<Notify>,
    ready: impl FnOnce(Addresses) -> Outcome,
) -> Outcome {
    let tls = Tls::new(db, &config.transport)?.map(Arc::new);
    if matches!(config.transport, Transport::Plain) && !config.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{} is not loopback: plain HTTP would show tokens to the network",
            config.listen
        ))
        .hint("leave --plain-http out"));
    }
    let limits = &config.limits;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("serve")
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from) * 2)
        .max_blocking_threads(limits.calls + limits.reads + limits.imports + limits.exports + 8)
        .build()
        .map_err(|problem| Failure::system("no threads", &problem))?;
    let done = runtime.block_on(serve(Arc::clone(db), config, shutdown.clone(), tls, reread, ready));
    // Threads that still store what came have until then.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

async fn serve(
    db: Arc<Db>,
    config: Config,
    shutdown: Shutdown,
    tls: Option<Arc<Tls>>,
    reread: Arc<Notify>,
    ready: impl FnOnce(Addresses) -> Outcome,
) -> Outcome {
    let socket = bind(config.listen).await?;
    let metrics = match config.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let local = |socket: &TcpListener| socket.local_addr().map_err(|problem| Failure::system("no address", &problem));
    let addresses = Addresses { listen: local(&socket)?, metrics: metrics.as_ref().map(local).transpose()? };
    let patience = config.limits.shutdown;
    let node = Arc::new(Node::new(db, config.limits, shutdown.clone()));
    let growth = Arc::clone(&node);
    tokio::spawn(async move { growth.watch_growth().await });
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch(shutdown.clone(), reread));
    }
    if let Some(socket) = metrics {
        let listener = Listener { node: Arc::clone(&node), router: metrics_router(&node), tls: None };
        tokio::spawn(Arc::new(listener).run(socket));
    }
    let listener = Listener { router: router::router(&node), node: Arc::clone(&node), tls };
    let serving = tokio::spawn(Arc::new(listener).run(socket));
    ready(addresses)?;
    tracing::info!(listen = %addresses.listen, "serving");
    shutdown.requested().await;
    tracing::info!("coming to an end");
    let mut serving = std::pin::pin!(serving);
    if tokio::time::timeout(patience, &mut serving).await.is_err() {
        // Streams that still run are told to end with what they have.
        node.leave.request();
        let _ = tokio::time::timeout(2 * node.limits.head, serving).await;
    }
    // Those who store have their permits until they are done.
    let _ = tokio::time::timeout(LAST_WORK, node.places.wait_for_all(&node.limits, Scarce::Imports)).await;
    tracing::info!("ended");
    Ok(())
}

fn metrics_router(node: &Arc<Node>) -> Router {
    let node = Arc::clone(node);
    let text = move || {
        let text = node.metrics.text(&node.db);
        async move { ([("content-type", "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", axum::routing::get(text))
}

async fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|problem| {
        Failure::new(Exit::Unexpected, "listen", format!("{address}: {problem}"))
            .hint("choose another address with --listen; port 0 is any that is free")
    })
}
