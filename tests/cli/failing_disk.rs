//! A disk that is full, and one that does not do what it is asked: what the
//! command says then, and that nothing it had acknowledged is lost.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::world::{Answer, WEAK, World, skip};

// By its path: nothing depends on the package of the tests.
#[allow(dead_code, unreachable_pub)]
#[path = "../support/disk.rs"]
pub(super) mod disk;

/// An entry that the command acknowledged: its thing and id.
type Acknowledged = (String, String);

fn acknowledged(answer: &Answer) -> Acknowledged {
    let written = answer.json();
    let text = |name: &str| written[name].as_str().unwrap().to_owned();
    (text("thing"), text("id"))
}

/// Whatever was acknowledged can be read, and everything verifies.
fn assert_kept(world: &World, db: &str, told: &[Acknowledged]) {
    for (thing, id) in told {
        world.run(&["-d", db, "get", thing, "--id", id]).ok();
    }
    let report = world.run(&["-d", db, "verify", "--json"]).ok().json();
    assert!(report["entries"].as_u64().unwrap() >= told.len() as u64, "{report}");
}

#[test]
fn a_full_disk_is_told_and_takes_nothing_that_was_acknowledged() {
    let world = World::empty();
    // Above the floor of 16 MiB and the reserve of 4 there is room for some.
    let tmpfs = match disk::Tmpfs::new(&world.path(""), "28m") {
        Ok(tmpfs) => tmpfs,
        Err(reason) => return skip(&reason),
    };
    let db = tmpfs.path().join("db");
    let db = db.to_str().unwrap();
    world.run(&[&["-d", db, "init", "--actor", "alice"][..], &WEAK].concat()).ok();
    world.write("large", vec![b'a'; 300 << 10]);
    world.run(&["-d", db, "put", "x", "1"]).ok();
    let lines = world.run(&["-d", db, "export"]).ok().stdout;
    let put = |n: usize| world.run(&["-d", db, "put", &format!("t{n}"), "@large", "--media-type", "text/plain"]);
    let assert_full = |answer: Answer| {
        let answer = answer.exit(16).says("error[disk-full]: ").says("bytes are free on the disk");
        answer.says("hint: make room, then run the command again; df -h").stdout
    };

    let mut told = Vec::new();
    let full = loop {
        let answer = put(told.len());
        if answer.code != 0 {
            break answer;
        }
        told.push(acknowledged(&answer));
        assert!(told.len() < 100, "the disk is full at some point");
    };
    println!("{} entries fit", told.len());
    assert!(told.len() > 5);
    assert_eq!(assert_full(full), "");

    // Every command that writes says the same.
    let input: String =
        (0..5000).map(|n| format!("{{\"thing\":\"t/{n}\",\"data\":\"{}\"}}\n", "a".repeat(400))).collect();
    assert_full(world.feed(&["-d", db, "append"], &input));
    world.run(&["-d", "other", "init", "--actor", "bob", WEAK[0], WEAK[1], WEAK[2], WEAK[3], WEAK[4], WEAK[5]]).ok();
    world.feed(&["-d", "other", "append"], &input).ok();
    world.run(&["-d", "other", "export", "-o", "other.ndjson.zst"]).ok();
    assert_full(world.run(&["-d", db, "import", "other.ndjson.zst", "--trust", "all"]));
    // What is here already needs no room.
    let known = world.feed(&["-d", db, "import", "-"], lines).ok().json();
    assert_eq!(known["known"], 1);

    // Every command that reads goes on.
    assert_kept(&world, db, &told);
    world.run(&["-d", db, "ls"]).ok();
    world.run(&["-d", db, "export", "-o", "copy.ndjson"]).ok();
    let copied = world.run(&["-d", "other", "import", "copy.ndjson", "--trust", "all"]).ok().json();
    assert!(copied["added"].as_u64().unwrap() > told.len() as u64, "{copied}");

    // Full to the last byte it still opens, and says what is wrong.
    let filler = tmpfs.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let mut fill = || while std::io::Write::write_all(&mut file, &[0xaa; 4096]).is_ok() {};
    fill();
    assert_full(put(0));
    assert_kept(&world, db, &told);
    // Opening has given the reserve up.
    fill();
    let export = tmpfs.path().join("export.ndjson");
    let answer = world.run(&["-d", db, "export", "-o", export.to_str().unwrap()]).exit(16).says("error[disk-full]");
    assert!(answer.stderr.contains("No space left"), "{answer:?}");
    assert!(!export.exists(), "half an export is none");
    fs::remove_file(filler).unwrap();

    // The same commands again once there is room.
    tmpfs.resize("128m");
    told.push(acknowledged(&put(told.len()).ok()));
    assert_eq!(world.feed(&["-d", db, "append"], &input).ok().json()["added"], 5000);
    world.run(&["-d", db, "import", "other.ndjson.zst", "--trust", "all"]).ok();
    let report = world.run(&["-d", db, "verify", "--json"]).exit(4).json();
    let problems = report["problems"].as_array().unwrap();
    assert!(problems.iter().all(|problem| problem["verdict"] == "unknown actor"), "{problems:?}");
    for (thing, id) in &told {
        world.run(&["-d", db, "get", thing, "--id", id]).ok();
    }
}

/// Lets every sync of a process fail from the n-th on, as a disk does that is
/// broken. Loaded in front of the C library, since the command has no switch
/// for it.
const FAILING_SYNCS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
static int fails(void) {
    static int count;
    const char *at = getenv("FAIL_SYNC_AT");
    if (!at || __sync_add_and_fetch(&count, 1) < atoi(at)) return 0;
    errno = EIO;
    return 1;
}
int fsync(int fd) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
int sync_file_range(int fd, off_t from, off_t len, unsigned flags) {
    if (fails()) return -1;
    return ((int (*)(int, off_t, off_t, unsigned))dlsym(RTLD_NEXT, "sync_file_range"))(fd, from, len, flags);
}
"#;

/// Builds the library, or says why there is none.
fn failing_syncs(world: &World) -> Result<String, String> {
    let (source, library) = (world.write("syncs.c", FAILING_SYNCS), world.path("syncs.so"));
    let mut compiler = Command::new("cc");
    compiler.current_dir(world.path("")).args(["-shared", "-fPIC", "-o", "syncs.so", &source, "-ldl"]);
    let output = compiler.output().map_err(|problem| format!("cc: {problem}"))?;
    if !output.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(library.to_str().unwrap().to_owned())
}

#[test]
fn a_sync_that_fails_is_told_and_takes_nothing_that_was_acknowledged() {
    let world = World::new();
    let library = match failing_syncs(&world) {
        Ok(library) => library,
        Err(reason) => return skip(&reason),
    };
    let mut told = vec![acknowledged(&world.run(&["put", "x", "0"]).ok())];
    let run = |args: &[&str], n: usize| {
        let mut command = world.thingdb(args);
        command.env("LD_PRELOAD", &library).env("FAIL_SYNC_AT", n.to_string());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Answer { code: output.status.code().unwrap_or(-1), stdout, stderr }
    };
    if run(&["put", "x", "1"], 1).code == 0 {
        return skip("the library is not loaded in front of the C library's");
    }
    let (mut at_opening, mut while_writing, mut at_closing) = (0, 0, 0);
    // Until a put has come to its end before the n-th sync.
    for n in 1.. {
        assert!(n < 100, "a put needs not so many syncs");
        let answer = run(&["put", "x", &n.to_string()], n);
        if answer.code == 0 {
            told.push(acknowledged(&answer));
            if answer.stderr.contains("warning[close]: ") {
                // What closes the database failed, and the entry is there.
                assert!(answer.stderr.contains("Input/output error"), "{answer:?}");
                at_closing += 1;
                continue;
            }
            break;
        }
        let answer = answer.exit(1);
        assert!(!answer.stderr.contains("panicked at"), "{answer:?}");
        let last = &answer.stderr[answer.stderr.rfind("error[").unwrap_or_else(|| panic!("{answer:?}"))..];
        assert!(last.contains("Input/output error"), "{answer:?}");
        assert_eq!(answer.stdout, "", "what is not durable is not acknowledged");
        if last.starts_with("error[read-only]: a sync to disk has failed") {
            assert!(last.contains("nothing is written until the store is opened anew"), "{last}");
            assert!(last.contains("hint: thingdb doctor"), "{last}");
            while_writing += 1;
        } else {
            assert!(last.starts_with("error[system]: ") || last.starts_with("error[file]: "), "{last}");
            at_opening += 1;
        }
        // The next one finds everything in order.
        told.push(acknowledged(&world.run(&["put", "y", &n.to_string()]).ok()));
    }
    println!("{at_opening} failed at opening, {while_writing} while writing, {at_closing} at closing");
    assert!(at_opening > 0 && while_writing > 0 && at_closing > 0);
    assert_kept(&world, "db", &told);

    // A stream of entries: what was acknowledged is what `doctor` then finds.
    let input: String = (0..3000).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":{n}}}\n", n % 7)).collect();
    world.write("lines", &input);
    for n in (1..30).step_by(4) {
        let answer = run(&["append", "lines"], n);
        assert!(matches!(answer.code, 0 | 1), "{answer:?}");
        assert!(answer.code == 0 || answer.stderr.contains("Input/output error"), "{answer:?}");
        world.run(&["doctor"]).ok();
        let report: Value = world.run(&["verify", "--json"]).ok().json();
        assert_eq!(report["ok"], true);
    }
    assert_kept(&world, "db", &told);

    // A database that could not be made is none, and can be made.
    for n in 1..20 {
        let args = [&["-d", "new", "init", "--actor", "alice"][..], &WEAK].concat();
        if run(&args, n).code == 0 {
            world.run(&["-d", "new", "put", "x", "1"]).ok();
            return;
        }
        if world.path("new/keyring").exists() {
            world.run(&["-d", "new", "put", "x", "1"]).ok();
        } else {
            world.run(&["-d", "new", "put", "x", "1"]).exit(10);
        }
        let _ = fs::remove_dir_all(world.path("new"));
    }
}
