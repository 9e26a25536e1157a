//! Exports that wait for what comes, and what becomes of them when their token
//! goes.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use super::client::{Connection, Reply, chunk, read_chunk, read_head};
use super::routes::{furnished, served};

/// Server-sent events, one at a time.
struct Events {
    source: BufReader<Connection>,
    text: String,
}

impl Events {
    fn new(connection: Connection) -> Self {
        let mut source = BufReader::new(connection);
        let (status, headers) = read_head(&mut source).unwrap();
        assert_eq!(status, 200, "{headers:?}");
        assert!(headers.contains(&("content-type".into(), "text/event-stream".into())), "{headers:?}");
        Self { source, text: String::new() }
    }

    /// Name, id and data of the next event; nothing at the end.
    fn next(&mut self) -> Option<(String, String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                let event = (field("event: "), field("id: "), field("data: "));
                self.text = rest.to_owned();
                if !event.0.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let piece = read_chunk(&mut self.source).unwrap()?;
            self.text += std::str::from_utf8(&piece).unwrap();
        }
    }
}

#[test]
fn events_go_on_when_entries_come() {
    let (server, token) = served(furnished(), &[]);
    let events = [("accept", "text/event-stream")];
    let mut follower = Events::new(server.begin(&token, "GET", "/export?since=2", &events));
    let (name, _, line) = follower.next().unwrap();
    assert!(name == "entry" && line.contains("\"thing\":\"lamp/2\""), "{line}");
    assert_eq!(follower.next().unwrap(), ("position".into(), "3".into(), "{\"next_position\":3}".into()));
    // Over the network, and by a command beside the server.
    server.post(&token, "/things/lamp%2F2/entries", "false").is(201);
    assert!(follower.next().unwrap().2.contains("\"seq\":2"));
    assert_eq!(follower.next().unwrap().1, "4");
    server.world.run(&["put", "lamp/3", "1"]).ok();
    assert!(follower.next().unwrap().2.contains("\"thing\":\"lamp/3\""));
    assert_eq!(follower.next().unwrap().1, "5");
    // Another one goes on where this one was.
    let again = [events[0], ("last-event-id", "4")];
    let mut again = Events::new(server.begin(&token, "GET", "/export?things=lamp", &again));
    assert!(again.next().unwrap().2.contains("\"thing\":\"lamp/3\""));
    server.ask(&token, "GET", "/export", &[events[0], ("last-event-id", "x")], b"").problem(400, "usage");
    server.stop();
}

#[test]
fn a_position_behind_the_end_of_the_ledger_is_refused() {
    let (server, token) = served(furnished(), &[]);
    for path in ["/export?since=4", "/export?since=4&wait=1", "/export?since=4&things=lamp"] {
        for accept in ["application/x-ndjson", "application/vnd.thingdb.stream", "text/event-stream"] {
            let reply = server.ask(&token, "GET", path, &[("accept", accept)], b"").problem(422, "invalid-input");
            let problem = reply.json();
            assert_eq!(problem["detail"], "nothing is at position 4: the ledger has 3 entries", "{path} {accept}");
            assert!(problem["hint"].as_str().unwrap().contains("the last export"), "{problem}");
        }
    }
    let again = [("accept", "text/event-stream"), ("last-event-id", "4")];
    server.ask(&token, "GET", "/export", &again, b"").problem(422, "invalid-input");
    server.ask(&token, "GET", "/export", &[("accept", "text/event-stream"), ("last-event-id", "99")], b"").is(422);
    server.get(&token, "/export?since=3").is(200);
    // At the end itself one goes on.
    let end = [("accept", "text/event-stream"), ("last-event-id", "3")];
    let mut follower = Events::new(server.begin(&token, "GET", "/export", &end));
    server.post(&token, "/things/lamp%2F2/entries", "false").is(201);
    assert!(follower.next().unwrap().2.contains("\"seq\":2"));
    server.stop();
}

#[test]
fn who_waits_gets_what_comes() {
    let (server, token) = served(furnished(), &[]);
    let empty = server.get(&token, "/export?since=3").is(200);
    assert_eq!((empty.text().lines().count(), empty.header("thingdb-next-position")), (2, Some("3")));
    let waiting = server.begin(&token, "GET", "/export?since=3&wait=60", &[]);
    server.post(&token, "/things/lamp%2F2/entries", "false").is(201);
    let reply = Reply::read(&mut BufReader::new(waiting), false).unwrap().is(200);
    assert_eq!((reply.text().lines().count(), reply.header("thingdb-next-position")), (3, Some("4")));
    assert_eq!(server.get(&token, "/export?since=4&wait=1").is(200).text().lines().count(), 2);
    server.get(&token, "/export?wait=301").problem(400, "usage");
    server.stop();
}

#[test]
fn a_token_that_is_removed_ends_what_it_began() {
    let (server, token) = served(furnished(), &[]);
    let mut follower = Events::new(server.begin(&token, "GET", "/export", &[("accept", "text/event-stream")]));
    while follower.next().unwrap().1 != "3" {}
    let import = server.begin(&token, "POST", "/import", &[("content-type", "application/x-ndjson")]);
    server.get(&token, "/info").is(200);
    server.world.run(&["token", "rm", "all"]).ok();
    server.get(&token, "/info").problem(401, "token-refused");
    assert_eq!(follower.next(), None);
    // The import hears of it when it goes on.
    import.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut import = BufReader::new(import);
    loop {
        let sent = import.get_mut().write_all(&chunk(b"\n")).and_then(|()| import.get_mut().flush());
        if import.fill_buf().is_ok_and(|buffer| !buffer.is_empty()) {
            break;
        }
        sent.expect("the answer comes before the end");
    }
    assert_eq!(read_head(&mut import).unwrap().0, 401);
    server.stop();
}
