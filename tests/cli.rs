//! The command `thingdb` as scripts and people use it: the built program, real
//! files, real pipes.

// By their paths: nothing depends on the package of the tests.
#[allow(dead_code, unreachable_pub)]
#[path = "support/peak.rs"]
mod peak;
#[allow(dead_code, unreachable_pub)]
#[path = "support/shapes.rs"]
mod shapes;

mod cli {
    mod authority;
    pub(crate) mod world;
    // The tests of the server need more of it.
    #[allow(dead_code)]
    mod worst;

    mod append;
    mod backup;
    mod bombs;
    mod commands;
    mod damaged;
    mod day_after;
    mod environment;
    mod erase;
    mod errors;
    mod exit_codes;
    mod failing_disk;
    mod faults;
    mod fields;
    mod find_evidence;
    mod foreign_directory;
    mod given_files;
    mod hints;
    mod hold;
    mod keys;
    mod latest;
    mod manners;
    mod memory;
    mod page;
    mod passphrase;
    mod prompts;
    mod proof;
    mod real_input;
    mod renamed;
    mod screens;
    mod secret_files;
    mod small_files;
    mod streams;
    mod terminal;
    mod timestamp;
    mod tlog;
    mod transcripts;
    mod waiting;
    mod worst_files;
}
