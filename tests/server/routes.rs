//! What each route does.

use serde_json::{Value, json};

use super::running::Running;
use super::world::World;

/// A server with a token that may do everything.
pub(crate) fn served(world: World, args: &[&str]) -> (Running, String) {
    let token = Running::token(&world, "all", &["--scope", "read,write,export,import"]);
    (Running::start(world, args), token)
}

/// Two entries of part-42, one of lamp/2.
pub(crate) fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "part-42", r#"{"temp":20.1}"#]).ok();
    world.run(&["put", "part-42", r#"{"temp":21.4}"#]).ok();
    world.run(&["put", "lamp/2", "true"]).ok();
    world
}

#[test]
fn several_heads_are_told_and_with_strict_none_is_chosen() {
    let world = furnished();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", "1"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "2"]).ok();
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    let (server, token) = served(world, &[]);
    let latest = server.get(&token, "/things/part-42").is(200).json();
    assert_eq!((&latest["data"], &latest["heads"]), (&json!(2), &json!(2)));
    // Whoever knows the latest learns that it is not alone.
    let tag = format!("\"{}\"", latest["id"].as_str().unwrap());
    let again = server.ask(&token, "GET", "/things/part-42", &[("if-none-match", &tag)], b"").is(200).json();
    assert_eq!(again, latest);
    let problem = server.get(&token, "/things/part-42?strict=true").problem(409, "forked").json();
    let heads: Vec<Value> =
        server.get(&token, "/things?prefix=part").is(200).json()[0]["heads"].as_array().unwrap().clone();
    assert_eq!((problem["heads"].as_array(), &heads[0]["id"]), (Some(&heads), &latest["id"]));
    let first = server.get(&token, "/things/part-42?seq=1").is(200).json()["time"].as_str().unwrap().to_owned();
    let then = server.get(&token, &format!("/things/part-42?strict=true&at={first}")).is(200).json();
    assert_eq!((&then["seq"], &then["heads"]), (&json!(1), &json!(1)));
    server.get(&token, "/things/part-42?strict=true&at=0s").problem(409, "forked");
    server.get(&token, "/things/part-42?strict=true&seq=1").problem(400, "usage");
    assert_eq!(server.get(&token, "/things/lamp%2F2?strict=true").is(200).json()["heads"], 1);
    for entry in server.get(&token, "/things/part-42/entries").is(200).json().as_array().unwrap() {
        assert_eq!(entry["heads"], 2);
    }
    server.stop();
}

/// Who kept an entry is told that it was erased, though its id is what it was.
#[test]
fn what_was_erased_is_not_what_was_known() {
    let world = furnished();
    let first = world.run(&["get", "part-42", "--seq", "1"]).ok().json();
    world.run(&["erase", "part-42", "--seq", "1", "--reason", "asked for", "--yes"]).ok();
    let (server, token) = served(world, &[]);
    let id = first["id"].as_str().unwrap();
    let known = format!("\"{id}\"");
    let ask = |path: &str, tag: &str| server.ask(&token, "GET", path, &[("if-none-match", tag)], b"");
    let told = ask("/things/part-42?seq=1", &known).is(200);
    assert_eq!((&told.json()["content"], &told.json()["data"]), (&json!("erased"), &Value::Null));
    let erased = format!("\"{id}.erased\"");
    assert_eq!(told.header("etag"), Some(erased.as_str()));
    ask("/things/part-42?seq=1", &erased).is(304);
    let whole = server.get(&token, &format!("/entries/{id}")).is(200);
    assert_eq!(
        (whole.header("etag"), whole.header("cache-control")),
        (Some(erased.as_str()), Some("private, no-cache"))
    );
    server.stop();
}

/// To erase is a right of its own, and what is erased is told to everybody who may read.
#[test]
fn erasing_needs_its_scope_and_is_told() {
    let world = furnished();
    let eraser = Running::token(&world, "eraser", &["--scope", "erase", "--things", "part-"]);
    let (server, token) = served(world, &[]);
    let json = [("content-type", "application/json")];
    let ask = |token: &str, path: &str, body: &str| server.ask(token, "POST", path, &json, body.as_bytes());
    let body = r#"{"seqs":["1"],"reason":"asked for","basis":"gdpr-17"}"#;
    // Whoever may read, write, export and import may not erase.
    ask(&token, "/things/part-42/erasures", body).problem(403, "token-refused");
    ask(&eraser, "/things/lamp%2F2/erasures", body).problem(403, "token-refused");
    server.get(&eraser, "/things/part-42").problem(403, "token-refused");
    ask(&eraser, "/things/part-43/erasures", body).problem(404, "not-found");
    for bad in [
        "{",
        "{}",
        r#"{"reason":"why"}"#,
        r#"{"all":true,"seqs":["1"],"reason":"why"}"#,
        r#"{"seqs":["0"],"reason":"why"}"#,
        r#"{"all":true,"reason":""}"#,
        "{\"all\":true,\"reason\":\"a\u{202e}b\"}",
        r#"{"all":true,"reason":"why","basis":"two words"}"#,
        r#"{"all":true,"reason":"why","actor":"nobody"}"#,
        r#"{"all":true,"reason":"why","yes":true}"#,
    ] {
        assert_eq!(ask(&eraser, "/things/part-42/erasures", bad).status, 422, "{bad}");
    }
    let plan = ask(&eraser, "/things/part-42/erasures?dry_run=true", body).is(200).json();
    assert_eq!((&plan["seqs"], &plan["reason"], &plan["actor"]), (&json!([1]), &json!("asked for"), &json!("alice")));
    assert_eq!(server.get(&token, "/erasures").is(200).json(), json!([]));
    let erased = ask(&eraser, "/things/part-42/erasures", body).is(200).json();
    assert_eq!((&erased["erased"], &erased["removed"]), (&json!(1), &json!([])));
    assert_eq!(server.get(&token, "/things/part-42?seq=1").is(200).json()["content"], "erased");
    // The latest is what it was, and who has read it may write.
    let latest = server.get(&token, "/things/part-42").is(200);
    assert_eq!(latest.json()["seq"], 2);
    let tag = latest.header("etag").unwrap().to_owned();
    let write = [("content-type", "application/json"), ("if-match", tag.as_str())];
    server.ask(&token, "POST", "/things/part-42/entries", &write, b"3").is(201);
    server.ask(&token, "POST", "/things/part-42/entries", &write, b"4").problem(412, "conflict");
    ask(&eraser, "/things/part-42/erasures", r#"{"seqs":["2","4-9"],"reason":"again"}"#).is(200);
    let listed = server.get(&token, "/erasures").is(200).json();
    assert_eq!((&listed[0]["id"], &listed[0]["basis"]), (&erased["records"][0]["id"], &json!("gdpr-17")));
    assert_eq!((&listed[1]["reason"], &listed[1]["erased"]), (&json!("again"), &json!(2)));
    // Page by page, of a thing, and of a prefix.
    let first = server.get(&token, "/erasures?limit=1").is(200);
    assert_eq!(first.json().as_array().unwrap().len(), 1);
    let next = first.header("link").unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(server.get(&token, &next).is(200).json()[0]["reason"], "again");
    assert_eq!(server.get(&token, "/erasures?thing=lamp%2F2").is(200).json(), json!([]));
    assert_eq!(server.get(&token, "/erasures?prefix=lamp").is(200).json(), json!([]));
    server.get(&token, "/erasures?thing=nothing").problem(404, "not-found");
    let things = server.get(&token, "/things?prefix=part").is(200).json();
    assert_eq!(things[0]["erased"], 3);
    // For everybody.
    let public = server.ask(&token, "POST", "/things/notice/entries?public=true", &json, b"1").is(201).json();
    let whole = server.get(&token, &format!("/entries/{}", public["id"].as_str().unwrap())).is(200).json();
    assert_eq!(whole["recipients"], 1);
    server.stop();
}

/// What is due goes by itself, and the log says so.
#[test]
fn a_server_erases_what_is_due() {
    let world = furnished();
    let policy = ["retain", "part-", "--for", "1s", "--reason", "kept for a moment", "--keep-latest"];
    world.run(&policy).ok();
    while world.run(&["erase", "--due", "--dry-run", "--json"]).ok().json()["entries"] != 1 {}
    let (server, token) = served(world, &["--no-retention"]);
    assert_eq!(server.get(&token, "/things/part-42?seq=1").is(200).json()["content"], "open");
    let world = server.stop();
    let (server, token) = (Running::start(world, &[]), token);
    let begun = std::time::Instant::now();
    while server.get(&token, "/things/part-42?seq=1").is(200).json()["content"] != "erased" {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "nothing is erased");
    }
    assert_eq!(server.get(&token, "/things/part-42").is(200).json()["data"], json!({"temp": 21.4}));
    assert_eq!(server.get(&token, "/things/lamp%2F2").is(200).json()["content"], "open");
    assert_eq!(server.get(&token, "/erasures").is(200).json()[0]["reason"], "kept for a moment");
    while !server.log().contains("what was due is erased") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{}", server.log());
    }
    server.stop();
}

#[test]
fn entries_read_as_the_command_prints_them() {
    let world = furnished();
    let printed = world.run(&["get", "part-42"]).ok().json();
    let history: Vec<Value> = world.run(&["log", "part-42", "--reverse"]).ok().lines();
    let listed: Vec<Value> = world.run(&["ls"]).ok().lines();
    let shown = world.run(&["show", printed["id"].as_str().unwrap()]).ok().json();
    let note = world.run(&["checkpoint"]).ok().stdout;
    let (server, token) = served(world, &[]);
    let reply = server.get(&token, "/things/part-42").is(200);
    assert_eq!(reply.json(), printed);
    let tag = format!("\"{}\"", printed["id"].as_str().unwrap());
    assert_eq!(reply.header("etag"), Some(tag.as_str()));
    let known = server.ask(&token, "GET", "/things/part-42", &[("if-none-match", &tag)], b"").is(304);
    assert_eq!((known.body.len(), known.header("etag")), (0, Some(tag.as_str())));
    server.ask(&token, "GET", "/things/part-42", &[("if-none-match", "\"other\"")], b"").is(200);
    server.get(&token, "/things/part-43").problem(404, "not-found");
    assert_eq!(server.get(&token, "/things/part-42/entries").is(200).json(), json!(history));
    let lines = server.ask(&token, "GET", "/things/part-42/entries", &[("accept", "application/x-ndjson")], b"");
    assert_eq!(lines.is(200).lines(), history);
    assert_eq!(server.get(&token, "/things").is(200).json(), json!(listed));
    let entry = server.get(&token, &format!("/entries/{}", printed["id"].as_str().unwrap())).is(200);
    assert_eq!(entry.json(), shown);
    // It may be erased.
    assert_eq!((entry.header("cache-control"), entry.header("etag")), (Some("private, no-cache"), Some(tag.as_str())));
    assert_eq!(server.get(&token, "/checkpoint").is(200).text(), note);
    server.ask(&token, "GET", "/things", &[("accept", "image/png")], b"").problem(406, "not-acceptable");
    // What has one form is given in it.
    let one = server.ask(&token, "GET", "/things/part-42", &[("accept", "text/html")], b"").is(200);
    assert_eq!(one.header("content-type"), Some("application/json"));
    assert_eq!(server.ask(&token, "HEAD", "/things/part-42", &[], b"").is(200).header("etag"), Some(tag.as_str()));
    let allow = server.ask(&token, "DELETE", "/things/part-42/entries", &[], b"").problem(405, "usage");
    assert_eq!(allow.header("allow"), Some("GET, HEAD, POST"));
    server.get(&token, "/thing").problem(404, "not-found");
    server.stop();
}

#[test]
fn pages_follow_each_other_to_the_end() {
    let world = World::new();
    let input: String = (0..25).map(|n| format!("{{\"thing\":\"t {}/é\",\"data\":{n}}}\n", n % 5)).collect();
    world.feed(&["append"], input).ok();
    let (server, token) = served(world, &[]);
    let walk = |first: &str| {
        let (mut path, mut found, mut pages) = (first.to_owned(), Vec::new(), 0);
        loop {
            let reply = server.get(&token, &path).is(200);
            found.extend(reply.json().as_array().unwrap().clone());
            pages += 1;
            match reply.header("link") {
                None => return (found, pages),
                Some(link) => {
                    path = link
                        .strip_prefix('<')
                        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
                        .unwrap()
                        .to_owned();
                }
            }
        }
    };
    let (things, pages) = walk("/things?prefix=t&limit=2");
    assert_eq!((things.len(), pages), (5, 3));
    let (entries, pages) = walk("/things/t%204%2F%C3%A9/entries?limit=2");
    let data: Vec<u64> = entries.iter().map(|entry| entry["data"].as_u64().unwrap()).collect();
    assert_eq!((data, pages), (vec![4, 9, 14, 19, 24], 3));
    server.get(&token, "/things?limit=1001").problem(400, "usage");
    server.get(&token, "/things?limit=0").problem(400, "usage");
    server.get(&token, "/things/t%201%2F%C3%A9/entries?limit=0").problem(400, "usage");
    server.get(&token, "/things?limt=1").problem(400, "usage");
    server.get(&token, "/things?limit=1&limit=2").problem(400, "usage");
    server.stop();
}

#[test]
fn parts_of_a_history_are_those_that_the_command_prints() {
    let world = World::new();
    let input: String = (0..30).map(|n| format!("{{\"thing\":\"t\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], input).ok();
    let times: Vec<String> =
        world.run(&["log", "t"]).ok().lines().iter().map(|line| line["time"].as_str().unwrap().to_owned()).collect();
    // Newest first: the 10th is seq 21.
    let (young, old) = (times[9].as_str(), times[19].as_str());
    let asked: [(&[&str], String); 8] = [
        (&[], "newest_first=true".to_owned()),
        (&["--reverse"], String::new()),
        (&["--since", "5", "--until", "9"], "since=5&until=9&newest_first=true".to_owned()),
        (&["--since", "29", "--reverse"], "since=29".to_owned()),
        (&["--since", old, "--until", young], format!("since={old}&until={young}&newest_first=true")),
        (&["--since", old, "--until", young, "--reverse"], format!("since={old}&until={young}")),
        (&["--since", old, "--until", "15"], format!("since={old}&until=15&newest_first=true")),
        (&["--until", "1h"], "until=1h&newest_first=true".to_owned()),
    ];
    let printed: Vec<Vec<Value>> =
        asked.iter().map(|(args, _)| world.run(&[&["log", "t"], *args].concat()).ok().lines()).collect();
    let (server, token) = served(world, &[]);
    for ((args, query), printed) in asked.iter().zip(printed) {
        for limit in [1, 4, 1000] {
            let mut path = format!("/things/t/entries?limit={limit}&{query}");
            let mut found = Vec::new();
            loop {
                let reply = server.get(&token, &path).is(200);
                let page = reply.json().as_array().unwrap().clone();
                assert!(page.len() <= limit, "{path}");
                found.extend(page);
                let Some(link) = reply.header("link") else { break };
                path = link.strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
            }
            assert_eq!(found, printed, "{args:?} {limit}");
        }
    }
    for bad in ["since=x", "until=2026-13-01", "newest_first=1", "after_seq=-1", "before_seq=x", "base64=yes"] {
        server.get(&token, &format!("/things/t/entries?{bad}")).problem(400, "usage");
    }
    for (query, seq) in [("seq=3", 3), (&format!("at={young}"), 21), (&format!("at={old}"), 11), ("at=0s", 30)] {
        let reply = server.get(&token, &format!("/things/t?{query}")).is(200);
        assert_eq!(reply.json()["seq"], seq, "{query}");
        let tag = reply.header("etag").unwrap().to_owned();
        let path = format!("/things/t?{query}");
        server.ask(&token, "GET", &path, &[("if-none-match", &tag)], b"").is(304);
    }
    for (query, status, code) in [
        ("seq=31", 404, "not-found"),
        ("seq=0", 404, "not-found"),
        ("at=2001-01-01", 404, "not-found"),
        ("at=noon", 400, "usage"),
        ("seq=1&at=1h", 400, "usage"),
    ] {
        server.get(&token, &format!("/things/t?{query}")).problem(status, code);
    }
    server.stop();
}

#[test]
fn data_goes_byte_for_byte_if_it_is_asked_for_so() {
    let world = World::new();
    let text = " {\n\t\"a\" : 1.000000000000000000000000000000000001e5 , \"\\u00e9\":[ ]\r\n}\n";
    world.feed(&["put", "json", "-"], text).ok();
    world.feed(&["put", "photo", "-", "--media-type", "image/jpeg"], b"\xff\xd8\x00\n").ok();
    let stored = world.run(&["get", "json", "--raw"]).ok().stdout;
    let id = world.run(&["get", "json"]).ok().json()["id"].as_str().unwrap().to_owned();
    let (server, token) = served(world, &[]);
    let base64 = data_encoding::BASE64.encode(stored.as_bytes());
    for path in ["/things/json", "/things/json/entries", &format!("/entries/{id}")] {
        let told = server.get(&token, &format!("{path}?base64=true")).is(200).json();
        let told = told.get(0).unwrap_or(&told);
        assert_eq!(told["data"], base64, "{path}");
        assert_eq!(told["media_type"], "application/json");
    }
    assert_eq!(server.get(&token, "/things/photo?base64=true").is(200).json()["data"], "/9gACg==");
    assert_eq!(server.get(&token, "/things/photo").is(200).json()["data"], "/9gACg==");
    server.stop();
}

#[test]
fn abbreviated_ids_and_similar_names_keep_to_the_prefix() {
    let world = World::new();
    let lines: String = (0..700)
        .map(|n| format!("{{\"thing\":\"{}{n}\",\"data\":1}}\n", if n < 3 { "lamp-" } else { "part-" }))
        .collect();
    world.feed(&["append"], lines).ok();
    let ids: Vec<(String, String)> = (0..700)
        .map(|n| format!("{}{n}", if n < 3 { "lamp-" } else { "part-" }))
        .zip(
            world
                .run(&["export"])
                .ok()
                .lines()
                .iter()
                .skip(1)
                .map(|line| line["id"].as_str().unwrap_or_default().to_owned()),
        )
        .collect();
    let lamps = Running::token(&world, "lamps", &["--scope", "read", "--things", "lamp-"]);
    let (server, token) = served(world, &[]);
    let (thing, id) = &ids[1];
    let reply = server.get(&token, &format!("/entries/{}", &id[..20])).is(200);
    assert_eq!(reply.json()["thing"], thing.as_str());
    assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
    server.get(&lamps, &format!("/entries/{}", &id[..20])).is(200);
    server.get(&lamps, &format!("/entries/{}", &ids[9].1[..20])).problem(404, "not-found");
    for bad in ["abc", "ABCDEF", "xyzw", &"0".repeat(65)] {
        server.get(&token, &format!("/entries/{bad}")).problem(422, "invalid-input");
    }
    let names = |token: &str, query: &str| -> Vec<String> {
        let things = server.get(token, &format!("/things?similar={query}")).is(200).json();
        things.as_array().unwrap().iter().map(|thing| thing["thing"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&token, "Lamp-1"), ["lamp-1", "lamp-0", "lamp-2"]);
    assert_eq!(names(&token, "Lamp-1&limit=1"), ["lamp-1"]);
    assert_eq!(names(&lamps, "pamp-1"), ["lamp-1", "lamp-0", "lamp-2"]);
    assert!(names(&lamps, "part-77").is_empty());
    server.get(&token, "/things?similar=a&after=b").problem(400, "usage");
    // A token for a part learns nothing of the whole.
    assert_eq!(server.get(&token, "/stats").is(200).json()["things"], 700);
    server.get(&lamps, "/stats").problem(403, "token-refused");
    server.stop();
}

/// Two entries of one thing, whose ids begin the same.
#[test]
fn an_ambiguous_id_names_those_that_it_may_mean() {
    let world = World::new();
    // By the birthday, some pair of 1500 shares four digits.
    let lines: String = (0..1500).map(|n| format!("{{\"thing\":\"part-{n}\",\"data\":1}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let mut ids: Vec<String> =
        world.run(&["export"]).ok().lines().iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    let pair = ids.windows(2).find(|pair| pair[0][..4] == pair[1][..4]).expect("a pair among 1500").to_vec();
    let alone = world.run(&["show", &pair[0][..4]]).exit(2).says("error[ambiguous]").says(&pair[1]);
    let (server, token) = served(world, &[]);
    let problem = server.get(&token, &format!("/entries/{}", &pair[0][..4])).problem(409, "ambiguous").json();
    let candidates = problem["candidates"].as_array().unwrap();
    assert!(pair.iter().all(|id| candidates.contains(&json!(id))), "{problem} {alone:?}");
    server.stop();
}

#[test]
fn forks_are_listed_as_the_command_prints_them() {
    let world = World::new();
    for thing in ["a", "b", "c"] {
        world.run(&["put", thing, "1"]).ok();
    }
    world.shell("cp -R db twin").ok();
    for thing in ["a", "c"] {
        world.run(&["put", thing, "2"]).ok();
        world.run(&["-d", "twin", "put", thing, "3"]).ok();
    }
    let stream = world.run(&["-d", "twin", "export"]).ok().stdout;
    world.feed(&["import"], stream).ok();
    let printed = world.run(&["forks"]).ok().lines();
    assert_eq!(printed.len(), 2);
    let only = Running::token(&world, "c", &["--scope", "read", "--things", "c"]);
    let (server, token) = served(world, &[]);
    assert_eq!(server.get(&token, "/forks").is(200).json(), json!(printed));
    let reply = server.get(&token, "/forks?limit=1").is(200);
    assert_eq!(reply.json(), json!([printed[0]]));
    assert_eq!(reply.header("link"), Some("</forks?prefix=&after=a&limit=1>; rel=\"next\""));
    assert_eq!(server.get(&token, "/forks?after=a").is(200).json(), json!([printed[1]]));
    assert_eq!(server.get(&token, "/forks?thing=a").is(200).json(), json!([printed[0]]));
    assert_eq!(server.get(&token, "/forks?thing=b").is(200).json(), json!([]));
    assert_eq!(server.get(&only, "/forks").is(200).json(), json!([printed[1]]));
    server.get(&only, "/forks?thing=a").problem(403, "token-refused");
    server.get(&token, "/forks?thing=a&prefix=a").problem(400, "usage");
    server.stop();
}

#[test]
fn writes_keep_to_what_they_expect() {
    let (server, token) = served(furnished(), &[]);
    let write = |headers: &[(&str, &str)], body: &str| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        server.ask(&token, "POST", "/things/part-42/entries?action=inspect", &headers, body.as_bytes())
    };
    let head = server.get(&token, "/things/part-42").is(200).header("etag").unwrap().to_owned();
    let written = write(&[("if-match", &head)], r#"{"temp":22}"#).is(201);
    let receipt = written.json();
    assert_eq!((&receipt["seq"], &receipt["actor"]["name"]), (&json!(3), &json!("alice")));
    assert_eq!(written.header("location"), Some(format!("/entries/{}", receipt["id"].as_str().unwrap()).as_str()));
    let stale = write(&[("if-match", &head)], "1").problem(412, "conflict").json();
    assert_eq!(stale["heads"][0]["id"], receipt["id"]);
    write(&[("if-none-match", "*")], "1").problem(412, "conflict");
    write(&[("if-match", "*")], "1").is(201);
    write(&[("if-match", "abc")], "1").problem(400, "usage");
    let short = write(&[("if-match", "\"4be177\"")], "1").problem(400, "usage").json();
    assert!(short["detail"].as_str().unwrap().contains("64 hex digits"), "{short}");
    let weak = write(&[("if-match", &format!("W/{head}"))], "1").problem(400, "usage").json();
    assert!(weak["detail"].as_str().unwrap().contains("weak"), "{weak}");
    write(&[("if-match", &head), ("if-none-match", "*")], "1").problem(400, "usage");
    let post = |path: &str, media_type: &str, body: &[u8]| {
        server.ask(&token, "POST", path, &[("content-type", media_type)], body)
    };
    post("/things/new/entries", "application/json", b"1").is(201);
    server
        .ask(&token, "POST", "/things/newer/entries", &[("content-type", "text/plain"), ("if-match", "*")], b"x")
        .problem(412, "conflict");
    let bad =
        post("/things/a/entries", "application/json; charset=utf-8", b"{\n \"x\":}").problem(422, "bad-json").json();
    assert_eq!((&bad["line"], &bad["column"]), (&json!(2), &json!(6)));
    post("/things/a/entries?actor=bob", "application/json", b"1").problem(422, "not-found");
    post("/things/a/entries?action=", "application/json", b"1").problem(422, "invalid-input");
    post("/things/a/entries", "application/x-www-form-urlencoded", b"a=1").problem(415, "unsupported-media-type");
    server.ask(&token, "POST", "/things/a/entries", &[], b"1").problem(415, "unsupported-media-type");
    let odd = [("content-type", "application/json"), ("content-encoding", "br")];
    let reply = server.ask(&token, "POST", "/things/a/entries", &odd, b"1").problem(415, "unsupported-media-type");
    assert_eq!(reply.header("accept-encoding"), Some("zstd, gzip"));
    post("/things/photo/entries", "image/png", b"\x89PNG").is(201);
    assert_eq!(server.get(&token, "/things/photo").is(200).json()["data"], "iVBORw==");
    let world = server.stop();
    assert_eq!(world.run(&["get", "part-42", "--seq", "3"]).ok().json()["action"], "inspect");
    assert_eq!(world.run(&["verify"]).ok().json()["ok"], true);
}

#[test]
fn a_stream_goes_out_and_comes_in() {
    let (server, token) = served(furnished(), &[]);
    let reply = server.get(&token, "/export").is(200);
    assert_eq!(reply.header("thingdb-next-position"), Some("3"));
    let stream = reply.text();
    assert_eq!(stream.lines().count(), 5);
    let packed = server.ask(&token, "GET", "/export", &[("accept-encoding", "gzip")], b"").is(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let packed_zstd = server.ask(&token, "GET", "/export", &[("accept-encoding", "gzip, zstd")], b"").is(200);
    assert_eq!(packed_zstd.header("content-encoding"), Some("zstd"));
    assert_eq!(server.get(&token, "/export?since=2").is(200).text().lines().count(), 3);
    assert_eq!(server.get(&token, "/export?things=lamp").is(200).text().lines().count(), 3);
    server.post(&token, "/things/part-42/entries", "{\"w\":1").problem(422, "bad-json");
    server.get(&token, "/export?to=nobody").problem(404, "not-found");
    server.get(&token, "/export?only_addressed=true").problem(400, "usage");
    let source = server.stop();

    let world = World::new();
    let card = source.run(&["card"]).ok().stdout;
    world.write("card", &card);
    world.run(&["peer", "add", "other", "@card", "--yes"]).ok();
    let (server, token) = served(world, &[]);
    let import = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        server.ask(&token, "POST", path, headers, body).is(200).lines().pop().unwrap()
    };
    let ndjson = ("content-type", "application/x-ndjson");
    let dry = import("/import?dry_run=true", &[ndjson], stream.as_bytes());
    assert_eq!((&dry["added"], &dry["stream"]), (&json!(3), &json!("whole")));
    assert_eq!(import("/import", &[ndjson], stream.as_bytes())["added"], 3);
    assert_eq!(import("/import", &[ndjson, ("content-encoding", "gzip")], &packed.body)["known"], 3);
    assert_eq!(import("/import", &[ndjson, ("content-encoding", "zstd")], &packed_zstd.body)["known"], 3);
    let array = serde_json::to_string(&stream.lines().collect::<Vec<_>>()).unwrap();
    assert_eq!(import("/import", &[("content-type", "application/json")], array.as_bytes())["known"], 3);
    let objects = format!("[{}]", stream.lines().collect::<Vec<_>>().join(",\n"));
    let document = [("content-type", "application/json"), ("accept", "application/json")];
    let one = server.ask(&token, "POST", "/import", &document, objects.as_bytes()).is(200).json();
    assert_eq!((&one["known"], &one["reasons"]), (&json!(3), &json!([])));
    let mixed = format!("{}\njunk\n", stream.trim_end());
    let lines = server.ask(&token, "POST", "/import", &[ndjson], mixed.as_bytes()).is(200).lines();
    assert_eq!((&lines[0]["line"], &lines[0]["column"], &lines[1]["known"]), (&json!(6), &json!(1), &json!(3)));
    let reply = server.ask(&token, "POST", "/import?fail_fast=true", &[ndjson], mixed.as_bytes());
    let problem = reply.problem(422, "bad-line").json();
    assert_eq!((&problem["line"], &problem["column"]), (&json!(6), &json!(1)));
    let cut = server.ask(&token, "POST", "/import", &[("content-type", "application/json")], b"[{}");
    let cut = cut.is(200).lines();
    assert_eq!((&cut[0]["line"], &cut[1]["refused"], &cut[1]["stream"]), (&json!(1), &json!(1), &json!("cut")));
    assert_eq!(import("/import", &[("content-type", "application/json")], b"[")["stream"], "cut");
    server.ask(&token, "POST", "/import", &[("content-type", "text/csv")], b"").problem(415, "unsupported-media-type");
    assert_eq!(import("/import", &[ndjson, ("content-encoding", "gzip")], b"this is no gzip")["stream"], "damaged");
    let world = server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 3);
}

#[test]
fn metrics_count_and_name_nobody() {
    let (server, token) = served(furnished(), &["--metrics", "0"]);
    server.get(&token, "/things/part-42").is(200);
    server.client.send("GET", "/things/part-42", &[], b"").unwrap().is(401);
    let text = server.metrics();
    for line in [
        "thingdb_requests_total{route=\"thing\",status=\"200\"} 1",
        "thingdb_requests_total{route=\"thing\",status=\"401\"} 1",
        "thingdb_request_seconds_bucket{le=\"+Inf\"} 2",
        "thingdb_tokens_refused_total 1",
        "thingdb_ledger_entries 3",
        "thingdb_waiting_entries 0",
        "thingdb_peers_contradicting 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(!text.contains("part-42") && !text.contains("tdb_") && !text.contains("alice"), "{text}");
    // It is no way around tokens.
    server.client.send("GET", "/metrics", &[], b"").unwrap().is(401);
    server.get(&token, "/metrics").is(404);
    server.stop();
}
