//! Writes the golden vectors that are missing:
//! `cargo run -p thingdb-tests --bin write_vectors`.
//!
//! A file that is there is never written again. If it differs from what the
//! code makes now, the format has changed, and this program says so and fails.
//!
//! Good inputs that are small become seeds of the fuzz targets too.
//!
//! All keys are test keys: seeds of one byte over and over.

mod answered;
mod binary;
mod erased;
mod erasure;
mod erasure_receipt;
mod evidence;
mod fields;
mod frame;
mod heads;
mod key;
mod key_log;
mod latest;
mod others;
mod proof;
mod sealed;
mod signed;
mod stream;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thingdb_tests::vector::Vector;

/// Subjects that a fuzz target reads, with the name of the target.
const SEEDED: [(&str, &str); 14] = [
    ("body", "body"),
    ("card", "card"),
    ("checkpoint", "note"),
    ("erasure-receipt", "erasure-receipt"),
    ("fields", "fields"),
    ("frame", "frame"),
    ("header", "header"),
    ("heads", "heads"),
    ("key-record", "key"),
    ("line", "line"),
    ("proof", "proof"),
    ("receipt", "receipt"),
    ("stream", "stream"),
    ("tlog-proof", "tlog-proof"),
];

/// A fuzzer wants small seeds.
const MAX_SEED_BYTES: usize = 4096;

/// What became of the vectors.
pub(crate) struct Writer {
    /// The repository.
    root: PathBuf,
    added: u32,
    same: u32,
    differ: u32,
}

impl Writer {
    /// Adds the case, or compares it with the file that is there.
    pub(crate) fn add(&mut self, subject: &str, mutation: &str, vector: &Vector) {
        let path = self.root.join(format!("tests/vectors/{subject}/{mutation}.txt"));
        self.write(path, &vector.to_file());
        let target = SEEDED.iter().find(|(name, _)| *name == subject);
        if let Some((_, target)) = target
            && vector.value("expect") == "ok"
            && vector.input.len() <= MAX_SEED_BYTES
        {
            self.write(self.root.join(format!("fuzz/corpus/{target}/{mutation}")), &vector.input);
        }
    }

    fn write(&mut self, path: PathBuf, file: &[u8]) {
        match std::fs::read(&path) {
            Ok(there) if there == file => self.same += 1,
            Ok(_) => {
                self.differ += 1;
                eprintln!("differs: {}", path.display());
            }
            Err(_) => {
                std::fs::create_dir_all(path.parent().expect("it was joined")).expect("vectors can be written");
                std::fs::write(&path, file).expect("vectors can be written");
                self.added += 1;
            }
        }
    }

    /// Adds one case that is refused with `expect` for each input.
    pub(crate) fn refused(&mut self, subject: &str, cases: &[(&str, &str, &str, Vec<u8>)]) {
        for (mutation, expect, comment, input) in cases {
            self.add(subject, mutation, &Vector::new(expect, comment).hex(input));
        }
    }
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are within the repository").to_owned();
    let mut writer = Writer { root, added: 0, same: 0, differ: 0 };
    binary::header(&mut writer);
    binary::body(&mut writer);
    binary::card(&mut writer);
    sealed::payload(&mut writer);
    sealed::envelope(&mut writer);
    signed::signature(&mut writer);
    signed::merkle(&mut writer);
    signed::checkpoint(&mut writer);
    text::line(&mut writer);
    erasure::erasure(&mut writer);
    erasure_receipt::erasure_receipt(&mut writer);
    stream::stream(&mut writer);
    frame::frame(&mut writer);
    evidence::equivocation(&mut writer);
    evidence::evidence(&mut writer);
    latest::latest(&mut writer);
    proof::proof(&mut writer);
    erased::erased(&mut writer);
    answered::answered_files(&mut writer);
    heads::heads(&mut writer);
    fields::fields(&mut writer);
    key_log::key_record(&mut writer);
    key_log::key_log(&mut writer);
    others::tlog_proof(&mut writer);
    others::receipt(&mut writer);
    println!("{} added, {} as they were, {} differ", writer.added, writer.same, writer.differ);
    if writer.differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
