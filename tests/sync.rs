//! Nodes bring each other up to date: real servers on loopback, real TLS, and
//! lines that break.

// By their paths: nothing depends on the package of the tests.
#[allow(dead_code, unreachable_pub)]
#[path = "support/peak.rs"]
mod peak;
#[allow(dead_code, unreachable_pub)]
#[path = "support/shapes.rs"]
mod shapes;
#[allow(dead_code, unreachable_pub)]
#[path = "support/stranger.rs"]
mod stranger;
#[allow(dead_code, unreachable_pub)]
#[path = "support/world.rs"]
mod world;

// The tests of the command need more of it.
#[allow(dead_code)]
#[path = "cli/worst.rs"]
mod worst_streams;

#[path = "sync/bad_line.rs"]
mod bad_line;
#[path = "sync/dense.rs"]
mod dense;
#[path = "sync/erasure.rs"]
mod erasure;
#[path = "sync/exchange.rs"]
mod exchange;
#[path = "sync/faults.rs"]
mod faults;
#[path = "sync/keys.rs"]
mod keys;
#[path = "sync/lag.rs"]
mod lag;
#[path = "sync/liar.rs"]
mod liar;
#[path = "sync/lies.rs"]
mod lies;
#[path = "sync/node.rs"]
mod node;
#[path = "sync/proxy.rs"]
mod proxy;
#[path = "sync/receipts.rs"]
mod receipts;
#[path = "sync/refused.rs"]
mod refused;
#[path = "sync/sums.rs"]
mod sums;
#[path = "sync/waiting.rs"]
mod waiting;
#[path = "sync/watch.rs"]
mod watch;
#[path = "sync/witness.rs"]
mod witness;
#[path = "sync/worst.rs"]
mod worst;
