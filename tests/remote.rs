//! Commands that read a server of which they have the URL, a token and the
//! card: the built program twice, as a server and as its reader.

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

#[allow(dead_code)]
#[path = "server/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "server/running.rs"]
mod running;

#[allow(dead_code, unreachable_pub)]
#[path = "support/prototype.rs"]
mod prototype;

// The tests of the command need more of it.
#[allow(dead_code)]
#[path = "cli/worst.rs"]
mod worst_streams;

#[path = "remote/choice.rs"]
mod choice;
#[path = "remote/cut.rs"]
mod cut;
#[path = "remote/liar.rs"]
mod liar;
#[path = "remote/proof.rs"]
mod proof;
#[path = "remote/reading.rs"]
mod reading;
#[path = "remote/refusals.rs"]
mod refusals;
#[path = "remote/same_answer.rs"]
mod same_answer;
#[path = "remote/worst.rs"]
mod worst;
