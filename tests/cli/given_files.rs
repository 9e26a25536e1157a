//! Files that a person names: what they keep stays, and what other programs
//! wrote is read as what it is.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::world::{CANARY, WEAK, World};

const MARK: &[u8] = b"\xef\xbb\xbf";

fn private(world: &World, name: &str, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    world.write(name, content);
    fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
}

fn marked(text: &str) -> Vec<u8> {
    [MARK, text.as_bytes()].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A database with an export of it in three forms, and another node that knows it.
fn two_nodes() -> World {
    let world = World::new();
    let input: String = (0..20).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":{n}}}\n", n % 3)).collect();
    world.feed(&["append"], input).ok();
    for name in ["all.ndjson", "all.ndjson.gz", "all.ndjson.zst"] {
        world.run(&["export", "-o", name]).ok();
    }
    let card = world.run(&["card"]).ok().stdout;
    world.write("here.card", card);
    world.run(&[&["init", "there", "--actor", "bob"][..], &WEAK].concat()).ok();
    world.run(&["-d", "there", "peer", "add", "here", "@here.card", "--yes"]).ok();
    world
}

#[test]
fn rejects_are_never_the_input() {
    let world = two_nodes();
    let input = "{\"thing\":\"r1\",\"data\":1}\n{\"thing\":\"r2\",\"data\":oops}\n";
    world.write("input", input);
    symlink("input", world.path("link")).unwrap();
    fs::hard_link(world.path("input"), world.path("other-name")).unwrap();
    for name in ["input", "./input", "link", "other-name"] {
        world.run(&["append", "input", "--rejects", name]).exit(2).says("is the input").says("hint: ");
        world.shell(&format!("thingdb append --rejects {name} < input")).exit(2).says("is the input");
        assert_eq!(fs::read_to_string(world.path("input")).unwrap(), input, "{name}");
    }
    let stream = fs::read(world.path("all.ndjson.zst")).unwrap();
    let import = ["-d", "there", "import", "all.ndjson.zst", "--rejects", "all.ndjson.zst"];
    world.run(&import).exit(2).says("is the input");
    assert_eq!(fs::read(world.path("all.ndjson.zst")).unwrap(), stream);
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 20, "nothing was written");
    // What is no file on a disk may be both.
    world.run(&["append", "/dev/null", "--rejects", "/dev/null"]).ok();
}

#[test]
fn rejects_keep_what_an_earlier_run_refused() {
    let world = World::new();
    world.feed(&["append", "--rejects", "kept"], "monday, refused\n").exit(6);
    world.feed(&["append", "--rejects", "kept"], "{\"thing\":\"a\",\"data\":1}\n").ok();
    assert_eq!(fs::read_to_string(world.path("kept")).unwrap(), "monday, refused\n");
    // A file that ends within a line keeps that line apart from the next.
    world.write("kept", "monday, refused\nby hand");
    world.feed(&["append", "--rejects", "kept"], "tuesday, refused").exit(6);
    world.feed(&["import", "--rejects", "kept"], "wednesday, refused\n").exit(6);
    let kept = fs::read_to_string(world.path("kept")).unwrap();
    assert_eq!(kept, "monday, refused\nby hand\ntuesday, refused\nwednesday, refused\n");
}

#[test]
fn a_kept_checkpoint_goes_only_for_one_that_says_as_much() {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.shell("cp -r db older").ok();
    let first = fs::read(world.path("kept")).unwrap();
    world.run(&["put", "x", "2"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    let kept = fs::read(world.path("kept")).unwrap();
    assert_ne!(first, kept, "the ledger has gone on, and so has the file");
    world.run(&["checkpoint", "-o", "kept"]).ok();

    // The directory is set back as a whole, and goes on from there.
    world.shell("rm -r db && mv older db").ok();
    for grown in [1, 2, 3] {
        let answer = world.run(&["checkpoint", "-o", "kept"]).exit(4).says("error[checkpoint-kept]");
        answer.says("stays as it is").says("hint: thingdb verify --checkpoint kept");
        assert_eq!(fs::read(world.path("kept")).unwrap(), kept, "{grown} entries");
        world.run(&["put", "x", "\"another\""]).ok();
    }
    world.run(&["verify", "--checkpoint", "kept"]).exit(4);

    // Another node, and a file that is something else.
    world.run(&[&["init", "other"][..], &WEAK].concat()).ok();
    world.run(&["-d", "other", "checkpoint", "-o", "kept"]).exit(4).says("not of this one");
    assert_eq!(fs::read(world.path("kept")).unwrap(), kept);
    world.write("letter", "dear auditor");
    world.run(&["checkpoint", "-o", "letter"]).exit(2).says("no checkpoint");
    assert_eq!(fs::read_to_string(world.path("letter")).unwrap(), "dear auditor");
    world.shell("thingdb checkpoint -o /dev/stdout | grep -q thingdb.node").ok();
}

#[test]
fn a_dash_is_stdout_wherever_a_file_is_written() {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    assert!(world.run(&["checkpoint", "-o", "-"]).ok().stdout.starts_with("thingdb.node/"));
    assert!(world.run(&["export", "-o", "-"]).ok().stdout.starts_with("{\"thingdb\":1"));
    assert!(world.run(&["man", "-o", "-"]).ok().stdout.contains(".TH thingdb"));
    assert!(!world.path("-").exists());
}

#[test]
fn a_byte_order_mark_says_nothing() {
    let world = two_nodes();
    let lines = "{\"thing\":\"a\",\"data\":1}\n{\"thing\":\"a\",\"data\":2}\n";
    assert_eq!(world.feed(&["append"], marked(lines)).ok().json()["added"], 2);
    assert_eq!(world.feed(&["append"], MARK).ok().json()["added"], 0);
    world.feed(&["put", "b", "-"], marked("{\"c\":1}")).ok();
    assert_eq!(world.run(&["get", "b", "--raw"]).ok().stdout, "{\"c\":1}");
    // Bytes that are no JSON are the bytes that they are.
    world.feed(&["put", "photo", "-", "--media-type", "text/plain"], marked("x")).ok();
    assert_eq!(world.run(&["get", "photo", "--raw"]).ok().stdout.as_bytes(), marked("x"));

    let stream = fs::read_to_string(world.path("all.ndjson")).unwrap();
    let imported = world.feed(&["-d", "there", "import"], marked(&stream)).ok().json();
    assert_eq!((&imported["added"], &imported["refused"]), (&json!(20), &json!(0)));
    let array = format!("[{}]", stream.lines().collect::<Vec<_>>().join(",\n"));
    assert_eq!(world.feed(&["-d", "there", "import"], marked(&array)).ok().json()["known"], 20);

    let card = fs::read_to_string(world.path("here.card")).unwrap();
    world.write("marked.card", marked(&card));
    world.run(&[&["init", "third"][..], &WEAK].concat()).ok();
    world.run(&["-d", "third", "peer", "add", "here", "@marked.card", "--yes"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    let note = fs::read_to_string(world.path("kept")).unwrap();
    world.write("marked.checkpoint", marked(&note));
    world.run(&["verify", "--checkpoint", "marked.checkpoint"]).ok();
    let key = world.run(&["recovery-key"]).ok().stdout;
    private(&world, "key", &marked(&key));
    let mut command = world.thingdb(&["stats", "--recovery-key-file", "key"]);
    command.env_remove("THINGDB_PASSPHRASE_FILE");
    super::world::Answer::of(command).ok();
}

#[test]
fn text_in_utf16_is_named_once_and_nothing_of_it_is_stored() {
    let world = two_nodes();
    let lines = "{\"thing\":\"a\",\"data\":1}\n".repeat(50);
    let answer = world.feed(&["append"], utf16(&lines)).exit(2).says("UTF-16").says("hint: iconv -f UTF-16");
    assert_eq!(answer.stderr.matches("UTF-16,").count(), 1, "{answer:?}");
    world.feed(&["put", "a", "-"], utf16("{\"c\":1}")).exit(2).says("UTF-16");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 20);
    let stream = fs::read_to_string(world.path("all.ndjson")).unwrap();
    world.feed(&["-d", "there", "import"], utf16(&stream)).exit(2).says("UTF-16");
    let card = fs::read_to_string(world.path("here.card")).unwrap();
    world.write("odd.card", utf16(&card));
    world.run(&["-d", "there", "peer", "add", "again", "@odd.card", "--yes"]).exit(2).says("UTF-16");
}

#[test]
fn a_new_passphrase_is_one_that_can_be_typed() {
    let world = World::empty();
    let odd: [(&str, Vec<u8>, &str); 5] = [
        ("marked", marked("a long secret word\r\n"), "byte order mark"),
        ("utf16", utf16("a long secret word\r\n"), "byte order mark"),
        ("nul", b"a long secret\0word\n".to_vec(), "NUL"),
        ("two-lines", b"a long secret\nword\n".to_vec(), "more than one line"),
        ("returns", b"a long secret\rword\n".to_vec(), "more than one line"),
    ];
    for (name, content, why) in &odd {
        private(&world, name, content);
        let init = [&["init", "--passphrase-file", name][..], &WEAK].concat();
        world.run(&init).exit(2).says(why).says("hint: ");
        assert!(!world.path("db").exists(), "{name}");
    }
    world.run(&[&["init"][..], &WEAK].concat()).ok();
    for (name, _, why) in &odd {
        world.run(&["passwd", "--new-passphrase-file", name]).exit(2).says(why);
    }
    world.run(&["stats"]).ok();
    // One that is in use already goes on opening its database: whatever file
    // holds it, it is read byte for byte.
    private(&world, "again", format!("{CANARY}\r\n").as_bytes());
    world.run(&["stats", "--passphrase-file", "again"]).ok();
}

#[test]
fn append_takes_objects_only_and_says_how_they_are_made() {
    let world = World::new();
    let arrays = "[\"part-42\",{\"temp\":20}]\n[\"part-42\",2,\"retire\"]\n[{\"thing\":\"a\",\"data\":1}]\n";
    let answer = world.feed(&["append"], arrays).exit(6).says("3 of 3 lines refused, 0 stored");
    answer.says("line 1, column 1: ").says("jq -c '.[]'");
    world.feed(&["append"], "{\n\"thing\":\"a\",\"data\":1}\n").exit(6).says("jq -c . makes one line");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], 0);
}

#[test]
fn append_takes_compressed_lines_as_import_does() {
    let world = World::new();
    let lines: String = (0..3_000).map(|n| format!("{{\"thing\":\"n{n}\",\"data\":{n}}}\n")).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(marked(&lines).as_slice(), 1).unwrap();
    assert_eq!(world.feed(&["append"], &gzip).ok().json()["added"], 3_000);
    world.write("lines.zst", &zstd);
    assert_eq!(world.run(&["append", "lines.zst"]).ok().json()["added"], 3_000);
    // What came before a cut is stored, and the way on leads through the right tool.
    world.write("cut.gz", &gzip[..gzip.len() / 2]);
    let answer =
        world.run(&["append", "cut.gz"]).exit(6).says("error[cut-stream]").says("hint: gzip -dc cut.gz | tail");
    let added = answer.json()["added"].as_u64().unwrap();
    assert!(added > 0 && added < 3_000, "{answer:?}");
    assert_eq!(world.run(&["stats"]).ok().json()["entries"].as_u64().unwrap(), 6_000 + added);
}

#[test]
fn fields_are_named_by_the_letter_of_the_rfc() {
    let world = World::new();
    world.run(&["put", "p", "{\"a\":[10,11,12]}"]).ok();
    assert_eq!(world.run(&["get", "p", "--field", "/a/1"]).ok().stdout, "11\n");
    for absent in ["/a/01", "/a/+1", "/a/00", "/a/-1", "/a/1.0", "/a/3", "/a/"] {
        world.run(&["get", "p", &format!("--field={absent}")]).exit(3).says("has no field");
    }
    for wrong in ["a", "/~2", "/a~"] {
        world.run(&["get", "p", &format!("--field={wrong}")]).exit(2).says("JSON Pointer");
    }
}
