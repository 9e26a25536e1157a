//! Every golden vector is read, or refused, as it says: one test a file.
//!
//! `cargo run -p thingdb-tests --bin write_vectors` adds vectors that are
//! missing. None is ever changed: that would be another format.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use libtest_mimic::{Arguments, Failed, Trial};
use thingdb::{Evidence, SplitHeads, Weight};
use thingdb_format::audit::{Memos, Problem};
use thingdb_format::erasure::Erasure;
use thingdb_format::erasure::receipt::{Answer, SignedErasureReceipt};
use thingdb_format::frame::{Decoder, Encoder};
use thingdb_format::heads::{self, SignedHeads};
use thingdb_format::key_log::KeyLog;
use thingdb_format::key_record::{self, KeyRecord};
use thingdb_format::proof::{Content, ProofCheck, examine};
use thingdb_format::{
    BatchSignature, Body, Card, Cek, DecryptionKey, EntryId, Envelope, Error, Hash, Header, KdfParams, Kek, KekPacket,
    Line, NodeKey, Origin, RecipientId, Signature, SignedCheckpoint, StreamCheck, Suite, ThingId, Time, TlogProof,
    Verifier, envelope, fields, line, merkle, payload, receipt,
    stream::{Extent, Outcome, hash_of_line},
};
use thingdb_tests::key_log::logged;
use thingdb_tests::vector::{Vector, refusal};

/// Reads the input. What comes out beyond errors is compared within.
type Check = fn(&Vector) -> Result<(), Error>;

const SUBJECTS: [(&str, Check); 21] = [
    ("header", header),
    ("body", body),
    ("payload", payload),
    ("fields", fields),
    ("signature", signature),
    ("merkle", merkle),
    ("envelope", envelope),
    ("checkpoint", checkpoint),
    ("heads", heads_note),
    ("heads-map", heads_map),
    ("card", card),
    ("line", line),
    ("stream", stream),
    ("frame", frame),
    ("erasure", erasure),
    ("key-record", key_record),
    ("key-log", key_log),
    ("erasure-receipt", erasure_receipt),
    ("latest", latest),
    ("tlog-proof", tlog_proof),
    ("receipt", receipted),
];

/// What the engine reads: evidence against somebody.
type Examine = fn(&Vector) -> Result<(), thingdb::Error>;

const EVIDENCE: [(&str, Examine); 2] = [("equivocation", equivocation), ("evidence", evidence)];

/// What is looked at as a whole: the word for the first thing that is wrong.
type Judge = fn(&Vector) -> Option<Problem>;

const JUDGED: [(&str, Judge); 1] = [("proof", proof)];

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut trials = vec![];
    let of_format = SUBJECTS.map(|(subject, check)| {
        (
            subject,
            Box::new(move |v: &Vector| check(v).map_err(Refused::from)) as Box<dyn Fn(&Vector) -> _ + Send + Sync>,
        )
    });
    let of_engine = EVIDENCE.map(|(subject, check)| {
        (
            subject,
            Box::new(move |v: &Vector| check(v).map_err(Refused::from)) as Box<dyn Fn(&Vector) -> _ + Send + Sync>,
        )
    });
    let judged = JUDGED.map(|(subject, judge)| {
        let check = move |v: &Vector| match judge(v) {
            Some(problem) => Err(Refused(problem.fault.as_str(), problem.detail)),
            None => Ok(()),
        };
        (subject, Box::new(check) as Box<dyn Fn(&Vector) -> _ + Send + Sync>)
    });
    for (subject, check) in of_format.into_iter().chain(of_engine).chain(judged) {
        let check: Arc<dyn Fn(&Vector) -> _ + Send + Sync> = check.into();
        let files = files_of(&root.join(subject));
        assert!(!files.is_empty(), "there are no vectors of {subject}");
        for file in files {
            let mutation = file.file_stem().expect("it is a file").to_string_lossy().into_owned();
            let check = Arc::clone(&check);
            trials.push(Trial::test(format!("{subject}::{mutation}"), move || run(&file, &*check)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    files.sort();
    files
}

/// The kind of a refusal, and what it says.
struct Refused(&'static str, String);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(refusal(&error), error.to_string())
    }
}

impl From<thingdb::Error> for Refused {
    fn from(error: thingdb::Error) -> Self {
        match error {
            thingdb::Error::Invalid(error) => error.into(),
            thingdb::Error::NoEvidence { reason } => Self("no-evidence", reason),
            other => Self("other", other.to_string()),
        }
    }
}

fn run(file: &Path, check: &dyn Fn(&Vector) -> Result<(), Refused>) -> Result<(), Failed> {
    let bytes = std::fs::read(file)?;
    let vector = Vector::parse(&bytes);
    assert_eq!(vector.to_file(), bytes, "a vector has one spelling");
    assert!(!vector.value("comment").is_empty());
    let (expected, found) = (vector.value("expect"), check(&vector));
    match found {
        Ok(()) if expected == "ok" => Ok(()),
        Ok(()) => Err(format!("expected {expected}, but it was read").into()),
        Err(Refused(kind, _)) if kind == expected => Ok(()),
        Err(Refused(kind, why)) => Err(format!("expected {expected}, found {kind}: {why}").into()),
    }
}

/// A value is as the vector says, if it says anything.
fn same(vector: &Vector, name: &str, found: impl ToString) {
    if let Some(expected) = vector.find(name) {
        assert_eq!(found.to_string(), expected, "{name}");
    }
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    assert!(rest.is_empty(), "vectors hold whole hashes");
    hashes.iter().copied().map(Hash).collect()
}

fn header(v: &Vector) -> Result<(), Error> {
    let header = Header::from_bytes(&v.input)?;
    assert_eq!(header.to_bytes(), v.input);
    same(v, "id", header.id());
    same(v, "suite", header.suite.number());
    same(v, "thing", hex(header.thing.as_str().as_bytes()));
    same(v, "seq", header.seq);
    same(v, "time", header.time);
    same(v, "micros", header.time.micros());
    same(v, "origin", header.origin);
    same(v, "actor", header.actor);
    same(v, "prev", header.prev.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "));
    same(v, "data_hash", header.data_hash);
    same(v, "payload_hash", header.payload_hash);
    same(v, "payload_len", header.payload_len);
    Ok(())
}

fn body(v: &Vector) -> Result<(), Error> {
    let body = Body::from_bytes(v.input.clone())?;
    assert_eq!(body.as_bytes(), v.input);
    same(v, "actor_name", hex(body.actor_name().as_bytes()));
    same(v, "action", hex(body.action().as_bytes()));
    same(v, "media_type", hex(body.media_type().as_bytes()));
    same(v, "data", hex(body.data()));
    if let Some(attachment) = body.attachment() {
        same(v, "attachment_type", hex(attachment.media_type.as_bytes()));
        same(v, "attachment", hex(attachment.bytes));
    }
    Ok(())
}

fn payload(v: &Vector) -> Result<(), Error> {
    let header = Header::from_bytes(&v.bytes("header"))?;
    let cek = Cek::from_bytes(v.array("cek"));
    payload::check(&header, &v.input)?;
    let body = payload::open(&header, &cek, &v.input)?;
    same(v, "body", hex(body.as_bytes()));
    let sealed = payload::seal(header.suite, &cek, body)?;
    assert_eq!((sealed.payload, sealed.data_hash), (v.input.clone(), header.data_hash));
    Ok(())
}

fn fields(v: &Vector) -> Result<(), Error> {
    let cek = Cek::from_bytes(v.array("cek"));
    let body = Body::new("alice", "create", "application/json", &v.input)?.with_provable_fields();
    let (mut pointers, mut values) = (Vec::new(), Vec::new());
    fields::each(&body, |name, value| {
        if let fields::Name::Pointer(pointer) = name {
            pointers.push(hex(pointer.as_bytes()));
            values.push(hex(value));
        }
        Ok(())
    })?;
    same(v, "pointers", pointers.join(" "));
    same(v, "values", values.join(" "));
    same(v, "data_hash", payload::seal(Suite::Aes256Gcm, &cek, body)?.data_hash);
    Ok(())
}

fn signature(v: &Vector) -> Result<(), Error> {
    let header = Header::from_bytes(&v.input)?;
    let value = v.array("value");
    let signature = match v.value("kind") {
        "1" => Signature::Single(value),
        _ => Signature::Batch(BatchSignature {
            value,
            index: v.number("index"),
            size: v.number("size"),
            path: hashes(&v.bytes("path")),
        }),
    };
    signature.verify(&Verifier::new(&v.array("actor"))?, &v.input, &header.id())
}

fn merkle(v: &Vector) -> Result<(), Error> {
    let input = hashes(&v.input);
    let hash = |name: &str| Hash(v.array(name));
    match v.value("proof") {
        "root" => {
            same(v, "root", merkle::root(input.iter().map(|id| merkle::leaf(&EntryId(id.0)))));
            Ok(())
        }
        "inclusion" => {
            let leaf = merkle::leaf(&EntryId(v.array("id")));
            merkle::verify_inclusion(&leaf, v.number("index"), v.number("size"), &input, &hash("root"))
        }
        _ => {
            let (old, new) = (v.number("old_size"), v.number("new_size"));
            merkle::verify_consistency(old, new, &input, &hash("old_root"), &hash("new_root"))
        }
    }
}

fn envelope(v: &Vector) -> Result<(), Error> {
    let sized = |len: usize| {
        let (found, len) = (v.input.len() as u64, len as u64);
        if found == len { Ok(()) } else { Err(Error::OutOfRange { field: "input", found, least: len, most: len }) }
    };
    if v.value("kind") == "cek" {
        sized(48)?;
        let sealed = v.input.clone().try_into().expect("the length was compared");
        let cek = envelope::open_cek(&Kek::from_bytes(v.array("kek")), &EntryId(v.array("id")), &sealed)?;
        same(v, "cek", hex(cek.as_bytes()));
        return Ok(());
    }
    if v.value("kind") == "3" {
        sized(32)?;
        let packet = KekPacket::Public { kek: v.input.clone().try_into().expect("the length was compared") };
        same(v, "kek", hex(packet.open_public().expect("it is one").as_bytes()));
        return Ok(());
    }
    let from = Origin(v.array("from"));
    let kek = if v.value("kind") == "1" {
        sized(80)?;
        let packet = KekPacket::X25519 {
            id: RecipientId(v.array("id")),
            kek: v.input.clone().try_into().expect("the length was compared"),
        };
        let key = DecryptionKey::from_bytes(v.array("decryption_key"));
        same(v, "encryption_key", key.encryption_key());
        packet.open_x25519(from, &key)?
    } else {
        sized(48)?;
        let packet = KekPacket::Passphrase {
            salt: v.array("salt"),
            kdf: KdfParams::new(v.number("m"), v.number("t"), v.number("p"))?,
            kek: v.input.clone().try_into().expect("the length was compared"),
        };
        packet.open_passphrase(from, v.value("passphrase").as_bytes())?
    };
    same(v, "kek", hex(kek.as_bytes()));
    Ok(())
}

fn erasure(v: &Vector) -> Result<(), Error> {
    let record = Erasure::from_json(&v.input)?;
    same(v, "erased", record.entries().iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "));
    same(v, "reason", record.reason());
    assert_eq!(record.basis(), v.find("basis"));
    assert_eq!(Erasure::from_json(record.to_json().as_bytes())?, record);
    Ok(())
}

fn key_record(v: &Vector) -> Result<(), Error> {
    let record = KeyRecord::from_json(&v.input)?;
    same(v, "kind", record.kind());
    same(v, "next", record.next().map_or_else(|| "none".to_owned(), |next| next.to_string()));
    assert_eq!(record.to_json().as_bytes(), v.input);
    Ok(())
}

fn key_log(v: &Vector) -> Result<(), Error> {
    let records = logged(&v.input)?;
    let first = line::decode(&v.input[..v.input.iter().position(|byte| *byte == b'\n').expect("a line ends")], 1)?;
    let first = key_record::first_key(&first.header.thing).expect("it is a key log");
    let log = KeyLog::resolve(&first, &records).expect("it begins");
    let state = |key| format!("{key}={}", log.state(key).expect("it is one of them").as_str());
    same(v, "states", log.keys().iter().map(state).collect::<Vec<_>>().join(" "));
    same(v, "rivals", log.rivals().len());
    same(v, "successors", log.keys().iter().filter(|key| log.succeeds(key, &first)).count());
    Ok(())
}

fn checkpoint(v: &Vector) -> Result<(), Error> {
    let note = SignedCheckpoint::parse(std::str::from_utf8(&v.input).expect("notes are UTF-8"))?;
    assert_eq!(note.as_str().as_bytes(), v.input);
    let checkpoint = note.verify(&NodeKey(v.array("node_key")))?;
    same(v, "origin", checkpoint.origin);
    same(v, "size", checkpoint.size);
    same(v, "root", checkpoint.root);
    same(v, "extensions", checkpoint.extensions.join(" "));
    Ok(())
}

fn tlog_proof(v: &Vector) -> Result<(), Error> {
    let proof = TlogProof::parse(std::str::from_utf8(&v.input).expect("they are text"))?;
    assert_eq!(proof.to_string().as_bytes(), v.input);
    let checkpoint = proof.verify(&EntryId(v.array("id")), &NodeKey(v.array("node_key")))?;
    same(v, "index", proof.index);
    same(v, "size", checkpoint.size);
    Ok(())
}

fn receipted(v: &Vector) -> Result<(), Error> {
    receipt::verify(&v.input, &EntryId(v.array("id")), &NodeKey(v.array("node_key")))
}

fn heads_note(v: &Vector) -> Result<(), Error> {
    let note = SignedHeads::parse(std::str::from_utf8(&v.input).expect("notes are UTF-8"))?;
    assert_eq!(note.as_str().as_bytes(), v.input);
    let claimed = note.verify(&NodeKey(v.array("node_key")))?;
    let recomputed = note.is_signed_by(&NodeKey(v.array("other_key")))?;
    same(v, "origin", claimed.origin);
    same(v, "size", claimed.size);
    same(v, "map", claimed.map);
    same(v, "ledger", claimed.ledger);
    same(v, "recomputed", recomputed);
    Ok(())
}

fn erasure_receipt(v: &Vector) -> Result<(), Error> {
    let text = std::str::from_utf8(&v.input).expect("notes are UTF-8");
    let receipt = SignedErasureReceipt::parse(text)?;
    assert_eq!(receipt.as_str(), text);
    let said = receipt.said();
    same(v, "node_key", said.node);
    same(v, "record", said.record);
    same(v, "time", said.time);
    same(v, "count", said.count);
    same(v, "of", said.of);
    match &said.answer {
        Answer::Erased => same(v, "answer", "erased"),
        Answer::Held { reason } => {
            same(v, "answer", "held");
            same(v, "reason", reason);
        }
    }
    Ok(())
}

fn heads_map(v: &Vector) -> Result<(), Error> {
    let mut leaves = Vec::new();
    for line in std::str::from_utf8(&v.input).expect("it is text").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, count, heads @ ..] = &words[..] else { panic!("{line}") };
        let id = HEXLOWER.decode(id.as_bytes()).expect("it is hex");
        let thing = ThingId::new(std::str::from_utf8(&id).expect("ids are UTF-8"))?;
        let heads: Vec<EntryId> = heads.iter().map(|head| head.parse()).collect::<Result<_, _>>()?;
        let key = heads::key(&thing);
        leaves.push((key, heads::leaf(&key, &heads::value(&thing, count.parse().expect("a number"), &heads))));
    }
    leaves.sort_unstable();
    same(v, "root", heads::subtree(&leaves, 0));
    Ok(())
}

fn card(v: &Vector) -> Result<(), Error> {
    if v.value("input") == "text" {
        return std::str::from_utf8(&v.input).expect("the text of a card is UTF-8").parse::<Card>().map(drop);
    }
    let card = Card::from_bytes(&v.input)?;
    assert_eq!(card.to_bytes(), v.input);
    assert_eq!(v.value("text").parse::<Card>().as_ref(), Ok(&card));
    same(v, "text", &card);
    same(v, "time", card.time);
    same(v, "node_key", card.node_key);
    same(v, "encryption_key", card.encryption_key);
    same(v, "tls", card.tls.map(|hash| hash.to_string()).unwrap_or_default());
    same(v, "name", hex(card.name.as_bytes()));
    same(v, "actors", card.actors.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(" "));
    same(v, "fingerprint", card.node_key.fingerprint());
    same(v, "origin", card.node_key.origin());
    same(v, "recipient_id", card.encryption_key.recipient_id());
    Ok(())
}

fn line(v: &Vector) -> Result<(), Error> {
    let mut input = v.input.clone();
    if v.find("pad_to").is_some() {
        input.resize(v.number("pad_to"), b' ');
    }
    let entry = line::decode(&input, 1)?;
    same(v, "id", entry.id());
    same(v, "header", hex(&entry.header.to_bytes()));
    same(v, "stub", entry.is_stub());
    same(v, "envelopes", entry.envelopes.len());
    let mut out = Vec::new();
    line::encode(&entry, &mut out);
    assert_eq!(line::decode(&out, 1).as_ref(), Ok(&entry));
    assert_eq!(out == input, v.value("canonical") == "yes");
    let verifier = Verifier::new(&entry.header.actor.0)?;
    entry.verify(&verifier).map(drop)
}

fn stream(v: &Vector) -> Result<(), Error> {
    let mut check = StreamCheck::default();
    let mut entries = 0;
    for (bytes, number) in v.input.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        match Line::parse(bytes, number)? {
            Line::Blank => {}
            Line::Header(header) => drop(check.header(&header)?),
            Line::Entry(entry) => {
                entries += 1;
                check.entry(&entry.id(), &hash_of_line(bytes))?;
            }
            Line::Trailer(trailer) => drop(check.trailer(&trailer)?),
        }
    }
    same(v, "entries", entries);
    let outcome = check.finish()?;
    same(v, "whole_ledger", matches!(outcome, Outcome::Complete { extent: Extent::Whole(_), .. }));
    let outcome = match outcome {
        Outcome::Bare => "bare".to_owned(),
        Outcome::Complete { streams, .. } => format!("complete {streams}"),
    };
    same(v, "outcome", outcome);
    Ok(())
}

fn frame(v: &Vector) -> Result<(), Error> {
    let (mut decoder, mut encoder) = (Decoder::default(), Encoder::default());
    let (mut rest, mut again, mut ids, mut frames) = (&v.input[..], Vec::new(), Vec::new(), 0);
    let mut check = StreamCheck::default();
    while let Some((line, used)) = decoder.next(rest)? {
        let hash = Hash::of(&rest[..used]);
        rest = &rest[used..];
        frames += 1;
        match line {
            Line::Blank => unreachable!("frames are not blank"),
            Line::Header(header) => {
                encoder.header(&header, &mut again);
                check.header(&header)?;
            }
            Line::Trailer(trailer) => {
                encoder.trailer(&trailer, &mut again);
                // Frames alone say nothing of the stream.
                if check.is_open() {
                    check.trailer(&trailer)?;
                }
            }
            Line::Entry(entry) => {
                check.entry(&entry.id(), &hash)?;
                encoder.entry(&entry, &entry.id(), &mut again)?;
                ids.push(entry.id().to_string());
                let verifier = Verifier::new(&entry.header.actor.0)?;
                entry.verify(&verifier)?;
            }
        }
    }
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    assert_eq!(again, v.input);
    same(v, "frames", frames);
    same(v, "ids", ids.join(" "));
    Ok(())
}

/// Whether an entry is an erasure record that everybody can read.
fn is_record(entry: &thingdb_format::Verified) -> bool {
    let keks = |envelope: &Envelope| envelope.recipients.iter().find_map(KekPacket::open_public);
    let cek = |envelope: &Envelope| envelope::open_cek(&keks(envelope)?, &entry.id(), &envelope.cek).ok();
    let body = |payload: &Vec<u8>| {
        let cek = entry.envelopes.iter().find_map(cek)?;
        payload::open(&entry.header, &cek, payload).ok()
    };
    entry.payload.as_ref().and_then(body).is_some_and(|body| Erasure::is_in(&body))
}

/// By the rule as it is written, without a database.
fn latest(v: &Vector) -> Result<(), Error> {
    let mut entries = Vec::new();
    for (bytes, number) in v.input.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let entry = line::decode(bytes.trim_ascii_end(), number)?;
        let verifier = Verifier::new(&entry.header.actor.0)?;
        entries.push(entry.verify(&verifier)?);
    }
    if let Some(at) = v.find("at") {
        let at: Time = at.parse()?;
        entries.retain(|entry| entry.header.time <= at);
    }
    let followed: HashSet<EntryId> = entries.iter().flat_map(|entry| entry.header.prev.clone()).collect();
    let mut heads: Vec<EntryId> = entries.iter().map(|entry| entry.id()).filter(|id| !followed.contains(id)).collect();
    heads.sort_unstable();
    // Of those that are erasure records for whoever has no key: one that is not, if any.
    let rank = |entry: &&thingdb_format::Verified| (!is_record(entry), entry.header.time, entry.header.seq, entry.id());
    same(v, "latest", entries.iter().max_by_key(rank).expect("there are some").id());
    same(v, "heads", heads.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "));
    Ok(())
}

fn equivocation(v: &Vector) -> Result<(), thingdb::Error> {
    let (thing, found) = thingdb::verify_fork(std::str::from_utf8(&v.input).expect("lines are UTF-8"))?;
    same(v, "thing", thing);
    same(v, "actor", found.actor);
    same(v, "origin", found.origin);
    same(v, "entries", found.entries.map(|id| id.to_string()).join(" "));
    Ok(())
}

fn evidence(v: &Vector) -> Result<(), thingdb::Error> {
    let text = std::str::from_utf8(&v.input).expect("evidence is UTF-8");
    if SplitHeads::is_named_in(text) {
        let evidence: SplitHeads = text.parse()?;
        assert_eq!(evidence.to_string(), text);
        evidence.check()?;
        same(v, "weight", "proof");
        same(v, "origin", evidence.node.origin());
        let sizes = [&evidence.remembered, &evidence.shown].map(|note| note.claimed().size.to_string());
        same(v, "sizes", sizes.join(" "));
        return Ok(());
    }
    let evidence: Evidence = text.parse()?;
    assert_eq!(evidence.to_string().as_bytes(), v.input);
    let weight = match evidence.check()? {
        Weight::Proof => "proof",
        Weight::Testimony => "testimony",
    };
    same(v, "weight", weight);
    same(v, "origin", evidence.node.origin());
    let sizes = [&evidence.remembered, &evidence.shown].map(|note| note.claimed().size.to_string());
    same(v, "sizes", sizes.join(" "));
    Ok(())
}

fn proof(v: &Vector) -> Option<Problem> {
    let (mut check, mut memos, mut states) = (ProofCheck::new(), Memos::default(), Vec::new());
    for (line, number) in v.input.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        if let Some(proven) = check.take(examine(line, number, &mut memos)) {
            states.push((proven.id, proven.content.as_str()));
            if let (Content::PartlyShown(fields), Some(_)) = (&proven.content, v.find("fields")) {
                let field = |field: &fields::ShownField| {
                    format!("{}={}", hex(field.name.as_str().as_bytes()), hex(&field.value))
                };
                let shown: Vec<String> = fields.fields.iter().map(field).collect();
                same(v, "fields", format!("{} of {} {}", shown.len(), fields.count, shown.join(" ")));
            }
        }
    }
    let mut report = check.finish();
    if !report.problems.is_empty() {
        assert!(!report.is_good());
        return Some(report.problems.remove(0));
    }
    same(v, "entries", report.entries);
    let state = |(id, word): &(EntryId, &'static str)| if report.erased_by.contains_key(id) { "erased" } else { *word };
    same(v, "states", states.iter().map(state).collect::<Vec<_>>().join(" "));
    let erased_by: Vec<_> =
        states.iter().filter_map(|(id, _)| report.erased_by.get(id)).map(EntryId::to_string).collect();
    assert_eq!(erased_by.join(" "), v.find("erased_by").unwrap_or_default());
    same(v, "heads", report.heads.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "));
    let complete = report.complete.map(|complete| format!("{} {}", complete.count, complete.heads));
    assert_eq!(complete.as_deref(), v.find("complete"));
    let receipts = report.receipts.iter().map(|one| {
        let said = one.receipt.said();
        let word = if said.answer == Answer::Erased { "erased" } else { "held" };
        format!("{} {word} {} of {}", said.node.fingerprint(), said.count, said.of)
    });
    assert_eq!(receipts.collect::<Vec<_>>().join(", "), v.find("receipts").unwrap_or_default());
    None
}
