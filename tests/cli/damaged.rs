//! A database whose log is damaged: no command makes it worse, each says what to
//! do, and that does it.

use std::fs;

use super::world::{Answer, World};

/// A database of some size, its export, and the bytes of its log.
fn world() -> (World, Vec<u8>) {
    let world = World::new();
    let lines: String =
        (0..3000).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":\"{n}{}\"}}\n", n % 97, "a".repeat(300))).collect();
    world.feed(&["append"], &lines).ok();
    world.run(&["put", "x", "1"]).ok();
    world.run(&["export", "-o", "export.ndjson"]).ok();
    // It would heal what is damaged here.
    let _ = fs::remove_dir_all(world.path("db/journal"));
    let log = fs::read(world.path("db/store/db")).unwrap();
    (world, log)
}

fn no_word_of_a_panic(answer: Answer) -> Answer {
    assert!(!answer.stderr.contains("panicked at"), "{answer:?}");
    answer
}

#[test]
fn no_command_makes_a_damaged_log_worse() {
    let (world, log) = world();
    let path = world.path("db/store/db");
    for kept in [log.len() - 1, log.len() - 300_000, log.len() / 2, 70_000, 1] {
        fs::write(&path, &log[..kept]).unwrap();
        for command in [&["stats"][..], &["verify"], &["export"], &["get", "x"], &["put", "x", "2"]] {
            let answer = no_word_of_a_panic(world.run(command)).exit(4).says("error[damaged]: ");
            let answer = answer.says("nothing in it was changed").says("thingdb salvage");
            assert_eq!(answer.stdout, "", "{kept}: {command:?}");
            assert!(fs::read(&path).unwrap() == log[..kept], "{kept}: {command:?}");
        }
    }
    fs::write(&path, &log).unwrap();
    assert_eq!(world.run(&["stats", "--json"]).ok().json()["entries"], 3001);
}

#[test]
fn a_salvage_names_what_is_missing_and_an_export_has_it() {
    let (world, log) = world();
    fs::write(world.path("db/store/db"), &log[..log.len() / 3]).unwrap();
    let answer = no_word_of_a_panic(world.run(&["salvage", "db", "--out", "new", "--json"])).exit(6);
    let salvaged = answer.json();
    let missing = salvaged["missing"].as_u64().unwrap();
    assert!(missing > 0 && salvaged["missing_entries"].as_array().unwrap().len() as u64 == missing.min(1000));
    assert_eq!(salvaged["entries"].as_u64().unwrap() + missing, 3001);
    assert!(answer.stderr.contains("--from"), "{answer:?}");
    // What is there opens.
    world.run(&["-d", "new", "stats"]).ok();

    world.run(&["salvage", "db", "--out", "new"]).exit(2).says("exists");
    let again = world.run(&["salvage", "db", "--out", "whole", "--from", "export.ndjson", "--json"]);
    let again = again.json();
    assert_eq!(again["entries"], 3001, "{again}");
    world.run(&["-d", "whole", "get", "x"]).ok();

    // The keyring and an export alone.
    fs::create_dir(world.path("bare")).unwrap();
    fs::copy(world.path("db/keyring"), world.path("bare/keyring")).unwrap();
    let made = world.run(&["salvage", "bare", "--out", "again", "--from", "export.ndjson"]).ok().json();
    assert_eq!((&made["entries"], &made["missing"]), (&3001.into(), &0.into()), "{made}");
    assert!(made["node_key"].is_string(), "{made}");
    world.run(&["-d", "again", "verify"]).ok();
    world.run(&["salvage", "nothing", "--out", "none"]).exit(10).says("no keyring");
}

#[test]
fn either_copy_makes_good_what_the_other_has_lost() {
    let world = World::new();
    for round in 0..20 {
        let lines: String = (0..20).map(|n| format!("{{\"thing\":\"t/{n}\",\"data\":{round}}}\n")).collect();
        world.feed(&["append"], &lines).ok();
    }
    let exported = world.run(&["export"]).ok().stdout;
    let entries = |world: &World| world.run(&["stats", "--json"]).ok().json()["entries"].as_u64().unwrap();
    // One commit of the journal does not read: nothing is missing, verify and doctor tell.
    let journal = fs::read_dir(world.path("db/journal")).unwrap().map(|file| file.unwrap().path());
    let file = journal.filter(|path| path.file_name().is_some_and(|name| name.len() == 20)).min().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let told = world.run(&["verify", "--format", "table"]).exit(4).says("hint: thingdb doctor --fix").stdout;
    assert!(told.contains("bad copy") && told.contains("400 entries"), "{told}");
    assert_eq!(world.run(&["get", "t/0"]).ok().code, 0);
    let told = world.run(&["doctor", "--format", "table"]).exit(1).stdout;
    assert!(told.contains("FAIL  journal: it is damaged: commits ") && told.contains("doctor --fix"), "{told}");
    let told = world.run(&["doctor", "--fix", "--format", "table"]).ok().stdout;
    assert!(told.contains("done  journal: "), "{told}");
    let told = world.run(&["doctor", "--format", "table"]).ok().stdout;
    assert!(told.contains("ok    journal: "), "{told}");
    // The journal that was mended is whole: the store can be thrown away.
    fs::remove_dir_all(world.path("db/store")).unwrap();
    world.run(&["verify"]).ok();
    assert_eq!(entries(&world), 400);
    fs::remove_dir_all(world.path("db/journal")).unwrap();
    world.run(&["verify"]).ok();
    let id_lines = |text: &str| text.lines().filter(|line| line.contains("\"payload\"")).count();
    assert_eq!(id_lines(&world.run(&["export"]).ok().stdout), id_lines(&exported));
}

#[test]
fn a_journal_that_is_lost_after_a_kill_ends_writing_under_the_node_key() {
    let world = World::new();
    world.run(&["put", "lamp", "0"]).ok();
    let mut server = world.thingdb(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
    for n in 1..4 {
        world.run(&["put", "lamp", &n.to_string()]).ok();
    }
    server.kill().unwrap();
    server.wait().unwrap();
    fs::remove_dir_all(world.path("db/journal")).unwrap();
    let told = "the journal was lost, or its end, while the database was not closed";
    world.run(&["put", "lamp", "9"]).exit(4).says(told).says("new-node-key");
    // It is not forgotten by the next opening, and reading goes on.
    world.run(&["get", "lamp"]).ok().says(told);
    world.run(&["put", "lamp", "9"]).exit(4).says(told);
    world.run(&["new-node-key", "--yes"]).ok();
    world.run(&["put", "lamp", "9"]).ok();
    world.run(&["verify"]).ok();
}

/// A copy of a database that was in use, with a hole in its journal: the store of the
/// copy does not count, and still has what the journal has lost.
#[test]
fn what_only_the_store_of_a_copy_has_is_taken_from_it() {
    let world = World::new();
    for n in 0..40 {
        world.run(&["put", "lamp", &format!("[{n},\"{}\"]", "x".repeat(900))]).ok();
    }
    // The store has all of it, and is open.
    let mut server = world.thingdb(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    for (name, keeps_store) in [("with", true), ("without", false)] {
        let copied = std::process::Command::new("cp").args(["-a", "db", name]).current_dir(world.path("")).status();
        assert!(copied.unwrap().success());
        let journal = fs::read_dir(world.path(&format!("{name}/journal"))).unwrap().map(|file| file.unwrap().path());
        let file = journal.filter(|path| path.file_name().is_some_and(|name| name.len() == 20)).min().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes[20_000] ^= 1;
        fs::write(&file, bytes).unwrap();
        if !keeps_store {
            fs::remove_dir_all(world.path(&format!("{name}/store"))).unwrap();
        }
        let told = world.run(&["-d", name, "get", "lamp", "--seq", "40"]).ok();
        assert!(told.stderr.contains("the journal lost the commits"), "{told:?}");
        if keeps_store {
            assert!(told.stderr.contains("only the store had are taken from"), "{told:?}");
            world.run(&["-d", name, "doctor", "--fix"]).ok();
            world.run(&["-d", name, "verify"]).ok();
            assert_eq!(world.run(&["-d", name, "stats", "--json"]).ok().json()["entries"], 40);
            continue;
        }
        // What is nowhere is named, and what to do.
        let told = world.run(&["-d", name, "doctor", "--fix", "--format", "table"]).exit(1).stdout;
        assert!(told.contains("FAIL  ledger: 1 entry is lost: position "), "{told}");
        assert!(told.contains("hint: thingdb salvage without --out without.salvaged"), "{told}");
        world.run(&["-d", name, "verify"]).exit(4);
        let made = world.run(&["salvage", name, "--out", "new", "--from", "with", "--json"]).ok().json();
        assert_eq!((&made["entries"], &made["missing"]), (&40.into(), &0.into()), "{made}");
        world.run(&["-d", "new", "verify"]).ok();
        // Or it goes on without it.
        world.run(&["salvage", name, "--out", "short"]).exit(6).says("1 entry is missing");
        world.run(&["-d", "short", "put", "lamp", "41"]).ok();
        let told = world.run(&["-d", "short", "doctor", "--format", "table"]).ok().stdout;
        assert!(told.contains("warn  ledger: 1 entry is lost"), "{told}");
    }
}

/// A copy was set back and written to: a salvage of both has the entries of both, in one
/// ledger, and says that there were two.
#[test]
fn a_salvage_of_two_ledgers_has_the_entries_of_both() {
    let world = World::new();
    for n in 1..=6 {
        world.run(&["put", &format!("t-{}", n % 3), &n.to_string()]).ok();
    }
    world.run(&["backup", "old"]).ok();
    world.run(&["restore", "old", "db2"]).ok();
    world.run(&["put", "t-1", "\"here\""]).ok();
    world.run(&["put", "t-1", "\"here, too\""]).ok();
    world.run(&["backup", "bk"]).ok();
    world.run(&["-d", "db2", "put", "t-1", "\"there\""]).ok();
    for (n, (dir, from)) in [("db2", "bk"), ("db", "db2")].into_iter().enumerate() {
        let out = format!("out {n}");
        let answer = no_word_of_a_panic(world.run(&["salvage", dir, "--out", &out, "--from", from, "--json"])).exit(6);
        let answer = answer.says("two ledgers of the node differ").says(&format!("thingdb --db '{out}' verify"));
        let salvaged = answer.json();
        assert_eq!((&salvaged["entries"], &salvaged["missing"]), (&9.into(), &0.into()), "{salvaged}");
        assert_eq!(salvaged["ledgers_differ"], true);
        assert!(salvaged["node_key"].is_string(), "{salvaged}");
        world.run(&["-d", &out, "verify"]).ok();
        let stream = world.run(&["-d", &out, "export"]).ok().stdout;
        assert_eq!(stream.lines().count(), 9 + 2, "{stream}");
        world.run(&["-d", &out, "put", "t-1", "\"after\""]).ok();
        world.run(&["-d", &out, "verify"]).ok();
        assert!(!world.path(&format!(".{out}.salvage.other")).exists());
    }
    // Sources of one ledger are one, however far each of them came.
    let made = world.run(&["salvage", "db", "--out", "one", "--from", "old", "--from", "bk", "--json"]).ok().json();
    assert_eq!((&made["entries"], &made["ledgers_differ"]), (&8.into(), &false.into()), "{made}");
    assert!(made["node_key"].is_null(), "{made}");
    let told = world.run(&["salvage", "db2", "--out", "told", "--from", "bk", "--format", "table"]).exit(6);
    told.says("hand the new card to peers: thingdb --db told card");
}

/// What is missing at the end of the ledger leaves no hole, and is told all the same.
#[test]
fn an_end_that_a_salvage_did_not_find_is_told_until_it_is_accepted() {
    let world = World::new();
    for n in 1..=6 {
        world.run(&["put", "lamp", &n.to_string()]).ok();
        if n == 4 {
            world.run(&["backup", "old"]).ok();
        }
    }
    fs::remove_dir_all(world.path("db/journal")).unwrap();
    fs::remove_dir_all(world.path("db/store")).unwrap();
    world.run(&["salvage", "db", "--out", "short", "--from", "old"]).exit(6).says("2 entries are missing");
    world.run(&["-d", "short", "put", "lamp", "5"]).ok();
    let told = world.run(&["-d", "short", "verify", "--format", "table"]).exit(4).stdout;
    assert!(told.contains("truncated") && told.contains("had 6 entries"), "{told}");
    let told = world.run(&["-d", "short", "doctor", "--format", "table"]).stdout;
    assert!(told.contains("warn  ledger: 2 entries are lost of the end"), "{told}");
    // Another salvage does not forget it.
    world.run(&["salvage", "short", "--out", "again"]).exit(6).says("position 5");
    world.run(&["-d", "again", "verify"]).exit(4);
    let told = world.run(&["-d", "short", "new-node-key", "--yes", "--format", "table"]).ok();
    told.says("thingdb --db short card");
    world.run(&["-d", "short", "verify"]).ok();
    let told = world.run(&["-d", "short", "doctor", "--format", "table"]).ok().stdout;
    assert!(!told.contains("lost of the end"), "{told}");
}
