//! The peer server as its clients see it: real processes, real TLS, on
//! loopback.

// By their paths: nothing depends on the package of the tests.
#[allow(dead_code, unreachable_pub)]
#[path = "support/peak.rs"]
mod peak;
#[allow(dead_code, unreachable_pub)]
#[path = "support/shapes.rs"]
mod shapes;

// The other tests need more of it.
#[allow(dead_code)]
#[path = "cli/world.rs"]
mod world;

// The tests of the command need more of it.
#[allow(dead_code)]
#[path = "cli/worst.rs"]
mod worst_streams;

#[path = "server/client.rs"]
mod client;
#[path = "server/running.rs"]
mod running;

#[path = "server/http2.rs"]
mod http2;

#[path = "server/abuse.rs"]
mod abuse;
#[path = "server/access.rs"]
mod access;
#[path = "server/drips.rs"]
mod drips;
#[path = "server/ending.rs"]
mod ending;
#[path = "server/following.rs"]
mod following;
#[path = "server/hostile.rs"]
mod hostile;
#[path = "server/many.rs"]
mod many;
#[path = "server/memory.rs"]
mod memory;
#[path = "server/peers.rs"]
mod peers;
#[path = "server/proof.rs"]
mod proof;
#[path = "server/routes.rs"]
mod routes;
#[path = "server/secrecy.rs"]
mod secrecy;
#[path = "server/witness.rs"]
mod witness;
#[path = "server/worst.rs"]
mod worst;
