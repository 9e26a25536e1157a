//! The layers: format <- engine <- tools, and nothing sees tests, benches or
//! fuzz. No source file holds `unsafe`.
//!
//! Read from the manifests and the sources themselves, so that a dependency
//! that points up, or a block that the compiler should not have let through,
//! fails here with its name.

#[path = "layers/rooms.rs"]
mod rooms;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rooms::House;

/// Each crate, and the crates of the workspace that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("format", &[]),
    ("engine", &["thingdb-format"]),
    ("tools", &["thingdb"]),
    ("tests", &["thingdb-format", "thingdb", "thingdb-tools", "thingdb-fuzz"]),
    ("benches", &["thingdb-format", "thingdb", "thingdb-tools"]),
    ("fuzz", &["thingdb-format", "thingdb", "thingdb-tools"]),
];

/// The rooms of `engine/src`, top to bottom. `docs/architecture.md` says what
/// lies in each.
const ENGINE: &[&str] = &[
    "lib.rs",
    "db",
    "backup",
    "migrate",
    "verify",
    "exchange",
    "replica",
    "node",
    "committer",
    "store",
    "prototype",
    "access",
    "evidence",
    "entry",
    "directory",
    "progress.rs",
    "threads.rs",
    "error",
    "heads.rs",
    "encoding.rs",
    "clock.rs",
    "keyring",
    "storage",
    "disk",
];

/// Rooms of the engine that stand side by side: none uses the other, though one
/// lies above it in the list.
const SIDE_BY_SIDE: &[&[&str]] = &[
    &["backup", "migrate", "verify", "exchange"],
    &["access", "evidence", "entry", "directory"],
    &["keyring", "storage"],
];

/// The rooms of `tools/src`, top to bottom.
const TOOLS: &[&str] = &[
    "main.rs",
    "cli",
    "cli/args.rs",
    "cli/command",
    "cli/context.rs",
    "cli/way_back.rs",
    "cli/waiting.rs",
    "cli/recovery.rs",
    "cli/remote.rs",
    "cli/input",
    "cli/global.rs",
    "reader",
    "local",
    "server",
    "console",
    "sync",
    "client",
    "view",
    "timestamp",
    "bytes",
    "error.rs",
    "foreign.rs",
    "panics.rs",
    "user.rs",
    "text",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
}

/// The packages that a manifest names as dependencies, of whatever kind.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            // [dependencies.name], [target.'…'.dev-dependencies.name]
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                found.push(name.trim_matches('"').to_owned());
            }
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| in_dependencies && !line.starts_with('#')) else {
            continue;
        };
        let name = name.trim().split('.').next().unwrap_or_default().trim_matches('"');
        let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
        found.push(renamed.unwrap_or(name).to_owned());
    }
    found
}

fn package_name(manifest: &str) -> String {
    let name = manifest.lines().find_map(|line| line.trim().strip_prefix("name = "));
    name.expect("a manifest names its package").trim_matches('"').to_owned()
}

#[test]
fn arrows_point_down() {
    let root = root();
    let manifests: BTreeMap<&str, String> =
        ARROWS.iter().map(|(directory, _)| (*directory, read(&root.join(directory).join("Cargo.toml")))).collect();
    let own: Vec<String> = manifests.values().map(|manifest| package_name(manifest)).collect();
    let mut arrows = 0;
    for (directory, allowed) in ARROWS {
        for name in dependencies(&manifests[directory]) {
            if own.contains(&name) {
                assert!(allowed.contains(&name.as_str()), "{directory} depends on {name}: the arrow points up");
                arrows += 1;
            }
        }
    }
    assert!(arrows >= 4, "only {arrows} arrows were found: the manifests are read wrongly");
}

/// Every member of the workspace is in the table above.
#[test]
fn no_crate_is_left_out() {
    let workspace = read(&root().join("Cargo.toml"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).expect("there are members");
    let members: Vec<&str> =
        members.trim_matches(['[', ']']).split(',').map(|name| name.trim().trim_matches('"')).collect();
    let known: Vec<&str> = ARROWS.iter().map(|(directory, _)| *directory).collect();
    assert_eq!(members, known);
}

/// The engine's storage seam lies below the engine: it knows no things,
/// entries, JSON or keys.
#[test]
fn the_storage_seam_knows_nothing_of_entries() {
    let seam = root().join("engine/src/storage");
    for file in sources(&seam) {
        for line in code(&read(&file)).lines() {
            let line = line.trim();
            for word in ["thingdb_format", "crate::keyring", "crate::store", "serde"] {
                assert!(!line.contains(word), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn the_rooms_of_the_engine_lie_in_order() {
    let source = root().join("engine/src");
    let house = House::read(&source);
    house.points_down(ENGINE);
    let room = |file: &str| file.split('/').next().expect("a path has a part").to_owned();
    for (file, used) in house.arrows() {
        let is_in = |row: &&&[&str], file: &str| row.contains(&room(file).as_str());
        let row = SIDE_BY_SIDE.iter().find(|row| is_in(row, file) && is_in(row, used));
        assert!(row.is_none() || room(file) == room(used), "{file} uses {used}, which stands beside it");
    }
    // What the facade is for, nothing below it knows.
    for file in sources(&source).iter().filter(|file| !file.starts_with(source.join("db"))) {
        if !file.ends_with("lib.rs") {
            assert!(!names_the_facade(&read(file)), "{} names Db", file.display());
        }
    }
}

/// Whether the code, but for its tests, names `Db`, and not that of sled.
fn names_the_facade(source: &str) -> bool {
    let code = code(source);
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    words.into_iter().any(|word| word.rsplit("::").next() == Some("Db") && !word.starts_with("sled::"))
}

#[test]
fn the_facade_is_found_where_it_is_named() {
    assert!(names_the_facade("fn f(db: &Db) {}"));
    assert!(names_the_facade("use crate::db::Db;"));
    assert!(!names_the_facade(
        "/// As [`Db::get`].\nfn f(rows: sled::Db) {}\n#[cfg(test)]\nmod tests { use crate::Db; }"
    ));
    assert!(!names_the_facade("fn f(of: &str) { say(\"Db\") }"));
}

#[test]
fn the_rooms_of_the_command_lie_in_order() {
    let house = House::read(&root().join("tools/src"));
    house.points_down(TOOLS);
    house.has_no_circle();
    // A command knows its context, and no other command; the arguments alone
    // know all of them.
    let command = |file: &str| Some(file.strip_prefix("cli/command/")?.split(['/', '.']).next()?.to_owned());
    for (file, used) in house.arrows() {
        let Some(other) = command(used) else { continue };
        let is_own = command(file).is_some_and(|own| own == other);
        assert!(file == "cli/args.rs" || is_own, "{file} uses {used}");
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|problem| panic!("{}: {problem}", directory.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != "corpus" && name != "artifacts") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The source without comments and without what stands between quotes.
fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let before = out.last().copied();
        let in_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let hashes = rest.iter().skip(1).take_while(|byte| **byte == b'#').count();
        if rest.starts_with(b"//") {
            at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let (mut depth, mut end) = (1, 2);
            while depth > 0 && end < rest.len() {
                match rest.get(end..end + 2) {
                    Some(b"/*") => (depth, end) = (depth + 1, end + 2),
                    Some(b"*/") => (depth, end) = (depth - 1, end + 2),
                    _ => end += 1,
                }
            }
            at += end;
        } else if rest[0] == b'r' && rest.get(1 + hashes) == Some(&b'"') && (before == Some(b'b') || !in_word(before)) {
            let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
            let body = &rest[hashes + 2..];
            let len = body.windows(close.len()).position(|some| some == close).unwrap_or(body.len());
            at += hashes + 2 + len + close.len();
        } else if rest[0] == b'"' {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            at += end + 1;
        } else if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'')) {
            // A character, not a lifetime.
            let skip = if rest.get(1) == Some(&b'\\') { 3 } else { 2 };
            at += rest.iter().skip(skip).position(|byte| *byte == b'\'').map_or(rest.len(), |end| skip + end + 1);
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let source = "a /* unsafe /* */ unsafe */ b // unsafe\nc \"unsafe \\\" unsafe\" r#\"unsafe \" \"# 'u' '\\'' 'x: d";
    assert_eq!(code(source).split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "'x:", "d"]);
    assert!(code("fn f() { unsafe { g() } }").contains("unsafe"));
}

#[test]
fn no_source_file_is_unsafe() {
    let root = root();
    let mut files = 0;
    for (directory, _) in ARROWS {
        for file in sources(&root.join(directory)) {
            files += 1;
            let text = code(&read(&file));
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            assert!(!words.into_iter().any(|word| word == "unsafe"), "{} holds unsafe", file.display());
        }
    }
    assert!(files > 60, "only {files} files were found");
}

#[test]
fn unsafe_is_forbidden_by_the_manifests() {
    let root = root();
    assert!(read(&root.join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
    for directory in ["format", "engine", "tools", "tests", "benches"] {
        let manifest = read(&root.join(directory).join("Cargo.toml"));
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || manifest.contains("unsafe_code = \"forbid\""), "{directory} may use unsafe");
    }
}
