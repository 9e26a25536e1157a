//! The readers of proof files in Python and in the page, written from the document
//! alone, say the same as this one, of every vector and of files that were changed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use thingdb_format::audit::Memos;
use thingdb_format::erasure::receipt::{Answer, ErasureReceipt};
use thingdb_format::proof::{Content, ProofCheck, ProofEnd, examine};
use thingdb_format::stream::{Digest, hash_of_line};
use thingdb_format::{Body, Hash};
use thingdb_tests::vector::Vector;

/// Files that are changed and read twice; more with `THINGDB_TEST_MUTATIONS`.
const MUTATIONS: u64 = 3_000;

/// What a file says: each entry with its place, its seq, its id, the word for its
/// content (and by which record, if that is `erased`), and what is shown of it.
type Entries = Vec<(u64, u64, String, String, Option<Shown>)>;

/// A receipt: its record, the fingerprint of its node, its time, its counts in words, and
/// why something is held.
type Receipt = (String, String, String, String, Option<String>);

/// The entries; if a heads note is there, how many the thing has, and how many heads; and
/// the receipts.
type Meaning = (Entries, Option<(u64, u64)>, Vec<Receipt>);

/// What is shown of an entry.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// Of the body.
    hash: String,
    action: String,
    media_type: String,
    /// As text, or in base64.
    data: Result<String, String>,
}

impl Shown {
    fn of(body: &Body) -> Self {
        Self {
            hash: Hash::of(body.as_bytes()).to_string(),
            action: body.action().to_owned(),
            media_type: body.media_type().to_owned(),
            data: String::from_utf8(body.data().to_vec()).map_err(|_| data_encoding::BASE64.encode(body.data())),
        }
    }
}

fn here(file: &[u8]) -> Option<Meaning> {
    let (mut check, mut memos, mut found) = (ProofCheck::new(), Memos::default(), Vec::new());
    for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        if let Some(proven) = check.take(examine(line, number, &mut memos)) {
            let word = proven.content.as_str().to_owned();
            let body = match &proven.content {
                Content::Shown(body) => Some(Shown::of(body)),
                _ => None,
            };
            found.push((proven.place, proven.header.seq, proven.id.to_string(), word, body));
        }
    }
    let report = check.finish();
    for (_, _, id, word, _) in &mut found {
        let id = id.parse().expect("it is an id");
        *word = report.erased_by.get(&id).map_or_else(|| word.clone(), |by| format!("erased by {by}"));
    }
    let complete = report.complete.as_ref().map(|complete| (complete.count, complete.heads));
    let receipts = report.receipts.iter().map(|one| receipt_of(one.receipt.said())).collect();
    report.is_good().then_some((found, complete, receipts))
}

fn receipt_of(said: &ErasureReceipt) -> Receipt {
    let (word, reason) = match &said.answer {
        Answer::Erased => ("erased", None),
        Answer::Held { reason } => ("held", Some(reason.clone())),
    };
    let counts = format!("{word} {} of {}", said.count, said.of);
    (said.record.to_string(), said.node.fingerprint().to_string(), said.time.to_string(), counts, reason)
}

/// A reader in another language.
struct Other {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    /// Those that are to be had; what is not is counted as a skip.
    fn all() -> Vec<Self> {
        let others: Vec<_> = [Self::python(), Self::page()].into_iter().flatten().collect();
        println!("{} of 2 other readers", others.len());
        others
    }

    fn python() -> Option<Self> {
        let python = std::env::var("THINGDB_PYTHON").unwrap_or_else(|_| "python3".into());
        let has_package = Command::new(&python).args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
        if !has_package.is_ok_and(|status| status.success()) {
            println!("skipped: there is no python3 with the package cryptography");
            return None;
        }
        let mut command = Command::new(python);
        command.arg(from_root("tools/verifier/verify_proof.py")).arg("--lengths");
        Some(Self::start("python", &mut command))
    }

    /// The script of the page, in Node.js, which has the same Web Crypto.
    fn page() -> Option<Self> {
        let has_ed25519 = "require('node:crypto').webcrypto.subtle.generateKey('Ed25519', false, ['sign']).catch(() => process.exit(1))";
        let found = Command::new("node").args(["-e", has_ed25519]).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            println!("skipped: there is no node with Ed25519 in Web Crypto");
            return None;
        }
        let mut command = Command::new("node");
        command.arg(from_root("tests/support/verify_page.js")).arg(from_root("tools/page/verify.js"));
        Some(Self::start("page", &mut command))
    }

    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was there a moment ago");
        let stdin = child.stdin.take().expect("it has one");
        let stdout = BufReader::new(child.stdout.take().expect("it has one"));
        Self { name, child, stdin, stdout }
    }

    fn read(&mut self, file: &[u8]) -> Option<Meaning> {
        writeln!(self.stdin, "{}", file.len()).expect("it reads");
        self.stdin.write_all(file).and_then(|()| self.stdin.flush()).expect("it reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        let found: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let entry = |entry: &serde_json::Value| {
            let word = text(&entry["content"]).expect("it is a word");
            let by = text(&entry["erased_by"]).map(|by| format!(" by {by}"));
            let word = word + &by.unwrap_or_default();
            let number = |name: &str| entry[name].as_u64().expect("it is a number");
            let shown = text(&entry["body"]).map(|hash| Shown {
                hash,
                action: text(&entry["action"]).expect("it is a word"),
                media_type: text(&entry["media_type"]).expect("it is text"),
                data: text(&entry["text"]).ok_or_else(|| text(&entry["base64"]).expect("one of both is there")),
            });
            (number("place"), number("seq"), text(&entry["id"]).expect("it is hex"), word, shown)
        };
        let entries = || found["entries"].as_array().expect("there are some").iter().map(entry).collect();
        let number = |value: &serde_json::Value| value.as_u64().expect("it is a number");
        let complete = || found["complete"].as_object().map(|of| (number(&of["entries"]), number(&of["heads"])));
        let receipt = |one: &serde_json::Value| {
            let word = |name: &str| text(&one[name]).expect("it is text");
            let counts = format!("{} {} of {}", word("verdict"), one["count"], one["of"]);
            (word("record"), word("node"), word("time"), counts, text(&one["reason"]))
        };
        let receipts = || found["receipts"].as_array().expect("there is a list").iter().map(receipt).collect();
        found["ok"].as_bool().expect("it is one").then(|| (entries(), complete(), receipts()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn vectors() -> Vec<(String, Vector)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/proof");
    let mut files: Vec<_> =
        std::fs::read_dir(dir).expect("it is there").map(|file| file.expect("it can be read").path()).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("it is a file").to_string_lossy().into_owned();
        (name, Vector::parse(&std::fs::read(path).expect("it is there")))
    };
    files.into_iter().map(read).collect()
}

fn from_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn all_say_the_same_of_every_vector() {
    for mut other in Other::all() {
        for (name, vector) in vectors() {
            let found = other.read(&vector.input);
            assert_eq!(found.is_some(), vector.value("expect") == "ok", "{} of {name}", other.name);
            assert_eq!(found, here(&vector.input), "{} of {name}", other.name);
        }
    }
}

#[test]
fn all_say_the_same_of_files_that_were_changed() {
    let mut others = Other::all();
    let good: Vec<_> = vectors().into_iter().filter(|(_, vector)| vector.value("expect") == "ok").collect();
    let seed = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    let rounds = std::env::var("THINGDB_TEST_MUTATIONS").map_or(MUTATIONS, |n| n.parse().expect("a number"));
    let mut still_good = 0;
    for round in 0..rounds {
        let (name, vector) = &good[rng.random_range(0..good.len())];
        let mut file = vector.input.clone();
        for _ in 0..rng.random_range(1..=3) {
            change(&mut file, &mut rng);
        }
        // Half of them with a last line that fits, so that it is not the digest
        // that says no.
        if rng.random() {
            framed_anew(&mut file);
        }
        let expected = here(&file);
        still_good += u32::from(expected.is_some());
        for other in &mut others {
            let text = String::from_utf8_lossy(&file);
            assert_eq!(other.read(&file), expected, "{}, seed {seed}, round {round}, from {name}: {text}", other.name);
        }
    }
    println!("{rounds} files, {still_good} of them good");
}

/// Texts that mean something in a file, put in the place of others.
const WORDS: [&str; 27] = [
    "held 1 of 1",
    "\"receipt\":",
    "\\n",
    "\"gap\":",
    "\"cek\":",
    "\"place\":",
    "\"entry\":",
    "\"payload\":",
    "\"prev\":[]",
    "\"seq\":1",
    "\"seq\":2",
    "null",
    "-0",
    "1.0",
    "1e0",
    "9007199254740992",
    "\\u0061",
    "\"history\"",
    "\"entries\"",
    "\"absent\"",
    "\"count\":",
    "\"other\":",
    "\"path\":",
    "{}",
    "[]",
    " ",
    "=",
];

fn change(file: &mut Vec<u8>, rng: &mut StdRng) {
    if file.len() < 2 {
        return;
    }
    let at = rng.random_range(0..file.len() - 1);
    let lines =
        |file: &[u8]| -> Vec<Vec<u8>> { file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
    match rng.random_range(0..7) {
        0 => file[at] ^= 1 << rng.random_range(0..8),
        1 => drop(file.remove(at)),
        2 => file.insert(at, *b"\"{}[],:0 1aA\\".get(rng.random_range(0..13)).expect("it is in range")),
        3 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            let end = (at + word.len()).min(file.len());
            file.splice(at..end, word.bytes());
        }
        // A digit for a digit: other numbers, places, seqs and bytes of hex.
        4 => {
            let digits: Vec<usize> = (0..file.len()).filter(|at| file[*at].is_ascii_digit()).collect();
            let at = digits[rng.random_range(0..digits.len())];
            file[at] = rng.random_range(b'0'..=b'9');
        }
        5 => {
            let mut lines = lines(file);
            let (a, b) = (rng.random_range(0..lines.len()), rng.random_range(0..lines.len()));
            lines.swap(a, b);
            *file = lines.concat();
        }
        _ => {
            let mut lines = lines(file);
            let line = lines.remove(rng.random_range(0..lines.len()));
            if rng.random() {
                let at = rng.random_range(0..=lines.len());
                lines.insert(at, line.clone());
                lines.insert(at, line);
            }
            *file = lines.concat();
        }
    }
}

/// The last line made anew, if it is one.
fn framed_anew(file: &mut Vec<u8>) {
    let without_cr = |line| <[u8]>::strip_suffix(line, b"\r").unwrap_or(line);
    let lines = file.split(|byte| *byte == b'\n').map(without_cr);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let Some((last, before)) = lines.split_last() else { return };
    let Ok(mut end) = ProofEnd::decode(last, 1) else { return };
    let mut digest = Digest::default();
    before.iter().for_each(|line| digest.push(&hash_of_line(line)));
    end.digest = digest.value();
    let is_other = |line: &&&[u8]| line.starts_with(b"{\"timestamp\"") || line.starts_with(b"{\"receipt\"");
    let stamps = before.iter().filter(is_other).count();
    end.entries = before.len().saturating_sub(stamps + 1) as u64;
    let mut out = before.join(&b'\n');
    out.push(b'\n');
    end.encode(&mut out);
    *file = out;
}
