//! A peer whose server says what cannot be, or says it in a way that has no end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::liar::{Asked, Liar, Said};
use super::node::{Node, Place, Server};
use super::proxy::{Faults, Proxy};

/// Two nodes that know each other, the second one with a server without TLS.
fn pair(place: &Place) -> (Node, Node, Server) {
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let server = b.serve_plainly();
    (a, b, server)
}

/// Says something else where a path is asked for.
fn at(path: &'static str, say: impl Fn() -> Said + Send + Sync + 'static) -> impl Fn(&Asked) -> Said + Send + Sync {
    move |asked| if asked.target.starts_with(path) { say() } else { Said::Truth }
}

/// Changes members of a JSON object.
fn with(body: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(body).unwrap();
    change(&mut json);
    serde_json::to_vec(&json).unwrap()
}

const PROBLEM: &str = r#"{"title":"t","code":"too-large","detail":"that is too much"}"#;

fn problem(status: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n{PROBLEM}", PROBLEM.len()).into_bytes()
}

#[test]
fn an_answer_without_an_end_is_left() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let endless: [(&[u8], &[u8]); 8] = [
        // One header, many headers, answers before the answer.
        (b"HTTP/1.1 200 OK\r\nx: ", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        (HEAD, b"x: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        // The size of a chunk, trailers, a trailer.
        (CHUNKED, b"0000000000000000000000000000000000000000000000000000000000"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"x: y\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: ", b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        // An answer that is longer than any.
        (CHUNKED, b"8\r\n\"\"\"\"\"\"\"\"\r\n"),
    ];
    let place = Place::new();
    let (a, b, server) = pair(&place);
    for (first, again) in endless {
        let liar = Liar::new(&server, at("/sync/state", move || Said::Endless(first, again)));
        liar.poses(&a, &b);
        let err = a.fails(&["pull", "b", "--tries", "1"], 1, "bad-answer");
        let taken = liar.notes.lock().unwrap().taken;
        assert!(taken < 32 << 20, "{taken} bytes of {:?}: {err}", String::from_utf8_lossy(again));
    }
}

#[test]
fn an_answer_that_could_be_cut_unnoticed_is_none() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    for head in ["HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", "ICY 200 OK\r\n\r\n{}"]
    {
        let liar = Liar::new(&server, at("/sync/state", move || Said::Raw(head.into())));
        liar.poses(&a, &b);
        a.fails(&["pull", "b", "--tries", "1"], 1, "bad-answer");
    }
    // One that is cut is asked for again.
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}";
    let liar = Liar::new(&server, at("/sync/state", move || Said::Raw(cut.into())));
    liar.poses(&a, &b);
    a.fails(&["pull", "b", "--tries", "2"], 14, "unreachable");
    assert_eq!(liar.count("/sync/state"), 2);
}

#[test]
fn the_same_answer_in_crumbs_is_the_same_answer() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 40);
    b.write("lamp", 40);
    let liar = Liar::new(&server, |_| Said::Crumbs);
    liar.poses(&a, &b);
    let done = a.json(&["sync", "b"]);
    assert_eq!((&done["pulled"]["added"], &done["pushed"]["added"]), (&40.into(), &40.into()), "{done}");
    assert_eq!(a.heads(), b.heads());
    assert_eq!(liar.notes.lock().unwrap().connections, 1);
}

#[test]
fn a_line_on_which_nothing_moves_is_broken() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    let liar = Liar::new(&server, at("/sync/state", || Said::Stall));
    liar.poses(&a, &b);
    let err = a.fails(&["pull", "b", "--stall", "1s", "--tries", "2"], 14, "unreachable");
    assert!(err.contains("nothing came for 1 s"), "{err}");
    assert_eq!(liar.count("/sync/state"), 2);
}

#[test]
fn the_token_goes_nowhere_else() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    let other = Liar::new(&server, |_| Said::Truth);
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: {}/sync/state\r\n", other.url);
        let redirect = move || Said::Raw(problem(status, &location));
        let liar = Liar::new(&server, at("/sync/state", redirect));
        liar.poses(&a, &b);
        let err = a.fails(&["pull", "b"], 1, "refused");
        assert!(!err.contains("tdb_"), "{err}");
    }
    assert_eq!(other.notes.lock().unwrap().connections, 0);
    // Nor through a proxy of the environment.
    let liar = Liar::new(&server, |_| Said::Truth);
    liar.poses(&a, &b);
    let mut pull = a.command(&["pull", "b"]);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
        pull.env(name, &other.url);
    }
    assert!(pull.output().unwrap().status.success());
    assert_eq!(other.notes.lock().unwrap().connections, 0);
    let asked = &liar.notes.lock().unwrap().asked;
    let names = ["cookie", "accept-encoding", "expect", "te", "upgrade", "connection", "proxy-authorization"];
    assert!(asked.iter().flat_map(|asked| &asked.headers).all(|(name, _)| !names.contains(&name.as_str())));
}

#[test]
fn a_server_that_answers_before_all_is_sent_is_understood() {
    // One that fails is not asked again for the same.
    for (status, exit, word) in [
        ("413 Content Too Large", 1, "refused"),
        ("401 Unauthorized", 13, "token-refused"),
        ("500 Internal Server Error", 1, "refused"),
    ] {
        let place = Place::new();
        let (a, b, server) = pair(&place);
        a.write("plant", 200);
        let liar = Liar::new(&server, at("/sync/entries", move || Said::Raw(problem(status, ""))));
        liar.poses(&a, &b);
        // Slow enough that the server has answered before the body is sent.
        let err = a.fails(&["push", "b", "--max-rate", "32KiB/s"], exit, word);
        assert!(err.contains("that is too much"), "{err}");
        assert_eq!(liar.count("/sync/entries"), 1);
    }
}

#[test]
fn a_server_that_is_older_than_what_is_sent_says_so() {
    const OLDER: &str = r#"{"title":"t","code":"newer-version","detail":"frame 1: version 9"}"#;
    let answer = format!("HTTP/1.1 422 Unprocessable Content\r\ncontent-length: {}\r\n\r\n{OLDER}", OLDER.len());
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 200);
    let liar = Liar::new(&server, at("/sync/entries", move || Said::Raw(answer.clone().into_bytes())));
    liar.poses(&a, &b);
    // Slow enough that the server has answered before the body is sent.
    let err = a.fails(&["push", "b", "--max-rate", "32KiB/s"], 15, "newer-version");
    assert!(err.contains("frame 1: version 9"), "{err}");
    assert_eq!(liar.count("/sync/entries"), 1);
}

#[test]
fn a_server_that_has_too_much_to_do_is_asked_again() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 200);
    let times = Arc::new(AtomicUsize::new(0));
    let busy = move |asked: &Asked| {
        let is_busy = asked.target.starts_with("/sync/entries") && times.fetch_add(1, Ordering::SeqCst) < 2;
        if is_busy { Said::Raw(problem("429 Too Many Requests", "retry-after: 1\r\n")) } else { Said::Truth }
    };
    let liar = Liar::new(&server, busy);
    liar.poses(&a, &b);
    let done = a.json(&["push", "b", "--max-rate", "64KiB/s"]);
    assert_eq!(done["pushed"]["added"], 200, "{done}");
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn a_connection_is_used_again_and_a_session_taken_up() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 20);
    b.write("lamp", 20);
    let liar = Liar::new(&server, |_| Said::Truth);
    liar.poses(&a, &b);
    a.ok(&["sync", "b"]);
    assert_eq!(liar.notes.lock().unwrap().connections, 1);
    // A server that hangs up after each answer, without saying so, is called
    // again: at a smaller price.
    a.write("door", 20);
    b.write("gate", 20);
    let liar = Liar::new(&server, |_| Said::LastTruth);
    liar.poses(&a, &b);
    let done = a.json(&["sync", "b"]);
    assert_eq!((&done["pulled"]["added"], &done["pushed"]["added"]), (&20.into(), &20.into()), "{done}");
    let notes = liar.notes.lock().unwrap();
    assert!(notes.connections > 2, "{}", notes.connections);
    assert_eq!(notes.resumed, notes.connections - 1);
}

#[test]
fn who_answers_but_cuts_every_stream_is_given_up() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 20);
    b.write("lamp", 20);
    let liar = Liar::new(&server, at("/sync/entries", || Said::Silence));
    liar.poses(&a, &b);
    a.fails(&["push", "b", "--tries", "3"], 14, "unreachable");
    assert_eq!(liar.count("/sync/entries"), 3);
    let cut = || Said::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n".to_vec());
    let liar = Liar::new(&server, at("/sync/fetch", cut));
    liar.poses(&a, &b);
    a.fails(&["pull", "b", "--tries", "3"], 14, "unreachable");
    assert_eq!(liar.count("/sync/fetch"), 3);
}

#[test]
fn a_line_that_breaks_loses_no_completion() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.write("plant", 100);
    let server = b.serve();
    a.reaches(&b, &server.url, "export,import");
    a.ok(&["push", "b"]);
    a.ok(&["share", "--prefix", "plant", "--to", "b"]);
    let line = Proxy::new(server.port, Faults { break_after: Some(16 << 10), ..Faults::default() });
    a.reaches(&b, &line.url, "export,import");
    a.ok(&["push", "b", "--tries", "20"]);
    assert!(line.breaks() > 1, "{}", line.breaks());
    let entries: usize = (0..7)
        .map(|n| {
            let log = b.json(&["log", &format!("plant-{n}"), "-n", "1000"]);
            let log = log.as_array().unwrap().clone();
            assert!(log.iter().all(|entry| entry["content"] == "open"), "{log:?}");
            log.len()
        })
        .sum();
    assert_eq!(entries, 100);
}

#[test]
fn counts_beyond_what_was_sent_are_not_believed() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 20);
    let much = |body: Vec<u8>| {
        with(&body, |json| {
            for name in ["added", "known", "completed", "pending", "refused"] {
                json[name] = u64::MAX.into();
            }
            let long = "long ".repeat(100_000);
            json["reasons"] = serde_json::json!([{ "id": long, "reason": long }]);
        })
    };
    let liar = Liar::new(&server, at("/sync/entries", move || Said::Edited(much)));
    liar.poses(&a, &b);
    // Refused entries are an exit code of their own.
    let output = a.run(&["push", "b", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["added", "known", "completed", "pending", "refused"] {
        assert!(told["pushed"][name].as_u64().unwrap() <= 20, "{told}");
    }
    assert!(output.stdout.len() + output.stderr.len() < 10_000, "it does not fill the screen");
    // More, or fewer, than were sent is no answer.
    a.write("plant", 20);
    for more in [
        |body: Vec<u8>| with(&body, |json| json["entries"] = u64::MAX.into()),
        |body: Vec<u8>| with(&body, |json| json["entries"] = 1.into()),
    ] {
        let liar = Liar::new(&server, at("/sync/entries", move || Said::Edited(more)));
        liar.poses(&a, &b);
        a.fails(&["push", "b", "--all"], 1, "bad-answer");
    }
}

#[test]
fn completions_where_no_entry_can_be_are_not_asked_for() {
    let lies: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |body| with(&body, |json| json["positions"] = vec![u64::MAX].into()),
        |body| with(&body, |json| json["positions"] = vec![20].into()),
        // Lists without an end.
        |body| {
            with(&body, |json| {
                json["revision"] = 1.into();
                json["positions"] = vec![0].into();
                json["more"] = true.into();
            })
        },
        |body| {
            with(&body, |json| {
                json["positions"] = Vec::<u64>::new().into();
                json["more"] = true.into();
            })
        },
    ];
    for lie in lies {
        let place = Place::new();
        let (a, b, server) = pair(&place);
        b.write("lamp", 20);
        let honest = Liar::new(&server, |_| Said::Truth);
        honest.poses(&a, &b);
        a.ok(&["pull", "b"]);
        b.ok(&["share", "--prefix", "lamp", "--to", "a"]);
        let liar = Liar::new(&server, at("/sync/changes", move || Said::Edited(lie)));
        liar.poses(&a, &b);
        a.fails(&["pull", "b"], 1, "bad-answer");
        honest.poses(&a, &b);
        a.ok(&["pull", "b"]);
        assert_eq!(a.json(&["get", "lamp-1"])["content"], "open", "nothing was lost over it");
    }
}

#[test]
fn places_where_no_entry_can_be_are_not_asked_for() {
    let place = Place::new();
    let (a, b, server) = pair(&place);
    a.write("plant", 1100);
    let file = place.path("all.ndjson");
    a.ok(&["export", "-o", file.to_str().unwrap()]);
    b.ok(&["import", file.to_str().unwrap()]);
    b.write("lamp", 3);
    let lies: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |body| vec![0xff; body.len()],
        |body| [&body[8..], &1103_u64.to_be_bytes()].concat(),
        |body| body[8..].to_vec(),
    ];
    for lie in lies {
        let liar = Liar::new(&server, at("/sync/locate", move || Said::Edited(lie)));
        liar.poses(&a, &b);
        a.fails(&["pull", "b"], 1, "bad-answer");
        assert_eq!(liar.count("/sync/locate"), 1);
    }
    let honest = Liar::new(&server, |_| Said::Truth);
    honest.poses(&a, &b);
    assert_eq!(a.json(&["pull", "b"])["pulled"]["added"], 3);
}
