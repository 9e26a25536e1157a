//! `thingdb prove --html`: the page that checks itself, in a real browser.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use serde_json::{Value, json};
use thingdb::format::proof::ProofEnd;
use thingdb::format::stream::{Digest, hash_of_line};
use thingdb::format::{SignedCheckpoint, SigningKey};

use super::world::{World, skip};

/// What stands around the evidence of a page.
const BEFORE: &str = "<script id=\"evidence\" type=\"text/plain\">";

/// The proof file that a page holds.
fn evidence(page: &str) -> String {
    let (_, rest) = page.split_once(BEFORE).expect("it is a page");
    let (packed, _) = rest.split_once('<').expect("it ends");
    let packed = BASE64.decode(packed.as_bytes()).expect("it is base64");
    let mut found = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut found).expect("it is gzip");
    found
}

/// A page with another proof file in it.
fn with_evidence(page: &str, evidence: &str) -> String {
    let (head, rest) = page.split_once(BEFORE).expect("it is a page");
    let (_, tail) = rest.split_once('<').expect("it ends");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(evidence.as_bytes()).expect("it is memory");
    let packed = packed.finish().expect("it is memory");
    format!("{head}{BEFORE}{}<{tail}", BASE64.encode(&packed))
}

/// What a browser makes of a page, without a network.
struct Browser(&'static str);

impl Browser {
    fn find() -> Option<Self> {
        let is_there =
            |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(name).is_ok());
        if found.is_none() {
            skip("there is no Chromium");
        }
        found.map(Self)
    }

    /// What a page has become, as HTML, and what the browser said. A browser that
    /// does not end fails the test and does not stop all others.
    fn dump(&self, world: &World, page: &Path, more: &[&str]) -> (String, String) {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120", self.0]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]);
        command.args(["--proxy-server=127.0.0.1:1", "--dump-dom"]).args(more);
        command.arg(format!("--user-data-dir={}", world.path("browser").display()));
        let output = command.arg(format!("file://{}", page.display())).output().expect("it was there a moment ago");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "the browser: {}\n{told}", output.status);
        (String::from_utf8(output.stdout).expect("HTML is text"), told)
    }

    /// The page as it is once it has checked itself, as HTML.
    fn shows(&self, world: &World, page: &Path) -> String {
        let (shown, told) = self.dump(world, page, &["--virtual-time-budget=60000"]);
        assert!(shown.contains("data-checked=\"yes\""), "it did not end: {shown}\n{told}");
        assert!(!told.contains("Content Security Policy"), "{told}");
        // Without the scripts, whose text has such words, too.
        shown.split("<script").next().expect("there is a first part").to_owned()
    }

    fn shows_text(&self, world: &World, name: &str, page: &str) -> String {
        world.write(name, page);
        self.shows(world, &world.path(name))
    }
}

/// The text of the element with this id.
fn text_of<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let (_, rest) = rest.split_once('>').expect("it is an element");
    rest.split('<').next().expect("it has an end")
}

/// A thing whose name and data would be markup, with an entry that is withheld.
fn page() -> (World, String) {
    let world = World::new();
    world.run(&["put", HOSTILE, "{\"temp\":20.1,\"who\":\"<script>document.title=1</script>\"}"]).ok();
    world.run(&["put", "other", "1"]).ok();
    world.run(&["put", HOSTILE, "{\"temp\":20.10,\"</table><img src=x onerror=alert(1)>\":1}"]).ok();
    world.run(&["put", HOSTILE, "\"secret\""]).ok();
    world.run(&["prove", HOSTILE, "--withhold", "3", "--html", "-o", "p.html"]).ok();
    let page = std::fs::read_to_string(world.path("p.html")).expect("it was written");
    (world, page)
}

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

#[test]
fn a_page_says_good_for_good_and_shows_data_as_text() {
    let (world, page) = page();
    assert!(!page.contains("onerror") && !page.contains("secret"), "data outside of the evidence");
    // The file is in it, as it is written without a page but for the time of the card.
    let file = world.run(&["prove", HOSTILE, "--withhold", "3"]).ok().stdout;
    let entries = |file: &str| file.lines().skip(1).filter(|line| line.contains("\"entry\"")).count();
    assert_eq!((entries(&evidence(&page)), entries(&file)), (3, 3));
    assert_eq!(evidence(&page).lines().nth(1), file.lines().nth(1));
    // The command reads the page as well.
    assert_eq!(world.run(&["verify-proof", "p.html"]).ok().json()["ok"], true);
    let Some(browser) = Browser::find() else { return };
    let shown = browser.shows(&world, &world.path("p.html"));
    assert_eq!(text_of(&shown, "word"), "It is consistent with itself");
    assert_eq!(text_of(&shown, "thing"), "&lt;img src=x onerror=alert(1)&gt;");
    assert!(!shown.contains("<img") && shown.matches("<table").count() == 1, "data became markup: {shown}");
    // What changed is told exactly, and what is withheld is not there.
    assert!(shown.contains("<del>20.1</del>") && shown.contains("<ins>20.10</ins>"), "{shown}");
    assert!(shown.contains("withheld: not in this file") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_page_names_what_was_tampered_with() {
    let (world, page) = page();
    let good = evidence(&page);
    let lines: Vec<&str> = good.lines().collect();
    let changed = |at: usize, line: String| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let member = |at: usize, name: &str| {
        let from = lines[at].find(&format!("\"{name}\":\"")).expect("it is there") + name.len() + 4;
        (from, lines[at][from..].find('"').expect("it ends") + from)
    };
    // Another digit for the first one of a member.
    let other = |at: usize, name: &str| {
        let (from, _) = member(at, name);
        let digit = if lines[at].as_bytes()[from] == b'a' { "b" } else { "a" };
        changed(at, format!("{}{digit}{}", &lines[at][..from], &lines[at][from + 1..]))
    };
    let without =
        |at: usize| lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| format!("{line}\n")).collect();
    let cases: [(&str, String, &str); 8] = [
        ("a content", other(2, "payload"), "seq 2"),
        ("a writer", other(2, "actor"), "seq 2"),
        ("a signature", other(1, "value"), "seq 1"),
        ("a key of a content", other(1, "cek"), "seq 1"),
        ("a time", changed(2, lines[2].replacen("\"time\":\"20", "\"time\":\"19", 1)), "seq 2"),
        ("an entry that is gone", without(2), "seq 3"),
        ("a file that is cut", without(lines.len() - 1), "its last line is missing"),
        ("a checkpoint", changed(0, lines[0].replacen("\\n4\\n", "\\n5\\n", 1)), "a signature does not match"),
    ];
    let Some(browser) = Browser::find() else { return };
    for (number, (name, file, said)) in cases.iter().enumerate() {
        assert!(*file != good, "{name}: nothing was changed");
        let shown = browser.shows_text(&world, &format!("{number}.html"), &with_evidence(&page, file));
        assert_eq!(text_of(&shown, "word"), "It does NOT hold", "{name}");
        let problems =
            shown.split("id=\"problems\"").nth(1).and_then(|rest| rest.split("</ul>").next()).unwrap_or_default();
        assert!(problems.contains(said), "{name}: {problems}");
        // And so does the command.
        assert_eq!(world.run(&["verify-proof", &format!("{number}.html")]).code, 4, "{name}");
    }
}

/// What is folded on the screen is there on paper.
#[test]
fn a_printed_page_has_long_contents() {
    let Some(browser) = Browser::find() else { return };
    let pages = |length: usize| {
        let world = World::new();
        // Words, which are broken between.
        world.feed(&["put", "x", "--media-type", "text/plain", "-"], "paper ".repeat(length)).ok();
        world.run(&["prove", "x", "--html", "-o", "p.html"]).ok();
        let pdf = world.path("p.pdf");
        let mut command = Command::new(browser.0);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-dev-shm-usage", "--virtual-time-budget=60000"]);
        command.arg(format!("--user-data-dir={}", world.path("browser").display()));
        command.arg(format!("--print-to-pdf={}", pdf.display()));
        let printed = command.arg(format!("file://{}", world.path("p.html").display())).output().expect("it is there");
        let pdf = std::fs::read(pdf).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&printed.stderr)));
        let (start, leaf) = (&b"/Type /Page\n"[..], b"/Type /Page ");
        pdf.windows(start.len()).filter(|found| *found == start || found == leaf).count()
    };
    let (short, long) = (pages(10), pages(10_000));
    assert!(short >= 1 && long > short + 5, "{short} pages, and {long} with 60,000 characters more");
}

#[test]
fn a_page_that_is_cut_claims_nothing() {
    let (world, page) = page();
    let Some(browser) = Browser::find() else { return };
    let cut = page.rfind("<script>").expect("it has one") + 5_000;
    world.write("cut.html", &page[..cut]);
    let (shown, _) = browser.dump(&world, &world.path("cut.html"), &[]);
    assert_eq!(text_of(&shown, "word"), "Not checked");
    assert!(text_of(&shown, "sentence").starts_with("Nothing of this page was checked."), "{shown}");
}

#[test]
fn another_script_in_a_page_does_not_run() {
    let (world, page) = page();
    let Some(browser) = Browser::find() else { return };
    let more = "<script>document.documentElement.dataset.foreign = 'ran'</script><script id=\"evidence\"";
    world.write("more.html", page.replacen("<script id=\"evidence\"", more, 1));
    let (shown, _) = browser.dump(&world, &world.path("more.html"), &["--virtual-time-budget=60000"]);
    let root = shown.split("<head").next().expect("it begins");
    assert!(root.contains("data-checked=\"yes\"") && !root.contains("foreign"), "{root}");
}

/// What the page makes of policies is what the command makes of them.
#[test]
fn a_policy_means_the_same_to_the_page() {
    if !Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skip("there is no node");
    }
    let (world, _) = page();
    let key = |seed| SigningKey::from_seed(&[seed; 32]);
    let vkey = |seed| key(seed).node_key().witness_vkey().unwrap();
    let own = world.run(&["card", "--vkey", "--json"]).ok().json()["log"].as_str().unwrap().to_owned();
    // Two witnesses have cosigned the file's checkpoint, and a third one badly.
    let file = world.run(&["prove", HOSTILE]).ok().stdout;
    let (first, rest) = file.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(first).unwrap();
    let note = SignedCheckpoint::parse(header["checkpoint"].as_str().unwrap()).unwrap();
    let line = |seed, at| note.cosign(&key(seed), at).unwrap();
    let good = note.with_signatures(&line(7, 1_700_000_000)).unwrap();
    let good = good.with_signatures(&line(8, 1_800_000_000)).unwrap();
    let bad = line(9, 5);
    let last = bad.trim_end().len() - 6;
    let other = if &bad[last..=last] == "A" { "B" } else { "A" };
    let bad = format!("{}{other}{}", &bad[..last], &bad[last + 1..]);
    header["checkpoint"] = good.with_signatures(&bad).unwrap().as_str().into();
    let file = framed(&format!("{header}\n{rest}"));
    world.write("w.tdbproof", &file);
    let source = |name: &str| std::fs::read_to_string(format!("{}/page/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let script = format!("{}\n{}\n{RUN}", source("verify.js"), source("witness.js"));
    let script = world.write("policy.mjs", script);
    let (a, b, c) = (vkey(7), vkey(8), vkey(9));
    let stranger = key(5).node_key().log_vkey().unwrap();
    let (two, of) = (format!("witness a {a}\nwitness b {b}\n"), format!("log {own}\n"));
    for (policy, code, by, time) in [
        (format!("{of}{two}quorum a\n"), 0, "a b", "2023-11-14T22:13:20.000000Z"),
        (format!("# both\n{of}\n{two}group g all a b\nquorum g\n"), 0, "a b", "2027-01-15T08:00:00.000000Z"),
        (format!("{of}{two}group g 1 a b\nquorum g"), 0, "a b", "2023-11-14T22:13:20.000000Z"),
        (format!("{of}witness d {}\nquorum d\n", vkey(6)), 4, "", ""),
        (format!("{of}{two}witness d {}\ngroup g 3 a b d\nquorum g\n", vkey(6)), 4, "", ""),
        (format!("log {stranger}\n{two}quorum a\n"), 4, "", ""),
        (format!("{of}{two}witness c {c}\nquorum a\n"), 4, "", ""),
        (format!("{of}{two}"), 2, "", ""),
        (format!("{of}{two}quorum z\n"), 2, "", ""),
        (format!("{of}{two}group g 3 a b\nquorum g\n"), 2, "", ""),
        (format!("{of}{two}group g any a\ngroup h any a\nquorum h\n"), 2, "", ""),
        (format!("{of}witness a {own}\nquorum a\n"), 2, "", ""),
        (format!("{of}witness a {}\nquorum a\n", a.to_string().replacen("+", "x+", 1)), 2, "", ""),
    ] {
        world.write("policy", &policy);
        let here = world.run(&["verify-proof", "w.tdbproof", "--policy", "policy", "--json"]).exit(code);
        let mut command = Command::new("node");
        command.args([script.as_str(), "w.tdbproof", "policy"]).current_dir(world.path(""));
        let output = command.output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{policy}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(told["met"], code == 0, "{policy}: {told}");
        if code == 0 {
            let seen = &here.json()["witnessed"];
            let names: Vec<_> = by.split(' ').collect();
            assert_eq!((&seen["by"], &seen["not_later_than"]), (&json!(names), &json!(time)), "{policy}");
            assert_eq!((&told["by"], &told["time"]), (&seen["by"], &seen["not_later_than"]), "{policy}");
        }
    }
}

const RUN: &str = r#"
import { readFileSync } from "node:fs";
const found = await verifyProof(new Uint8Array(readFileSync(process.argv[2])));
if (!found.ok) throw new Error(JSON.stringify(found.problems));
const told = await witnessed(found, readFileSync(process.argv[3], "utf8")).catch((problem) => {
  if (!(problem instanceof Refused)) throw problem;
  return { size: null };
});
const time = told.time === undefined ? null : new Date(Number(told.time) * 1000).toISOString().replace("Z", "000Z");
console.log(JSON.stringify({ met: told.size !== null, by: told.by, time }));
"#;

/// A proof file with a last line that fits.
fn framed(file: &str) -> String {
    let lines: Vec<&str> = file.lines().collect();
    let (last, before) = lines.split_last().expect("it has lines");
    let mut end = ProofEnd::decode(last.as_bytes(), 1).expect("it ends");
    let mut digest = Digest::default();
    before.iter().for_each(|line| digest.push(&hash_of_line(line.as_bytes())));
    end.digest = digest.value();
    let mut out = format!("{}\n", before.join("\n")).into_bytes();
    end.encode(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}
