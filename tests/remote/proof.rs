//! Proof files from a server: the same as those of the database, and checked
//! before they are kept.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use super::liar::{liar, say};
use super::reading::{Bytes, bare, keep, remote, with_token};
use super::running::Running;
use super::world::World;

/// Six entries of `part-42`, two of them forked, among those of another thing.
fn furnished() -> World {
    let world = World::new();
    let line = |n: usize| {
        let thing = if n.is_multiple_of(3) { "part-42" } else { "part-420" };
        format!("{{\"thing\":\"{thing}\",\"data\":{{\"n\":{n}}}}}\n")
    };
    world.feed(&["append"], (0..12).map(line).collect::<String>()).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", "1"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "2"]).ok();
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    world.run(&["-d", "auditor", "init", "--actor", "bob"]).ok();
    let card = world.run(&["-d", "auditor", "card"]).ok().stdout;
    world.write("auditor.card", card);
    world
}

fn id_of(world: &World, seq: &str) -> String {
    let entry = world.run(&["log", "part-42", "--since", seq, "--until", seq]).ok().json();
    entry["id"].as_str().unwrap().to_owned()
}

/// A file without what differs from one to the next: the card is dated, and the
/// digest is over all lines.
fn undated(file: &[u8]) -> Vec<Value> {
    let line = |line: &[u8]| {
        let mut line: Value = serde_json::from_slice(line).unwrap();
        for name in ["card", "digest"] {
            line.as_object_mut().unwrap().remove(name);
        }
        line
    };
    file.split_inclusive(|byte| *byte == b'\n').map(line).collect()
}

#[test]
fn what_was_erased_comes_with_its_record() {
    let world = furnished();
    world.run(&["erase", "part-42", "--seq", "2", "--reason", "asked for", "--yes"]).ok();
    with_token(&world, "read", &[]);
    let erased = id_of(&world, "2");
    let server = Running::start(world, &[]);
    for (options, entries) in [
        (&[][..], 7),
        (&["--entry", &erased], 2),
        (&["--entry", &erased, "--to", "@auditor.card"], 2),
        (&["--to", "@auditor.card"], 7),
    ] {
        let args = [&["prove", "part-42", "-o", "there"], options].concat();
        let there = Bytes::of(remote(&server, &args)).exit(0);
        let there = serde_json::from_slice::<Value>(&there.stdout).unwrap();
        assert_eq!((&there["entries"], &there["erased"]), (&json!(entries), &json!(1)), "{options:?}");
        let here = server.world.run(&[&["prove", "part-42", "-o", "here"], options].concat()).ok().json();
        assert_eq!((&there["shown"], &there["withheld"]), (&here["shown"], &here["withheld"]), "{options:?}");
    }
}

#[test]
fn a_server_writes_the_file_that_its_database_does() {
    let world = furnished();
    with_token(&world, "read", &[]);
    let (second, third) = (id_of(&world, "2"), id_of(&world, "3"));
    let server = Running::start(world, &[]);
    let world = &server.world;
    for options in [
        &[][..],
        &["--since", "2", "--until", "3"],
        &["--since", "3"],
        &["--until", "2"],
        &["--withhold", &format!("1,{second}"), "--checkpoint", "kept"],
        &["--stubs-only"],
        &["--entry", &second[..9], "--entry", &third, "--withhold", "3"],
    ] {
        // The command beside the server runs in it, by the local socket.
        let here = world.run(&[&["prove", "part-42", "-o", "here"], options].concat()).ok().json();
        let args = [&["prove", "part-42", "-o", "there"], options].concat();
        let there = Bytes::of(remote(&server, &args)).exit(0);
        assert_eq!(serde_json::from_slice::<Value>(&there.stdout).unwrap(), here, "{options:?}");
        let file = fs::read(world.path("here")).unwrap();
        assert_eq!(undated(&file), undated(&fs::read(world.path("there")).unwrap()), "{options:?}");
        assert_eq!(here["bytes"], file.len());
        Bytes::of(bare(world, &["verify-proof", "there", "--card", "card"])).exit(0);
        let args = [&["prove", "part-42"], options].concat();
        assert_eq!(undated(&Bytes::of(remote(&server, &args)).exit(0).stdout), undated(&file), "{options:?}");
    }
    Bytes::of(remote(&server, &["prove", "part-43", "--absent", "-o", "none"])).exit(0);
    world.run(&["prove", "part-43", "--absent", "-o", "here"]).ok();
    assert_eq!(undated(&fs::read(world.path("none")).unwrap()), undated(&fs::read(world.path("here")).unwrap()));
    let told = Bytes::of(bare(world, &["verify-proof", "there", "--card", "card", "--checkpoint", "kept"]));
    told.exit(6);
    Bytes::of(remote(&server, &["prove", "part-42", "-o", "there", "--to", "@auditor.card"])).exit(0);
    let opened = world.run(&["-d", "auditor", "verify-proof", "there", "--card", "card", "--open"]).ok().json();
    assert_eq!((&opened["opened"], &opened["shown"]), (&json!(6), &json!(0)));
    server.stop();
}

#[test]
fn what_cannot_be_proven_is_told_as_by_the_database() {
    let world = furnished();
    with_token(&world, "read", &[]);
    world.run(&["-d", "auditor", "put", "part-42", "1"]).ok();
    world.run(&["-d", "auditor", "checkpoint", "-o", "stranger"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "3"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "4"]).ok();
    world.run(&["-d", "twin", "checkpoint", "-o", "other"]).ok();
    let server = Running::start(world, &[]);
    for args in [
        &["prove", "part-43"][..],
        &["prove", "part-4"],
        &["prove", "part-42", "--since", "500"],
        &["prove", "part-420", "--entry", &id_of(&server.world, "2")],
        &["prove", "part-42", "--entry", "0000000000"],
        &["prove", "part-42", "--since", "3", "--until", "2"],
    ] {
        let here = Bytes::of(server.world.thingdb(args));
        let there = Bytes::of(remote(&server, args));
        assert_ne!(here.code, Some(0), "{args:?}");
        assert_eq!((here.code, here.stdout), (there.code, there.stdout), "{args:?} {} {}", here.stderr, there.stderr);
        assert_eq!(here.stderr.lines().next(), there.stderr.lines().next(), "{args:?}");
    }
    let kept = |file| Bytes::of(remote(&server, &["prove", "part-42", "-o", "there", "--checkpoint", file]));
    kept("other").exit(4).says("error[rolled-back]");
    kept("stranger").exit(4).says("error[not-verified]");
    server.world.run(&["prove", "part-42", "--checkpoint", "stranger"]).exit(4).says("error[not-verified]");
    assert!(!server.world.path("there").exists());
    Bytes::of(remote(&server, &["prove", "part-42", "--checkpoint", "kept", "--checkpoint", "kept"]))
        .exit(2)
        .says("one kept checkpoint");
    server.stop();
}

/// A server that answers with this for a proof file, whatever was asked for.
fn giving(proof: Vec<u8>) -> String {
    let head = json!({"id": "ab".repeat(32), "seq": 1, "time": "2026-11-22T06:01:12.000000Z"});
    let things = json!([{"thing": "part-42", "entries": 6, "heads": [head], "retired": null}]).to_string();
    liar(move |target, stream| {
        let body = if target.contains("/proof") { &proof[..] } else { things.as_bytes() };
        say(stream, "200 OK", "", body);
    })
}

#[test]
fn a_proof_that_does_not_hold_or_was_not_asked_for_is_not_kept() {
    let world = furnished();
    keep(&world, "token", "tdb_something");
    let made = |thing: &str, options: &[&str]| {
        world.run(&[&["prove", thing, "-o", "made"], options].concat()).ok();
        fs::read(world.path("made")).unwrap()
    };
    let whole = made("part-42", &[]);
    let text = String::from_utf8(whole.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let second = id_of(&world, "2");
    let card = world.run(&["card"]).ok().stdout;
    world.write("here.card", card);
    let older = {
        // The node went on from an older state of its own.
        world.run(&["-d", "twin", "prove", "part-42", "-o", "made"]).ok();
        fs::read(world.path("made")).unwrap()
    };
    let cases: Vec<(&str, Vec<u8>, Vec<&str>, i32)> = vec![
        ("cut", lines[..4].concat().into_bytes(), vec![], 4),
        ("an entry left out", [&lines[..3], &lines[4..]].concat().concat().into_bytes(), vec![], 4),
        ("a changed number", text.replace("\"seq\":3", "\"seq\":4").into_bytes(), vec![], 4),
        ("something after it", [&whole[..], b"{}\n"].concat(), vec![], 4),
        ("nothing", Vec::new(), vec![], 4),
        ("an export", world.run(&["export"]).ok().stdout.into_bytes(), vec![], 4),
        ("another thing", made("part-420", &[]), vec![], 1),
        ("a part of it", made("part-42", &["--since", "2"]), vec![], 1),
        ("another part of it", made("part-42", &["--since", "2"]), vec!["--since", "1"], 1),
        ("one entry of it", made("part-42", &["--entry", &second]), vec![], 1),
        ("what is to be withheld", whole.clone(), vec!["--withhold", "2"], 1),
        ("content where none is to be", whole.clone(), vec!["--stubs-only"], 1),
        ("content for all", whole.clone(), vec!["--to", "@auditor.card"], 1),
        ("content for somebody else", made("part-42", &["--to", "@here.card"]), vec!["--to", "@auditor.card"], 1),
        ("content for one where all may read", made("part-42", &["--to", "@here.card"]), vec![], 1),
        ("no way from the kept one", older, vec!["--checkpoint", "kept"], 4),
    ];
    for (what, proof, options, code) in cases {
        let url = giving(proof);
        let args = [&["prove", "part-42", "--url", &url, "--token-file", "token"], &options[..]].concat();
        let kept = Bytes::of(bare(&world, &[&args[..], &["-o", "kept-proof"]].concat())).exit(code);
        assert!(kept.stdout.is_empty() && !world.path("kept-proof").exists(), "{what}: {kept:?}");
        // What went out before the fault was found is a file that is cut.
        let piped = Bytes::of(bare(&world, &args)).exit(code);
        fs::write(world.path("piped"), &piped.stdout).unwrap();
        Bytes::of(bare(&world, &["verify-proof", "piped"])).exit(4);
    }
    let url = giving(whole.clone());
    let args = ["prove", "part-42", "--url", &url, "--token-file", "token", "-o", "kept-proof"];
    Bytes::of(bare(&world, &args)).exit(0);
    assert!(fs::read(world.path("kept-proof")).unwrap() == whole);
}

#[test]
fn one_entry_is_proven_for_tools_of_others_by_a_server_as_by_its_database() {
    let world = furnished();
    with_token(&world, "read", &[]);
    let second = id_of(&world, "2");
    let other = world.run(&["log", "part-420", "--since", "1", "--until", "1"]).ok().json();
    let other = other["id"].as_str().unwrap().to_owned();
    let server = Running::start(world, &[]);
    let world = &server.world;
    for form in ["--tlog-proof", "--cose"] {
        for options in [&["--seq", "2"][..], &["--entry", &second[..9]]] {
            let args = [&["prove", "part-42", form, "-o", "here"], options].concat();
            world.run(&args).ok();
            let here = fs::read(world.path("here")).unwrap();
            let args = [&["prove", "part-42", form, "-o", "there"], options].concat();
            Bytes::of(remote(&server, &args)).exit(0).says("proof of the entry");
            // The node signs the same of the same state, to the bit.
            assert!(fs::read(world.path("there")).unwrap() == here, "{form} {options:?}");
            let piped = Bytes::of(remote(&server, &[&["prove", "part-42", form], options].concat())).exit(0);
            assert!(piped.stdout == here, "{form} {options:?}");
        }
        for args in [&["prove", "part-42", form][..], &["prove", "part-42", form, "--entry", &other]] {
            let (here, there) = (Bytes::of(world.thingdb(args)), Bytes::of(remote(&server, args)));
            assert_eq!((here.code, here.code), (Some(2), there.code), "{args:?}");
            assert_eq!(here.stderr.lines().next(), there.stderr.lines().next(), "{args:?}");
        }
    }
    // Nothing to check it with.
    let url = server.said["url"].as_str().unwrap();
    let pinned = server.said["certificate"].as_str().unwrap();
    let args = ["prove", "part-42", "--seq", "2", "--cose", "--url", url, "--token-file", "token"];
    Bytes::of(bare(world, &[&args[..], &["--tls-fingerprint", pinned]].concat())).exit(2).says("--card FILE");
    server.stop();
}

#[test]
fn a_proof_of_one_entry_that_does_not_hold_is_not_kept() {
    let world = furnished();
    with_token(&world, "read", &[]);
    let made = |world: &World, args: &[&str]| {
        world.run(&[args, &["-o", "made"]].concat()).ok();
        fs::read(world.path("made")).unwrap()
    };
    let prove = |seq: &'static str, form: &'static str| ["prove", "part-42", "--seq", seq, form];
    let forms = ["--tlog-proof", "--cose"];
    let good = forms.map(|form| made(&world, &prove("2", form)));
    let others = forms.map(|form| made(&world, &prove("1", form)));
    // The entry stands in the other node's ledger, too, which another key signs.
    let stream = world.run(&["export"]).ok().stdout;
    world.feed(&["-d", "auditor", "import", "--trust", "all"], stream).ok();
    let strangers = forms.map(|form| made(&world, &[&["-d", "auditor"][..], &prove("2", form)].concat()));
    let turned = good.clone().map(|mut proof| {
        let place = proof.len() - 5;
        proof[place] ^= 1;
        proof
    });
    let server = Arc::new(Running::start(world, &[]));
    let token = fs::read_to_string(server.world.path("token")).unwrap().trim().to_owned();
    // Everything but the proof is as the server says it.
    let through = |args: &[&str], proof: Vec<u8>| {
        let (server, token, world) = (Arc::clone(&server), token.clone(), &server.world);
        let url = liar(move |target, stream| {
            if target.contains("form=") {
                return say(stream, "200 OK", "", &proof);
            }
            say(stream, "200 OK", "", &server.get(&token, target).is(200).body);
        });
        Bytes::of(bare(world, &[args, &["--url", &url, "--token-file", "token", "--card", "card"]].concat()))
    };
    for (form, at) in forms.into_iter().zip(0..) {
        let cases = [("another entry", &others[at]), ("another node", &strangers[at]), ("a bit", &turned[at])];
        let cases = cases.into_iter().chain([("another form", &good[1 - at])]);
        for (what, proof) in cases {
            assert!(proof != &good[at], "{what}");
            let told = through(&prove("2", form), proof.clone());
            assert_ne!(told.code, Some(0), "{form} {what}");
            assert!(told.stdout.is_empty(), "{form} {what}");
        }
        let told = through(&prove("2", form), good[at].clone()).exit(0);
        assert!(told.stdout == good[at], "{form}");
    }
}
