//! Many clients at once.

use std::io::{BufReader, Write};
use std::thread;

use super::server::{Server, client, done_at_least, fed, piped, through};
use crate::world::{Answer, World};

#[test]
fn sixteen_clients_write_at_once_and_each_has_its_own_answers() {
    const CLIENTS: u64 = 16;
    const EACH: u64 = 10;
    let world = World::new();
    let server = Server::start(&world);
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            let world = &world;
            scope.spawn(move || {
                let thing = format!("t-{n}");
                for seq in 1..=EACH {
                    let receipt = through(world, &["put", &thing, &seq.to_string()]).ok().json();
                    assert_eq!((receipt["thing"].as_str(), receipt["seq"].as_u64()), (Some(&*thing), Some(seq)));
                }
                let lines: String = (0..EACH).map(|_| format!("{{\"thing\":\"{thing}\",\"data\":{n}}}\n")).collect();
                // Some are quiet, some are in colours: none of it rubs off.
                let summary = fed(client(world, &["append", "-q"]), lines.as_bytes()).ok();
                assert_eq!((summary.json()["added"].as_u64(), summary.stderr.as_str()), (Some(EACH), ""));
                let colours = if n % 2 == 0 { "always" } else { "never" };
                let missing = through(world, &["get", &format!("nothing-{n}"), "--color", colours]).exit(3);
                assert_eq!(missing.stderr.contains('\x1b'), n % 2 == 0, "{missing:?}");
                assert!(missing.says(&format!("no thing named nothing-{n}")).stdout.is_empty());
                assert_eq!(through(world, &["log", &thing]).ok().lines().len() as u64, 2 * EACH);
            });
        }
    });
    server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], CLIENTS * EACH * 2);
}

#[test]
fn heads_are_guarded_between_clients() {
    let world = World::new();
    let server = Server::start(&world);
    let codes: Vec<i32> = thread::scope(|scope| {
        let put = || through(&world, &["put", "one", "1", "--expect", "none"]).code;
        let running: Vec<_> = (0..8).map(|_| scope.spawn(put)).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let count = |code| codes.iter().filter(|found| **found == code).count();
    assert_eq!((count(0), count(5)), (1, 7), "{codes:?}");
    server.stop();
}

#[test]
fn more_commands_than_the_server_runs_are_told_to_wait() {
    const MOST: usize = 64;
    let world = World::new();
    let server = Server::start(&world);
    let mut waiting: Vec<_> = (0..MOST).map(|_| piped(client(&world, &["append", "--progress", "json"]))).collect();
    for child in &mut waiting {
        writeln!(child.stdin.as_mut().unwrap(), "{{\"thing\":\"a\",\"data\":1}}").unwrap();
        done_at_least(&mut BufReader::new(child.stderr.as_mut().unwrap()), 1);
    }
    through(&world, &["get", "a"]).exit(11).says("error[busy]").says("hint: ");
    let first = waiting.pop().unwrap();
    Answer::wait(first).ok();
    through(&world, &["get", "a"]).ok();
    for child in waiting {
        Answer::wait(child).ok();
    }
    server.stop();
    assert_eq!(world.run(&["stats"]).ok().json()["entries"], MOST as u64);
}
