//! The unit files of systemd: systemd knows every line of them, and how much of
//! the machine they leave to the service.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

const UNITS: [(&str, &str); 2] =
    [("thingdb.service", "thingdb.service"), ("thingdb-sync@.service", "thingdb-sync@hq.service")];

/// The most that `systemd-analyze security` may say of a unit, in tenths: below
/// 2.0 of 10 it is well closed.
const MOST_EXPOSED: u32 = 20;

/// The units, with a program that is there, and the names under which they run.
fn units() -> TempDir {
    let dir = tempfile::Builder::new().prefix("thingdb-units-").tempdir().unwrap();
    let systemd = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    for (file, name) in UNITS {
        let text = fs::read_to_string(format!("{systemd}/{file}")).unwrap();
        assert!(text.contains("ExecStart=/usr/local/bin/thingdb "), "{file}");
        let text = text.replace("=/usr/local/bin/thingdb ", concat!("=", env!("CARGO_BIN_EXE_thingdb"), " "));
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// What `systemd-analyze` says, on stdout and stderr.
fn analyze(dir: &TempDir, args: &[&str]) -> Option<(String, String)> {
    let output = Command::new("systemd-analyze").args(args).current_dir(dir.path()).output().ok()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some((text(output.stdout), text(output.stderr)))
}

#[test]
fn systemd_understands_every_line() {
    let dir = units();
    let names = UNITS.map(|(_, name)| format!("./{name}"));
    let verify = [&["verify", "--man=no"][..], &names.each_ref().map(String::as_str)].concat();
    let Some((out, err)) = analyze(&dir, &verify) else { return println!("skipped: systemd-analyze is not there") };
    assert_eq!((out.as_str(), err.as_str()), ("", ""));
    // It does say so if it does not.
    let broken = dir.path().join("thingdb.service");
    fs::write(&broken, fs::read_to_string(&broken).unwrap() + "NoSuchLine=1\n").unwrap();
    let (_, err) = analyze(&dir, &verify).unwrap();
    assert!(err.contains("NoSuchLine"), "{err}");
}

#[test]
fn the_services_get_little_of_the_machine() {
    let dir = units();
    for (_, name) in UNITS {
        let file = format!("./{name}");
        let Some((out, err)) = analyze(&dir, &["security", "--offline=yes", "--no-pager", &file]) else {
            return println!("skipped: systemd-analyze is not there");
        };
        let Some(level) = out.lines().rev().find_map(|line| line.split("exposure level for ").nth(1)) else {
            return println!("skipped: this systemd-analyze knows no --offline: {err}");
        };
        let level = level.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let tenths: u32 = level.replace('.', "").parse().unwrap();
        assert!(tenths < MOST_EXPOSED, "{name}: {level}");
    }
}
