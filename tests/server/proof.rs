//! `GET /things/{id}/proof`.

use std::fs;

use serde_json::json;

use super::routes::{furnished, served};
use super::running::Running;

/// Whether a stranger believes a file.
fn is_good(server: &Running, proof: &[u8]) -> serde_json::Value {
    fs::write(server.world.path("p.tdbproof"), proof).unwrap();
    server.world.run(&["verify-proof", "p.tdbproof", "--card", "@plant.card"]).ok().json()
}

#[test]
fn a_proof_is_one_file_that_a_stranger_checks() {
    let world = furnished();
    let card = world.run(&["card"]).ok().stdout;
    world.write("plant.card", &card);
    world.run(&["put", "part-42", "3"]).ok();
    let id = world.run(&["get", "part-42"]).ok().json()["id"].as_str().unwrap().to_owned();
    let (server, token) = served(world, &[]);
    let reply = server.get(&token, "/things/part-42/proof").is(200);
    assert_eq!(reply.header("content-type"), Some("application/vnd.thingdb.proof+ndjson"));
    let told = is_good(&server, &reply.body);
    assert_eq!((&told["subject"]["kind"], &told["shown"]), (&json!("history"), &json!(3)));
    for (query, kind, shown, withheld) in [
        ("since=2&until=3", "range", 2, 0),
        ("withhold=1,3", "history", 1, 2),
        (&format!("withhold=1,{id}"), "history", 1, 2),
        ("stubs_only=true", "history", 0, 3),
        (&format!("entry={id}"), "entries", 1, 0),
    ] {
        let told = is_good(&server, &server.get(&token, &format!("/things/part-42/proof?{query}")).is(200).body);
        assert_eq!(told["subject"]["kind"], kind, "{query}");
        assert_eq!((&told["shown"], &told["withheld"]), (&json!(shown), &json!(withheld)), "{query}");
    }
    for (form, kind, start) in
        [("tlog-proof", "text/plain", &b"c2sp.org/tlog-proof@v1\nindex "[..]), ("cose", "application/cose", b"\xd2")]
    {
        let reply = server.get(&token, &format!("/things/part-42/proof?entry={id}&form={form}")).is(200);
        assert_eq!(reply.header("content-type"), Some(kind));
        assert!(reply.body.starts_with(start), "{form}");
        for query in ["", &format!("&entry={id},{id}"), &format!("&entry={id}&stubs_only=false"), "&since=1"] {
            server.get(&token, &format!("/things/part-42/proof?form={form}{query}")).problem(400, "usage");
        }
    }
    server.get(&token, &format!("/things/part-42/proof?entry={id}&form=other")).problem(400, "usage");
    let told = is_good(&server, &server.get(&token, "/things/part-43/proof?absent=true").is(200).body);
    assert_eq!((&told["subject"]["kind"], &told["complete"]["entries"]), (&json!("absent"), &json!(0)));
    let to = format!("/things/part-42/proof?to={}", card.trim().replace('+', "%2B"));
    let told = is_good(&server, &server.get(&token, &to).is(200).body);
    assert_eq!((&told["sealed"], &told["shown"]), (&json!(3), &json!(0)));
    for encoding in ["zstd", "gzip"] {
        let reply = server.ask(&token, "GET", "/things/part-42/proof", &[("accept-encoding", encoding)], b"").is(200);
        assert_eq!(reply.header("content-encoding"), Some(encoding));
        is_good(&server, &reply.body);
    }
    server.stop();
}

#[test]
fn what_cannot_be_proven_is_told_before_anything_is_sent() {
    let world = furnished();
    world.run(&["checkpoint", "-o", "kept"]).ok();
    world.shell("cp -R db twin").ok();
    world.run(&["put", "part-42", "3"]).ok();
    world.run(&["-d", "twin", "put", "part-42", "4"]).ok();
    world.run(&["-d", "twin", "checkpoint", "-o", "other"]).ok();
    world.run(&["-d", "elsewhere", "init", "--actor", "bob"]).ok();
    world.run(&["-d", "elsewhere", "checkpoint", "-o", "stranger"]).ok();
    let lamp = world.run(&["get", "lamp/2"]).ok().json()["id"].as_str().unwrap().to_owned();
    let write = Running::token(&world, "w", &["--scope", "write"]);
    let part = Running::token(&world, "p", &["--scope", "read", "--things", "lamp/"]);
    let kept = |name: &str| {
        let note = fs::read(world.path(name)).unwrap();
        note.iter().map(|byte| format!("%{byte:02x}")).collect::<String>()
    };
    let (grown, other, stranger) = (kept("kept"), kept("other"), kept("stranger"));
    let (server, token) = served(world, &[]);
    server.get(&token, "/things/part-43/proof").problem(404, "not-found");
    server.get(&token, &format!("/things/part-42/proof?entry={lamp}")).problem(404, "not-found");
    server.get(&token, &format!("/things/part-42/proof?entry={lamp}&form=cose")).problem(404, "not-found");
    server.get(&token, &format!("/things/part-43/proof?entry={lamp}&form=cose")).problem(404, "not-found");
    // A token for a prefix proves no entry of another thing.
    let known = server.get(&token, "/things/part-42").is(200).json()["id"].as_str().unwrap().to_owned();
    server.get(&part, &format!("/things/lamp%2F2/proof?entry={known}&form=cose")).problem(404, "not-found");
    server.get(&token, "/things/part-42/proof?absent=true").problem(422, "invalid-input");
    server.get(&part, "/things/part-43/proof?absent=true").problem(403, "token-refused");
    server.get(&token, "/things/part-42/proof?since=500").problem(404, "not-found");
    for query in ["since=0", "since=3&until=2", "stubs_only=1", "stubs_only=true&withhold=1", "before=1"] {
        server.get(&token, &format!("/things/part-42/proof?{query}")).problem(400, "usage");
    }
    server.get(&token, &format!("/things/part-42/proof?entry={lamp}&since=1")).problem(400, "usage");
    for query in ["entry=4be1", "withhold=x", "to=card", "checkpoint=note"] {
        server.get(&token, &format!("/things/part-42/proof?{query}")).problem(422, "invalid-input");
    }
    server.get(&token, &format!("/things/part-42/proof?checkpoint={grown}")).is(200);
    server.get(&token, &format!("/things/part-42/proof?checkpoint={other}")).problem(409, "rolled-back");
    let problem = server.get(&token, &format!("/things/part-42/proof?checkpoint={stranger}"));
    assert_eq!(problem.status, 422, "{problem:?}");
    server.get(&write, "/things/part-42/proof").problem(403, "token-refused");
    server.get(&part, "/things/part-42/proof").problem(403, "token-refused");
    server.get(&part, "/things/lamp%2F2/proof").is(200);
    server.get("tdb_none", "/things/part-42/proof").problem(401, "token-refused");
    server.stop();
}
