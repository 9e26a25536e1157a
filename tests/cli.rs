//! The command `thingdb` as scripts and people use it: the built program, real
//! files, real pipes.

mod cli {
    pub(crate) mod world;
    // The tests of the server need more of it.
    #[allow(dead_code)]
    mod worst;

    mod append;
    mod bombs;
    mod commands;
    mod environment;
    mod errors;
    mod exit_codes;
    mod failing_disk;
    mod foreign_directory;
    mod given_files;
    mod hints;
    mod latest;
    mod manners;
    mod memory;
    mod passphrase;
    mod prompts;
    mod real_input;
    mod renamed;
    mod screens;
    mod secret_files;
    mod small_files;
    mod streams;
    mod terminal;
    mod transcripts;
    mod waiting;
}
