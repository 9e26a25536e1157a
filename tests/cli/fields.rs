//! `put --fields-provable` and `prove --fields`: one field is shown, the rest is not.

use serde_json::json;

use super::world::{Answer, World};

const DATA: &str =
    r#"{"temp":20.10,"big":123456789012345678901234567890.0e-07,"by":"CANARY-bob","a,b":{ },"x":[1,"\u202e"]}"#;

fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "part-42", "{\"temp\":1}"]).ok();
    world.run(&["put", "part-42", DATA, "--fields-provable"]).ok();
    let card = world.run(&["card"]).ok().stdout;
    world.write("plant.card", card);
    world
}

/// Commands of an auditor: no database, no passphrase.
fn auditor(world: &World, args: &[&str]) -> Answer {
    let mut command = world.command(env!("CARGO_BIN_EXE_thingdb"));
    command.env_remove("THINGDB_DIR").env_remove("THINGDB_PASSPHRASE_FILE").env_remove("THINGDB_PASSPHRASE");
    command.args(args);
    Answer::of(command)
}

#[test]
fn one_field_is_shown_digit_for_digit_and_nothing_of_the_rest() {
    let world = furnished();
    let made = world.run(&["prove", "part-42", "--fields", "/temp,/big,@actor", "-o", "p.tdbproof"]).ok();
    let made = made.says("1 entry has none of these fields");
    let summary = made.json();
    assert_eq!((&summary["partly_shown"], &summary["withheld"], &summary["shown"]), (&json!(1), &json!(1), &json!(0)));
    let verify = ["verify-proof", "p.tdbproof", "--card", "@plant.card"];
    let answer = auditor(&world, &[&verify[..], &["--entries"]].concat()).ok();
    let shown = "\"fields\":{\"@actor\":\"alice\",\"/temp\":20.10,\"/big\":123456789012345678901234567890.0e-07}";
    assert!(answer.stdout.contains(shown), "{answer:?}");
    let lines = answer.lines();
    assert_eq!((&lines[0]["content"], &lines[0].get("fields")), (&json!("withheld"), &None));
    assert_eq!((&lines[1]["content"], &lines[1]["fields_hidden"]), (&json!("partly shown"), &json!(6)));
    assert_eq!((&lines[2]["ok"], &lines[2]["partly_shown"]), (&json!(true), &json!(1)));
    let text = auditor(&world, &[&verify[..], &["--format", "table"]].concat()).ok();
    for words in
        ["/temp: 20.10", "6 other fields are not shown", "1 entry is shown in part", "not told:", "they are there"]
    {
        assert!(text.stdout.contains(words), "{words}: {text:?}");
    }
    assert!(!std::fs::read_to_string(world.path("p.tdbproof")).unwrap().contains("CANARY"));
}

#[test]
fn names_with_commas_and_what_is_empty_are_shown() {
    let world = furnished();
    world.run(&["prove", "part-42", "--fields", r#"["/a,b","/x"]"#, "-o", "p.tdbproof"]).ok();
    let verify = ["verify-proof", "p.tdbproof", "--card", "@plant.card", "--entries"];
    let lines = auditor(&world, &verify).ok().lines();
    assert_eq!(lines[1]["fields"], json!({"/a,b": {}, "/x/0": 1, "/x/1": "\u{202e}"}));
    let text = auditor(&world, &[&verify[..], &["--format", "table"]].concat()).ok().stdout;
    assert!(!text.contains('\u{202e}'), "{text}");
    world.run(&["prove", "part-42", "--fields", r#"[""]"#, "-o", "p.tdbproof"]).ok();
    assert_eq!(auditor(&world, &verify).ok().lines()[1]["fields_hidden"], 3);
}

#[test]
fn what_cannot_be_shown_is_refused_and_says_what_to_do() {
    let world = furnished();
    world
        .run(&["prove", "part-42", "--fields", "/nowhere", "-o", "p.tdbproof"])
        .exit(3)
        .says("has a field that is asked for");
    assert!(!world.path("p.tdbproof").exists());
    for bad in ["", "temp", "/temp,", "@name", "/a~", "[1]"] {
        world.run(&["prove", "part-42", "--fields", bad]).exit(2).says("--fields");
    }
    for other in ["--stubs-only", "--absent", "--to=x", "--tlog-proof", "--cose"] {
        world.run(&["prove", "part-42", "--fields", "/temp", other]).exit(2);
    }
    let twice = r#"{"x":{"a":1,"\u0061":2}}"#;
    world
        .run(&["put", "p", twice, "--media-type", "a/b+json", "--fields-provable"])
        .exit(2)
        .says("\"/x/a\" is there twice");
    world.run(&["put", "p", "{", "--media-type", "a/b+json", "--fields-provable"]).exit(2);
    world.feed(&["append", "--fields-provable"], "{\"thing\":\"p\",\"data\":{\"n\":1}}\n").ok();
    world.run(&["prove", "p", "--fields", "/n", "-o", "p.tdbproof"]).ok();
}
