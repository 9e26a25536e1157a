//! Commands on a directory that a server holds: the built program twice, as a
//! server and as its client. What a command answers is the same with and
//! without the server, and nothing that was acknowledged is lost whichever of
//! the two is killed.

#[path = "cli/world.rs"]
// The other user of this file needs more of it.
#[allow(dead_code)]
mod world;

mod cli_server {
    pub(crate) mod server;

    mod broken_off;
    mod many;
    mod same_answer;
    mod secrets;
    mod socket;
}
