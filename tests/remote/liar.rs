//! Servers that answer what cannot be: nothing of it is shown as if it were
//! so, nothing ends in a panic, nothing takes more memory than it should.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use super::reading::{Bytes, bare, keep};
use super::running::Running;
use super::world::World;

/// Answers every request with what `answer` makes of its target.
pub(super) fn liar(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            thread::spawn(move || {
                let mut target = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if target.is_empty() {
                        target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    }
                    line.clear();
                }
                answer(&target, &mut stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                // What is still unread would turn the end into a reset.
                let _ = reader.read_to_end(&mut Vec::new());
            });
        }
    });
    url
}

pub(super) fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    // The other side may have heard enough.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

pub(super) fn world() -> World {
    let world = World::empty();
    keep(&world, "token", "tdb_something");
    world
}

fn read(world: &World, url: &str, args: &[&str]) -> Bytes {
    Bytes::of(bare(world, &[args, &["--url", url, "--token-file", "token"]].concat()))
}

const READS: [&[&str]; 12] = [
    &["get", "part-42"],
    &["get", "part-42", "--seq", "1"],
    &["log", "part-42"],
    &["ls"],
    &["show", "0000000000"],
    &["diff", "part-42", "1", "1"],
    &["stats"],
    &["checkpoint"],
    &["forks"],
    &["erasures"],
    &["export", "-o", "exported"],
    &["prove", "part-42", "-o", "exported"],
];

#[test]
fn nonsense_is_told_and_not_shown() {
    let world = world();
    let bodies: [&[u8]; 9] = [
        b"",
        b"<html>\x1b[31mhello</html>",
        b"null",
        b"{}",
        b"[]x",
        b"[{}]",
        b"\xff\xfe",
        b"{\"thing\":\"part-42\"}",
        b"{\"thingdb\":1}\n",
    ];
    for body in bodies {
        let url = liar(move |_, stream| {
            say(stream, "200 OK", "content-type: application/json\r\nthingdb-next-position: 7\r\n", body);
        });
        for args in READS {
            let answer = read(&world, &url, args);
            assert_eq!(answer.code, Some(1), "{args:?} {:?} {answer:?}", String::from_utf8_lossy(body));
            assert!(answer.stderr.starts_with("error[bad-answer]"), "{args:?} {answer:?}");
            assert!(!answer.stderr.contains('\x1b') && answer.stdout.is_empty(), "{args:?} {answer:?}");
        }
    }
    assert!(!world.path("exported").exists());
    let long = format!("{{\"{}\":1}}", "x".repeat(1 << 20));
    let url = liar(move |_, stream| say(stream, "200 OK", "", format!("{{\"content\":{long:?}}}").as_bytes()));
    let answer = read(&world, &url, &["get", "part-42"]).exit(1);
    assert!(answer.stderr.len() < 4000, "{} bytes", answer.stderr.len());
    for status in ["404 Not Found", "418 I'm a teapot", "302 Found"] {
        let url = liar(move |_, stream| say(stream, status, "location: https://elsewhere/\r\n", b"\x1b[31mno"));
        for args in READS {
            let answer = read(&world, &url, args).exit(1).says("error[refused]").says(&status[..3]);
            assert!(!answer.stderr.contains('\x1b'), "{answer:?}");
        }
    }
    let url = liar(|_, stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n")));
    read(&world, &url, &["get", "part-42"]).exit(1).says("error[bad-answer]");
}

/// What a server would tell of an entry.
pub(super) fn entry() -> Value {
    json!({
        "thing": "part-42", "seq": 5, "id": "ab".repeat(32), "time": "2026-11-22T06:01:12.000000Z",
        "actor": {"name": "alice\u{1b}[31m", "key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "trusted": true},
        "action": "create\u{1b}[31m", "prev": ["cd".repeat(32)], "heads": 1,
        "content": "open",
        "media_type": "text/plain\u{1b}", "data": "MQ==",
    })
}

#[test]
fn an_entry_that_was_not_asked_for_is_not_shown() {
    let world = world();
    let url = liar(|target, stream| {
        let body = if target.contains("/entries?") { json!([entry()]) } else { entry() };
        say(stream, "200 OK", "", body.to_string().as_bytes());
    });
    let get = |args: &[&str]| read(&world, &url, &[&["--format", "table"], args].concat());
    let shown = get(&["get", "part-42"]).exit(0).text();
    assert!(shown.contains("alice\\u{1b}") && !shown.contains('\x1b'), "{shown}");
    get(&["log", "part-42", "--patch"]).exit(1).says("bad-answer");
    let told = read(&world, &url, &["log", "part-42", "--format", "ndjson"]).exit(0).text();
    assert!(told.contains("alice\\u001b") && !told.contains('\x1b'), "{told}");
    for args in [
        &["get", "part-43"][..],
        &["get", "part-42", "--seq", "4"],
        &["get", "part-42", "--at", "2026-11-21"],
        &["get", "part-42", "--id", "abac"],
        &["log", "part-43"],
        &["log", "part-42", "--since", "6"],
        &["log", "part-42", "--until", "4"],
        &["log", "part-42", "--until", "2026-11-21"],
        &["show", "abac"],
    ] {
        let answer = get(args).exit(1).says("error[bad-answer]");
        assert!(!answer.text().contains("alice"), "{args:?} {answer:?}");
    }
    // All that is told of one entry is missing.
    get(&["show", "abab"]).exit(1).says("error[bad-answer]");
}

#[test]
fn texts_that_are_printed_as_they_are_hold_nothing_that_a_terminal_obeys() {
    let source = World::new();
    let note = source.run(&["checkpoint"]).ok().stdout;
    let mut counts = source.run(&["stats", "--json"]).ok().json();
    counts.as_object_mut().unwrap().remove("db");
    let world = world();
    let url = liar(move |target, stream| {
        let body = if target == "/stats" { counts.to_string() } else { note.clone() };
        say(stream, "200 OK", "", body.as_bytes());
    });
    read(&world, &url, &["stats"]).exit(0);
    read(&world, &url, &["checkpoint"]).exit(0);
    let note = source.run(&["checkpoint"]).ok().stdout;
    for evil in ["\u{1b}[31m", "\u{202e}", "\u{9b}"] {
        let mut counts = source.run(&["stats", "--json"]).ok().json();
        counts["fingerprint"] = evil.into();
        // The name of another signer.
        let line = note.lines().last().unwrap().replacen("thingdb", &format!("{evil}thingdb"), 1);
        let note = format!("{note}{line}\n");
        let url = liar(move |target, stream| {
            let body = if target == "/stats" { counts.to_string() } else { note.clone() };
            say(stream, "200 OK", "", body.as_bytes());
        });
        read(&world, &url, &["stats"]).exit(1).says("error[bad-answer]");
        read(&world, &url, &["checkpoint"]).exit(1).says("error[bad-answer]");
    }
}

#[test]
fn pages_that_lead_nowhere_end() {
    let world = world();
    let url = liar(|target, stream| {
        let next = if target.starts_with("/things/") { "/x?before_seq=5&after_seq=5" } else { "/x?after=a" };
        let body = if target.starts_with("/things/") { json!([entry()]) } else { json!([]) };
        say(stream, "200 OK", &format!("link: <{next}>; rel=\"next\"\r\n"), body.to_string().as_bytes());
    });
    for args in [&["log", "part-42", "--format", "raw"][..], &["log", "part-42", "--reverse"], &["ls"], &["forks"]] {
        read(&world, &url, args).exit(1).says("error[bad-answer]");
    }
}

/// What a server would tell of a fork.
fn fork(thing: &str, heads: &[&str]) -> Value {
    let head = |id: &&str| {
        json!({
            "id": id.repeat(32), "seq": 2, "time": "2026-11-22T06:01:12.000000Z", "actor": entry()["actor"],
            "origin": "ef".repeat(16), "prev": ["cd".repeat(32)], "action": null, "readable": false,
        })
    };
    json!({"thing": thing, "heads": heads.iter().map(head).collect::<Vec<_>>(), "equivocations": []})
}

#[test]
fn a_fork_that_was_not_asked_for_is_not_shown() {
    let world = world();
    let of_one = |answer: Value| {
        let url = liar(move |_, stream| say(stream, "200 OK", "", answer.to_string().as_bytes()));
        read(&world, &url, &["forks", "part-42"])
    };
    assert!(of_one(json!([fork("part-42", &["ab", "ac"])])).exit(0).text().contains("abab"));
    of_one(json!([])).exit(0);
    for bad in [
        json!([fork("part-43", &["ab", "ac"])]),
        json!([fork("part-42", &["ab"])]),
        json!([fork("part-42", &[])]),
        json!([fork("part-42", &["ab", "ab"])]),
        json!([fork("part-42", &["ab", "ac"]), fork("part-42", &["ab", "ac"])]),
    ] {
        let answer = of_one(bad.clone()).exit(1).says("error[bad-answer]");
        assert!(answer.stdout.is_empty(), "{bad} {answer:?}");
    }
    // The first page, the link to the second, the second.
    let two = ["ab", "ac"];
    let cases = [
        (vec!["a", "b"], "b", vec!["c"], true),
        (vec!["a"], "z", vec!["zz"], true),
        (vec![], "b", vec!["c"], true),
        (vec!["b", "a"], "b", vec!["c"], false),
        (vec!["a", "a"], "a", vec!["c"], false),
        (vec!["a", "b"], "a", vec!["c"], false),
        (vec!["a", "b"], "b", vec!["b"], false),
        (vec!["a"], "z", vec!["b"], false),
        (vec!["a"], "%0a", vec!["b"], false),
        (vec!["a"], "%ff", vec!["b"], false),
    ];
    for (first, link, second, is_right) in cases {
        let told = format!("{first:?} {link} {second:?}");
        let pages = [first, second].map(|page| page.iter().map(|thing| fork(thing, &two)).collect::<Vec<_>>());
        let url = liar(move |target, stream| {
            let link = format!("link: </forks?after={link}>; rel=\"next\"\r\n");
            let (page, link) = if target.contains("after=") { (&pages[1], "") } else { (&pages[0], link.as_str()) };
            say(stream, "200 OK", link, json!(page).to_string().as_bytes());
        });
        for format in ["ndjson", "table"] {
            let answer = read(&world, &url, &["forks", "--format", format]);
            assert_eq!(answer.code, Some(i32::from(!is_right)), "{told} {answer:?}");
            // Where JSON is asked for, errors are JSON.
            assert!(is_right || answer.stderr.contains("bad-answer"), "{told} {answer:?}");
        }
    }
}

/// Forks come out as they come in: a server that never ends takes no memory.
#[test]
fn forks_without_end_are_handed_on() {
    let world = world();
    let url = liar(|target, stream| {
        let after: u64 = target.split("after=t").nth(1).map_or(0, |digits| digits.parse().unwrap());
        let page: Vec<_> = (1..=1000).map(|n| fork(&format!("t{:09}", after + n), &["ab", "ac"])).collect();
        let link = format!("link: </forks?after=t{:09}>; rel=\"next\"\r\n", after + 1000);
        say(stream, "200 OK", &link, json!(page).to_string().as_bytes());
    });
    for format in ["ndjson", "table"] {
        // More than two pages, and then nobody listens.
        let line = format!("thingdb forks --format {format} --url {url} --token-file token --no-input | head -5000");
        let mut shell = world.command("sh");
        shell.args(["-c", &line]).env_remove("THINGDB_DIR");
        assert_eq!(Bytes::of(shell).exit(0).text().lines().count(), 5000, "{format}");
    }
}

#[test]
fn empty_pages_without_end_are_left() {
    let world = world();
    let url = liar(|target, stream| {
        let number = |name: &str| {
            let digits = target.split(&format!("&{name}=")).nth(1)?;
            digits.split('&').next()?.trim_start_matches('t').parse::<u64>().ok()
        };
        let after = number("after_seq").unwrap_or(0) + 1;
        let before = number("before_seq").unwrap_or(1 << 40) - 1;
        let thing = number("after").unwrap_or(0) + 1;
        let link = format!("/x?after_seq={after}&before_seq={before}&after=t{thing:09}");
        say(stream, "200 OK", &format!("link: <{link}>; rel=\"next\"\r\n"), b"[]");
    });
    // Times leave entries out, and things need not have forked.
    for args in [&["log", "part-42", "--reverse", "--since", "2026-11-22"][..], &["forks"]] {
        read(&world, &url, args).exit(1).says("error[bad-answer]").says("empty pages in a row");
    }
    for args in [
        &["log", "part-42"][..],
        &["log", "part-42", "--reverse"],
        &["log", "part-42", "--since", "3"],
        &["get", "part-42", "--seq", "1"],
    ] {
        read(&world, &url, args).exit(1).says("error[bad-answer]");
    }
}

#[test]
fn a_page_does_not_lead_out_of_the_span() {
    let world = world();
    for next in [4, 6, 7] {
        let url = liar(move |_, stream| {
            let link = format!("link: </x?before_seq={next}&after_seq={next}>; rel=\"next\"\r\n");
            say(stream, "200 OK", &link, json!([entry()]).to_string().as_bytes());
        });
        for args in [
            &["get", "part-42", "--seq", "5"][..],
            &["log", "part-42", "--since", "5", "--until", "5"],
            &["log", "part-42", "--since", "5", "--until", "5", "--reverse"],
        ] {
            let answer = read(&world, &url, args).exit(1).says("error[bad-answer]");
            assert!(answer.stdout.is_empty(), "{next} {args:?} {answer:?}");
        }
    }
}

#[test]
fn a_thing_without_entries_is_not_shown() {
    let world = world();
    let head = json!({"id": "ab".repeat(32), "seq": 1, "time": "2026-11-22T06:01:12.000000Z"});
    for (entries, heads, is_right) in
        [(1, json!([head]), true), (1, json!([]), false), (0, json!([head]), false), (1, json!([head, head]), false)]
    {
        let page = json!([{"thing": "part-42", "entries": entries, "heads": heads}]);
        let url = liar(move |_, stream| say(stream, "200 OK", "", page.to_string().as_bytes()));
        let answer = read(&world, &url, &["ls"]).exit(i32::from(!is_right));
        assert!(is_right || answer.stderr.starts_with("error[bad-answer]"), "{answer:?}");
    }
}

#[test]
fn answers_without_end_are_left() {
    let world = world();
    let url = liar(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nthingdb-next-position: 1\r\n\r\n");
        let chunk = [b"100000\r\n", &[b'['; 1 << 20][..], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    for args in [&["get", "part-42"][..], &["log", "part-42"], &["ls"], &["stats"], &["export", "-o", "exported"]] {
        let line = format!("ulimit -v 1500000; thingdb {} --url {url} --token-file token --no-input", args.join(" "));
        let mut shell = world.command("sh");
        shell.args(["-c", &line]).env_remove("THINGDB_DIR");
        Bytes::of(shell).exit(1).says("error[bad-answer]");
    }
    assert!(!world.path("exported").exists());
}

#[test]
fn a_stream_that_breaks_off_leaves_no_file() {
    let source = World::new();
    let lines: String = (0..50).map(|n| format!("{{\"thing\":\"t\",\"data\":{n}}}\n")).collect();
    source.feed(&["append"], lines).ok();
    let stream = source.run(&["export"]).ok().stdout.into_bytes();
    let whole = stream.len();
    let cut_line = stream[..whole / 2].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let trailer = stream[..whole - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let without_one = [&stream[..cut_line], &stream[trailer..]].concat();
    let twice = [&stream[..], &stream[..]].concat();
    let world = world();
    // What comes, what was promised, and the exit code.
    let cases: [(&[u8], usize, i32); 8] = [
        (&stream, whole, 0),
        (&stream[..whole / 2], whole, 14),
        (&stream[..trailer], whole, 14),
        (&stream[..cut_line], cut_line, 1),
        (&stream[..trailer], trailer, 1),
        (&without_one, without_one.len(), 1),
        (&twice, twice.len(), 1),
        (b"", 0, 1),
    ];
    for (bytes, promised, code) in cases {
        let bytes = bytes.to_vec();
        let url = liar(move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\nthingdb-next-position: 50\r\n\r\n");
            let _ = stream.write_all(&[head.as_bytes(), &bytes].concat());
        });
        let answer = read(&world, &url, &["export", "-o", "exported", "--json"]).exit(code);
        assert_eq!(world.path("exported").exists(), code == 0, "{answer:?}");
        if code == 0 {
            assert_eq!(std::fs::read(world.path("exported")).unwrap(), stream);
            std::fs::remove_file(world.path("exported")).unwrap();
        }
        // On stdout no reader takes it for whole either.
        let answer = read(&world, &url, &["export"]).exit(code);
        let taken = source.feed(&["import"], &answer.stdout);
        assert!(code == 0 || taken.code != 0 || answer.stdout.is_empty() || answer.stdout == stream, "{taken:?}");
    }
}

/// A checkpoint of another ledger in the place of a stream's, in its header,
/// its trailer, or both; or none.
fn with_checkpoint(stream: &str, place: &str, note: &Value) -> String {
    let mut changed = String::new();
    for line in stream.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let is_frame = value.get("thingdb").is_some() || value.get("thingdb_end").is_some();
        let is_meant = place == "both" && is_frame || value.get(place).is_some();
        if is_meant {
            value["checkpoint"] = note.clone();
            value.as_object_mut().unwrap().retain(|_, member| !member.is_null());
        }
        changed.push_str(&if is_meant { value.to_string() } else { line.to_owned() });
        changed.push('\n');
    }
    changed
}

#[test]
fn a_stream_that_was_not_asked_for_leaves_no_file() {
    let (source, other) = (World::new(), World::new());
    let note = |world: &World| Value::from(world.run(&["checkpoint"]).ok().stdout);
    source.run(&["put", "b", "0"]).ok();
    let early = note(&source);
    for thing in ["a", "b", "a", "b", "a"] {
        source.run(&["put", thing, "1"]).ok();
    }
    for _ in 0..6 {
        other.run(&["put", "x", "1"]).ok();
    }
    let twin = note(&other);
    let export = |args: &[&str]| source.run(&[&["export"], args].concat()).ok().stdout;
    let (whole, of_a, late, beyond) =
        (export(&[]), export(&["--prefix", "a"]), export(&["--since", "4"]), export(&["--since", "6"]));
    // What is asked, the next position, the stream, and the exit code.
    let cases: Vec<(&[&str], u64, String, i32)> = vec![
        (&[], 6, whole.clone(), 0),
        (&["--prefix", "a"], 6, of_a.clone(), 0),
        (&["--since", "4"], 6, late.clone(), 0),
        (&["--since", "100"], 100, beyond.clone(), 0),
        (&["--since", "4", "--prefix", "c"], 6, beyond.clone(), 0),
        // The ledger grew while the stream was made.
        (&["--prefix", "a"], 5, of_a.clone(), 0),
        (&["--since", "4"], 6, with_checkpoint(&late, "both", &Value::Null), 0),
        (&["--prefix", "a"], 6, whole.clone(), 1),
        (&["--since", "100"], 100, late.clone(), 1),
        (&["--since", "100"], 102, late.clone(), 1),
        (&["--since", "100"], 101, beyond.clone(), 1),
        (&["--since", "4"], 3, beyond, 1),
        (&["--since", "4"], 6, whole.clone(), 1),
        (&[], 7, whole.clone(), 1),
        (&[], 5, whole.clone(), 1),
        (&["--prefix", "a"], 6, with_checkpoint(&of_a, "thingdb", &early), 1),
        (&["--prefix", "a"], 6, with_checkpoint(&of_a, "thingdb_end", &early), 1),
        (&["--prefix", "a"], 6, with_checkpoint(&of_a, "thingdb_end", &twin), 1),
        (&[], 6, with_checkpoint(&whole, "both", &twin), 1),
    ];
    let world = world();
    for (args, next, stream, code) in cases {
        let body = stream.clone();
        let url = liar(move |_, out| {
            say(out, "200 OK", &format!("thingdb-next-position: {next}\r\n"), body.as_bytes());
        });
        let answer = read(&world, &url, &[&["export", "-o", "exported"], args].concat());
        assert_eq!(answer.code, Some(code), "{args:?} {next} {answer:?}\n{stream}");
        assert_eq!(world.path("exported").exists(), code == 0, "{args:?} {next} {answer:?}");
        if code == 0 {
            std::fs::remove_file(world.path("exported")).unwrap();
        } else {
            assert!(answer.stderr.starts_with("error[bad-answer]"), "{args:?} {next} {answer:?}");
        }
    }
    // Frames are looked at as lines are.
    source.run(&["export", "--binary", "-o", "frames"]).ok();
    let frames = std::fs::read(source.path("frames")).unwrap();
    let url = liar(move |_, out| say(out, "200 OK", "thingdb-next-position: 6\r\n", &frames));
    read(&world, &url, &["export", "--binary", "-o", "exported"]).exit(0);
    std::fs::remove_file(world.path("exported")).unwrap();
    read(&world, &url, &["export", "--binary", "-o", "exported", "--prefix", "a"]).exit(1).says("error[bad-answer]");
    assert!(!world.path("exported").exists());
}

#[test]
fn compression_of_a_stream_that_broke_off_has_no_end() {
    let source = World::new();
    source.run(&["put", "part-42", "1"]).ok();
    let stream = source.run(&["export"]).ok().stdout;
    let trailer = stream.trim_end().rfind('\n').unwrap() + 1;
    let cut = stream[..trailer].to_owned();
    let url = liar(move |_, out| say(out, "200 OK", "thingdb-next-position: 1\r\n", cut.as_bytes()));
    let world = world();
    let packed = |how| read(&world, &url, &["export", "--compress", how]).exit(1).says("error[bad-answer]").stdout;
    let mut read = Vec::new();
    let zstd = packed("zstd");
    assert!(zstd::Decoder::new(&zstd[..]).unwrap().read_to_end(&mut read).is_err());
    assert_eq!(String::from_utf8_lossy(&read), stream[..trailer]);
    read.clear();
    let gzip = packed("gzip");
    assert!(flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut read).is_err());
    assert_eq!(String::from_utf8_lossy(&read), stream[..trailer]);
}

/// A server that is killed while it sends.
#[test]
fn a_server_that_dies_leaves_no_file() {
    let world = World::new();
    let data = "x".repeat(60_000);
    let lines: String = (0..1000).map(|n| format!("{{\"thing\":\"t\",\"data\":\"{n}{data}\"}}\n")).collect();
    world.feed(&["append", "--relaxed"], lines).ok();
    super::reading::with_token(&world, "export", &[]);
    let server = Running::start(world, &[]);
    // A pipe that nobody empties holds the command up in the middle.
    let mut command = super::reading::remote(&server, &["export", "--compress", "none"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut begun = vec![0; 100_000];
    stdout.read_exact(&mut begun).unwrap();
    server.signal("-KILL");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(14), "{said}");
    assert!(said.contains("error[unreachable]"), "{said}");
    assert!(!String::from_utf8_lossy(&rest).contains("thingdb_end"), "the end did not come");
}
