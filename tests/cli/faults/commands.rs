//! The commands that are tried, and the databases on which.

use std::fs;
use std::process::Command;

use super::copy;
use crate::cli::world::{WEAK, World};

/// Entries of each database.
const ENTRIES: u64 = 6;

/// Databases and files, made once; each try has copies.
pub(super) struct Goods {
    pub(super) world: World,
}

/// A command.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Which of the goods is the database, if one is there before.
    db: &'static str,
    /// What else lies there.
    needs: &'static [&'static str],
    args: Vec<&'static str>,
    /// What the database has afterwards; nothing if there is none that can be
    /// written to.
    pub(super) entries: Option<Entries>,
    /// How the same command ends when it had failed before.
    pub(super) again: &'static [i32],
    /// The same when it had succeeded.
    pub(super) when_done: &'static [i32],
    /// Something was damaged, so that it may be set aside.
    pub(super) sets_aside: bool,
    pub(super) check: fn(&World) -> Result<(), String>,
}

/// The entries of the database after a command.
#[derive(Clone, Copy)]
pub(super) enum Entries {
    /// So many, whatever happens.
    Stay(u64),
    /// So many more each time that the command says that it has written.
    Grow { from: u64, by: u64 },
}

impl Case {
    fn new(name: &'static str, args: &[&'static str]) -> Self {
        Self {
            name,
            db: "db",
            needs: &[],
            args: args.to_vec(),
            entries: Some(Entries::Stay(ENTRIES)),
            again: &[0],
            when_done: &[0],
            sets_aside: false,
            check: |_| Ok(()),
        }
    }

    fn on(self, db: &'static str) -> Self {
        Self { db, ..self }
    }

    fn with(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    fn grows(self, by: u64) -> Self {
        Self { entries: Some(Entries::Grow { from: ENTRIES, by }), ..self }
    }

    /// A second time it ends so, since it was done the first time; it may have been
    /// although it said that something failed at the end.
    fn once(self, code: &'static [i32], either: &'static [i32]) -> Self {
        Self { when_done: code, again: either, ..self }
    }

    fn apart(self) -> Self {
        Self { entries: None, ..self }
    }

    fn setting_aside(self) -> Self {
        Self { sets_aside: true, ..self }
    }

    fn then(self, check: fn(&World) -> Result<(), String>) -> Self {
        Self { check, ..self }
    }

    pub(super) fn command(&self, place: &World) -> Command {
        place.thingdb(&self.args)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let init = [&["init", "--actor", "alice"][..], &WEAK].concat();
    vec![
        Case::new("init", &init)
            .on("")
            .once(&[2], &[0, 2])
            .apart()
            .setting_aside()
            .then(|place| works(place, &["put", "x", "1"]).and_then(|()| counts(place, "db", 1))),
        Case::new("put", &["put", "x", "1"]).grows(1),
        Case::new("put after a kill", &["put", "x", "1"]).on("killed").grows(1),
        Case::new("put without a journal", &["put", "x", "1"]).on("no-journal").grows(1),
        Case::new("put without a store", &["put", "x", "1"]).on("no-store").grows(1).setting_aside(),
        Case::new("put with a damaged store", &["put", "x", "1"]).on("bad-store").grows(1).setting_aside(),
        Case::new("put with a journal cut short", &["put", "x", "1"]).on("short-journal").grows(1),
        Case::new("put of a large payload", &["put", "x", "@large", "--media-type", "text/plain"])
            .with(&["large"])
            .grows(1),
        Case::new("append", &["append", "lines"]).with(&["lines"]).grows(40),
        Case::new("import", &["import", "other.ndjson", "--trust", "all"])
            .with(&["other.ndjson"])
            .apart()
            .then(|place| works(place, &["verify", "--json"]).or(Ok(()))),
        Case::new("export", &["export", "-o", "out.ndjson.zst"])
            .once(&[0, 2], &[0])
            .then(|place| works(place, &["verify", "out.ndjson.zst"])),
        Case::new("verify", &["verify"]),
        Case::new("stats", &["stats"]),
        Case::new("log", &["log", "x"]),
        Case::new("read-only", &["--read-only", "log", "x"]),
        Case::new("backup", &["backup", "new-backup"]).then(|place| works(place, &["backup", "verify", "new-backup"])),
        Case::new("backup goes on", &["backup", "backup"])
            .with(&["backup"])
            .then(|place| works(place, &["backup", "verify", "backup"])),
        Case::new("backup verify", &["backup", "verify", "backup"]).with(&["backup"]),
        Case::new("restore", &["restore", "backup", "new"])
            .with(&["backup"])
            .once(&[2], &[0, 2])
            .apart()
            .then(|place| counts(place, "new", ENTRIES)),
        Case::new("salvage", &["salvage", "db", "--out", "new"])
            .once(&[2], &[0, 2])
            .then(|place| counts(place, "new", ENTRIES)),
        Case::new("salvage with a damaged store", &["salvage", "db", "--out", "new", "--from", "backup"])
            .on("bad-store")
            .with(&["backup"])
            .once(&[2], &[0, 2])
            .apart()
            .then(|place| counts(place, "new", ENTRIES)),
        Case::new("doctor", &["doctor", "--fix"]),
        Case::new("doctor with a damaged journal", &["doctor", "--fix"])
            .on("bad-journal")
            .then(|place| works(place, &["doctor"])),
        Case::new("journal recent", &["journal", "recent"]),
        Case::new("journal keep", &["journal", "keep"]).on("recent").then(|place| {
            let kept = fs::read_dir(place.path("db/journal")).map_err(|problem| problem.to_string())?;
            let names: Vec<_> = kept.flatten().map(|entry| entry.file_name()).collect();
            if names.iter().any(|name| name == "00000000000000000001") {
                return Ok(());
            }
            Err(format!("the journal is not whole: {names:?}"))
        }),
        Case::new("passwd", &["passwd", "--new-passphrase-file", "new-passphrase"])
            .with(&["new-passphrase"])
            .once(&[12], &[0, 12])
            .apart()
            .then(|place| {
                // One of the two opens it.
                fs::copy(place.path("new-passphrase"), place.path("passphrase"))
                    .map_err(|problem| problem.to_string())?;
                counts(place, "db", ENTRIES)
            }),
        Case::new("recovery-key", &["recovery-key", "-o", "recovery"]).once(&[2], &[0, 2]),
        Case::new("new-node-key", &["new-node-key", "--yes"]),
        Case::new("token", &["token", "new", "--name", "hall", "--scope", "read", "-o", "hall.token"])
            .once(&[2], &[0, 2])
            .then(|place| works(place, &["token", "ls"])),
        Case::new("peer", &["peer", "add", "there", "@card", "--yes"])
            .with(&["card"])
            .then(|place| says(place, &["peer", "ls"], "there")),
        Case::new("actor", &["actor", "new", "bob"])
            .once(&[2], &[0, 2])
            .then(|place| says(place, &["actor", "ls"], "bob")),
        Case::new("checkpoint", &["checkpoint", "-o", "note"]).once(&[0, 2], &[0]),
        Case::new("keyring export", &["keyring", "export", "-o", "kept"]).once(&[2], &[0, 2]),
        Case::new("keyring import", &["keyring", "import", "kept.keyring"])
            .on("no-keyring")
            .with(&["kept.keyring"])
            .once(&[0, 2], &[0, 2]),
        Case::new("prove", &["prove", "x", "-o", "x.tdbproof"]).once(&[0, 2], &[0]),
        Case::new("share", &["share", "x", "--to", "there"]).on("peered"),
        // A share has replaced rows, which are dead now, in the journal and in the store.
        Case::new("compact", &["compact"]).on("shared"),
    ]
}

fn works(place: &World, args: &[&str]) -> Result<(), String> {
    says(place, args, "")
}

fn says(place: &World, args: &[&str], word: &str) -> Result<(), String> {
    let answer = place.run(args);
    if answer.code == 0 && answer.stdout.contains(word) { Ok(()) } else { Err(format!("{args:?}: {answer:?}")) }
}

fn counts(place: &World, db: &str, entries: u64) -> Result<(), String> {
    let answer = place.run(&["-d", db, "verify", "--json"]);
    if answer.code == 0 && answer.json()["entries"] == entries { Ok(()) } else { Err(format!("{db}: {answer:?}")) }
}

impl Goods {
    pub(super) fn make() -> Self {
        let world = World::new();
        let put = |n: u64| drop(world.run(&["put", "x", &n.to_string()]).ok());
        (0..ENTRIES - 2).for_each(put);
        copy(&world.path("db/journal"), &world.path("short"));
        world.feed(&["append", "-"], "{\"thing\":\"y\",\"data\":1}\n{\"thing\":\"y\",\"data\":2}\n").ok();
        let db = |name: &str| {
            copy(&world.path("db"), &world.path(name));
            world.path(name)
        };
        let remove = |path: std::path::PathBuf| fs::remove_dir_all(path).unwrap();
        remove(db("no-journal").join("journal"));
        remove(db("no-store").join("store"));
        let without = db("no-keyring");
        ["keyring", "keyring.copy"].iter().for_each(|name| fs::remove_file(without.join(name)).unwrap());
        let short = db("short-journal");
        remove(short.join("journal"));
        copy(&world.path("short"), &short.join("journal"));
        damage(&db("bad-store").join("store/db"), 100);
        damage(&db("bad-journal").join("journal/00000000000000000001"), 4160 + 40);
        copy(&short, &world.path("recent"));
        // The journal goes on in a file of its own, and what was before is dropped.
        world.run(&["-d", "recent", "journal", "recent"]).ok();
        assert!(!world.path("recent/journal/00000000000000000001").exists(), "files were dropped");
        kill(&world, &db("killed"));
        world.run(&["backup", "backup"]).ok();
        fs::remove_file(world.path("db/last-backup")).unwrap();
        world.run(&["keyring", "export", "-o", "kept.keyring"]).ok();
        let other = [&["-d", "other", "init", "--actor", "bob"][..], &WEAK].concat();
        world.run(&other).ok();
        world.run(&["-d", "other", "put", "z", "1"]).ok();
        world.run(&["-d", "other", "export", "-o", "other.ndjson"]).ok();
        world.write("card", world.run(&["-d", "other", "card"]).ok().stdout);
        db("peered");
        world.run(&["-d", "peered", "peer", "add", "there", "@card", "--yes"]).ok();
        copy(&world.path("peered"), &world.path("shared"));
        world.run(&["-d", "shared", "share", "x", "--to", "there"]).ok();
        world.write("large", "a".repeat(300_000));
        world.write(
            "lines",
            (0..40).map(|n| format!("{{\"thing\":\"t{}\",\"data\":{n}}}\n", n % 3)).collect::<String>(),
        );
        fs::copy(world.path("passphrase"), world.path("new-passphrase")).unwrap();
        world.write("new-passphrase", "another long passphrase\n");
        Self { world }
    }

    /// A place of its own for a try.
    pub(super) fn place(&self, case: &Case) -> World {
        let place = World::empty();
        if !case.db.is_empty() {
            copy(&self.world.path(case.db), &place.path("db"));
        }
        for name in case.needs {
            copy(&self.world.path(name), &place.path(name));
        }
        place
    }
}

/// Changes a byte.
fn damage(path: &std::path::Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

/// Leaves a database as a process leaves it that is killed while it reads.
fn kill(world: &World, db: &std::path::Path) {
    let db = db.to_str().unwrap();
    let command = world.thingdb(&["-d", db, "stats"]);
    // The last thing that an opening writes is long done when it is closed.
    super::strace::kill_at_closing(command);
}
