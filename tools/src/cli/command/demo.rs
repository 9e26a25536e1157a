//! `thingdb demo`: the whole of it in a temporary directory, on real files:
//! write, read, prove; then attack copies and see whether it is noticed; then erase, and
//! have that confirmed and checked.

mod erasure;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::Serialize;
use tempfile::TempDir;
use thingdb::{
    Db, Draft, ExportOptions, ImportOptions, ImportSummary, KdfChoice, Options, Passphrase, Report, StreamState,
    VerifyOptions,
};

use crate::cli::context::Context;
use crate::console::output::{Format, Text};
use crate::error::{Exit, Failure, Outcome};
use crate::reader::step::Step;
use crate::reader::{Reader, find};
use crate::text::{counted, printable};
use crate::view::entry::Entry;
use crate::view::{id, phrase, pretty, when};
use erasure::{Erasure, Stage};

/// Arguments of `thingdb demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs no database and no passphrase and takes a few seconds. Exit code 0 if
every attack was noticed and the erasure is confirmed and shown, else 4.")]
pub(crate) struct Args {
    /// Keep the directory, and print the passphrase, to look at it
    #[arg(long)]
    keep: bool,
}

/// Where the rows lie that are read.
const STORE: &str = "store";
const PART: &str = "part-42";
const READINGS: usize = 200;

/// The members of the JSON.
#[derive(Serialize)]
struct Summary {
    ok: bool,
    attacks: Vec<Attack>,
    erasure: Erasure,
}

/// One attack and what came of it.
#[derive(Serialize)]
struct Attack {
    attack: &'static str,
    noticed: bool,
    said: Vec<String>,
}

/// Runs the demo.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let mut demo = Demo::new(context)?;
    demo.write()?;
    demo.read()?;
    let kept = demo.move_on()?;
    let attacks = vec![
        demo.alter_a_record(&kept)?,
        demo.alter_a_line(&kept)?,
        demo.cut_the_stream(&kept)?,
        demo.set_back_the_directory(&kept)?,
        demo.forge_an_actor()?,
    ];
    let erasure = erasure::erase(&mut demo)?;
    let ok = attacks.iter().all(|attack| attack.noticed) && erasure.is_ok();
    demo.conclude(args, Summary { ok, attacks, erasure })
}

/// The stage: a temporary directory with the database `things`.
struct Demo<'a> {
    context: &'a Context,
    stage: TempDir,
    passphrase: String,
    text: Option<Text>,
    step: u32,
}

/// What the attacks start from.
struct Kept {
    /// A checkpoint of the whole ledger, kept elsewhere.
    checkpoint: String,
    /// The whole ledger as a stream.
    stream: String,
    /// A byte of the last record: the file, from the top of the database, and
    /// the place in it.
    byte: (PathBuf, usize),
}

impl<'a> Demo<'a> {
    fn new(context: &'a Context) -> Outcome<Self> {
        let stage = tempfile::Builder::new().prefix("thingdb-demo-").tempdir();
        let stage = stage.map_err(|problem| Failure::file("temporary directory", &problem))?;
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|problem| Failure::new(Exit::Unexpected, "unexpected", problem.to_string()))?;
        let is_told = !matches!(context.output.chosen(), Some(Format::Json | Format::Ndjson));
        let text = is_told.then(|| context.output.text());
        Ok(Self { context, stage, passphrase: HEXLOWER.encode(&random), text, step: 0 })
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.stage.path().join(name)
    }

    fn passphrase(&self) -> Passphrase {
        Passphrase::new(self.passphrase.as_bytes())
    }

    fn open(&self, name: &str) -> thingdb::Result<Db> {
        Db::open(self.dir(name), &self.passphrase())
    }

    fn step(&mut self, title: &str) -> Outcome {
        self.step = self.step.saturating_add(1);
        let step = self.step;
        self.say(&format!("\n{step}. {title}"))
    }

    fn say(&mut self, line: &str) -> Outcome {
        self.text.as_mut().map_or(Ok(()), |text| text.line(line))
    }

    fn say_all(&mut self, lines: &[String]) -> Outcome {
        lines.iter().try_for_each(|line| self.say(&format!("   {}", printable(line))))
    }
}

impl Stage for Demo<'_> {
    fn step(&mut self, title: &str) -> Outcome {
        Demo::step(self, title)
    }

    fn say(&mut self, line: &str) -> Outcome {
        Demo::say(self, line)
    }

    fn dir(&self, name: &str) -> PathBuf {
        Demo::dir(self, name)
    }

    fn passphrase(&self) -> Passphrase {
        Demo::passphrase(self)
    }
}

/// The part that any user does.
impl Demo<'_> {
    fn write(&mut self) -> Outcome {
        let stage = self.stage.path().display().to_string();
        self.say(&format!("ThingDB, shown on real files in {stage}"))?;
        self.say("The passphrase is random and, to save time, stretched far less than by thingdb init.")?;

        self.step("Create a database with two actors")?;
        let options = Options::new().actor("alice").kdf(KdfChoice::weakest());
        let db = options.create(self.dir("things"), &self.passphrase())?;
        db.new_actor("press-7")?;
        self.say(&format!("   node     {}", db.node_key().fingerprint()))?;
        for actor in db.own_actors() {
            self.say(&format!("   {:<8} {}", actor.name, actor.key))?;
        }

        self.step("Write: alice creates and updates a part, a press appends readings")?;
        for data in [r#"{"temp":20.1,"site":"plant-3"}"#, r#"{"temp":21.4,"site":"plant-3"}"#] {
            let receipt = db.put(PART, data)?;
            self.say(&format!("   {PART} #{}  {}  {data}", receipt.seq, id::short(&receipt.id)))?;
        }
        let readings = (0..READINGS).map(|n| {
            let data = format!(r#"{{"stroke":{n},"force_kn":{}.{}}}"#, 80 + n % 7, n % 10);
            Ok(Draft::json(&format!("press-7/sensor-{}", n % 5), data)?.actor("press-7"))
        });
        let receipts = db.write_batch(readings.collect::<thingdb::Result<_>>()?)?;
        self.say(&format!(
            "   press-7/sensor-0 … 4: {} under one signature",
            counted(receipts.len() as u64, "entry", "entries")
        ))?;
        Ok(db.close()?)
    }

    fn read(&mut self) -> Outcome {
        let db = self.open("things")?;
        self.step(&format!("The latest of {PART}"))?;
        let latest = Reader::latest(&db, PART)?.ok_or_else(|| find::no_thing(&db, PART))?;
        self.say(&format!("   {}", phrase::headline(&latest)))?;
        let mut data = String::from("   ");
        pretty::json(latest.json_text().unwrap_or_default(), &mut |piece| {
            data.push_str(piece);
            Ok(())
        })?;
        self.say(&data)?;

        self.step("Its provenance: who wrote what, when, and what it changed")?;
        let mut rows = Vec::new();
        for record in db.history(PART)?.rev() {
            let entry = Entry::from(record?);
            let step = Step::new(&db, &entry, None)?;
            rows.push([
                entry.seq().to_string(),
                when::short(entry.time()),
                phrase::actor(&entry),
                phrase::trust(&entry).to_owned(),
                entry.action().unwrap_or_default().to_owned(),
                step.summary(40).to_string(),
                id::short(&entry.id()),
            ]);
        }
        let header = ["seq", "when (UTC)", "actor", "key", "action", "change", "id"];
        for line in self.context.output.table(header, Some(5)).page(rows).lines() {
            self.say(&format!("  {line}"))?;
        }

        self.step("Verify: every hash, link and signature, from the bytes")?;
        let report = db.verify(VerifyOptions::new())?;
        self.say_all(&said_by_verify(&report))?;
        if report.is_ok() {
            Ok(())
        } else {
            Err(Failure::new(Exit::NotVerified, "demo", "an untouched database does not verify"))
        }
    }

    /// Copies the directory, writes one more entry, and keeps what shows it:
    /// a checkpoint, an export, and where in the files the entry lies.
    fn move_on(&mut self) -> Outcome<Kept> {
        self.step("A copy of the directory, one more entry, a checkpoint kept elsewhere, an export")?;
        copy(&self.dir("things"), &self.dir("older"))?;
        let db = self.open("things")?;
        db.sync()?;
        let before = files(&self.dir("things"))?;
        let receipt = db.put(PART, r#"{"temp":64.9,"site":"plant-3","alarm":true}"#)?;
        db.sync()?;
        let written = changed_bytes(&before, &files(&self.dir("things"))?);
        self.say(&format!(
            "   {PART} #{}  {}  an alarm that somebody would rather not have had",
            receipt.seq,
            id::short(&receipt.id)
        ))?;
        let checkpoint = db.checkpoint()?.to_string();
        let mut stream = Vec::new();
        let exported = db.export(ExportOptions::new(), &mut stream)?;
        self.say(&format!("   checkpoint and export of {}", counted(exported.entries, "entry", "entries")))?;
        db.close()?;
        // What was written first went to the journal; it is read from the store.
        let byte = place_of(&files(&self.dir("things"))?, Path::new(STORE), &written)
            .ok_or_else(|| Failure::new(Exit::Unexpected, "demo", "the entry is not in the store"))?;
        let stream =
            String::from_utf8(stream).map_err(|problem| Failure::new(Exit::Unexpected, "demo", problem.to_string()))?;
        Ok(Kept { checkpoint, stream, byte })
    }
}

/// The attacks, each on a copy.
impl Demo<'_> {
    fn alter_a_record(&mut self, kept: &Kept) -> Outcome<Attack> {
        let (file, place) = &kept.byte;
        self.step(&format!("Attack: one byte of that entry is altered, byte {place} of {}", file.display()))?;
        copy(&self.dir("things"), &self.dir("altered"))?;
        let path = self.dir("altered").join(file);
        let mut bytes = fs::read(&path).map_err(|problem| Failure::file(&path.display().to_string(), &problem))?;
        if let Some(byte) = bytes.get_mut(*place) {
            *byte ^= 1;
        }
        fs::write(&path, bytes).map_err(|problem| Failure::file(&path.display().to_string(), &problem))?;
        let (noticed, said) = self.verify("altered", None);
        self.judge("altered byte", "verify", noticed, said)
    }

    fn alter_a_line(&mut self, kept: &Kept) -> Outcome<Attack> {
        self.step("Attack: one character of the exported alarm is altered")?;
        let altered = altered_payload(&kept.stream)
            .ok_or_else(|| Failure::new(Exit::Unexpected, "demo", "the export has no payload to alter"))?;
        let (summary, said) = self.import("older", "altered-line", &altered)?;
        self.judge("altered line", "import", summary.refused == 1, said)
    }

    fn cut_the_stream(&mut self, kept: &Kept) -> Outcome<Attack> {
        self.step("Attack: the tail of the export is cut off, the alarm with it")?;
        let lines: Vec<&str> = kept.stream.lines().collect();
        let cut = lines.get(..lines.len().saturating_sub(2)).unwrap_or_default().join("\n");
        let (summary, said) = self.import("older", "cut-stream", &cut)?;
        self.judge("cut stream", "import", summary.stream == StreamState::Cut, said)
    }

    fn set_back_the_directory(&mut self, kept: &Kept) -> Outcome<Attack> {
        self.step("Attack: the whole directory is replaced by the older copy, the alarm is gone")?;
        copy(&self.dir("older"), &self.dir("set-back"))?;
        let (without, _) = self.verify("set-back", None);
        let alone = if without { "does not verify" } else { "verifies, as it once did" };
        self.say(&format!("   by itself it {alone}; against the checkpoint that was kept elsewhere:"))?;
        let (noticed, said) = self.verify("set-back", Some(&kept.checkpoint));
        self.judge("directory set back", "verify --checkpoint", noticed, said)
    }

    fn forge_an_actor(&mut self) -> Outcome<Attack> {
        self.step("Attack: Mallory signs in the name of alice, with a key of her own and then under alice's")?;
        let alice = self.open("things")?.own_actors().first().map(|actor| actor.key.to_string()).unwrap_or_default();
        let options = Options::new().actor("alice").kdf(KdfChoice::weakest());
        let forger = options.create(self.dir("mallory"), &self.passphrase())?;
        let own = forger.own_actors().first().map(|actor| actor.key.to_string()).unwrap_or_default();
        forger.put(PART, r#"{"temp":20.9,"site":"plant-3","alarm":false}"#)?;
        let mut stream = Vec::new();
        forger.export(ExportOptions::new(), &mut stream)?;
        forger.close()?;
        let forged = String::from_utf8_lossy(&stream).into_owned();
        let (first, mut said) = self.import("things", "forged-name", &forged)?;
        let renamed = forged.replace(&own, &alice);
        let (second, more) = self.import("things", "forged-key", &renamed)?;
        said.extend(more);
        self.judge(
            "forged actor",
            "import",
            first.refused == 1 && second.refused >= 1 && first.added + second.added == 0,
            said,
        )
    }

    /// What verify says to a directory, and whether it is anything but `ok`.
    fn verify(&self, name: &str, checkpoint: Option<&str>) -> (bool, Vec<String>) {
        let db = match self.open(name) {
            Ok(db) => db,
            Err(problem) => return (true, vec![problem.to_string()]),
        };
        let mut said: Vec<String> = db.warnings().iter().map(|warning| format!("at open: {warning}")).collect();
        let mut options = VerifyOptions::new();
        if let Some(note) = checkpoint {
            options = options.checkpoint(note);
        }
        match db.verify(options) {
            Ok(report) => {
                // What opening notices it makes good, and says so.
                let noticed = !report.is_ok() || !said.is_empty();
                said.extend(said_by_verify(&report));
                (noticed, said)
            }
            Err(problem) => {
                said.push(problem.to_string());
                (true, said)
            }
        }
    }

    /// What a copy of `source` says when it imports `stream`.
    fn import(&self, source: &str, name: &str, stream: &str) -> Outcome<(ImportSummary, Vec<String>)> {
        copy(&self.dir(source), &self.dir(name))?;
        let db = self.open(name)?;
        let summary = db.import(ImportOptions::new(), stream.as_bytes())?;
        let mut said =
            vec![format!("{} added, {} known already, {} refused", summary.added, summary.known, summary.refused)];
        said.extend(summary.reasons.iter().take(3).map(|refusal| format!("line {}: {}", refusal.line, refusal.reason)));
        match &summary.stream {
            StreamState::Cut => said.push("cut: the stream ends before its end".to_owned()),
            StreamState::Damaged(problem) => said.push(format!("damaged: {problem}")),
            _ => {}
        }
        Ok((summary, said))
    }

    fn judge(&mut self, attack: &'static str, by: &str, noticed: bool, said: Vec<String>) -> Outcome<Attack> {
        let lines: Vec<String> = said.iter().map(|line| format!("{by}: {line}")).collect();
        self.say_all(&lines)?;
        self.say(if noticed { "   => noticed" } else { "   => NOT NOTICED" })?;
        Ok(Attack { attack, noticed, said })
    }

    fn conclude(mut self, args: &Args, summary: Summary) -> Outcome {
        let count = counted(summary.attacks.len() as u64, "attack", "attacks");
        if summary.ok {
            self.say(&format!(
                "\nAll {count} were noticed, and the erasure is shown. Next: thingdb init ./things --actor YOUR-NAME"
            ))?;
        }
        if args.keep {
            let stage = self.stage.path().display().to_string();
            self.say(&format!("Kept in {stage}; the passphrase of each database is {}", self.passphrase))?;
            let _ = self.stage.keep();
        }
        match self.text {
            Some(text) => text.end()?,
            None => self.context.output.object(&summary)?,
        }
        if summary.ok {
            return Ok(());
        }
        let missed = summary.attacks.iter().filter(|attack| !attack.noticed).map(|attack| attack.attack.to_owned());
        let erasure = (!summary.erasure.is_ok()).then(|| "the erasure is not shown".to_owned());
        let fact = "an attack was not noticed, or the erasure is not shown";
        Err(Failure::new(Exit::NotVerified, "demo", fact).causes(missed.chain(erasure)))
    }
}

fn said_by_verify(report: &Report) -> Vec<String> {
    let counts =
        format!("{}, {}", counted(report.entries, "entry", "entries"), counted(report.things, "thing", "things"));
    if report.is_ok() {
        return vec![format!("ok, {counts}")];
    }
    let mut said = vec![format!("NOT ok, {counts}")];
    said.extend(report.problems.iter().take(3).map(ToString::to_string));
    said
}

/// The stream with one character of the last payload exchanged.
fn altered_payload(stream: &str) -> Option<String> {
    const MEMBER: &str = "\"payload\":\"";
    let place = stream.rfind(MEMBER)?.checked_add(MEMBER.len())?.checked_add(8)?;
    let (before, rest) = stream.split_at_checked(place)?;
    let other = if rest.starts_with('A') { 'B' } else { 'A' };
    Some(format!("{before}{other}{}", rest.get(1..)?))
}

/// Copies a directory with everything in it, modes included.
fn copy(from: &Path, to: &Path) -> Outcome {
    for name in files(from)?.into_keys() {
        let path = to.join(&name);
        let copied = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from.join(&name), &path));
        copied.map_err(|problem| Failure::file(&path.display().to_string(), &problem))?;
    }
    Ok(())
}

/// All files below a directory, by their path from there.
fn files(dir: &Path) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(below) = waiting.pop() {
        let failure = |problem| Failure::file(&below.display().to_string(), &problem);
        for entry in fs::read_dir(&below).map_err(failure)? {
            let path = entry.map_err(failure)?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).map_or_else(|_| path.clone(), Path::to_owned);
            found.insert(name, fs::read(&path).map_err(failure)?);
        }
    }
    Ok(found)
}

/// What is different now, from the first to the last byte, in the file where
/// most is. Room that was taken ahead is zeros, and no difference.
fn changed_bytes(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let changes = after.iter().map(|(name, now)| {
        let then = before.get(name).map(Vec::as_slice).unwrap_or_default();
        let differs = |place: &usize| now.get(*place).unwrap_or(&0) != then.get(*place).unwrap_or(&0);
        (now, (0..now.len()).filter(differs).collect::<Vec<usize>>())
    });
    let most = changes.max_by_key(|(_, places)| places.len());
    let region = most.and_then(|(now, places)| now.get(*places.first()?..=*places.last()?));
    region.unwrap_or_default().to_vec()
}

/// Where a piece of these bytes, from their middle on, lies last in a file below
/// `folder`.
fn place_of(files: &BTreeMap<PathBuf, Vec<u8>>, folder: &Path, bytes: &[u8]) -> Option<(PathBuf, usize)> {
    const PIECE: usize = 16;
    let middle = bytes.len() / 2;
    bytes.get(middle..)?.chunks_exact(PIECE.min(bytes.len() - middle).max(1)).find_map(|piece| {
        let inside = files.iter().filter(|(name, _)| name.starts_with(folder));
        let mut found = inside.filter_map(|(name, all)| {
            let place = all.windows(piece.len()).rposition(|window| window == piece)?;
            Some((name.clone(), place))
        });
        found.next_back()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_of_the_payload_is_altered() {
        let altered = altered_payload("{\"payload\":\"AAAAAAAAAAAA\"}").unwrap();
        assert_eq!(altered, "{\"payload\":\"AAAAAAAABAAA\"}");
        assert!(altered_payload("{}").is_none());
    }

    #[test]
    fn the_changed_bytes_are_found_in_the_store() {
        let map = |name: &str, bytes: &[u8]| BTreeMap::from([(PathBuf::from(name), bytes.to_vec())]);
        assert_eq!(changed_bytes(&map("log", b"ab0000"), &map("log", b"abxyz0")), b"xyz");
        assert_eq!(changed_bytes(&map("log", b"ab"), &map("log", b"ab")), b"");
        let found = Some((PathBuf::from("store/db"), 5));
        assert_eq!(place_of(&map("store/db", b"yz0..yz0."), Path::new(STORE), b"wxyz"), found);
        assert_eq!(place_of(&map("journal/1", b"wxyz"), Path::new(STORE), b"wxyz"), None);
        assert_eq!(place_of(&map("store/db", b"wxyz"), Path::new(STORE), b""), None);
    }
}
