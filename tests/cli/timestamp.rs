//! `thingdb timestamp`, and what comes of it in proof files. The authority is
//! `openssl ts`, and so is who checks the tokens beside us.

use std::fs;
use std::process::Command;

use data_encoding::BASE64;
use serde_json::{Value, json};
use thingdb::format::proof::{ProofEnd, ProofTimestamp};
use thingdb::format::stream::{Digest, hash_of_line};

use super::authority::{Authority, Kind, Manner, forged, forged_at, is_to_be_had, run};
use super::world::World;

/// Two entries of `door` that are stamped, and a third one that is not.
fn stamped(world: &World, authority: &Authority) -> Value {
    world.run(&["put", "door", "1"]).ok();
    world.run(&["put", "door", "2"]).ok();
    let root = authority.file("root.pem");
    let told = world.run(&["timestamp", "--tsa", &authority.url, "--root", &root, "-o", "token"]).ok().json();
    let card = world.run(&["card"]).ok().stdout;
    world.write("card", card);
    told
}

/// Whether openssl believes a token of a digest.
fn openssl_believes(authority: &Authority, world: &World, digest: &str) -> bool {
    let verify = ["ts", "-verify", "-token_in", "-in", "token", "-CAfile", &authority.file("root.pem"), "-untrusted"];
    let mut command = Command::new("openssl");
    command.args(verify).args([&authority.file("middle.pem"), "-digest", digest]).current_dir(world.path(""));
    command.output().unwrap().status.success()
}

/// The first timestamp of a file, as the second reader tells it, which has openssl look.
fn python(world: &World, args: &[&str], file: &str, code: i32) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/verifier/verify_proof.py");
    let mut command = Command::new(std::env::var("THINGDB_PYTHON").unwrap_or_else(|_| "python3".into()));
    command.arg(script).args(args).arg(file).current_dir(world.path(""));
    let report = super::world::Answer::of(command).exit(code).json();
    report["timestamps"][0].clone()
}

/// The lines of a proof file with other tokens, and a last line that counts them.
fn with_tokens(file: &str, tokens: &[&[u8]]) -> String {
    let lines: Vec<&str> = file.lines().collect();
    let is_stamp = |line: &&&str| line.starts_with("{\"timestamp\"");
    let imprint = ProofTimestamp::decode(lines.iter().find(is_stamp).unwrap().as_bytes(), 1).unwrap().imprint;
    let mut out: Vec<u8> = format!("{}\n", lines[0]).into_bytes();
    for token in tokens {
        ProofTimestamp { imprint, token: token.to_vec() }.encode(&mut out);
    }
    for line in lines[1..lines.len() - 1].iter().filter(|line| !is_stamp(line)) {
        out.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let mut end = ProofEnd::decode(lines[lines.len() - 1].as_bytes(), 1).unwrap();
    let mut digest = Digest::default();
    out.split_inclusive(|byte| *byte == b'\n').for_each(|line| digest.push(&hash_of_line(line)));
    end.digest = digest.value();
    end.encode(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn what_an_authority_stamps_was_there_by_its_time() {
    if !is_to_be_had() {
        return;
    }
    let world = World::new();
    let authority = Authority::new(&world.path("tsa"), Kind::Good);
    let told = stamped(&world, &authority);
    assert_eq!(
        (&told["size"], &told["authority"], &told["trusted"]),
        (&json!(2), &json!("CN=Clock Tower"), &json!(true))
    );
    // What we say was stamped is what openssl says.
    let imprint = told["imprint"].as_str().unwrap();
    assert!(openssl_believes(&authority, &world, imprint));
    assert!(!openssl_believes(&authority, &world, &"00".repeat(32)));
    let shown = run(Command::new("openssl")
        .args(["ts", "-reply", "-token_in", "-in", "token", "-text"])
        .current_dir(world.path("")));
    assert!(shown.contains("Hash Algorithm: sha256"), "{shown}");
    // It is the SHA-256 of the checkpoint as this node signs it.
    world.run(&["checkpoint", "-o", "note"]).ok();
    let digest = run(Command::new("openssl").args(["dgst", "-sha256", "-r", "note"]).current_dir(world.path("")));
    assert!(digest.starts_with(imprint), "{digest} {imprint}");
    let checkpoint = world.run(&["checkpoint", "--json"]).ok().json();
    assert_eq!(checkpoint["timestamps"][0]["not_later_than"], told["not_later_than"]);
    // The accuracy that it claims is added.
    assert!(told["time"].as_str().unwrap() < told["not_later_than"].as_str().unwrap());

    world.run(&["prove", "door", "-o", "p.tdbproof"]).ok();
    let root = authority.file("root.pem");
    let verify = ["verify-proof", "p.tdbproof", "--card", "@card", "--tsa-root", &root];
    let report = world.run(&[&verify[..], &["--json"]].concat()).ok().json();
    let seen = &report["timestamped"];
    assert_eq!((&seen["size"], &seen["entries"], &seen["beyond"]), (&json!(2), &json!(2), &json!(0)), "{report}");
    assert_eq!(seen["not_later_than"], told["not_later_than"]);
    let words = world.run(&[&verify[..], &["--format", "table"]].concat()).ok().stdout;
    let line = format!("was there by {}, says CN=Clock Tower", told["not_later_than"].as_str().unwrap());
    assert!(words.contains(&line), "{words}");
    assert!(words.contains("whether a certificate of the authority was revoked"), "{words}");
    // Without roots it says that it did not look.
    let words = world.run(&["verify-proof", "p.tdbproof", "--card", "@card", "--format", "table"]).ok().stdout;
    assert!(words.contains("not checked, --tsa-root PEM checks it") && !words.contains("says CN="), "{words}");

    // The second reader has openssl look, if it is told whom to trust.
    let python = |args: &[&str], code: i32| python(&world, args, "p.tdbproof", code);
    let seen = python(&[], 0);
    assert_eq!((&seen["size"], &seen["checked"], seen.get("holds")), (&json!(2), &json!(false), None), "{seen}");
    assert_eq!(python(&["--tsa-root", &root], 0)["holds"], true);
    let stranger = Authority::new(&world.path("stranger"), Kind::Good);
    assert_eq!(python(&["--tsa-root", &stranger.file("root.pem")], 4)["holds"], false);

    let other = ["verify-proof", "p.tdbproof", "--card", "@card", "--tsa-root", &stranger.file("root.pem")];
    let words = world.run(&[&other[..], &["--format", "table"]].concat()).exit(4).stdout;
    assert!(words.contains("what the file claims holds, and what you ask for is not met: --tsa-root"), "{words}");
    assert!(!words.contains("nothing of this file is proven"), "{words}");

    // What came later nobody has stamped; of a part that was there, everything.
    world.run(&["put", "door", "3"]).ok();
    world.run(&["prove", "door", "-o", "p.tdbproof"]).ok();
    let report = world.run(&[&verify[..], &["--json"]].concat()).exit(6).json();
    let seen = &report["timestamped"];
    assert_eq!((&seen["size"], &seen["entries"], &seen["beyond"]), (&json!(2), &json!(2), &json!(1)), "{report}");
    world.run(&["prove", "door", "--until", "2", "-o", "p.tdbproof"]).ok();
    world.run(&verify).ok();
    // Of the timestamps that there are, a file takes the earliest of each entry.
    world.run(&["timestamp", "--tsa", &authority.url, "--root", &root]).ok();
    world.run(&["timestamp", "--tsa", &authority.url, "--root", &root]).ok();
    world.run(&["prove", "door", "-o", "p.tdbproof"]).ok();
    let report = world.run(&[&verify[..], &["--json"]].concat()).ok().json();
    let sizes: Vec<u64> =
        report["timestamps"].as_array().unwrap().iter().map(|it| it["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [3, 3, 2], "{report}");
    world.run(&["prove", "door", "--since", "3", "--until", "3", "-o", "q.tdbproof"]).ok();
    let report = world.run(&["verify-proof", "q.tdbproof", "--json"]).ok().json();
    assert_eq!(report["timestamps"].as_array().unwrap().len(), 2, "{report}");
    let kept = world.run(&["timestamp", "--root", &root]).ok().lines();
    assert_eq!(kept.iter().filter(|kept| kept["trusted"] == true).count(), 3, "{kept:?}");
}

#[test]
fn an_authority_is_waited_for_without_the_database() {
    if !is_to_be_had() {
        return;
    }
    let world = World::new();
    let authority = Authority::new(&world.path("tsa"), Kind::Good);
    world.run(&["put", "door", "1"]).ok();
    let root = authority.file("root.pem");
    let ask = ["timestamp", "--tsa", &authority.url, "--root", &root];
    // Somebody else writes while it thinks.
    let (send, done) = std::sync::mpsc::channel();
    let mut put = world.thingdb(&["put", "door", "2", "--wait", "0"]);
    authority.lets(move || send.send(put.output().unwrap()).unwrap());
    let told = world.run(&ask).ok().json();
    let put = done.recv().unwrap();
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    assert_eq!((&told["size"], &told["trusted"]), (&json!(1), &json!(true)));
    // One that speaks HTTP/1.0, and ends its answer with the connection.
    authority.behaves(Manner::Old);
    assert_eq!(world.run(&ask).ok().json()["size"], 2);
    let kept = world.run(&["timestamp", "--root", &root]).ok().lines();
    assert_eq!(kept.len(), 2, "{kept:?}");
}

/// The certificate has run out since: what counts is the time of the token, whoever reads.
#[test]
fn a_chain_is_judged_at_the_time_of_the_token() {
    if !is_to_be_had() {
        return;
    }
    let world = World::new();
    let authority = Authority::new(&world.path("tsa"), Kind::Good);
    stamped(&world, &authority);
    world.run(&["prove", "door", "-o", "p.tdbproof"]).ok();
    let file = fs::read_to_string(world.path("p.tdbproof")).unwrap();
    let then = Authority::new(&world.path("then"), Kind::Expired);
    let root = then.file("root.pem");
    for (time, holds) in [("20200601000000Z", true), ("20210601000000Z", false), ("20190601000000Z", false)] {
        let token = forged_at(world.path("token").to_str().unwrap(), &then, Some(time));
        world.write("q.tdbproof", with_tokens(&file, &[&token]));
        let code = if holds { 0 } else { 4 };
        let args = ["verify-proof", "q.tdbproof", "--card", "@card", "--tsa-root", &root, "--json"];
        let report = world.run(&args).exit(code).json();
        assert_eq!(report["timestamps"][0]["trusted"], holds, "{time}: {report}");
        let seen = python(&world, &["--tsa-root", &root], "q.tdbproof", code);
        assert_eq!(seen["holds"], holds, "{time}: {seen}");
    }
}

#[test]
fn an_authority_that_lies_gives_no_timestamp() {
    if !is_to_be_had() {
        return;
    }
    let world = World::new();
    world.run(&["put", "door", "1"]).ok();
    let authority = Authority::new(&world.path("tsa"), Kind::Good);
    let root = authority.file("root.pem");
    let ask = ["timestamp", "--tsa", &authority.url, "--root", &root];
    for (manner, why) in [
        (Manner::OtherHash, "its token is of something else"),
        (Manner::OtherNonce, "its token is the answer to another request"),
        (Manner::NoNonce, "its token is the answer to another request"),
        (Manner::Refuses, "it grants no timestamp"),
        (Manner::Garbage, "an answer that is no TimeStampResp"),
        (Manner::Huge, "no answer that can be understood"),
    ] {
        authority.behaves(manner);
        world.run(&ask).exit(14).says("error[not-timestamped]").says(why);
    }
    authority.behaves(Manner::Good);
    // Another one, whose name is the same.
    let stranger = Authority::new(&world.path("stranger"), Kind::Good);
    let foreign = ["timestamp", "--tsa", &stranger.url, "--root", &root];
    world.run(&foreign).exit(4).says("error[not-timestamped]").says("leads to no root that you trust");
    let expired = Authority::new(&world.path("expired"), Kind::Expired);
    let (own, late) = (expired.file("root.pem"), &expired.url);
    world.run(&["timestamp", "--tsa", late, "--root", &own]).exit(4).says("leads to no root that you trust");
    assert_eq!(world.run(&["timestamp"]).ok().stdout, "");
    for (url, root) in [("ftp://x", &root), ("http://x/?a", &root), (&authority.url, &world.write("none", ""))] {
        world.run(&["timestamp", "--tsa", url, "--root", root]).exit(2);
    }
    world.run(&["-d", "empty", "init", "--actor", "bob"]).ok();
    world.run(&["-d", "empty", "timestamp", "--tsa", &authority.url]).exit(2).says("the ledger is empty");
    // Nobody looked who it is, and says so.
    world.run(&["timestamp", "--tsa", &stranger.url]).ok().says("warning[not-checked]");
    let kept = world.run(&["timestamp", "--root", &root]).ok().json();
    assert_eq!((&kept["trusted"], &kept["size"]), (&json!(false), &json!(1)));
}

#[test]
fn a_token_in_a_file_is_believed_for_its_signer_alone() {
    if !is_to_be_had() {
        return;
    }
    let world = World::new();
    let authority = Authority::new(&world.path("tsa"), Kind::Good);
    stamped(&world, &authority);
    let good = fs::read(world.path("token")).unwrap();
    world.run(&["prove", "door", "-o", "p.tdbproof"]).ok();
    let file = fs::read_to_string(world.path("p.tdbproof")).unwrap();
    assert!(file.contains(&BASE64.encode(&good)));
    let says = |tokens: &[&[u8]], root: &str, code: i32| {
        world.write("q.tdbproof", with_tokens(&file, tokens));
        let args = ["verify-proof", "q.tdbproof", "--card", "@card", "--tsa-root", root, "--json"];
        let report = world.run(&args).exit(code).json();
        assert_eq!((&report["ok"], &report["problems_total"]), (&json!(code == 0), &json!(0)), "{report}");
        report["timestamps"][0]["problem"].as_str().unwrap_or_default().to_owned()
    };
    let root = authority.file("root.pem");
    assert_eq!(says(&[&good], &root, 0), "");
    for (kind, why) in [
        (Kind::Good, "leads to no root that you trust"),
        (Kind::NotCritical, "not for timestamps and nothing else"),
        (Kind::TwoPurposes, "not for timestamps and nothing else"),
        (Kind::NoPurpose, "not for timestamps and nothing else"),
        (Kind::Expired, "leads to no root that you trust"),
    ] {
        let other = Authority::new(&world.path(&format!("{kind:?}")), kind);
        let forged = forged(world.path("token").to_str().unwrap(), &other);
        // By whoever trusts that one, and for one kind alone.
        let trusted = if kind == Kind::Good { &root } else { &other.file("root.pem") };
        let problem = says(&[&forged], trusted, 4);
        assert!(problem.contains(why), "{kind:?}: {problem}");
        if kind == Kind::Good {
            assert_eq!(says(&[&forged], &other.file("root.pem"), 0), "");
            // One that holds is enough, whatever stands beside it.
            let problem = says(&[&forged, b"garbage", &good], &root, 0);
            assert!(problem.contains(why), "{problem}");
        }
    }
    // A key of another kind, whose certificate is its own root and is named by SHA-1.
    let old = Authority::of_rsa(&world.path("rsa"));
    let told = world.run(&["timestamp", "--tsa", &old.url, "--root", &old.file("root.pem"), "-o", "token"]).ok().json();
    assert_eq!(told["authority"], "CN=Old");
    let rsa = fs::read(world.path("token")).unwrap();
    assert_eq!(says(&[&rsa], &old.file("root.pem"), 0), "");
    assert!(says(&[&rsa], &root, 4).contains("leads to no root that you trust"));

    // A bit here and there: it says nothing then, or the same.
    let step = good.len() * 8 / 14;
    let flipped: Vec<Vec<u8>> = (0..14)
        .map(|n| {
            let mut token = good.clone();
            let bit = n * step + n;
            token[bit / 8] ^= 1 << (bit % 8);
            token
        })
        .collect();
    world.write("q.tdbproof", with_tokens(&file, &flipped.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    let args = ["verify-proof", "q.tdbproof", "--card", "@card", "--tsa-root", &root, "--json"];
    let report = world.run(&args).json();
    let times: Vec<&Value> = report["timestamps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|stamp| stamp["problem"].is_null())
        .map(|stamp| &stamp["time"])
        .collect();
    let told = world.run(&["timestamp"]).ok().lines()[0]["time"].clone();
    assert!(times.len() < 14 && times.iter().all(|time| **time == told), "{report}");
}
