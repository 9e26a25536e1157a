//! A thing with several heads: told by whatever reads, chosen by the greatest
//! time, and by nobody with `--strict`.

use serde_json::{Value, json};

use super::world::World;

/// part-42 written apart in two directories: the twin wrote last.
fn forked() -> World {
    let world = World::new();
    world.run(&["put", "part-42", r#"{"temp":20}"#]).ok();
    world.run(&["put", "lamp", "true"]).ok();
    world.shell("cp -R db twin").ok();
    for temp in ["21", "22", "23"] {
        world.run(&["put", "part-42", &format!(r#"{{"temp":{temp}}}"#)]).ok();
    }
    world.run(&["-d", "twin", "put", "part-42", r#"{"temp":9}"#]).ok();
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    world
}

#[test]
fn every_command_that_reads_tells_that_there_are_several_heads() {
    let world = forked();
    let latest =
        world.run(&["get", "part-42"]).ok().says("warning[fork]: part-42 has 2 heads").says("thingdb forks part-42");
    let entry = latest.json();
    // The twin wrote last; that the other history is longer counts nothing.
    assert_eq!((&entry["data"]["temp"], &entry["seq"], &entry["heads"]), (&json!(9), &json!(2), &json!(2)));
    let id = entry["id"].as_str().unwrap();
    world.run(&["get", "part-42", "--field", "/temp", "--raw"]).ok().says("warning[fork]");
    world.run(&["get", "part-42", "--raw"]).ok().says("warning[fork]");
    world.run(&["get", "part-42", "--quiet"]).ok().says("warning[fork]");
    world.run(&["get", "part-42", "--seq", "1"]).ok().says("warning[fork]");
    let log = world.run(&["log", "part-42"]).ok().says(&format!("{} is the latest", &id[..12])).lines();
    assert!(log.len() == 5 && log.iter().all(|entry| entry["heads"] == 2), "{log:?}");
    for args in
        [&["log", "part-42", "--format", "table"][..], &["log", "part-42", "--graph"], &["diff", "part-42", "1", id]]
    {
        world.run(args).ok().says("warning[fork]: part-42 has 2 heads");
    }
    assert_eq!(world.run(&["show", id]).ok().says("warning[fork]").json()["heads"], 2);
    let things: Vec<Value> = world.run(&["ls"]).ok().lines();
    assert_eq!((&things[0]["forked"], &things[1]["forked"]), (&json!(false), &json!(true)));
    assert_eq!(things[1]["heads"][0]["id"], id, "the latest comes first");
    let table = world.run(&["ls", "--format", "table"]).ok().stdout;
    assert_eq!(table, "lamp\npart-42  (2 heads)\n");
    assert_eq!(world.run(&["ls", "--format", "raw"]).ok().stdout, "lamp\npart-42\n");
    // As it was before the fork it had one head, and nothing is to be told.
    let first = world.run(&["get", "part-42", "--seq", "1"]).ok().json()["time"].as_str().unwrap().to_owned();
    let then = world.run(&["get", "part-42", "--at", &first, "--strict"]).ok();
    assert_eq!((then.json()["heads"].as_u64(), then.stderr.as_str()), (Some(1), ""));
    let now = world.run(&["get", "part-42", "--at", "0s"]).ok().says("part-42 had 2 heads then").json();
    assert_eq!((&now["id"], &now["heads"]), (&entry["id"], &json!(2)));
    // One head is nothing to tell.
    for args in [&["get", "lamp"][..], &["log", "lamp"], &["ls"]] {
        assert_eq!(world.run(args).ok().stderr, "", "{args:?}");
    }
    world.run(&["put", "part-42", "1"]).ok();
    let joined = world.run(&["get", "part-42"]).ok();
    assert_eq!((joined.json()["heads"].as_u64(), joined.stderr.as_str()), (Some(1), ""));
}

#[test]
fn strict_chooses_none_of_several_heads() {
    let world = forked();
    let heads = world.run(&["forks", "part-42"]).ok().json();
    let ids: Vec<&str> = heads["heads"].as_array().unwrap().iter().map(|head| head["id"].as_str().unwrap()).collect();
    for args in [
        &["get", "part-42", "--strict"][..],
        &["get", "part-42", "--strict", "--field", "/temp"],
        &["get", "part-42", "--strict", "--raw"],
    ] {
        let refused = world.run(args).exit(5).says("error[forked]: part-42 has 2 heads").says(ids[0]).says(ids[1]);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("by alice (trusted key)"), "{refused:?}");
    }
    world.run(&["get", "part-42", "--strict", "--at", "0s"]).exit(5).says("error[forked]");
    world.run(&["get", "part-42", "--strict", "--seq", "1"]).exit(2);
    world.run(&["get", "nothing", "--strict"]).exit(3);
    assert_eq!(world.run(&["get", "lamp", "--strict", "--raw"]).ok().stdout, "true");
    // What the hint says ends it.
    world.run(&["resolve", "part-42", "--keep", &ids[1][..12], "--reason", "the twin was a copy"]).ok();
    assert_eq!(world.run(&["get", "part-42", "--strict", "--field", "/temp"]).ok().stdout, "23\n");
}

/// The latest is the latest on every node; where it cannot be read and another
/// head can, both is said, and nothing stands in for it.
#[test]
fn a_head_that_cannot_be_read_is_never_silently_the_answer() {
    let (world, other) = (World::new(), World::new());
    world.write("other.card", other.run(&["card"]).ok().stdout);
    world.run(&["peer", "add", "other", "@other.card", "--yes"]).ok();
    world.run(&["put", "part-42", r#"{"temp":20}"#]).ok();
    other.run(&["put", "part-42", r#"{"secret":1}"#]).ok();
    let stream = other.run(&["export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    let own = world.run(&["log", "part-42"]).ok().lines().into_iter().find(|entry| entry["content"] == "open").unwrap();
    let hint = format!("thingdb get part-42 --id {}", &own["id"].as_str().unwrap()[..12]);
    let told = world.run(&["get", "part-42"]).ok().says("warning[fork]").says(&hint).json();
    assert_eq!((&told["content"], &told["data"], &told["heads"]), (&json!("undecryptable"), &json!(null), &json!(2)));
    for args in [&["get", "part-42", "--raw"][..], &["get", "part-42", "--field", "/temp"]] {
        let refused = world.run(args).exit(6).says("error[not-readable]").says("latest of the 2 heads").says(&hint);
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    let followed = world.shell(&format!("{hint} --raw")).ok();
    assert_eq!(followed.stdout, r#"{"temp":20}"#);
    let heads = world.run(&["forks", "part-42"]).ok().json();
    let readable: Vec<_> = heads["heads"].as_array().unwrap().iter().map(|head| head["readable"].clone()).collect();
    assert_eq!(readable, [json!(false), json!(true)]);
}

/// A retired thing is told from one that lives, and stays in the listing.
#[test]
fn what_is_retired_shows_in_ls_and_get() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    world.run(&["put", "press", "1"]).ok();
    world.run(&["put", "press", "null", "--action", "retire"]).ok();
    world.run(&["put", "photo", &format!("\"{}\"", "x".repeat(70_000)), "--action", "retire"]).ok();
    let things = world.run(&["ls"]).ok().lines();
    let retired: Vec<&Value> = things.iter().map(|thing| &thing["retired"]).collect();
    assert_eq!(retired, [&json!(false), &json!(null), &json!(true)], "what is large is not opened for it");
    assert_eq!(world.run(&["ls", "--format", "table"]).ok().stdout, "lamp\nphoto\npress  (retired)\n");
    assert_eq!(world.run(&["ls", "--format", "raw"]).ok().stdout, "lamp\nphoto\npress\n");
    assert!(world.run(&["ls", "-l", "--format", "table"]).ok().stdout.contains("(retired)"));
    let table = world.run(&["get", "press", "--format", "table"]).ok().stdout;
    assert!(table.contains("retire by alice") && table.contains("press is retired"), "{table}");
    let first = world.run(&["get", "press", "--seq", "1", "--format", "table"]).ok().stdout;
    assert!(!first.contains("is retired"), "{first}");
    // It can live again.
    world.run(&["put", "press", "2"]).ok();
    assert_eq!(world.run(&["ls", "press"]).ok().json()["retired"], false);
}
