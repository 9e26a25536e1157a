//! Which of a database and a server is read, and what has to be known of the
//! server.

use std::fs;

use super::reading::{Bytes, bare, keep, remote, url, with_token};
use super::running::Running;
use super::world::World;

/// A database whose part-42 is 1, and a server whose part-42 is 2.
fn two() -> (World, Running) {
    let (here, there) = (World::new(), World::new());
    here.run(&["put", "part-42", "1"]).ok();
    there.run(&["put", "part-42", "2"]).ok();
    with_token(&there, "read", &[]);
    for name in ["card", "token"] {
        fs::copy(there.path(name), here.path(name)).unwrap();
    }
    (here, Running::start(there, &[]))
}

#[test]
fn arguments_win_over_the_environment_and_doubt_is_told() {
    let (here, server) = two();
    let url = url(&server);
    let far = ["--card", "card", "--token-file", "token"];
    // Variables, arguments, and the data or the exit code.
    type Case<'a> = (&'a [&'a str], &'a [&'a str], Result<&'a str, i32>);
    let cases: [Case<'_>; 12] = [
        (&["dir"], &[], Ok("1")),
        (&["url"], &[], Ok("2")),
        (&["dir"], &["--url"], Ok("2")),
        (&["url"], &["--db"], Ok("1")),
        (&["dir", "url"], &["--url"], Ok("2")),
        (&["dir", "url"], &["--db"], Ok("1")),
        (&["dir", "url"], &[], Err(2)),
        (&[], &["--db", "--url"], Err(2)),
        (&["dir", "url"], &["--db", "--url"], Err(2)),
        (&[], &[], Err(2)),
        (&["empty"], &["--db"], Ok("1")),
        (&["dir", "empty"], &[], Ok("1")),
    ];
    for (variables, args, expected) in cases {
        let mut command = here.thingdb(&["get", "part-42", "--raw", "--no-input"]);
        command.env_remove("THINGDB_DIR").env("THINGDB_CARD", "card").env("THINGDB_TOKEN_FILE", "token");
        for variable in variables {
            match *variable {
                "dir" => command.env("THINGDB_DIR", here.path("db")),
                "url" => command.env("THINGDB_URL", &url),
                _ => command.env("THINGDB_URL", ""),
            };
        }
        for arg in args {
            command.args([*arg, if *arg == "--db" { "db" } else { &url }]);
        }
        let answer = Bytes::of(command);
        match expected {
            Ok(data) => {
                assert_eq!((answer.code, answer.text().as_str()), (Some(0), data), "{variables:?} {args:?} {answer:?}")
            }
            Err(code) => drop(answer.exit(code).says("error[usage]")),
        }
    }
    // Wherever the option stands.
    let mut command = here.thingdb(&["--db", "db", "get", "part-42", "--raw"]);
    command.env_remove("THINGDB_DIR").env("THINGDB_URL", &url);
    assert_eq!(Bytes::of(command).exit(0).text(), "1");
    Bytes::of(bare(&here, &["--db", "db", "get", "part-42", "--url", &url])).exit(2).says("--db names a database");
    // Commands that write know nothing of a server.
    let mut put = here.thingdb(&["put", "part-42", "3"]);
    put.env("THINGDB_URL", &url);
    Bytes::of(put).exit(0);
    Bytes::of(bare(&here, &["put", "part-42", "3", "--url", &url])).exit(2);
    // Those that need a database say so.
    for args in [&["put", "part-42", "3"][..], &["verify"], &["readers", "part-42"], &["token", "ls"]] {
        let mut command = bare(&here, args);
        command.env("THINGDB_URL", &url);
        Bytes::of(command).exit(2).says("which database?").says("THINGDB_URL names a server").says("get, log");
        let answer = Bytes::of(bare(&here, args)).exit(2).says("which database?");
        assert!(!answer.stderr.contains("THINGDB_URL"), "{answer:?}");
        for option in [&["--url", &url][..], &["--card", "card"], &["--token-file", "token"]] {
            let answer = Bytes::of(bare(&here, &[args, option].concat())).exit(2).says("error[usage]");
            // The card with which verify checks files is another matter.
            if (args[0], option[0]) == ("verify", "--card") {
                drop(answer.says("FILE"));
                continue;
            }
            let answer = answer.says(&format!("{} is for commands that read a server", option[0]));
            assert!(!answer.stderr.contains("-- --"), "{answer:?}");
        }
    }
    for option in ["--card", "--token-file", "--tls-fingerprint"] {
        Bytes::of(here.thingdb(&["get", "part-42", option, "card"])).exit(2).says(option);
    }
    // With a server, the socket of a database here is not used.
    let mut command = here.thingdb(&["get", "part-42", "--raw", "--url", &url]);
    command.args(far).env("THINGDB_DIR", server.world.path("db"));
    assert_eq!(Bytes::of(command).exit(0).text(), "2");
    server.stop();
}

#[test]
fn without_a_pin_or_a_token_nothing_is_asked() {
    let (here, server) = two();
    let url = url(&server);
    let get = |args: &[&str]| Bytes::of(bare(&here, &[&["get", "part-42", "--raw"], args].concat()));
    get(&["--url", &url, "--token-file", "token"]).exit(2).says("--card FILE").says("thingdb card");
    get(&["--url", &url, "--card", "card"]).exit(2).says("--token-file FILE").says("thingdb token new");
    get(&["--url", &url, "--card", "missing", "--token-file", "token"]).exit(2).says("missing");
    get(&["--url", &url, "--card", "card", "--token-file", "missing"]).exit(2).says("missing");
    get(&["--url", &url, "--card", "token", "--token-file", "token"]).exit(2).says("no card");
    get(&["--url", &url, "--card", "card", "--token-file", "card", "-q"]).exit(13);
    here.write("empty", "\n");
    get(&["--url", &url, "--card", "card", "--token-file", "empty"]).exit(1).says("the token is empty");
    here.write("two", "tdb_a\ntdb_b\n");
    get(&["--url", &url, "--card", "card", "--token-file", "two"]).exit(2).says("holds no token");
    for bad in ["hq.example:7443", "http://hq.example:7443", "https://u:p@hq", "https://hq/things", "ftp://hq"] {
        get(&["--url", bad, "--card", "card", "--token-file", "token"]).exit(2).says("--url https://HOST:PORT");
    }
    // As the card, the token may come through stdin; not both.
    for (card, token, input, code) in [
        ("card", "-", "token", 0),
        ("-", "token", "card", 0),
        ("-", "-", "token", 2),
        ("card", "-", "empty", 1),
        ("card", "-", "two", 2),
        ("card", "-", "card", 13),
    ] {
        let mut command =
            bare(&here, &["get", "part-42", "--raw", "--url", &url, "--card", card, "--token-file", token]);
        command.stdin(fs::File::open(here.path(input)).unwrap());
        let answer = Bytes::of(command).exit(code);
        assert_eq!(answer.text(), if code == 0 { "2" } else { "" }, "{card} {token} {input}");
        assert!(code != 2 || answer.stderr.contains("stdin"), "{answer:?}");
    }
    let fingerprint = server.said["certificate"].as_str().unwrap();
    for hex in [fingerprint.to_owned(), fingerprint.to_uppercase()] {
        assert_eq!(get(&["--url", &url, "--tls-fingerprint", &hex, "--token-file", "token"]).exit(0).text(), "2");
    }
    get(&["--url", &url, "--tls-fingerprint", "abcd", "--token-file", "token"]).exit(2).says("64 hex digits");
    get(&["--url", &url, "--tls-fingerprint", fingerprint, "--card", "card", "--token-file", "token"]).exit(2);
    // A variable gives way to an argument.
    let mut command = bare(&here, &["get", "part-42", "--url", &url, "--tls-fingerprint", fingerprint]);
    command.env("THINGDB_CARD", "missing").env("THINGDB_TOKEN_FILE", "token");
    Bytes::of(command).exit(0);
    // A file that others can read is told of, as that of a passphrase is.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(here.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    get(&["--url", &url, "--card", "card", "--token-file", "token"]).exit(0).says("warning[token-file]");
    server.stop();
}

#[test]
fn plain_http_is_read_on_this_machine_only() {
    let world = World::new();
    world.run(&["put", "part-42", "2"]).ok();
    let token = Running::token(&world, "reader", &["--scope", "read,export"]);
    keep(&world, "token", &token);
    let mut child = world.thingdb(&["serve", "--listen", "127.0.0.1:0", "--plain-http"]);
    let mut child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = said["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let read = |args: &[&str]| Bytes::of(bare(&world, &[args, &["--url", url, "--token-file", "token"]].concat()));
    assert_eq!(read(&["get", "part-42", "--raw"]).exit(0).text(), "2");
    assert_eq!(read(&["export"]).exit(0).text().lines().count(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    read(&["get", "part-42"]).exit(14).says("error[unreachable]");
}

#[test]
fn plain_http_to_a_port_with_tls_is_told_of_https() {
    let (here, server) = two();
    let url = url(&server).replace("https://", "http://");
    let mut command = bare(&here, &["get", "part-42", "--url", &url, "--token-file", "token"]);
    command.env_remove("THINGDB_CARD");
    Bytes::of(command).exit(1).says("error[bad-answer]").says("hint: ").says("--url https://HOST:PORT --card FILE");
    server.stop();
}

#[test]
fn a_checkpoint_is_held_against_the_card() {
    let (here, server) = two();
    let note = Bytes::of(remote(&server, &["checkpoint"])).exit(0).text();
    assert!(note.starts_with("thingdb") || note.lines().count() >= 4, "{note}");
    // The right certificate, and the card of another node.
    let other = here.run(&["card"]).ok().stdout;
    here.write("other", other);
    Bytes::of(bare(&here, &["checkpoint", "--url", &url(&server), "--card", "other", "--token-file", "token"]))
        .exit(14);
    server.stop();
}
