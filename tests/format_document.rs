//! `docs/format.md` is normative: where its numbers, labels and names are not
//! those of the code, one of the two is wrong.

use std::collections::BTreeSet;

use thingdb_format::header::{
    MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_PREV, MAX_SEQ, MIN_HEADER_BYTES, MIN_PAYLOAD_BYTES,
};
use thingdb_format::{
    Card, KdfParams, MAX_ACTION_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_NAME_BYTES, Suite, ThingId, Time, checkpoint,
    envelope, frame, header, label, line, signature, stream,
};
use thingdb_tests::vector::Vector;

const DOCUMENT: &str = include_str!("../docs/format.md");

/// The text under a heading, up to the next one of any level.
fn section(heading: &str) -> &'static str {
    let (_, after) = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    after.find("\n#").map_or(after, |end| &after[..end])
}

/// The cells of the tables in a section, heads aside.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = section.lines().collect();
    let is_row = |line: &str| line.starts_with('|');
    let mut rows = vec![];
    for (at, line) in lines.iter().enumerate() {
        let is_head = lines.get(at + 1).is_some_and(|next| next.starts_with("|-"));
        if is_row(line) && !line.starts_with("|-") && !is_head {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
    }
    assert!(!rows.is_empty(), "there is a table");
    rows
}

/// The document without line breaks, so that sentences can be looked for.
fn says(sentence: &str) {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(DOCUMENT).contains(&flat(sentence)), "docs/format.md does not say: {sentence}");
}

fn number(cell: &str) -> u64 {
    cell.parse().unwrap_or_else(|_| panic!("not a number: {cell}"))
}

/// `2 + n` or `1 + 32·n` with this `n`, or a plain number.
fn size(cell: &str, n: u64) -> u64 {
    let Some((fixed, rest)) = cell.split_once(" + ") else { return number(cell) };
    let unit = rest.strip_suffix('n').expect("sizes grow with n").trim_end_matches('·');
    number(fixed) + n * if unit.is_empty() { 1 } else { number(unit) }
}

/// The bytes of all fields, where `n` gives those of a field by its name.
fn total(section: &str, n: impl Fn(&str) -> u64) -> u64 {
    rows(section).iter().map(|row| size(row[1], n(row[0]))).sum()
}

#[test]
fn header_has_the_sizes_of_its_fields() {
    let text = section("## Header");
    let fields = text.split_once("Limits:").expect("the limits come after the fields").0;
    let least = total(fields, |field| u64::from(field == "thing"));
    assert_eq!(least, MIN_HEADER_BYTES as u64);
    let most = total(fields, |field| if field == "thing" { ThingId::MAX_BYTES as u64 } else { MAX_PREV as u64 });
    assert_eq!(most, MAX_HEADER_BYTES as u64);
}

#[test]
fn limits_are_those_of_the_code() {
    let limits = section("## Header").split_once("Limits:").expect("there are limits").1;
    let found: Vec<(&str, u64, u64)> =
        rows(limits).iter().map(|row| (row[0], number(row[1]), number(row[2]))).collect();
    let expected = [
        ("thing id, bytes", 1, ThingId::MAX_BYTES as u64),
        ("seq", 1, MAX_SEQ),
        ("time", 0, Time::MAX.micros()),
        ("prev, entries", 0, MAX_PREV as u64),
        ("payload_len, bytes", u64::from(MIN_PAYLOAD_BYTES), u64::from(MAX_PAYLOAD_BYTES)),
        ("header, bytes", MIN_HEADER_BYTES as u64, MAX_HEADER_BYTES as u64),
    ];
    assert_eq!(found, expected);
    // The smallest body, its tag after it.
    let plain: String = section("## Body")
        .lines()
        .filter(|line| !line.contains("only with encoding"))
        .fold(String::new(), |text, line| text + line + "\n");
    let smallest = total(&plain.replace("| rest |", "| 0 |"), |_| 1);
    assert_eq!(smallest + 16, u64::from(MIN_PAYLOAD_BYTES));
}

#[test]
fn argon2id_limits_are_those_of_the_code() {
    let found: Vec<(&str, &str, u64)> =
        rows(section("## Envelope")).iter().map(|row| (row[0], row[1], number(row[2]))).collect();
    let per_lane = format!("{}·p", KdfParams::MIN_MEMORY_KIB_PER_LANE);
    let expected = [
        ("m (KiB)", per_lane.as_str(), u64::from(KdfParams::MAX_MEMORY_KIB)),
        ("t (passes)", "1", u64::from(KdfParams::MAX_PASSES)),
        ("p (lanes)", "1", u64::from(KdfParams::MAX_LANES)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn labels_are_those_of_the_code() {
    let quoted: BTreeSet<&str> =
        DOCUMENT.split("\"thingdb/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    let known: BTreeSet<&str> =
        label::ALL.iter().map(|label| label.strip_prefix("thingdb/").expect("all begin so")).collect();
    assert_eq!(quoted, known);
}

#[test]
fn numbers_in_sentences_are_those_of_the_code() {
    let (aes, chacha) = (Suite::Aes256Gcm.number(), Suite::ChaCha20Poly1305.number());
    says(&format!("| version | 1 | {} |", header::VERSION));
    says(&format!("{aes} = AES-256-GCM, {chacha} = ChaCha20-Poly1305"));
    says(&format!("u8 length, text, 1 to {MAX_NAME_BYTES} bytes"));
    says(&format!("u8 length, text, 1 to {MAX_ACTION_BYTES} bytes"));
    says(&format!("u8 length, 1 to {MAX_MEDIA_TYPE_BYTES} bytes from 0x20 to 0x7E"));
    says(&format!("`size` is from {} to {}.", signature::MIN_BATCH, signature::MAX_BATCH));
    says(&format!(
        "An entry carries at most {} envelopes, an envelope 1 to {} recipients.",
        envelope::MAX_ENVELOPES,
        envelope::MAX_RECIPIENTS
    ));
    says(&format!("| v | number | {} |", line::VERSION));
    says(&format!("a line of more than {} bytes", line::MAX_LINE_BYTES));
    says(&format!("u16 count, at most {}", Card::MAX_ACTORS));
    says(&format!("A card has {} to {} bytes.", Card::MIN_BYTES, Card::MAX_BYTES));
    says(&format!("above {}, and a size of 0", checkpoint::MAX_SIZE));
    says(&format!(
        "a note of more than {} bytes, of no or more than {} signature lines",
        checkpoint::MAX_NOTE_BYTES,
        checkpoint::MAX_SIGNATURES
    ));
}

#[test]
fn card_has_the_sizes_of_its_fields() {
    let text = section("## Card");
    let (actor, card): (Vec<_>, Vec<_>) = rows(text).into_iter().partition(|row| row[0].starts_with('…'));
    let sum = |rows: &[Vec<&str>], n: &dyn Fn(&str) -> u64| rows.iter().map(|r| size(r[1], n(r[0]))).sum::<u64>();
    assert_eq!(sum(&card, &|_| 0), Card::MIN_BYTES as u64);
    let most = sum(&card, &|field| if field == "tls" { 32 } else { MAX_NAME_BYTES as u64 });
    let most_actor = sum(&actor, &|_| MAX_NAME_BYTES as u64);
    assert_eq!(most + Card::MAX_ACTORS as u64 * most_actor, Card::MAX_BYTES as u64);
}

#[test]
fn members_of_a_line_are_those_of_the_code() {
    let found: Vec<&str> = rows(section("## Line")).iter().map(|row| row[0]).collect();
    assert_eq!(found, line::MEMBERS);
    // What stands within `sig` and `envelopes`, from a line that has it all.
    let full: serde_json::Value = serde_json::from_slice(&vector("line/good-full").input).expect("it is JSON");
    let mut names = BTreeSet::new();
    collect_names(&full["sig"], &mut names);
    collect_names(&full["envelopes"], &mut names);
    for name in names {
        assert!(section("## Line").contains(&format!("`{name}`")), "docs/format.md does not name `{name}`");
    }
}

fn collect_names(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            collect_names(value, names);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

#[test]
fn members_of_a_stream_are_those_of_the_code() {
    let written = |names: &[&str], values: &[&str]| {
        let members: Vec<String> =
            names.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let version = stream::VERSION.to_string();
    says(&written(&stream::HEADER_MEMBERS, &[&version, "CARD", "NOTE"]));
    says(&written(&stream::TRAILER_MEMBERS, &[&version, "N", "HEX", "HEX", "NOTE"]));
}

#[test]
fn limits_of_the_binary_stream_are_those_of_the_code() {
    let bounds = section("### Bounds");
    let tables: Vec<(&str, u64)> = rows(section("## Binary stream"))
        .iter()
        .filter(|row| row.len() == 3)
        .map(|row| (row[0], number(row[2])))
        .collect();
    let keys = frame::RECENT_KEYS as u64;
    let expected = [
        ("things", frame::RECENT_THINGS as u64),
        ("nodes", keys),
        ("actors", keys),
        ("packets", keys),
        ("batches", frame::RECENT_BATCHES as u64),
    ];
    assert_eq!(tables, expected);
    says(&format!("A frame has 1 to {} bytes.", frame::MAX_FRAME_BYTES));
    says(&format!("If {} or more are known", frame::KNOWN_HASHES));
    for (number, least, most) in [
        ("length of a frame", 1, frame::MAX_FRAME_BYTES as u64),
        ("count of prev", 0, header::MAX_PREV as u64),
        ("payload_len", 23, u64::from(header::MAX_PAYLOAD_BYTES)),
        ("size of a batch", u64::from(signature::MIN_BATCH), u64::from(signature::MAX_BATCH)),
        ("count of envelopes", 0, envelope::MAX_ENVELOPES as u64),
        ("count of packets", 1, envelope::MAX_RECIPIENTS as u64),
        ("entries of a trailer", 0, checkpoint::MAX_SIZE),
    ] {
        let row = format!("| {number} | {least} | {most} |");
        assert!(bounds.contains(&row), "docs/format.md does not say {row}");
    }
    let [letters @ .., version] = frame::MAGIC;
    let letters = std::str::from_utf8(&letters).expect("they are letters").to_owned();
    says(&format!("the four letters `{letters}` and the byte {version}"));
}

/// What the format allows can be written as a line.
#[test]
fn the_largest_entry_fits_a_line() {
    const MOST: usize = 22_800_000;
    says(&format!("less than {MOST} bytes"));
    let packet = || thingdb_format::KekPacket::X25519 { id: thingdb_format::RecipientId([0xff; 8]), kek: [0xff; 80] };
    let kdf = thingdb_format::KdfParams::new(1_048_576, 64, 16).unwrap();
    let archive = || thingdb_format::KekPacket::Passphrase { salt: [0xff; 16], kdf, kek: [0xff; 48] };
    let fields = thingdb_format::Fields {
        suite: Suite::Aes256Gcm,
        thing: thingdb_format::ThingId::new(&"\"".repeat(512)).unwrap(),
        seq: 9_007_199_254_740_991,
        time: thingdb_format::Time::from_micros(253_402_300_799_999_999).unwrap(),
        origin: thingdb_format::Origin([0xff; 16]),
        actor: thingdb_format::SigningKey::from_seed(&[1; 32]).actor(),
        prev: (0..32).map(|n| thingdb_format::EntryId([n; 32])).collect(),
        data_hash: thingdb_format::Hash([0xff; 32]),
        payload_hash: thingdb_format::Hash([0xff; 32]),
        payload_len: header::MAX_PAYLOAD_BYTES,
    };
    for packet in [&packet as &dyn Fn() -> thingdb_format::KekPacket, &archive] {
        let packets: Vec<_> = (0..envelope::MAX_RECIPIENTS).map(|_| packet()).collect();
        let from = thingdb_format::Origin([0xff; 16]);
        let envelope = thingdb_format::Envelope::new(from, [0xff; 48], packets).unwrap();
        let signature = thingdb_format::BatchSignature {
            value: [0xff; 64],
            index: 65_534,
            size: 65_536,
            path: vec![thingdb_format::Hash([0xff; 32]); 16],
        };
        let entry = thingdb_format::Entry {
            header: thingdb_format::Header::new(fields.clone()).unwrap(),
            signature: thingdb_format::Signature::Batch(signature),
            payload: Some(vec![0xff; header::MAX_PAYLOAD_BYTES as usize]),
            envelopes: vec![envelope; envelope::MAX_ENVELOPES],
        };
        let mut out = Vec::new();
        line::encode(&entry, &mut out);
        println!("{} bytes", out.len());
        assert!(out.len() < MOST && MOST < line::MAX_LINE_BYTES, "{} bytes", out.len());
    }
}

#[test]
fn the_example_is_a_vector() {
    let example = section("## Example").split("```").nth(1).expect("there is an example");
    let example: String = example.trim_start_matches("json").split_whitespace().collect();
    let vector = vector("line/good-example");
    assert_eq!(example.as_bytes(), vector.input.trim_ascii_end());
    let entry = line::decode(example.as_bytes(), 1).expect("the example is a line");
    assert_eq!(entry.id().to_string(), vector.value("id"));
}

fn vector(name: &str) -> Vector {
    let path = format!("{}/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    Vector::parse(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
}

#[test]
fn refusals_have_the_codes_and_kinds_of_the_document() {
    let written: Vec<(String, &str)> =
        rows(section("### Refusals")).iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1])).collect();
    let known: Vec<(String, &str)> =
        thingdb::RefusalCode::ALL.iter().map(|code| (code.as_str().to_owned(), code.kind().as_str())).collect();
    assert_eq!(written, known);
}

#[test]
fn a_proof_file_has_the_bounds_of_the_code() {
    use thingdb_format::proof::{MAX_EARLIER, MAX_ENTRIES, MAX_ERASED_AHEAD, MEDIA_TYPE};
    let text = section("## Proof file");
    assert!(text.contains(&format!("1 to {MAX_ENTRIES} entry lines")) && text.contains(MEDIA_TYPE));
    assert!(text.contains(&format!("1 to {MAX_EARLIER} objects")));
    assert!(text.contains(&format!("an array of 1 to {MAX_ENTRIES} ids")));
    assert!(text.contains(&format!("beyond {MAX_ERASED_AHEAD} of them")));
    says(&format!("one thing, and d ≥ {}", thingdb_format::heads::LEAF_DEPTH));
}
