//! What clients of transparency logs and of COSE, which others wrote, make of our
//! checkpoints, proofs, receipts and published ledgers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64;
use serde_json::{Value, json};
use signed_note::{Note, StandardVerifier, VerifierList};
use thingdb::format::{Checkpoint, Hash, SignedCheckpoint, SigningKey};
use tlog_tiles::{
    Checkpoint as TlogCheckpoint, Error, Hash as TlogHash, HashReader, Tile, TileHashReader, TileReader, check_record,
    record_hash, stored_hash_index, tree_hash,
};

use super::world::{World, skip};

/// A database of so many entries, the card and the verifier key of its node.
fn furnished(entries: usize) -> (World, String) {
    let world = World::new();
    append(&world, 0, entries);
    let card = world.run(&["card"]).ok().stdout;
    world.write("card", card);
    let vkey = world.run(&["card", "--vkey", "--json"]).ok().json()["log"].as_str().unwrap().to_owned();
    (world, vkey)
}

fn append(world: &World, from: usize, to: usize) {
    let line = |n: usize| format!("{{\"thing\":\"part-{}\",\"data\":{n}}}\n", n % 7);
    world.feed(&["append"], (from..to).map(line).collect::<String>()).ok();
}

/// The checkpoint in a note that the node has signed, as others read it.
fn opened(note: &str, vkey: &str) -> TlogCheckpoint {
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(vkey).unwrap())]);
    let (verified, _) = Note::from_bytes(note.as_bytes()).unwrap().verify(&known).unwrap();
    assert_eq!(verified.len(), 1);
    let (text, _) = note.rsplit_once("\n\n").unwrap();
    TlogCheckpoint::from_bytes(format!("{text}\n").as_bytes()).unwrap()
}

/// The id of the entry of a thing with a seq.
fn id(world: &World, thing: &str, seq: &str) -> Vec<u8> {
    let entry = world.run(&["log", thing, "--since", seq, "--until", seq]).ok().json();
    data_encoding::HEXLOWER.decode(entry["id"].as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn a_proof_of_one_entry_holds_for_others() {
    let (world, vkey) = furnished(300);
    world.run(&["prove", "part-3", "--seq", "20", "--tlog-proof", "-o", "p"]).ok();
    let proof = fs::read_to_string(world.path("p")).unwrap();
    let (head, note) = proof.split_once("\n\n").unwrap();
    let checkpoint = opened(note, &vkey);
    assert_eq!(checkpoint.size(), 300);
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index: u64 = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    let path: Vec<TlogHash> = lines.map(|line| TlogHash::parse_hash(line).unwrap()).collect();
    let leaf = record_hash(&id(&world, "part-3", "20"));
    assert_eq!(index, 19 * 7 + 3);
    check_record(&path, 300, *checkpoint.hash(), index, leaf).unwrap();
    assert!(check_record(&path, 300, *checkpoint.hash(), index + 1, leaf).is_err());
    assert!(check_record(&path, 300, *checkpoint.hash(), index, record_hash(&id(&world, "part-3", "21"))).is_err());

    // One entry, of this node.
    world.run(&["prove", "part-3", "--tlog-proof"]).exit(2).says("such a proof is of one entry");
    world.run(&["prove", "part-3", "--seq", "2", "--cose", "--tlog-proof"]).exit(2);
    world.run(&["prove", "part-3", "--seq", "900", "--tlog-proof"]).exit(3);
    world.run(&["prove", "part-3", "--since", "2", "--cose"]).exit(2);
    // A proof file of one seq.
    world.run(&["prove", "part-3", "--seq", "2", "-o", "one"]).ok();
    let told = world.run(&["verify-proof", "one", "--card", "@card"]).ok().json();
    assert_eq!((&told["entries"], &told["subject"]["kind"]), (&json!(1), &json!("entries")));
}

/// By <https://www.rfc-editor.org/rfc/rfc9942>, with nothing of ours.
const RECEIPT_PY: &str = r#"
import hashlib, json, sys
import cbor2
from cwt import COSE, COSEKey
receipt, key, leaf = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
tag = cbor2.loads(receipt)
protected, unprotected = cbor2.loads(tag.value[0]), tag.value[1]
assert protected[395] == 1 and tag.tag == 18 and tag.value[2] is None
size, index, path = cbor2.loads(unprotected[396][-1][0])
hash_, fn, sn = hashlib.sha256(b"\0" + leaf).digest(), index, size - 1
for sibling in path:
    if fn & 1 or fn == sn:
        hash_ = hashlib.sha256(b"\1" + sibling + hash_).digest()
        while not fn & 1 and fn:
            fn, sn = fn >> 1, sn >> 1
    else:
        hash_ = hashlib.sha256(b"\1" + hash_ + sibling).digest()
    fn, sn = fn >> 1, sn >> 1
key = COSEKey.new({1: 1, 2: protected[4], 3: -8, -1: 6, -2: key})
try:
    COSE.new().decode(receipt, key, detached_payload=hash_)
    print(json.dumps({"ok": True, "size": size, "index": index}))
except Exception as problem:
    print(json.dumps({"ok": False, "problem": str(problem)}))
"#;

#[test]
fn a_receipt_holds_for_a_cose_library_of_others() {
    let python = std::env::var("THINGDB_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import cwt, cbor2"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return skip("there is no python3 with the package cwt");
    }
    let (world, vkey) = furnished(11);
    world.run(&["prove", "part-3", "--seq", "2", "--cose", "-o", "receipt"]).ok();
    let script = world.write("receipt.py", RECEIPT_PY);
    let key = BASE64.decode(vkey.splitn(3, '+').nth(2).unwrap().as_bytes()).unwrap();
    let key = data_encoding::HEXLOWER.encode(&key[1..]);
    let check = |seq: &str, key: &str| -> Value {
        let leaf = data_encoding::HEXLOWER.encode(&id(&world, "part-3", seq));
        let output = world.command(&python).args([&script, "receipt", key, &leaf]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    assert_eq!(check("2", &key), json!({"ok": true, "size": 11, "index": 10}));
    assert_eq!(check("1", &key)["ok"], false);
    let other = SigningKey::from_seed(&[9; 32]).node_key();
    assert_eq!(check("2", &data_encoding::HEXLOWER.encode(&other.0))["ok"], false);
}

/// The tiles in a directory.
struct Published(PathBuf);

impl TileReader for Published {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            // Theirs is the older spelling, with the height in it.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            fs::read(self.0.join(&path)).map_err(|_| Error::InvalidInput(path))
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// All files below a directory and what is in them.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}

#[test]
fn a_published_ledger_holds_for_others_and_only_grows() {
    let (world, vkey) = furnished(300);
    let verify = ["verify", "--tiles", "pub", "--card", "@card", "--json"];
    let mut before = Vec::new();
    for (from, size) in [(300, 300), (300, 301), (301, 512), (512, 1000)] {
        append(&world, from, size);
        world.run(&["checkpoint", "--publish", "pub"]).ok();
        let now = files(&world.path("pub"));
        let is_kept = |file: &&(PathBuf, Vec<u8>)| file.0.ends_with("checkpoint") || now.contains(file);
        assert_eq!(before.iter().find(|file| !is_kept(file)), None, "something changed");
        before = now;
        let checkpoint = opened(&fs::read_to_string(world.path("pub/checkpoint")).unwrap(), &vkey);
        assert_eq!(checkpoint.size(), size as u64);
        let tiles = Published(world.path("pub"));
        let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
        assert_eq!(tree_hash(checkpoint.size(), &reader).unwrap(), *checkpoint.hash());
        // The last of `part-3`, and the first entry of all.
        let last = (0..size).rev().find(|n| n % 7 == 3).unwrap();
        for (thing, seq, index) in [("part-3", last / 7 + 1, last), ("part-0", 1, 0)] {
            let leaf = reader.read_hashes(&[stored_hash_index(0, index as u64)]).unwrap()[0];
            assert_eq!(leaf, record_hash(&id(&world, thing, &seq.to_string())));
        }
        let told = world.run(&verify).ok().json();
        assert_eq!((&told["ok"], &told["size"], &told["trusted"]), (&json!(true), &json!(size), &json!(true)));
    }
    // Nothing new: nothing is written.
    world.run(&["checkpoint", "--publish", "pub"]).ok().says("0 files written");
    assert_eq!(files(&world.path("pub")), before);
    // Where it was killed it goes on.
    fs::remove_file(world.path("pub/tile/1/000.p/3")).unwrap();
    fs::remove_file(world.path("pub/checkpoint")).unwrap();
    world.run(&["checkpoint", "--publish", "pub"]).ok().says("1 file written");
    assert_eq!(files(&world.path("pub")), before);

    // Each kind of file counts.
    let publish = ["checkpoint", "--publish", "pub"];
    for (name, is_at_the_edge) in [
        ("tile/entries/003.p/232", true),
        ("tile/0/000", false),
        ("tile/0/002", true),
        ("tile/1/000.p/3", true),
        ("tile/entries/001", false),
        ("tile/entries/002", true),
    ] {
        let path = world.path("pub").join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[40] ^= 1;
        for content in [&bad[..], &good[..good.len() - 1], &[]] {
            fs::write(&path, content).unwrap();
            world.run(&verify).exit(4).says("does not verify");
            // What is left of the newest files is not read again as long as it has its length,
            // unless nothing says which those are.
            let is_noticed = is_at_the_edge || content.len() != good.len();
            world.run(&publish).exit(if is_noticed { 4 } else { 0 });
        }
        let note = fs::read(world.path("pub/checkpoint")).unwrap();
        fs::remove_file(world.path("pub/checkpoint")).unwrap();
        world.run(&publish).exit(4).says("error[published-differs]");
        fs::write(world.path("pub/checkpoint"), note).unwrap();
        fs::remove_file(&path).unwrap();
        world.run(&verify).exit(4);
        // What is gone is there again, though nothing is new.
        world.run(&publish).ok().says("1 file written");
        assert_eq!(fs::read(&path).unwrap(), good, "{name}");
    }
    world.run(&verify).ok();
    // Of whom one trusts, and what one kept.
    world.run(&["-d", "other", "init", "--actor", "bob"]).ok();
    let card = world.run(&["-d", "other", "card"]).ok().stdout;
    world.write("other.card", card);
    world.run(&["verify", "--tiles", "pub", "--card", "@other.card"]).exit(4).says("no node that you trust");
    world.run(&["verify", "--tiles", "pub"]).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    append(&world, 1000, 1002);
    world.run(&["checkpoint", "-o", "later"]).ok();
    assert_eq!(world.run(&[&verify[..], &["--checkpoint", "kept"]].concat()).ok().json()["kept"], true);
    world.run(&[&verify[..], &["--checkpoint", "later"]].concat()).exit(4);
}

#[test]
fn a_directory_of_another_ledger_or_a_longer_one_stays_as_it_is() {
    let (world, _) = furnished(300);
    world.shell("cp -R db older").ok();
    append(&world, 300, 310);
    world.run(&["checkpoint", "--publish", "pub"]).ok();
    let before = files(&world.path("pub"));
    world.run(&["-d", "older", "checkpoint", "--publish", "pub"]).exit(4).says("error[checkpoint-kept]");
    world.run(&["-d", "other", "init", "--actor", "bob"]).ok();
    world.run(&["-d", "other", "put", "door", "1"]).ok();
    world.run(&["-d", "other", "checkpoint", "--publish", "pub"]).exit(4).says("error[checkpoint-kept]");
    // Without the checkpoint it shows by the files.
    fs::remove_file(world.path("pub/checkpoint")).unwrap();
    append_to(&world, "other", 300);
    world.run(&["-d", "other", "checkpoint", "--publish", "pub"]).exit(4).says("error[published-differs]");
    world.run(&["checkpoint", "--publish", "pub"]).ok();
    assert_eq!(files(&world.path("pub")), before);
    world.write("file", "");
    world.run(&["checkpoint", "--publish", "file"]).exit(2);
    world.run(&["checkpoint", "--publish", "pub", "-o", "note"]).exit(2);
}

/// What a killed one has left is taken away, and what is no file of a ledger is neither
/// followed nor waited for.
#[test]
fn a_published_directory_has_files_and_folders_alone() {
    let (world, _) = furnished(300);
    world.shell("mkdir pub && printf half > pub/.thingdb-abc123").ok();
    // Somebody else is at it.
    world.write("pub/.thingdb-held", "");
    let held = fs::File::open(world.path("pub/.thingdb-held")).unwrap();
    held.lock().unwrap();
    let publish = ["checkpoint", "--publish", "pub"];
    world.run(&publish).ok();
    assert!(!world.path("pub/.thingdb-abc123").exists() && world.path("pub/.thingdb-held").exists());
    drop(held);
    append(&world, 300, 301);
    world.run(&publish).ok().says("2 files written");
    let names: Vec<_> = fs::read_dir(world.path("pub")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    append(&world, 301, 302);
    world.shell("mv pub/tile elsewhere && ln -s ../elsewhere pub/tile").ok();
    world.run(&publish).exit(2).says("has a link in the place of its folder tile");
    world.shell("rm pub/tile && mv elsewhere pub/tile && mv pub/tile/0 zero && ln -s ../../zero pub/tile/0").ok();
    world.run(&publish).exit(2).says("is no directory");
    world.shell("rm pub/tile/0 && mv zero pub/tile/0").ok();
    for place in ["pub/checkpoint", "pub/tile/0/001.p/46"] {
        world.shell(&format!("test ! -e {place} || mv {place} kept; mkfifo {place}")).ok();
        world.run(&publish).exit(2).says("it is no regular file");
        world.shell(&format!("rm {place}; touch other; ln -s $PWD/other {place}")).ok();
        world.run(&publish).exit(2).says("it is no regular file");
        world.shell(&format!("rm {place}; test ! -e kept || mv kept {place}")).ok();
    }
    assert_eq!(fs::read(world.path("other")).unwrap(), b"");
    world.shell("mv pub/tile/0/000 kept; mkfifo pub/tile/0/000").ok();
    world.run(&["verify", "--tiles", "pub"]).exit(4).says("it is no regular file");
    world.shell("rm pub/tile/0/000; mv kept pub/tile/0/000").ok();
    world.run(&publish).ok();
    world.run(&["verify", "--tiles", "pub"]).ok();
    // A checkpoint that was cut does not hold; one that is not there was never published.
    let note = fs::read(world.path("pub/checkpoint")).unwrap();
    for cut in [0, 1, note.len() / 2, note.len() - 2] {
        fs::write(world.path("pub/checkpoint"), &note[..cut]).unwrap();
        world.run(&["verify", "--tiles", "pub"]).exit(4).says("is no checkpoint");
    }
    fs::remove_file(world.path("pub/checkpoint")).unwrap();
    world.run(&["verify", "--tiles", "pub"]).exit(2);
}

fn append_to(world: &World, dir: &str, entries: usize) {
    let lines: String = (0..entries).map(|n| format!("{{\"thing\":\"x\",\"data\":{n}}}\n")).collect();
    world.feed(&["-d", dir, "append"], lines).ok();
}

/// A stream, or a database, is held against a policy as a proof file is.
#[test]
fn a_policy_is_applied_to_streams_and_databases() {
    let (world, vkey) = furnished(3);
    let witness = SigningKey::from_seed(&[7; 32]);
    let note = world.run(&["checkpoint"]).ok().stdout;
    let note = SignedCheckpoint::parse(&note).unwrap();
    let cosigned = note.with_signatures(&note.cosign(&witness, 1_679_315_147).unwrap()).unwrap();
    world.write("kept", cosigned.as_str());
    let key = witness.node_key().witness_vkey().unwrap();
    world.write("policy", format!("log {vkey}\nwitness bob {key}\nquorum bob\n"));
    world.run(&["export", "-o", "all.ndjson"]).ok();
    // The kept checkpoint has what the witness says; the stream and the database have not.
    let (db, file) = (&["verify", "--policy", "policy", "--json"][..], &["all.ndjson", "--card", "@card"][..]);
    for args in [db.to_vec(), [db, file].concat()] {
        assert_eq!(world.run(&args).exit(4).says("error[not-witnessed]").json()["ok"], false);
        let words = world.run(
            &[&args[..], &["--format", "table"]]
                .concat()
                .into_iter()
                .filter(|arg| *arg != "--json")
                .collect::<Vec<_>>(),
        );
        assert!(words.exit(4).stdout.starts_with("NOT ok  "), "{args:?}");
        let told = world.run(&[&args[..], &["--checkpoint", "kept"]].concat()).ok().json();
        let seen = &told["witnessed"];
        assert_eq!((&seen["size"], &seen["beyond"], &seen["by"][0]), (&json!(3), &json!(0), &json!("bob")), "{told}");
        assert_eq!(seen["not_later_than"], "2023-03-20T12:25:47.000000Z");
    }
    append(&world, 3, 5);
    let told = world.run(&[db, &["--checkpoint", "kept"]].concat()).exit(6).json();
    assert_eq!((&told["witnessed"]["entries"], &told["witnessed"]["beyond"]), (&json!(3), &json!(2)), "{told}");
    // Somebody else's log.
    let stranger = SigningKey::from_seed(&[8; 32]).node_key();
    let log = stranger.log_vkey().unwrap();
    world.write("policy", format!("log {log}\nwitness bob {key}\nquorum bob\n"));
    world.run(&[db, &["--checkpoint", "kept"]].concat()).exit(4).says("error[not-witnessed]");
    // A bad signature of a witness says that the note is none.
    let bad = Checkpoint::new(note.claimed().origin, 4, Hash([1; 32]));
    assert!(bad.sign(&SigningKey::from_seed(&[7; 32])).is_err());
    world.write("policy", "quorum");
    world.run(&[db, &["--checkpoint", "kept"]].concat()).exit(2).says("is no policy");
}

/// Go's own packages `sumdb/note` and `sumdb/tlog`, where they are (Debian's
/// `golang-golang-x-mod-dev`).
const READ_GO: &str = r#"package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	text, _ := os.ReadFile(os.Args[1])
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		panic(err)
	}
	head, signed, _ := strings.Cut(string(text), "\n\n")
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		panic(err)
	}
	var size, index int64
	var root string
	fmt.Sscanf(strings.SplitN(opened.Text, "\n", 2)[1], "%d\n%s\n", &size, &root)
	lines := strings.Split(head, "\n")
	fmt.Sscanf(lines[1], "index %d", &index)
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			panic(err)
		}
		proof = append(proof, hash)
	}
	top, err := tlog.ParseHash(root)
	if err != nil {
		panic(err)
	}
	var id []byte
	fmt.Sscanf(os.Args[3], "%x", &id)
	fmt.Println(size, index, tlog.CheckRecord(proof, size, top, index, tlog.RecordHash(id)))
}
"#;

#[test]
fn go_believes_a_checkpoint_and_a_proof() {
    const SOURCES: &str = "/usr/share/gocode";
    if !Path::new(SOURCES).join("src/golang.org/x/mod/sumdb/note").exists() {
        return skip("Go, or its package golang-golang-x-mod-dev, is not there");
    }
    let (world, vkey) = furnished(20);
    world.run(&["prove", "part-3", "--seq", "2", "--tlog-proof", "-o", "proof"]).ok();
    world.write("read.go", READ_GO);
    let id = data_encoding::HEXLOWER.encode(&id(&world, "part-3", "2"));
    let mut command = world.command("go");
    command.args(["run", "read.go", "proof", &vkey, &id]).env("GOPATH", SOURCES).env("GO111MODULE", "off");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.trim(), "20 10 <nil>", "{}", String::from_utf8_lossy(&output.stderr));
}

/// Go's own reader of static files: it checks each tile against the root, and each id
/// against the tiles.
const TILES_GO: &str = r#"package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type files string

func (dir files) Height() int { return 8 }

func (dir files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// Theirs is the older spelling, with the height in it.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (dir files) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func main() {
	text, _ := os.ReadFile(filepath.Join(os.Args[1], "checkpoint"))
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		panic(err)
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		panic(err)
	}
	var size int64
	var root string
	fmt.Sscanf(strings.SplitN(opened.Text, "\n", 2)[1], "%d\n%s\n", &size, &root)
	top, err := tlog.ParseHash(root)
	if err != nil {
		panic(err)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: top}, files(os.Args[1]))
	whole, err := tlog.TreeHash(size, reader)
	fmt.Println(size, whole == top, err)
	for _, arg := range os.Args[3:] {
		var index int64
		var id string
		fmt.Sscanf(arg, "%d=%s", &index, &id)
		data, _ := hex.DecodeString(id)
		proof, err := tlog.ProveRecord(size, index, reader)
		if err == nil {
			err = tlog.CheckRecord(proof, size, top, index, tlog.RecordHash(data))
		}
		fmt.Println(index, err)
	}
}
"#;

#[test]
fn go_reads_a_published_ledger() {
    const SOURCES: &str = "/usr/share/gocode";
    if !Path::new(SOURCES).join("src/golang.org/x/mod/sumdb/tlog").exists() {
        return skip("Go, or its package golang-golang-x-mod-dev, is not there");
    }
    let (world, vkey) = furnished(700);
    world.run(&["checkpoint", "--publish", "pub"]).ok();
    world.write("tiles.go", TILES_GO);
    let id = |seq: &str| data_encoding::HEXLOWER.encode(&id(&world, "part-3", seq));
    let (first, last, other) = (format!("3={}", id("1")), format!("696={}", id("100")), format!("4={}", id("1")));
    let run = || {
        let mut command = world.command("go");
        command.args(["run", "tiles.go", "pub", &vkey, &first, &last, &other]);
        let output = command.env("GOPATH", SOURCES).env("GO111MODULE", "off").output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (told, problems) = run();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(&lines[..3], ["700 true <nil>", "3 <nil>", "696 <nil>"], "{problems}");
    assert!(lines[3].starts_with("4 ") && !lines[3].ends_with("<nil>"), "{told}");
    // A tile that is not what the root calls for.
    let path = world.path("pub/tile/0/000");
    let mut tile = fs::read(&path).unwrap();
    tile[40] ^= 1;
    fs::write(&path, tile).unwrap();
    let (told, _) = run();
    assert!(!told.contains("3 <nil>"), "{told}");
}
