//! What people see: tables at every width, colours, times, and the pager.
//! Terminals are made with `script`; where there is none these tests are skipped.

use super::world::{WEAK, World};

const WIDTHS: [usize; 9] = [40, 60, 72, 80, 100, 120, 140, 160, 200];

/// Runs a line of shell on a terminal of that many columns, without a pager
/// unless it names one.
fn screen(world: &World, columns: usize, line: &str) -> Option<(i32, String)> {
    let line = format!("stty cols {columns} rows 50; {line}");
    let (code, text) = world.on_terminal(&line, "", b"")?;
    Some((code, text.replace("\r\n", "\n")))
}

/// Two versions of a thing with words of many lengths, and other things.
fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "part-42", "{\"temp\":20.1,\"site\":\"plant-3\"}"]).ok();
    let second = "{\"temp\":21.4,\"site\":\"plant-4\",\"calibrated\":true,\"inspector\":\"somebody\"}";
    world.run(&["put", "part-42", second]).ok();
    world.run(&["put", "plant-3/press-7/a-rather-long-name-of-a-thing", "1"]).ok();
    world.run(&["put", &format!("x{}", "y".repeat(90)), "1"]).ok();
    world.run(&["actor", "new", "press-8"]).ok();
    world.run(&["token", "new", "--name", "hall", "--scope", "read,write,export,import", "-o", "token"]).ok();
    world
}

#[test]
fn no_word_and_no_id_is_broken_at_any_width() {
    let world = furnished();
    let mut words: Vec<String> = Vec::new();
    let commands =
        ["log part-42 --utc", "ls -l --utc", "actor ls", "token ls", "diff part-42 1 2", "log part-42 --patch"];
    for command in commands {
        let plain = world.shell(&format!("thingdb {command} --format table --wide")).ok().stdout;
        words.extend(plain.split_whitespace().map(str::to_owned));
    }
    let is_id = |word: &str| word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    for columns in WIDTHS {
        for command in commands {
            let Some((code, text)) = screen(&world, columns, &format!("thingdb {command} --color never")) else {
                return;
            };
            assert_eq!(code, 0, "{text}");
            for word in text.split_whitespace() {
                // A summary may end early; an id may be short.
                let start = word.trim_end_matches('…');
                let is_known =
                    |known: &String| known == word || ((is_id(word) || start != word) && known.starts_with(start));
                assert!(words.iter().any(is_known), "{command} at {columns} columns breaks {word:?}:\n{text}");
            }
            // Only what cannot be broken is longer than a line.
            for line in text.lines().filter(|line| line.chars().count() > columns) {
                let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap();
                assert!(longest + 8 > columns, "{command} at {columns} columns:\n{text}");
            }
        }
    }
}

#[test]
fn what_is_said_goes_on_below_between_words() {
    let world = furnished();
    for (command, words) in
        [("doctor", ["passphrase:", "readable", "owner"]), ("get no-such-thing", ["no", "thing", "named"])]
    {
        let Some((_, text)) = screen(&world, 60, &format!("thingdb {command} --color never")) else { return };
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        let is_too_long = |line: &&str| line.chars().count() > 60 && line.split(' ').all(|word| word.len() < 50);
        assert_eq!(text.lines().find(is_too_long).filter(|line| !line.contains("hint:")), None, "{text}");
    }
    let (_, text) = screen(&world, 60, "thingdb get nothing --id abcdefabcdef --color never").unwrap();
    assert!(text.starts_with("error[not-found]: "), "{text}");
}

#[test]
fn names_and_documents_are_never_folded() {
    let world = World::new();
    let name = "a thing whose name has so many words that no narrow terminal shows it in one line";
    world.run(&["put", name, "1"]).ok();
    let Some((_, text)) = screen(&world, 60, "thingdb ls") else { return };
    assert!(text.lines().any(|line| line == name), "{text}");
    world.run(&["put", name, "null", "--action", "retire"]).ok();
    let (_, text) = screen(&world, 60, "thingdb ls").unwrap();
    assert!(text.lines().any(|line| line == format!("{name}  (retired)")), "{text}");
}

#[test]
fn one_actor_and_one_peer_fit_the_line_but_for_their_keys() {
    let world = World::new();
    world.run(&[&["-d", "b", "init", "--actor", "bob"][..], &WEAK].concat()).ok();
    world.shell("thingdb -d b card | thingdb peer add b - --yes").ok();
    for command in ["actor show alice", "peer show b"] {
        for columns in [72, 80, 100] {
            let Some((_, text)) = screen(&world, columns, &format!("thingdb {command}")) else { return };
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{command} at {columns}:\n{text}");
        }
    }
}

#[test]
fn ids_grow_with_the_terminal_and_wide_shows_all() {
    let world = furnished();
    let id = world.run(&["log", "part-42", "-n", "1"]).ok().json()["id"].as_str().unwrap().to_owned();
    let digits = |text: &str| {
        let shown = text.split_whitespace().filter(|word| word.len() >= 8 && id.starts_with(word));
        shown.map(str::len).max().unwrap_or_else(|| panic!("no id: {text}"))
    };
    let Some((_, text)) = screen(&world, 60, "thingdb log part-42 -n 1") else { return };
    assert!(digits(&text) >= 8, "{text}");
    let (_, text) = screen(&world, 200, "thingdb ls -l part").unwrap();
    assert_eq!(digits(&text), 64, "{text}");
    let (_, text) = screen(&world, 60, "thingdb log part-42 -n 1 --wide").unwrap();
    assert_eq!(digits(&text), 64, "{text}");
    // A pipe is not fitted to anything.
    assert_eq!(digits(&world.shell("thingdb log part-42 --format table | cat").ok().stdout), 12);
}

#[test]
fn a_terminal_is_told_how_long_ago_and_a_pipe_is_not() {
    let world = furnished();
    let Some((_, text)) = screen(&world, 80, "thingdb log part-42") else { return };
    assert!(text.contains(" ago") && !text.contains("UTC"), "{text}");
    for command in ["log part-42", "ls -l"] {
        let (_, text) = screen(&world, 160, &format!("thingdb {command}")).unwrap();
        assert!(text.contains(" ago") && text.contains("(UTC)"), "{text}");
        let (_, text) = screen(&world, 80, &format!("thingdb {command} --utc")).unwrap();
        assert!(!text.contains(" ago") && text.contains("(UTC)"), "{text}");
        let (_, text) = screen(&world, 80, &format!("thingdb {command} --iso")).unwrap();
        assert!(!text.contains(" ago") && text.contains('T') && text.contains('Z'), "{text}");
        let text = world.shell(&format!("thingdb {command} --format table")).ok().stdout;
        assert!(!text.contains(" ago"), "{text}");
    }
    world.run(&["log", "part-42", "--utc", "--iso"]).exit(2);
}

#[test]
fn what_differs_and_who_is_unknown_has_a_colour_where_it_is_wanted() {
    let world = furnished();
    let red_and_green = ["\x1b[31m20.1\x1b[0m", "\x1b[32m21.4\x1b[0m"];
    let has = |text: &str| red_and_green.iter().all(|part| text.contains(part));
    for command in ["log part-42", "diff part-42 1 2", "log part-42 --patch"] {
        let table = format!("thingdb {command} --format table");
        assert!(has(&world.shell(&format!("{table} --color always")).ok().stdout), "{command}");
        assert!(has(&world.shell(&format!("CLICOLOR_FORCE=1 {table}")).ok().stdout), "{command}");
        assert!(!world.shell(&table).ok().stdout.contains('\x1b'), "{command}");
        // JSON never has any.
        assert!(!world.shell(&format!("CLICOLOR_FORCE=1 thingdb {command}")).ok().stdout.contains('\x1b'), "{command}");
        let Some((_, text)) = screen(&world, 120, &format!("thingdb {command}")) else { return };
        assert!(has(&text), "{text:?}");
        for off in [format!("NO_COLOR=1 thingdb {command}"), format!("thingdb {command} --color never")] {
            assert!(!screen(&world, 120, &off).unwrap().1.contains("\x1b["), "{off}");
        }
    }
    // A key in which nobody here trusts any more.
    world.run(&["put", "t", "1", "--actor", "press-8"]).ok();
    world.run(&["actor", "untrust", "press-8", "--yes"]).ok();
    let text = world.run(&["log", "t", "--format", "table", "--color", "always"]).ok().stdout;
    assert!(["\x1b[33m", "\x1b[1;31m"].iter().any(|colour| text.contains(colour)), "{text:?}");
    let text = world.run(&["verify", "--format", "table", "--color", "always"]).stdout;
    assert!(text.contains("\x1b[1;31mNOT ok\x1b[0m"), "{text:?}");
}

#[test]
fn long_output_goes_through_the_pager_that_is_named() {
    let world = furnished();
    let on = |line: &str| screen(&world, 100, line);
    let paged = "THINGDB_PAGER='sed s/^/P:/'";
    for command in
        ["log part-42", "ls", "ls --json", "diff part-42 1 2", "get part-42", "help exit-codes", "log --help", "forks"]
    {
        let Some((code, text)) = on(&format!("{paged} thingdb {command}")) else { return };
        assert!(code == 0 && text.starts_with("P:"), "{command}: {text}");
    }
    assert!(on("unset THINGDB_PAGER; PAGER='sed s/^/Q:/' thingdb ls").unwrap().1.starts_with("Q:"));
    assert!(on("THINGDB_PAGER='sed s/^/P:/' PAGER='sed s/^/Q:/' thingdb ls").unwrap().1.starts_with("P:"));
    // Shell in it, and what less is told.
    assert!(on("THINGDB_PAGER='cat; echo $LESS' thingdb ls").unwrap().1.contains("FRX"));
    assert!(on("LESS=R THINGDB_PAGER='cat; echo =$LESS=' thingdb ls").unwrap().1.contains("=R="));
    let plainly = [
        format!("{paged} thingdb ls --no-pager"),
        format!("{paged} thingdb ls --no-input"),
        format!("{paged} TERM=dumb thingdb ls"),
        format!("{paged} thingdb ls | cat"),
        format!("{paged} thingdb stats"),
        "THINGDB_PAGER=cat thingdb ls".to_owned(),
    ];
    for line in plainly {
        let (code, text) = on(&line).unwrap();
        assert!(code == 0 && !text.contains("P:"), "{line}: {text}");
    }
}

#[test]
fn a_pager_that_is_missing_or_ends_early_is_no_error() {
    let world = furnished();
    let lines: String = (0..3_000).map(|n| format!("{{\"thing\":\"many\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let Some((code, text)) = screen(&world, 100, "THINGDB_PAGER='head -n 2' thingdb log many") else { return };
    assert!(code == 0 && !text.contains("error") && text.lines().count() == 2, "{text}");
    let (code, text) = screen(&world, 100, "THINGDB_PAGER=no-such-pager thingdb ls").unwrap();
    assert!(code == 0 && text.contains("part-42") && text.contains("warning[pager]"), "{text}");
    // Nothing to show, nothing to start: the error stands alone.
    let (code, text) = screen(&world, 100, "THINGDB_PAGER='cat; echo shown' thingdb get nothing").unwrap();
    assert!(code == 3 && text.contains("error[not-found]") && !text.contains("shown"), "{text}");
    // What goes wrong while the pager is there is read in it.
    let (code, text) = screen(&world, 100, "THINGDB_PAGER='sed s/^/P:/' thingdb ls --limit 1").unwrap();
    assert!(code == 0 && text.contains("P:there are more"), "{text}");
}

#[test]
fn a_pager_never_gets_what_terminals_obey() {
    let world = World::new();
    let evil = "{\"k\u{9b}31m\":\"v\u{202e}\u{7f}\",\"e\":\"\\u001b]0;x\\u0007\"}";
    world.run(&["put", "a\u{202e}b", evil, "--action", "x\u{202e}y"]).ok();
    world.feed(&["put", "bytes", "-", "--media-type", "text/plain"], b"\x1b[31mred").ok();
    let id = world.run(&["log", "a\u{202e}b"]).ok().json()["id"].as_str().unwrap().to_owned();
    let is_bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    for command in [
        "ls",
        "ls -l",
        "log 'a\u{202e}b'",
        "log 'a\u{202e}b' --patch",
        "get 'a\u{202e}b'",
        "log 'a\u{202e}b' --json",
        &format!("show {id}"),
    ] {
        let line = format!("THINGDB_PAGER='cat > got' thingdb {command} --color never");
        let Some((code, _)) = screen(&world, 80, &line) else { return };
        let got = std::fs::read_to_string(world.path("got")).unwrap();
        assert!(code == 0 && !got.is_empty() && !got.contains(is_bad), "{command}: {got:?}");
    }
    for command in [
        "get bytes --raw",
        "log bytes --format raw",
        "show $(thingdb get bytes --json | grep -o '\"id\": \"[^\"]*' | cut -c8-) --format raw",
    ] {
        let (code, text) = screen(&world, 80, &format!("thingdb {command}")).unwrap();
        assert!(code == 2 && text.contains("would upset the terminal") && !text.contains("\x1b[31mred"), "{text:?}");
    }
}

#[test]
fn a_passphrase_is_asked_for_before_the_pager_comes() {
    let world = furnished();
    let line = "unset THINGDB_PASSPHRASE_FILE; THINGDB_PAGER='sed s/^/P:/' thingdb ls";
    let typed = format!("{}\n", super::world::CANARY);
    let Some((code, text)) = world.on_terminal(line, "Passphrase for ", typed.as_bytes()) else { return };
    assert!(code == 0 && text.contains("P:part-42"), "{text}");
}

#[test]
fn ctrl_c_in_the_pager_is_meant_for_the_pager() {
    let world = furnished();
    let pager = "trap \"echo caught; exit 0\" INT; cat; echo READY; sleep 20 & wait";
    // The key reaches the shell, too; one without a trap of its own may end of it.
    let line = format!("trap : INT; THINGDB_PAGER='{pager}' thingdb ls; echo code $?");
    let Some((_, text)) = world.on_terminal(&line, "READY", b"\x03") else { return };
    let order = ["part-42", "READY", "caught", "code 0"]
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")));
    assert!(order.is_sorted(), "{text}");
}
