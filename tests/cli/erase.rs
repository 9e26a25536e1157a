//! `thingdb erase` and `thingdb erasures`, and what the commands say of an entry that was
//! erased.

use serde_json::json;

use super::world::{Answer, World};

fn furnished() -> World {
    let world = World::new();
    for data in ["{\"name\":\"Ada\"}", "{\"name\":\"Ada L\"}", "{\"name\":\"Ada Lovelace\"}"] {
        world.run(&["put", "person-7", data]).ok();
    }
    world
}

fn prints(answer: &Answer, words: &[&str]) {
    for word in words {
        assert!(answer.stdout.contains(word), "{word}: {}", answer.stdout);
    }
}

const WHY: [&str; 2] = ["--reason", "asked for by the person"];

#[test]
fn what_is_erased_is_told_everywhere() {
    let world = furnished();
    let erase = [&["erase", "person-7", "--seq", "1-2", "--basis", "gdpr-17", "--yes", "--json"][..], &WHY].concat();
    let told = world.run(&erase).ok().json();
    assert_eq!((&told["thing"], &told["erased"], &told["removed"]), (&json!("person-7"), &json!(2), &json!([])));
    let record = told["records"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(told["records"][0]["seq"], 4);

    let entry = world.run(&["get", "person-7", "--seq", "1", "--json"]).ok().json();
    assert_eq!(
        (&entry["content"], &entry["erased_by"], &entry["data"]),
        (&json!("erased"), &json!(record), &json!(null))
    );
    let open = world.run(&["get", "person-7", "--seq", "3", "--json"]).ok().json();
    assert_eq!((&open["content"], open.get("erased_by")), (&json!("open"), None));
    let refused = world.run(&["get", "person-7", "--seq", "1", "--raw"]).exit(6);
    refused.says("was erased, as entry").says("thingdb erasures person-7");
    prints(&world.run(&["show", entry["id"].as_str().unwrap(), "--format", "table"]).ok(), &[&record, "(erased)"]);
    let log = world.run(&["log", "person-7", "--json"]).ok().json();
    let words: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["content"].as_str().unwrap()).collect();
    assert_eq!(words, ["open", "open", "erased", "erased"]);
    prints(&world.run(&["log", "person-7", "--graph"]).ok(), &["(erased)"]);
    let verified = world.run(&["verify", "--json"]).ok().json();
    assert_eq!(
        (&verified["ok"], &verified["erased"], &verified["refused_erasures"]),
        (&json!(true), &json!(2), &json!(0))
    );
    prints(&world.run(&["verify", "--format", "table"]).ok(), &["2 erased entries"]);

    let listed = world.run(&["erasures", "--json"]).ok().json();
    let listed = &listed[0];
    assert_eq!(
        (&listed["id"], &listed["reason"], &listed["basis"]),
        (&json!(record), &json!(WHY[1]), &json!("gdpr-17"))
    );
    assert_eq!((&listed["erased"], &listed["refused"], &listed["done"]), (&json!(2), &json!(0), &json!(true)));
    assert_eq!(listed["listed"].as_array().unwrap().len(), 2);
    prints(&world.run(&["erasures", "person-7", "--format", "table"]).ok(), &["asked for by the person (gdpr-17)"]);
    world.run(&["erasures", "nobody"]).exit(3).says("no thing named nobody");
    // An export has stubs for them, and the next import nothing to add.
    world.run(&["export", "-o", "all.ndjson"]).ok();
    assert_eq!(std::fs::read_to_string(world.path("all.ndjson")).unwrap().matches("\"payload\":").count(), 2);
    world.run(&["import", "all.ndjson"]).ok();
}

#[test]
fn what_cannot_be_erased_is_refused_and_nothing_is_signed() {
    let world = furnished();
    let erase = |args: &[&str]| world.run(&[&["erase", "person-7", "--yes"][..], args].concat());
    erase(&WHY).exit(2).says("--all");
    erase(&["--all", "--seq", "1", WHY[0], WHY[1]]).exit(2);
    erase(&["--seq", "4", WHY[0], WHY[1]]).exit(2).says("nothing of person-7");
    erase(&["--seq", "0", WHY[0], WHY[1]]).exit(2).says("is no seq");
    erase(&["--all", WHY[0], ""]).exit(2).says("reason");
    erase(&["--all", WHY[0], "why", "--basis", "two words"]).exit(2).says("basis");
    erase(&["--before", "2020", WHY[0], WHY[1]]).exit(2).says("nothing of person-7");
    erase(&["--all", "--actor", "nobody", WHY[0], WHY[1]]).exit(3).says("nobody");
    let put = ["put", "person-7", "{}", "--action", "erase", "--media-type", "application/vnd.thingdb.erasure+json"];
    world.run(&put).exit(2).says("thingdb erase");
    // Without a terminal nobody can be asked; what would be signed is shown.
    let asked = world.run(&[&["erase", "person-7", "--all"][..], &WHY].concat()).exit(2);
    asked.says("\"reason\":\"asked for by the person\"").says("nothing personal").says("--yes");
    assert_eq!(world.run(&["log", "person-7", "--json"]).ok().json().as_array().unwrap().len(), 3);
}

/// Nobody who reads a thing takes the record for what the thing is.
#[test]
fn the_record_is_not_the_state() {
    let world = furnished();
    world.run(&["put", "person-7", "{\"name\":\"-\"}", "--action", "retire"]).ok();
    let latest = world.run(&["get", "person-7", "--json"]).ok().json();
    world.run(&[&["erase", "person-7", "--seq", "1-2", "--basis", "gdpr-17", "--yes"][..], &WHY].concat()).ok();
    assert_eq!(world.run(&["get", "person-7", "--json"]).ok().json(), latest);
    assert_eq!(world.run(&["get", "person-7", "--at", "0s", "--json"]).ok().json(), latest);
    prints(&world.run(&["get", "person-7", "--format", "table"]).ok(), &["person-7 is retired"]);
    let listed = &world.run(&["ls", "--json"]).ok().json()[0];
    assert_eq!((&listed["retired"], &listed["erased"]), (&json!(true), &json!(2)));
    assert_eq!(listed["latest"]["id"], latest["id"]);
    assert_ne!(listed["heads"][0]["id"], latest["id"]);
    prints(&world.run(&["ls", "-l", "--format", "table"]).ok(), &["erased", "(retired)"]);
    assert_eq!(world.run(&["stats", "--json"]).ok().json()["erased"], 2);
    // The record says what it is, and another entry with the same action does not.
    world.run(&["put", "person-7", "1", "--action", "erase"]).ok();
    let log = world.run(&["log", "person-7", "--json"]).ok().json();
    assert_eq!(log[1]["erasure"], json!({"entries": 2, "reason": WHY[1], "basis": "gdpr-17"}));
    assert!(log.as_array().unwrap().iter().enumerate().all(|(at, entry)| (at == 1) == entry.get("erasure").is_some()));
    let table = world.run(&["log", "person-7", "--format", "table"]).ok();
    prints(&table, &["2 entries: asked for by the person (gdpr-17)", "erase (no record)"]);
    prints(&world.run(&["log", "person-7", "--graph"]).ok(), &["erase (no record)"]);
    let id = log[1]["id"].as_str().unwrap();
    let shown = world.run(&["show", id, "--format", "table"]).ok();
    prints(&shown, &["the content of 2 entries", "asked for by the person", "gdpr-17"]);
    // What an entry after a record changed is told beside the entry before it.
    let patch = world.run(&["log", "person-7", "-n", "1", "--patch", "--json"]).ok().json();
    assert_eq!(patch[0]["patch"], json!([{"op": "replace", "path": "", "value": 1}]));
    // Who has read the latest may write on it, also after an erasure.
    let read = world.run(&["get", "person-7", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    world.run(&[&["erase", "person-7", "--seq", "3", "--yes"][..], &WHY].concat()).ok();
    world.run(&["put", "person-7", "2", "--expect", &read]).ok();
    world.run(&["put", "person-7", "3", "--expect", &read]).exit(5);
}

#[test]
fn what_would_be_signed_is_shown_and_is_plain() {
    let world = furnished();
    let args = [&["erase", "person-7", "--seq", "1-2", "--dry-run"][..], &WHY].concat();
    let plan = world.run(&[&args[..], &["--json"]].concat()).ok().json();
    assert_eq!((&plan["seqs"], &plan["entries"], &plan["reason"]), (&json!([1, 2]), &json!(2), &json!(WHY[1])));
    assert_eq!(plan["records"][0]["erased"].as_array().unwrap().len(), 2);
    prints(
        &world.run(&[&args[..], &["--format", "table"]].concat()).ok(),
        &["1-2", "reason: asked", "nothing personal"],
    );
    assert_eq!(world.run(&["erasures", "--json"]).ok().json(), json!([]));
    for reason in ["asked\u{202e}rof", "zero\u{200b}width", "tag\u{e0041}"] {
        let refused = world.run(&["erase", "person-7", "--all", "--yes", "--reason", reason]).exit(2);
        refused.says("is not seen").says("plain text");
    }
    assert_eq!(world.run(&["erasures", "--json"]).ok().json(), json!([]));
    for seq in ["1", "2", "3"] {
        world.run(&["erase", "person-7", "--seq", seq, "--yes", "--reason", seq]).ok();
    }
    let newest = world.run(&["erasures", "-n", "2", "--json"]).ok().json();
    let reasons: Vec<_> = newest.as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["2", "3"]);
    // All of it is gone: the latest is the last entry, and is erased.
    world.run(&["get", "person-7", "--raw"]).exit(6).says("was erased");
    prints(&world.run(&["help", "erasure"]).ok(), &["undecryptable", "nothing personal"]);
}

#[test]
fn a_stream_says_what_it_has_erased_here() {
    let world = furnished();
    world.run(&["-d", "copy", "init", "--actor", "bob"]).ok();
    world.write("node.card", world.run(&["card"]).ok().stdout);
    world.run(&["-d", "copy", "peer", "add", "node", "@node.card", "--yes"]).ok();
    world.run(&["export", "-o", "before"]).ok();
    world.run(&["-d", "copy", "import", "before"]).ok();
    world.run(&[&["erase", "person-7", "--seq", "1-2", "--yes"][..], &WHY].concat()).ok();
    world.run(&["export", "-o", "after"]).ok();
    let told = world.run(&["-d", "copy", "import", "after", "--json"]).ok().json();
    assert_eq!((&told["added"], &told["erased"]), (&json!(1), &json!(2)));
    assert_eq!(world.run(&["-d", "copy", "import", "after", "--json"]).ok().json()["erased"], 0);
    prints(&world.run(&["-d", "copy", "stats", "--format", "table"]).ok(), &["the content of 2 entries"]);
    // A record is for everybody: nobody shares it.
    world.write("copy.card", world.run(&["-d", "copy", "card"]).ok().stdout);
    world.run(&["peer", "add", "copy", "@copy.card", "--yes"]).ok();
    let shared = world.run(&["share", "person-7", "--to", "copy", "--json"]).ok().json();
    assert_eq!((&shared["shared"], &shared["known"]), (&json!(1), &json!(0)));
}

#[test]
fn what_is_for_everybody_is_read_by_everybody() {
    let world = furnished();
    world.run(&["put", "notice", "{\"open\":\"9 to 5\"}", "--public"]).ok();
    world.run(&["put", "notice", "2"]).ok();
    let readers = world.run(&["readers", "notice", "--json"]).ok().json();
    let everybody = readers.as_array().unwrap().iter().find(|one| one["name"] == "everybody").unwrap();
    assert_eq!((&everybody["entries"], &everybody["first_seq"]), (&json!(1), &json!(1)));
    world.write("large", "x".repeat(65_537));
    let large = ["put", "notice", "@large", "--media-type", "text/plain", "--public"];
    world.run(&large).exit(2).says("65536");
    world.run(&["put", "notice", "1", "--public", "--to", "nobody"]).exit(2);
    // A relay that nothing is sealed to.
    world.run(&["-d", "relay", "init", "--actor", "bob"]).ok();
    world.write("node.card", world.run(&["card"]).ok().stdout);
    world.run(&["-d", "relay", "peer", "add", "node", "@node.card", "--yes"]).ok();
    world.run(&["export", "-o", "all"]).ok();
    world.run(&["-d", "relay", "import", "all"]).ok();
    let log = world.run(&["-d", "relay", "log", "notice", "--json"]).ok().json();
    let words: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["content"].as_str().unwrap()).collect();
    assert_eq!(words, ["undecryptable", "open"]);
    // It can be erased as every other entry.
    world.run(&[&["erase", "notice", "--seq", "1", "--yes"][..], &WHY].concat()).ok();
    world.run(&["verify"]).ok();
}

#[test]
fn what_is_due_is_erased() {
    let world = furnished();
    world.run(&["erase", "--due", "--yes"]).exit(2).says("thingdb retain");
    world.run(&["retain", "person-", "--for", "90d"]).exit(2).says("--reason");
    world.run(&["retain", "person-", "--for", "1y", "--reason", "why"]).exit(2).says("90d");
    world.run(&["retain", "person-", "--for", "90d", "--reason", "a\u{200b}b"]).exit(2).says("plain text");
    let set = ["retain", "person-", "--for", "90d", "--reason", "kept for 90 days", "--basis", "gdpr-5", "--json"];
    let told = world.run(&set).ok().json();
    assert_eq!((&told[0]["seconds"], &told[0]["keep_latest"]), (&json!(7_776_000), &json!(false)));
    prints(&world.run(&["retain", "--format", "table"]).ok(), &["person-", "90d", "gdpr-5", "kept for 90 days"]);
    assert_eq!(world.run(&["erase", "--due", "--yes", "--json"]).ok().json()["erased"], 0);
    // A second is soon over: the clock only has to have gone on.
    world.run(&["retain", "person-", "--for", "1s", "--reason", "kept for a moment", "--keep-latest"]).ok();
    let due = loop {
        let due = world.run(&["erase", "--due", "--dry-run", "--json"]).ok().json();
        if due["entries"] == 2 {
            break due;
        }
    };
    assert_eq!((&due["things"][0]["seqs"], &due["held"]), (&json!([1, 2]), &json!([])));
    world.run(&["erase", "--due"]).exit(2).says("for good").says("--yes");
    let erased = world.run(&["erase", "--due", "--yes", "--json"]).ok().json();
    assert_eq!((&erased["erased"], &erased["records"][0]["thing"]), (&json!(2), &json!("person-7")));
    assert_eq!(world.run(&["get", "person-7", "--field", "/name"]).ok().stdout.trim(), "\"Ada Lovelace\"");
    world.run(&["retain", "--remove", "nothing"]).exit(3).says("thingdb retain");
    world.run(&["retain", "--remove", "person-"]).ok();
    assert_eq!(world.run(&["retain", "--json"]).ok().json(), json!([]));
    world.run(&["verify"]).ok();
}

#[test]
fn on_a_terminal_it_asks() {
    let world = furnished();
    let line = "thingdb erase person-7 --all --reason 'asked for'";
    let Some((code, text)) = world.on_terminal(line, "[y/N]", b"n\n") else { return };
    assert!(code == 130 && text.contains("nothing was signed") && text.contains("1-3"), "{text}");
    assert_eq!(world.run(&["erasures", "--json"]).ok().json(), json!([]));
    let (code, text) = world.on_terminal(line, "[y/N]", b"y\n").unwrap();
    assert!(code == 0 && text.contains("erased: 3 entries"), "{text}");
}

/// The words that `verify-proof --entries` has for the entries of a file, and the verdict.
fn verdict(world: &World, file: &str) -> (Vec<(u64, String, Option<String>)>, serde_json::Value) {
    let mut lines = world.run(&["verify-proof", file, "--entries"]).ok().lines();
    let told = lines.pop().unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let entry = |entry: &serde_json::Value| {
        (entry["seq"].as_u64().unwrap(), text(&entry["content"]).unwrap(), text(&entry["erased_by"]))
    };
    (lines.iter().map(entry).collect(), told)
}

#[test]
fn a_stranger_tells_what_was_erased_from_what_is_withheld() {
    let world = furnished();
    let erase = [&["erase", "person-7", "--seq", "1-2", "--yes", "--json"][..], &WHY].concat();
    let record = world.run(&erase).ok().json()["records"][0]["id"].as_str().unwrap().to_owned();
    let erased = |seq| (seq, "erased".to_owned(), Some(record.clone()));
    let other = |seq, word: &str| (seq, word.to_owned(), None);

    let summary = world.run(&["prove", "person-7", "-o", "whole"]).ok().json();
    assert_eq!((&summary["shown"], &summary["erased"], &summary["withheld"]), (&json!(2), &json!(2), &json!(0)));
    let (entries, told) = verdict(&world, "whole");
    assert_eq!(entries, [erased(1), erased(2), other(3, "shown"), other(4, "shown")]);
    assert_eq!((&told["erased"], &told["withheld"], &told["shown"]), (&json!(2), &json!(0), &json!(2)));
    let table = world.run(&["verify-proof", "whole", "--format", "table"]).ok();
    prints(&table, &["(erased)", "2 entries erased, as records in the file say"]);

    // What is withheld beside it is not called erased.
    world.run(&["prove", "person-7", "--withhold", "3", "-o", "part"]).ok();
    assert_eq!(verdict(&world, "part").0, [erased(1), erased(2), other(3, "withheld"), other(4, "shown")]);
    // Without the record nobody can tell.
    world.run(&["prove", "person-7", "--withhold", "4", "-o", "without"]).ok();
    let (entries, told) = verdict(&world, "without");
    assert_eq!(entries, [other(1, "withheld"), other(2, "withheld"), other(3, "shown"), other(4, "withheld")]);
    assert_eq!((&told["erased"], &told["withheld"]), (&json!(0), &json!(3)));

    // With one entry goes its record.
    let summary = world.run(&["prove", "person-7", "--seq", "2", "-o", "one"]).ok().json();
    assert_eq!((&summary["entries"], &summary["erased"]), (&json!(2), &json!(1)));
    assert_eq!(verdict(&world, "one").0, [erased(2), other(4, "shown")]);
    world.run(&["prove", "person-7", "--seq", "3", "-o", "other"]).ok();
    assert_eq!(verdict(&world, "other").0, [other(3, "shown")]);

    // A record is for everybody, what is sealed to one reader is not.
    world.run(&["-d", "auditor", "init", "--actor", "bob"]).ok();
    world.write("auditor.card", world.run(&["-d", "auditor", "card"]).ok().stdout);
    world.run(&["prove", "person-7", "--to", "@auditor.card", "-o", "sealed"]).ok();
    assert_eq!(verdict(&world, "sealed").0, [erased(1), erased(2), other(3, "sealed"), other(4, "shown")]);
    world.run(&["prove", "person-7", "--stubs-only", "-o", "stubs"]).ok();
    assert!(verdict(&world, "stubs").0.iter().all(|(_, word, _)| word == "withheld"));
    world.run(&["prove", "person-7", "--html", "-o", "page.html"]).ok();
    assert_eq!(verdict(&world, "page.html").0, verdict(&world, "whole").0);
}
