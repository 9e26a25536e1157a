//! Receipts for erasures.

use thingdb_format::erasure::MAX_REASON_BYTES;
use thingdb_format::erasure::receipt::{Answer, ErasureReceipt};
use thingdb_format::note::signature_line_of;
use thingdb_format::{EntryId, SigningKey, Time};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, node, second};

fn receipt(answer: Answer, count: u64, of: u64) -> ErasureReceipt {
    let time = Time::from_micros(TIME).expect("it is a good time");
    ErasureReceipt { node: node().node_key(), record: second().id(), time, answer, count, of }
}

fn held(reason: &str) -> Answer {
    Answer::Held { reason: reason.into() }
}

/// A text with the signature of the node, whatever it says.
fn signed(text: &str) -> String {
    format!("{text}\n{}", signature_line_of(&node(), text).expect("the key is good"))
}

pub(crate) fn erasure_receipt(w: &mut Writer) {
    for (mutation, comment, receipt) in [
        ("good", "all that it has is erased", receipt(Answer::Erased, 2, 2)),
        ("good-none", "it has none of the entries", receipt(Answer::Erased, 0, 0)),
        ("good-some", "some it must not erase", receipt(Answer::Erased, 1, 65_536)),
        ("good-held", "a hold", receipt(held("a lawsuit, größer \"als\" gedacht"), 1, 2)),
        ("good-long-reason", "the longest reason", receipt(held(&"x".repeat(MAX_REASON_BYTES)), 2, 2)),
    ] {
        let signed = receipt.sign(&node()).expect("it is good");
        let (answer, reason) = match &receipt.answer {
            Answer::Erased => ("erased", None),
            Answer::Held { reason } => ("held", Some(reason)),
        };
        let vector = Vector::new("ok", comment)
            .with("node_key", receipt.node)
            .with("record", receipt.record)
            .with("time", receipt.time)
            .with("answer", answer)
            .with("count", receipt.count)
            .with("of", receipt.of);
        let vector = if let Some(reason) = reason { vector.with("reason", reason) } else { vector };
        w.add("erasure-receipt", mutation, &vector.text(signed.as_str()));
    }
    let erased = receipt(Answer::Erased, 2, 2).sign(&node()).expect("it is good");
    let hold = receipt(held("a lawsuit"), 1, 2).sign(&node()).expect("it is good");
    let (good, on_hold) = (erased.as_str(), hold.as_str());
    let (text, line) = good.split_once("\n\n").expect("a note has an empty line");
    let text = format!("{text}\n");
    let held_text = format!("{}\n", on_hold.split_once("\n\n").expect("a note has an empty line").0);
    let re = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        signed(&text.replacen(from, to, 1))
    };
    let re_held = |from: &str, to: &str| {
        assert!(held_text.contains(from), "{from}");
        signed(&held_text.replacen(from, to, 1))
    };
    let other = SigningKey::from_seed(&[2; 32]);
    let (own_key, own_origin) = (node().node_key().to_string(), node().node_key().origin().to_string());
    let (other_key, other_origin) = (other.node_key().to_string(), other.node_key().origin().to_string());
    let record = second().id().to_string();
    let moved = EntryId([5; 32]).to_string();
    let (malformed, range, bad) = ("malformed", "out-of-range", "bad-signature");
    let cases: Vec<(&str, &str, &str, String)> = vec![
        ("moved", bad, "moved to another erasure", good.replacen(&record, &moved, 1)),
        ("more-erased", bad, "another count", good.replacen("erased 2 of 2", "erased 1 of 1", 1)),
        ("later", bad, "another time", good.replacen("time 20", "time 21", 1)),
        ("held-to-erased", bad, "a hold that says it is erased", {
            on_hold.replacen("held 1 of 2\nreason a lawsuit\n", "erased 2 of 2\n", 1)
        }),
        ("other-reason", bad, "another reason", on_hold.replacen("a lawsuit", "lazy", 1)),
        ("other-node", bad, "in the name of another node", {
            good.replace(&own_key, &other_key).replace(&own_origin, &other_origin)
        }),
        ("other-key", malformed, "a key that is not that of the name", re(&own_key, &other_key)),
        ("other-origin", malformed, "a name that is not that of the key", re(&own_origin, &other_origin)),
        ("signed-twice", malformed, "two signature lines", format!("{good}{line}")),
        ("signed-by-others", malformed, "another node has signed it, too", {
            format!("{good}{}", signature_line_of(&other, &text).expect("the key is good"))
        }),
        ("not-signed", malformed, "no signature line", format!("{text}\n")),
        ("name-of-heads", malformed, "the name of a heads note", re("thingdb.receipt/", "thingdb.heads/")),
        ("no-node", malformed, "without the key", re(&format!("node {own_key}\n"), "")),
        ("no-record", malformed, "without the record", re(&format!("record {record}\n"), "")),
        ("upper-case-record", malformed, "an id in upper case", re(&record, &record.to_uppercase())),
        ("no-time", malformed, "without the time", {
            let time = text.lines().nth(3).expect("it has a time");
            signed(&text.replacen(&format!("{time}\n"), "", 1))
        }),
        ("short-time", malformed, "a time without microseconds", {
            let time = text.lines().nth(3).expect("it has a time");
            signed(&text.replacen(time, "time 2026-01-01T00:00:00Z", 1))
        }),
        ("no-counts", malformed, "without its counts", re("erased 2 of 2\n", "")),
        ("one-count", malformed, "one count", re("erased 2 of 2", "erased 2")),
        ("other-word", malformed, "another word", re("erased 2", "kept 2")),
        ("leading-zero", malformed, "a leading zero", re("2 of 2", "02 of 2")),
        ("more-than-all", range, "more than it has", re("2 of 2", "3 of 2")),
        ("too-many", range, "more than a record lists", re("2 of 2", "2 of 65537")),
        ("held-none", range, "a hold on nothing", re_held("1 of 2", "0 of 2")),
        ("held-without-reason", malformed, "a hold without a reason", re_held("reason a lawsuit\n", "")),
        ("held-empty-reason", "out-of-range", "a hold with an empty reason", re_held("reason a lawsuit", "reason ")),
        ("held-long-reason", "out-of-range", "a reason that is too long", {
            re_held("a lawsuit", &"x".repeat(MAX_REASON_BYTES + 1))
        }),
        ("control-in-reason", "text", "a tab in the reason", re_held("a lawsuit", "a\tlawsuit")),
        ("erased-with-reason", malformed, "a reason where nothing is held", {
            re("erased 2 of 2\n", "erased 2 of 2\nreason a lawsuit\n")
        }),
        ("more-lines", malformed, "a line more", re_held("reason a lawsuit\n", "reason a lawsuit\nmore\n")),
    ];
    for (mutation, expect, comment, input) in cases {
        assert!(input != good && input != on_hold, "{mutation}");
        w.add("erasure-receipt", mutation, &Vector::new(expect, comment).text(&input));
    }
}
