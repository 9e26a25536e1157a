//! The same scripts with and without the server: stdout, stderr and exit code
//! are the same, byte for byte where nothing is random.

use std::fs;

use super::server::{Server, client, fed, through};
use crate::world::{Answer, WEAK, World};

/// A database with history, a fork, a peer, a second actor and a binary thing.
fn furnished() -> World {
    let world = World::new();
    world.run(&["actor", "new", "press-7"]).ok();
    let hq = World::new();
    let card = hq.run(&["card"]).ok().stdout;
    world.write("hq.card", card);
    world.run(&["peer", "add", "hq", "@hq.card", "--yes"]).ok();
    world.run(&["put", "part-42", r#"{"temp":20.1,"site":"plant-3"}"#]).ok();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", r#"{"temp":21.4,"site":"plant-3"}"#, "--to", "hq"]).ok();
    world.run(&["put", "lamp/2", "true", "--actor", "press-7"]).ok();
    world.feed(&["put", "photo", "-", "--media-type", "image/jpeg"], b"\xff\xd8\x00").ok();
    world.run(&["-d", "twin", "put", "part-42", r#"{"temp":9}"#]).ok();
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.write("twin.ndjson", stream);
    world.run(&["import", "twin.ndjson"]).ok();
    let lines: String = (0..300).map(|n| format!("{{\"thing\":\"s\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    world.write("lines.ndjson", &lines);
    world.feed(&["append"], lines).ok();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.write("bad.ndjson", "nonsense\n{}\n");
    world.write("reading.json", "{\n \"temp\": 1.00\n}\n");
    world.write("pass", "the archive's own passphrase\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(world.path("pass"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    world
}

/// Commands that change nothing.
const READS: &[&[&str]] = &[
    &["get", "part-42"],
    &["get", "part-42", "--field", "/temp"],
    &["get", "part-42", "--raw"],
    &["get", "part-42", "--seq", "1", "--format", "table"],
    &["get", "part-42", "--seq", "2"],
    &["get", "part-42", "--at", "2020-01-01"],
    &["get", "photo"],
    &["get", "photo", "--raw"],
    &["get", "part-43"],
    &["get", "part-43", "--color", "always"],
    &["get", "part-42", "--field", "temp"],
    &["log", "part-42"],
    &["log", "part-42", "--graph"],
    &["log", "part-42", "--patch", "--format", "table"],
    &["log", "s"],
    &["log", "s", "--format", "table"],
    &["log", "s", "--json", "--patch", "--reverse", "-n", "7"],
    &["log", "s", "--format", "raw", "--since", "5", "--until", "9"],
    &["log", "nothing"],
    &["log", "s", "--since", "9", "--until", "5"],
    &["show", "zz"],
    &["show", "00000000"],
    &["ls"],
    &["ls", "-l", "--format", "table"],
    &["ls", "--limit", "1"],
    &["ls", "--limit", "1", "-q"],
    &["ls", "none", "--json"],
    &["diff", "s", "1", "2"],
    &["diff", "s", "1", "2", "--format", "table"],
    &["diff", "s", "1", "999"],
    &["diff", "part-42", "1", "2"],
    &["verify"],
    &["verify", "--format", "table"],
    &["verify", "part-42"],
    &["verify", "nothing"],
    &["verify", "--checkpoint", "kept"],
    &["verify", "--checkpoint", "missing"],
    &["verify", "--checkpoint", "reading.json"],
    &["checkpoint"],
    &["checkpoint", "--json"],
    &["checkpoint", "-o", "again"],
    &["checkpoint", "-o", "no/such/directory/file"],
    &["actor", "ls"],
    &["actor", "ls", "--format", "table"],
    &["actor", "show", "press-7", "--format", "raw"],
    &["actor", "show", "nobody"],
    &["actor", "trust", "x", "abc"],
    &["peer", "ls"],
    &["peer", "show", "hq", "--format", "table"],
    &["peer", "show", "nobody"],
    &["peer", "add", "x", "@hq.card"],
    &["peer", "add", "x", "@missing", "--yes"],
    &["peer", "add", "x", "no card", "--yes"],
    &["audience"],
    &["token", "ls"],
    &["token", "rm", "nobody"],
    &["token", "new", "--name", "x", "--scope", "nonsense"],
    &["readers", "part-42"],
    &["readers", "part-42", "--format", "table"],
    &["readers", "nothing"],
    &["unshare", "--to", "hq"],
    &["forks"],
    &["forks", "--format", "table"],
    &["resolve", "part-42", "--keep", "ffffffff", "--reason", "x"],
    &["prove-fork", "part-42"],
    &["prove-fork", "lamp/2"],
    &["import", "twin.ndjson"],
    &["import", "twin.ndjson", "--dry-run"],
    &["import", "bad.ndjson"],
    &["import", "bad.ndjson", "--rejects", "rejects"],
    &["import", "bad.ndjson", "--rejects", "no/such/directory/file"],
    &["import", "missing"],
    &["import", "twin.ndjson", "--archive-passphrase-file", "missing"],
    &["append", "bad.ndjson"],
    &["append", "missing"],
    &["put", "a", "{"],
    &["put", "a", "@missing"],
    &["put", "", "1"],
    &["put", "a", "1", "--actor", "nobody"],
    &["put", "a", "1", "--to", "nobody"],
    &["put", "a", "1", "--expect", "ffffffff"],
    &["put", "lamp/2", "1", "--expect", "none"],
    &["export", "--to", "nobody"],
    &["export", "-o", "no/such/directory/file"],
    &["passwd", "--new-passphrase-file", "missing"],
    &["migrate", "missing", "--old-passphrase-file", "pass"],
    &["migrate", "missing", "--old-passphrase-file", "missing"],
    &["verify-fork", "missing"],
    &["help", "exit-codes"],
    &["get"],
    &["nonsense"],
    &["--version"],
];

fn assert_same(what: &[&str], alone: &Answer, served: &Answer) {
    let of = |answer: &Answer| (answer.code, without_ago(&answer.stdout), without_ago(&answer.stderr));
    assert_eq!(of(alone), of(served), "{what:?}");
}

/// `3 seconds ago` is another number the second time.
fn without_ago(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').map(|line| line.split("(#").next().unwrap()).collect();
    lines.join("\n")
}

#[test]
fn commands_that_read_answer_the_same_byte_for_byte() {
    let world = furnished();
    let alone: Vec<Answer> = READS.iter().map(|args| world.run(&[args, &["--no-input"][..]].concat())).collect();
    let server = Server::start(&world);
    for (args, alone) in READS.iter().zip(&alone) {
        assert_same(args, alone, &through(&world, args));
    }
    server.stop();
    // Each of the two runs added its own.
    assert_eq!(fs::read(world.path("rejects")).unwrap(), b"nonsense\n{}\n".repeat(2));
    assert_eq!(fs::read(world.path("again")).unwrap(), fs::read(world.path("kept")).unwrap());
}

/// Commands that write, with what is on stdin. They run on two copies of one
/// database.
const WRITES: &[(&[&str], &str)] = &[
    (&["card"], ""),
    (&["card", "--json"], ""),
    (&["put", "a", r#"{"x":1}"#, "--expect", "none"], ""),
    (&["put", "a", "@reading.json"], ""),
    (&["put", "a", "-"], "[1]"),
    (&["put", "a", "-", "--format", "table"], "[2]"),
    (&["put", "a", "-"], "[2"),
    (&["put", "a", "1", "--expect", "none"], ""),
    (&["put", "a", "null", "--action", "retire", "--relaxed"], ""),
    (&["get", "a"], ""),
    (&["log", "a", "--patch"], ""),
    (&["append"], "{\"thing\":\"b\",\"data\":1}\n{\"thing\":\"b\",\"data\":2,\"actor\":\"press-7\"}"),
    (&["append", "lines.ndjson", "--batch", "7"], ""),
    (&["append", "--rejects", "rejects"], "{\"thing\":\"b\",\"data\":1}\nbad\n"),
    (&["append", "--fail-fast", "bad.ndjson"], ""),
    (&["actor", "new", "press-8"], ""),
    (&["actor", "new", "press-8"], ""),
    (&["actor", "default", "press-8"], ""),
    (&["put", "b", "3"], ""),
    (&["actor", "untrust", "press-8"], ""),
    (&["token", "new", "--name", "hall", "--scope", "read", "--expires", "90d"], ""),
    (&["token", "new", "--name", "hall", "--scope", "read"], ""),
    (&["token", "ls"], ""),
    (&["token", "ls", "--format", "table"], ""),
    (&["token", "rm", "hall"], ""),
    (&["audience", "set", "hq"], ""),
    (&["audience"], ""),
    (&["put", "shared", "1"], ""),
    (&["unshare", "--to", "hq"], ""),
    (&["share", "s", "--to", "hq", "--since", "290"], ""),
    (&["readers", "s"], ""),
    (&["forks"], ""),
    (&["put", "part-42", "1"], ""),
    (&["forks"], ""),
    (&["export"], ""),
    (&["export", "--array"], ""),
    (&["card", "--certificate"], ""),
    (&["export", "-o", "out.ndjson"], ""),
    (&["export", "--prefix", "s", "-o", "/dev/null", "-q"], ""),
    (&["export", "--archive-passphrase-file", "pass", "--prefix", "a", "-o", "archive.ndjson"], ""),
    (&["import", "archive.ndjson", "--archive-passphrase-file", "pass"], ""),
    (&["import", "-", "--rejects", "rejects"], "nonsense\n"),
    (&["checkpoint"], ""),
    (&["verify"], ""),
    (&["recovery-key"], ""),
    (&["recovery-key", "--json"], ""),
    (&["peer", "rm", "hq"], ""),
    (&["peer", "ls"], ""),
    (&["passwd", "-d", "db", "--new-passphrase-file", "pass"], ""),
];

#[test]
fn commands_that_write_answer_the_same_but_for_ids_and_times() {
    let alone = furnished();
    let served = World::empty();
    let both = format!("cp -R {0}/. . && rm -rf db/socket", alone.path(".").display());
    served.shell(&both).ok();
    let server = Server::start(&served);
    for (args, input) in WRITES {
        let here = world_of(&alone, args, input, false);
        let there = world_of(&served, args, input, true);
        assert_eq!(here.code, there.code, "{args:?} {here:?} {there:?}");
        assert_eq!(plain(&here.stdout), plain(&there.stdout), "{args:?}");
        assert_eq!(plain(&here.stderr), plain(&there.stderr), "{args:?}");
    }
    server.stop();
    for name in ["out.ndjson", "archive.ndjson", "rejects"] {
        let read = |world: &World| plain(&fs::read_to_string(world.path(name)).unwrap());
        assert_eq!(read(&alone), read(&served), "{name}");
    }
    served.run(&["ls", "--passphrase-file", "pass"]).ok();
}

fn world_of(world: &World, args: &[&str], input: &str, is_served: bool) -> Answer {
    let command = if is_served { client(world, args) } else { world.thingdb(args) };
    fed(command, input.as_bytes())
}

/// The text without what is random or a time, and without how many commits the journal has:
/// a command alone opens and closes the database each time.
fn plain(text: &str) -> String {
    let (before, after) = text.split_once("\"commits\":").unwrap_or((text, ""));
    let text = format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
    let mut text = text.into_bytes();
    for form in ["0000-00-00T00:00:00.000000Z", "0000-00-00 00:00:00"] {
        let is_like = |part: &[u8]| {
            part.iter()
                .zip(form.bytes())
                .all(|(byte, form)| if form == b'0' { byte.is_ascii_digit() } else { *byte == form })
        };
        for at in 0..text.len().saturating_sub(form.len()) {
            if is_like(&text[at..at + form.len()]) {
                text[at..at + form.len()].copy_from_slice(form.as_bytes());
            }
        }
    }
    let text = String::from_utf8(text).unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut out = String::new();
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        let is_hex = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_random = is_hex || word.len() >= 24;
        out.push_str(if is_random { "<random>" } else { word });
        word.clear();
    };
    for c in text.chars() {
        if is_part(c) {
            word.push(c);
        } else {
            end(&mut word, &mut out);
            out.push(c);
        }
    }
    end(&mut word, &mut out);
    // Recovery keys come in groups.
    let lines = out.lines().map(|line| if line.contains("TDBREC1-") { "<key>" } else { line });
    let lines: Vec<String> = lines.map(|line| line.split("(#").next().unwrap().to_owned()).collect();
    lines.join("\n")
}

#[test]
fn terminals_get_tables_colours_and_questions_through_the_server() {
    let world = furnished();
    let lines =
        ["thingdb log part-42 --utc", "thingdb get part-43", "NO_COLOR=1 thingdb get part-43", "thingdb ls -l --json"];
    let Some(alone) = lines.iter().map(|line| world.on_terminal(line, "", b"")).collect::<Option<Vec<_>>>() else {
        return;
    };
    let wide = world.on_terminal("stty cols 70; thingdb log part-42 --utc 2>&1", "", b"").unwrap();
    world.run(&["peer", "rm", "hq"]).ok();
    let server = Server::start(&world);
    for (line, alone) in lines.iter().zip(alone) {
        assert_eq!(world.on_terminal(line, "", b"").unwrap(), alone, "{line}");
    }
    assert_eq!(world.on_terminal("stty cols 70; thingdb log part-42 --utc 2>&1", "", b"").unwrap(), wide);
    let (code, text) = world.on_terminal("thingdb peer add hq @hq.card", "[y/N]", b"n\n").unwrap();
    assert!(code == 130 && text.contains("was not added"), "{text}");
    let (code, text) = world.on_terminal("thingdb peer add hq @hq.card", "[y/N]", b"y\n").unwrap();
    assert!(code == 0 && text.contains("since"), "{text}");
    // A bar comes and goes.
    let (code, text) = world.on_terminal("thingdb verify", "", b"").unwrap();
    assert!(code == 0 && text.contains("ok\u{1b}[0m  "), "{text}");
    server.stop();
}

#[test]
fn pipes_that_close_and_files_that_are_full_are_as_ever() {
    let world = furnished();
    let server = Server::start(&world);
    let shell = |line: &str| {
        let mut command = world.command("sh");
        command.args(["-c", line]).env_remove("THINGDB_PASSPHRASE_FILE");
        Answer::of(command)
    };
    for line in ["thingdb log s | head -1", "thingdb export | head -1", "thingdb log s --format table | head -1"] {
        let answer = shell(line).ok();
        assert_eq!((answer.stdout.lines().count(), answer.stderr.as_str()), (1, ""), "{line}");
    }
    shell("thingdb get nothing 2>&-").exit(3);
    shell("thingdb get part-42 <&-").ok();
    assert_eq!(shell("echo 7 | thingdb put pipe - >/dev/null; thingdb get pipe --field ''").ok().stdout, "7\n");
    assert_eq!(shell("thingdb export -o /dev/stdout --prefix lamp | grep -c payload").ok().stdout, "1\n");
    assert_eq!(shell("cat lines.ndjson | thingdb append /dev/stdin").ok().json()["added"], 300);
    if fs::metadata("/dev/full").is_ok() {
        shell("thingdb log s > /dev/full").exit(16).says("error[disk-full]");
        shell("thingdb export > /dev/full").exit(16);
    }
    server.stop();
}

#[test]
fn files_and_variables_are_those_of_the_client() {
    let world = furnished();
    fs::create_dir(world.path("elsewhere")).unwrap();
    let mut command = world.thingdb(&["serve"]);
    command
        .current_dir("/")
        .env("THINGDB_ACTOR", "nobody")
        .env("THINGDB_FORMAT", "table")
        .env("THINGDB_DIR", world.path("db"));
    let server = Server::spawn(command);
    let there = |args: &[&str]| {
        let mut command = client(&world, args);
        command.current_dir(world.path("elsewhere"));
        command
    };
    fs::write(world.path("elsewhere/data.json"), "[4]").unwrap();
    assert_eq!(Answer::of(there(&["put", "x", "@data.json"])).ok().json()["actor"]["name"], "alice");
    let mut command = there(&["put", "x", "5"]);
    command.env("THINGDB_ACTOR", "press-7").env("THINGDB_FORMAT", "table");
    assert!(Answer::of(command).ok().stdout.ends_with("signed by press-7\n"));
    Answer::of(there(&["export", "-o", "out"])).ok();
    assert!(world.path("elsewhere/out").is_file());

    // What fails leaves what was there, and nothing else.
    let before = fs::read(world.path("elsewhere/out")).unwrap();
    Answer::of(there(&["export", "--to", "nobody", "-o", "out"])).exit(3);
    assert_eq!(fs::read(world.path("elsewhere/out")).unwrap(), before);
    assert_eq!(fs::read_dir(world.path("elsewhere")).unwrap().count(), 2);
    // The name of the database is the one that the client gave.
    let mut command = there(&["stats", "-d", "../db"]);
    command.env_remove("THINGDB_FORMAT");
    assert_eq!(Answer::of(command).ok().json()["db"], "../db");
    server.stop();
}

#[test]
fn what_needs_no_server_or_cannot_have_one_says_so() {
    let world = World::new();
    let server = Server::start(&world);
    world.run(&[&["init"][..], &WEAK].concat()).exit(2).says("error[already-exists]");
    through(&world, &["serve"]).exit(11).says("error[locked]");
    let health = through(&world, &["doctor"]).ok().json();
    let checks = health["checks"].as_array().unwrap();
    let held = checks.iter().find(|check| check["check"] == "server").unwrap();
    assert!(held["detail"].as_str().unwrap().contains(&format!("process {}", server.id())), "{held}");
    server.stop();
    let health = world.run(&["doctor"]).ok().json();
    assert!(health["checks"].as_array().unwrap().iter().all(|check| check["check"] != "server"));
}
