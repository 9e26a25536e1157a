//! Sessions in documents are run as they stand: the `console` blocks of the
//! README and of `tests/transcripts`, a shell a document, and what the shell
//! answers is compared with what the document says.
//!
//! `[..]` stands for anything within a line, a line `...` for any lines.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use super::world::{Answer, World, skip};

/// A command and the answer that the document gives.
struct Exchange {
    line: usize,
    command: String,
    expected: Vec<String>,
}

fn exchanges(document: &str) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut within = false;
    for (number, line) in document.lines().enumerate() {
        match line {
            "```console" => within = true,
            "```" => within = false,
            _ if !within => {}
            _ => match (line.strip_prefix("$ "), line.strip_prefix("> "), found.last_mut()) {
                (Some(command), ..) => {
                    found.push(Exchange { line: number + 1, command: command.into(), expected: Vec::new() });
                }
                (None, Some(more), Some(last)) if last.expected.is_empty() => {
                    last.command.push('\n');
                    last.command.push_str(more);
                }
                (.., Some(last)) => last.expected.push(line.into()),
                (.., None) => panic!("line {}: an answer without a command", number + 1),
            },
        }
    }
    found
}

/// Runs the commands in one shell, stdout and stderr as one.
fn answers(world: &World, exchanges: &[Exchange]) -> Vec<String> {
    const MARK: &str = "@@ end of answer @@";
    let mut script = String::from("last=0\n");
    for exchange in exchanges {
        script
            .push_str(&format!("(exit $last); {{ {}\n}} 2>&1 </dev/null\nlast=$?\necho '{MARK}'\n", exchange.command));
    }
    fs::create_dir(world.path("here")).unwrap();
    let mut command = world.command("sh");
    command.current_dir(world.path("here")).env("THINGDB_FORMAT", "table").env_remove("THINGDB_PASSPHRASE_FILE");
    command.env_remove("THINGDB_DIR").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let answer = Answer::wait(child);
    let mut parts: Vec<String> = answer.stdout.split(&format!("{MARK}\n")).map(str::to_owned).collect();
    parts.pop();
    assert_eq!(parts.len(), exchanges.len(), "{answer:?}");
    parts
}

fn check(name: &str, document: &str, world: &World) {
    let exchanges = exchanges(document);
    assert!(!exchanges.is_empty(), "{name} holds no session");
    for (exchange, answer) in exchanges.iter().zip(answers(world, &exchanges)) {
        let found: Vec<&str> = answer.lines().collect();
        let expected: Vec<&str> = exchange.expected.iter().map(String::as_str).collect();
        assert!(
            matches(&expected, &found),
            "{name}, line {}: $ {}\n--- the document says\n{}\n--- the program says\n{}",
            exchange.line,
            exchange.command,
            expected.join("\n"),
            found.join("\n")
        );
    }
}

fn matches(expected: &[&str], found: &[&str]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=found.len()).any(|skipped| matches(rest, &found[skipped..])),
        (Some((line, rest)), Some((got, more))) => is_like(line, got) && matches(rest, more),
        _ => false,
    }
}

fn is_like(expected: &str, found: &str) -> bool {
    match expected.split_once("[..]") {
        None => expected == found,
        Some((start, rest)) => found.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| is_like(rest, &tail[at..]))
        }),
    }
}

#[test]
fn the_sessions_of_the_readme_go_as_it_says() {
    let world = World::empty();
    let made = world.shell(
        r#"
        git --version >/dev/null 2>&1 || exit 99
        export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null TZ=UTC
        mkdir here && git init -q here/checkout && cd here/checkout && mkdir src || exit 1
        git config user.name Ann && git config user.email ann@example.org
        commit() { GIT_AUTHOR_DATE=$1 GIT_COMMITTER_DATE=$1 git commit -q -m "$2"; }
        echo 'fn main() {}' > src/main.rs && git add -A && commit 2024-05-02T10:00:00Z 'First commit' || exit 1
        echo 'fn main() { hello() }' > src/main.rs && git add -A && commit 2024-05-03T10:00:00Z 'Say "hello"' || exit 1
        echo 1 > 'odd "name".txt' && git add -A && commit 2024-05-04T10:00:00Z 'Odd' || exit 1
        git rm -q 'odd "name".txt' && commit 2024-05-05T10:00:00Z 'Not so odd' || exit 1
        mv ../../here ../../prepared
        "#,
    );
    if made.code == 99 {
        return skip("there is no git");
    }
    made.ok();
    let readme = include_str!("../../README.md");
    // The shell makes the directory; what was prepared is linked into it.
    let readme = format!("```console\n$ mv ../prepared/checkout .\n```\n{readme}");
    check("README.md", &readme, &world);
}

#[test]
fn the_transcripts_go_as_they_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts");
    let mut found = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found += 1;
            check(&path.display().to_string(), &fs::read_to_string(&path).unwrap(), &World::empty());
        }
    }
    assert!(found > 0);
}

#[test]
fn elisions_match_what_they_should() {
    assert!(is_like("a[..]c[..]", "abbcd") && !is_like("a[..]c", "abd") && is_like("[..]", ""));
    assert!(matches(&["a", "...", "c"], &["a", "b", "b", "c"]) && !matches(&["a", "..."], &["b"]));
}
