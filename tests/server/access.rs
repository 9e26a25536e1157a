//! Every route with every kind of token.

use serde_json::Value;

use super::running::Running;
use super::world::World;

const ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Method, path, and the scope that is needed; none if any token does.
type Asked = (String, String, Option<String>);

/// What the description of the server lists.
fn routes(server: &Running, token: &str) -> Vec<Asked> {
    let description = server.get(token, "/openapi.json").is(200).json();
    let mut routes = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = &operation["security"][0];
            let id = if path.starts_with("/entries") { ID } else { "part-42" };
            let path = path.replace("{id}", id);
            match security.get("token") {
                // What is sent to a witness is signed; see `witness.rs`.
                None => assert!(path == "/healthz" || path.starts_with("/witness/"), "{path}: {security}"),
                Some(scopes) => {
                    let scope = scopes.get(0).and_then(Value::as_str).map(str::to_owned);
                    routes.push((method.to_uppercase(), path, scope));
                }
            }
        }
    }
    assert!(routes.len() >= 12, "{routes:?}");
    routes
}

#[test]
fn nothing_but_health_answers_without_a_good_token() {
    let world = World::new();
    let all = Running::token(&world, "all", &["--scope", "read,write,export,import"]);
    let expired = Running::token(&world, "expired", &["--scope", "read,write,export,import", "--expires", "1s"]);
    let removed = Running::token(&world, "removed", &["--scope", "read,write,export,import"]);
    world.run(&["token", "rm", "removed"]).ok();
    let server = Running::start(world, &[]);
    assert_eq!(server.client.send("GET", "/healthz", &[], b"").unwrap().is(200).text(), "ok\n");
    while server.get(&expired, "/readyz").status != 401 {}
    let mut mistyped = all.clone();
    mistyped.pop();
    let mut asked = routes(&server, &all);
    for (method, path) in [("GET", "/"), ("GET", "/nothing"), ("PUT", "/things"), ("OPTIONS", "/info")] {
        asked.push((method.to_owned(), path.to_owned(), None));
    }
    for (method, path, _) in &asked {
        for headers in [
            vec![],
            vec![("authorization", "Basic YTpi".to_owned())],
            vec![("authorization", "Bearer".to_owned())],
            vec![("authorization", "Bearer ".to_owned())],
            vec![("authorization", all.clone())],
            vec![("authorization", format!("Bearer {mistyped}"))],
            vec![("authorization", format!("Bearer {}", "x".repeat(4000)))],
            vec![("authorization", format!("Bearer {expired}"))],
            vec![("authorization", format!("Bearer {removed}"))],
            vec![("authorization", format!("Bearer {all}")), ("authorization", format!("Bearer {all}"))],
        ] {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = server.client.send(method, path, &headers, b"").unwrap().problem(401, "token-refused");
            let challenge = reply.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
    server.stop();
}

#[test]
fn each_route_asks_for_its_scope() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    let scopes = ["read", "write", "export", "import", "erase", "admin"];
    let tokens: Vec<(&str, String)> =
        scopes.iter().map(|scope| (*scope, Running::token(&world, scope, &["--scope", scope]))).collect();
    let server = Running::start(world, &[]);
    for (method, path, needed) in routes(&server, &tokens[0].1) {
        for (scope, token) in &tokens {
            let reply = server.ask(token, &method, &path, &[], b"");
            if needed.as_deref().is_none_or(|needed| needed == *scope) {
                assert!(!matches!(reply.status, 401 | 403 | 500..), "{method} {path} {scope}: {}", reply.text());
            } else {
                let problem = reply.problem(403, "token-refused").json();
                assert!(problem["detail"].as_str().unwrap().contains(needed.as_deref().unwrap()), "{problem}");
            }
        }
    }
    server.stop();
}

#[test]
fn a_prefix_is_kept_on_every_route() {
    let world = World::new();
    world.run(&["put", "part-42", r#"{"secret":"canary-data"}"#]).ok();
    world.run(&["put", "lamp/2", "true"]).ok();
    let id = world.run(&["get", "part-42"]).ok().json()["id"].as_str().unwrap().to_owned();
    let lamp = world.run(&["get", "lamp/2"]).ok().json()["id"].as_str().unwrap().to_owned();
    let stream = world.run(&["export"]).ok().stdout;
    let token = Running::token(&world, "lamps", &["--scope", "read,write,export,import", "--things", "lamp/"]);
    let server = Running::start(world, &[]);
    let things = server.get(&token, "/things").is(200).json();
    assert_eq!(things.as_array().unwrap().len(), 1, "{things}");
    let reply = server.get(&token, "/things?prefix=la").is(200);
    assert_eq!((reply.json(), reply.header("thingdb-things")), (things, Some("lamp%2F")));
    for path in
        ["/things?prefix=part", "/things/part-42", "/things/part-42/entries", "/export?things=p", "/things/lamp"]
    {
        let reply = server.get(&token, path).problem(403, "token-refused");
        assert!(!reply.text().contains("canary"), "{}", reply.text());
    }
    server.post(&token, "/things/part-42/entries", "1").problem(403, "token-refused");
    server.post(&token, "/things/lamp%2F2/entries", "1").is(201);
    // What is not for the token is not told apart from what is not here.
    server.get(&token, &format!("/entries/{id}")).problem(404, "not-found");
    server.get(&token, &format!("/entries/{lamp}")).is(200);
    let missing = server.post(&token, "/have", &format!("[\"{lamp}\",\"{id}\"]")).is(200).json();
    assert_eq!(missing["missing"], serde_json::json!([id]));
    for accept in ["application/x-ndjson", "application/x-ndjson, */*;q=0.1"] {
        let export = server.ask(&token, "GET", "/export", &[("accept", accept)], b"").is(200).text();
        assert!(export.contains("lamp/2") && !export.contains("part-42"), "{export}");
    }
    let other = World::new();
    let import = Running::token(&other, "lamps", &["--scope", "import", "--things", "lamp/"]);
    let other = Running::start(other, &[]);
    let lines = other.ask(&import, "POST", "/import", &[("content-type", "application/x-ndjson")], stream.as_bytes());
    let lines = lines.is(200).lines();
    assert_eq!((lines.len(), &lines[0]["line"], &lines[0]["id"]), (3, &2.into(), &id.into()), "{lines:?}");
    assert!(lines[0]["reason"].as_str().unwrap().contains("lamp/"), "{lines:?}");
    assert_eq!(lines[2]["refused"], 2, "the other one's actor is not known: {lines:?}");
    other.stop();
    server.stop();
}
