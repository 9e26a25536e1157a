//! Erasure records.

use thingdb_format::erasure::{Erasure, MAX_BASIS_BYTES, MAX_REASON_BYTES};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{first, second};

pub(crate) fn erasure(w: &mut Writer) {
    let (one, two) = (first().id(), second().id());
    let reason = "asked for by the person";
    let with = Erasure::new(vec![two, one], reason, Some("gdpr-17")).expect("it is a record");
    let without = Erasure::new(vec![one], "retention of 90 days, \"logs\"", None).expect("it is a record");
    for (mutation, comment, record) in
        [("good", "two entries, and on what basis", &with), ("good-without-basis", "without a basis", &without)]
    {
        let ids: Vec<String> = record.entries().iter().map(ToString::to_string).collect();
        let vector = Vector::new("ok", comment).with("erased", ids.join(" ")).with("reason", record.reason());
        let vector = match record.basis() {
            Some(basis) => vector.with("basis", basis),
            None => vector,
        };
        w.add("erasure", mutation, &vector.text(&record.to_json()));
    }
    let full = with.to_json();
    let re = |from: &str, to: &str| {
        assert!(full.contains(from), "{from}");
        full.replacen(from, to, 1)
    };
    let spaced = re("{\"v\":1,", "{ \"v\" :1,\t");
    let ids: Vec<String> = with.entries().iter().map(ToString::to_string).collect();
    let [low, high] = &ids[..] else { unreachable!("there are two") };
    let vector = Vector::new("ok", "white space between tokens").with("erased", ids.join(" ")).with("reason", reason);
    w.add("erasure", "white-space", &vector.with("basis", "gdpr-17").text(&spaced));
    let (json, range) = ("json", "out-of-range");
    let list = |of: &str| format!("\"erased\":[{of}]");
    let both = list(&format!("\"{low}\",\"{high}\""));
    let cases = [
        ("v-2", "newer-version", "version 2", re("\"v\":1", "\"v\":2")),
        ("no-v", json, "without a version", re("\"v\":1,", "")),
        ("no-erased", json, "without entries", re(&format!("{both},"), "")),
        ("no-reason", json, "without a reason", re(&format!("\"reason\":\"{reason}\","), "")),
        ("unknown-member", json, "a member that is none", re("{", "{\"subject\":\"Ada\",")),
        ("repeated-v", json, "a member is there twice", re("{", "{\"v\":1,")),
        ("repeated-erased", json, "a member is there twice", re("{", &format!("{{{both},"))),
        ("repeated-reason", json, "a member is there twice", re("{", "{\"reason\":\"one\",")),
        ("repeated-basis", json, "spelt in another way", re("{", "{\"bas\\u0069s\":\"one\",")),
        ("null-basis", json, "null is no string", re("\"gdpr-17\"", "null")),
        ("no-list", json, "one id, and no array", re(&both, &format!("\"erased\":\"{low}\""))),
        ("empty-list", range, "no entry", re(&both, &list(""))),
        ("same-twice", "not-ascending", "an id is there twice", re(&both, &list(&format!("\"{low}\",\"{low}\"")))),
        ("descending", "not-ascending", "the greater id first", re(&both, &list(&format!("\"{high}\",\"{low}\"")))),
        ("short-id", "malformed", "an id of 31 bytes", re(low, &low[2..])),
        ("upper-case-id", "malformed", "an id in upper case", re(low, &low.to_uppercase())),
        ("empty-reason", range, "a reason without a letter", re(reason, "")),
        ("long-reason", range, "1025 bytes of reason", re(reason, &"x".repeat(MAX_REASON_BYTES + 1))),
        ("control-in-reason", "text", "a line feed in the reason", re(reason, "one\\ntwo")),
        ("empty-basis", range, "a basis without a letter", re("gdpr-17", "")),
        ("long-basis", range, "65 bytes of basis", re("gdpr-17", &"x".repeat(MAX_BASIS_BYTES + 1))),
        ("space-in-basis", "text", "a basis of two words", re("gdpr-17", "gdpr 17")),
        ("array", json, "an array", format!("[{full}]")),
        ("two-objects", json, "something behind it", format!("{full}{{}}")),
        ("line-feed-within", json, "a line feed between members", re(",", ",\n")),
        ("line-feed-behind", json, "a line feed at the end", format!("{full}\n")),
    ];
    for (mutation, expect, comment, input) in cases {
        w.add("erasure", mutation, &Vector::new(expect, comment).text(&input));
    }
}
