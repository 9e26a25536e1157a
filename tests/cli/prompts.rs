//! Prompts that ask again, and progress that fits its line. Terminals are made
//! with `script`; where there is none these tests are skipped.

use super::world::{CANARY, WEAK, World};

#[test]
fn a_new_passphrase_is_asked_for_again_when_it_will_not_do() {
    let world = World::empty();
    let line = format!("unset THINGDB_PASSPHRASE_FILE; thingdb init {}", WEAK.join(" "));
    let typed = format!("short\n{CANARY}\nanother passphrase\n{CANARY}\n{CANARY}\n");
    let Some((code, text)) = world.on_terminal(&line, "Passphrase for the new", typed.as_bytes()) else { return };
    assert!(code == 0 && text.contains("the two differ; try again"), "{text}");
    assert_eq!(text.matches("try again").count(), 2, "{text}");
    world.run(&["ls"]).ok();

    // Three times is enough, and nothing is made.
    let line = line.replace("init", "-d other init");
    let typed = format!("{CANARY}\nanother passphrase\n").repeat(3);
    let (code, text) = world.on_terminal(&line, "Passphrase for the new", typed.as_bytes()).unwrap();
    assert!(code == 2 && text.contains("the two passphrases differ; nothing was changed"), "{text}");
    assert!(!world.path("other").exists());
}

#[test]
fn a_wrong_passphrase_counts_at_the_third_time() {
    let world = World::new();
    let line = "unset THINGDB_PASSPHRASE_FILE; thingdb ls";
    let Some((code, text)) = world.on_terminal(line, "Passphrase for ", b"wrong one\nwrong two\nwrong three\n") else {
        return;
    };
    assert!(code == 12 && text.contains("error[wrong-passphrase]"), "{text}");
    assert_eq!(text.matches("Passphrase for ").count(), 3, "{text}");
}

#[test]
fn the_end_of_input_and_ctrl_c_end_the_asking_at_once() {
    let world = World::new();
    for line in ["thingdb ls".to_owned(), format!("thingdb -d new init {}", WEAK.join(" "))] {
        let line = format!("unset THINGDB_PASSPHRASE_FILE; {line}");
        let Some((code, text)) = world.on_terminal(&line, "Passphrase for ", b"\x04") else { return };
        assert!(code == 2 && text.contains("error[no-passphrase]") && text.contains(": \r\n"), "{text}");
        assert_eq!(text.matches("Passphrase for ").count(), 1, "{text}");
        let (code, text) = world.on_terminal(&line, "Passphrase for ", b"\x03").unwrap();
        assert!(code == 130 && text.contains("error[interrupted]"), "{text}");
        assert_eq!(text.matches("Passphrase for ").count(), 1, "{text}");
    }
    assert!(!world.path("new").exists());
}

#[test]
fn yes_or_no_is_asked_again_on_nonsense() {
    let world = World::new();
    world.run(&[&["-d", "b", "init"][..], &WEAK].concat()).ok();
    world.shell("thingdb -d b card > b.card").ok();
    let add = |typed: &[u8]| world.on_terminal("thingdb peer add b @b.card", "[y/N]", typed);
    let Some((code, text)) = add(b"maybe\n\n") else { return };
    assert!(code == 130 && text.contains("the peer was not added") && text.matches("[y/N]").count() == 2, "{text}");
    let (code, text) = add(b"what\nwhat\nwhat\n").unwrap();
    assert!(code == 130 && text.matches("[y/N]").count() == 3, "{text}");
    let (code, _) = add(b"\x04").unwrap();
    assert_eq!(code, 130);
    let (code, text) = add(b"maybe\nYes\n").unwrap();
    assert!(code == 0 && text.contains("since"), "{text}");
}

/// What a terminal shows of a text without colours.
fn without_colours(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, code)) = rest.split_once("\x1b[") {
        shown.push_str(before);
        rest = code.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    shown + rest
}

#[test]
fn a_bar_fits_its_line_and_is_gone_before_an_error_is_said() {
    let world = World::new();
    let lines: String = (0..1_500).map(|n| format!("{{\"thing\":\"t/{}\",\"data\":{n}}}\n", n % 50)).collect();
    world.write("lines", format!("{lines}nonsense\n"));
    for columns in [40, 63, 64, 200] {
        for command in ["append lines", "verify"] {
            let line = format!("stty cols {columns} rows 30; thingdb {command}");
            let Some((_, text)) = world.on_terminal(&line, "", b"") else { return };
            let drawn: Vec<&str> = text.split("\x1b[2K").collect();
            assert!(drawn.len() > 2, "nothing was drawn: {text:?}");
            let (last, bars) = drawn.split_last().unwrap();
            for bar in bars {
                let bar = without_colours(bar);
                let bar = bar.trim_matches(['\r', '\n']);
                assert!(bar.chars().count() < columns && !bar.contains('\n'), "{columns}: {bar:?}");
            }
            assert!(!last.contains(['█', '░']), "{last:?}");
            assert!(last.contains(if command == "verify" { "ok" } else { "error[bad-lines]" }), "{last:?}");
        }
    }
}
