//! The answers of a witness, as c2sp.org/tlog-witness has them.

use super::client::Reply;
use super::running::Running;
use super::world::World;
use thingdb::format::{AddCheckpoint, Hash, SignedCheckpoint};

/// Asks without a token.
fn ask(server: &Running, method: &str, path: &str, body: &str) -> Reply {
    let headers = [("content-type", "text/plain"), ("connection", "close")];
    server.client.send(method, path, &headers, body.as_bytes()).unwrap()
}

fn add(server: &Running, request: &AddCheckpoint) -> Reply {
    ask(server, "POST", "/witness/add-checkpoint", &request.to_string())
}

fn note(world: &World) -> SignedCheckpoint {
    SignedCheckpoint::parse(&world.run(&["checkpoint"]).ok().stdout).unwrap()
}

#[test]
fn each_answer_has_its_status() {
    let (log, stranger, world) = (World::new(), World::new(), World::new());
    log.run(&["put", "door", "1"]).ok();
    stranger.run(&["put", "door", "1"]).ok();
    let (one, of_stranger) = (note(&log), note(&stranger));
    log.run(&["put", "door", "2"]).ok();
    let two = note(&log);
    let card = log.run(&["card"]).ok().stdout;
    world.run(&["peer", "add", "plant", card.trim(), "--yes"]).ok();
    let vkey = world.run(&["card", "--vkey", "--json"]).ok().json()["witness"].as_str().unwrap().parse().unwrap();
    let server = Running::start(world, &[]);
    let request =
        |old, checkpoint: &SignedCheckpoint| AddCheckpoint { old, proof: vec![], checkpoint: checkpoint.clone() };

    // Nothing is known, and nothing was cosigned.
    add(&server, &request(0, &of_stranger)).problem(404, "not-found");
    let place = format!("/witness/{}/checkpoint", Hash::of(one.name().as_bytes()));
    ask(&server, "GET", &place, "").problem(404, "not-found");
    ask(&server, "GET", "/witness/00/checkpoint", "").problem(404, "not-found");
    // What is no request.
    for bad in ["", "old 0\n\n", "old 00\n\nx", "\u{fffd}"] {
        ask(&server, "POST", "/witness/add-checkpoint", bad).problem(400, "usage");
    }
    let beyond = request(0, &one).to_string().replacen("old 0", "old 2", 1);
    ask(&server, "POST", "/witness/add-checkpoint", &beyond).problem(400, "usage");
    let large = "x".repeat(100_000);
    assert_eq!(ask(&server, "POST", "/witness/add-checkpoint", &large).status, 413);

    let cosigned = add(&server, &request(0, &one)).is(200);
    let noted = one.with_signatures(&cosigned.text()).unwrap();
    assert!(noted.cosigned_by(&vkey).unwrap().is_some());
    let served = ask(&server, "GET", &place, "").is(200).text();
    assert_eq!(SignedCheckpoint::parse(&served).unwrap(), noted);

    let stale = add(&server, &request(0, &two)).is(409);
    assert_eq!((stale.header("content-type"), stale.text().as_str()), (Some("text/x.tlog.size"), "1\n"));
    add(&server, &request(1, &two)).problem(422, "inconsistent");
    let wrong = AddCheckpoint { proof: vec![Hash([1; 32])], ..request(1, &two) };
    add(&server, &wrong).problem(422, "inconsistent");
    // Under the name of the log, and not by its key.
    let mut forged = two.to_string();
    let at = forged.rfind(' ').unwrap() + 12;
    let other = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    add(&server, &request(1, &SignedCheckpoint::parse(&forged).unwrap())).problem(403, "not-signed");
}
