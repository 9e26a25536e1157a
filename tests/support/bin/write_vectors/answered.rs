//! Proof files with receipts for what was erased.

use thingdb_format::erasure::receipt::{Answer, ErasureReceipt, SignedErasureReceipt};
use thingdb_format::note::signature_line_of;
use thingdb_format::proof::{MAX_RECEIPTS, Subject};
use thingdb_format::{EntryId, SigningKey, Time};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::erased::{file_of, record, shown, stub};
use crate::key::{TIME, actor, first, node, numbered_id, second};
use crate::proof::{File, framed_anew, thing};

fn peer() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn receipt(key: &SigningKey, record: EntryId, answer: Answer, count: u64) -> SignedErasureReceipt {
    let time = Time::from_micros(TIME + 9_000_000).expect("it is a good time");
    ErasureReceipt { node: key.node_key(), record, time, answer, count, of: 2 }.sign(key).expect("it is good")
}

/// Two stubs and the record over them, as all of a thing.
fn whole() -> (EntryId, File) {
    let (one, two) = (first(), second());
    let own = record(&actor(), 3, &[&two], &[one.id(), two.id()]);
    let id = own.id();
    let entries = vec![(5, stub(one)), (9, stub(two)), (11, shown(own))];
    (id, file_of(Subject::History { thing: thing() }, entries))
}

fn answered() -> (EntryId, File) {
    let (id, mut file) = whole();
    let held = Answer::Held { reason: "a lawsuit".into() };
    file.receipts = vec![receipt(&node(), id, Answer::Erased, 2), receipt(&peer(), id, held, 1)];
    (id, file)
}

pub(crate) fn answered_files(w: &mut Writer) {
    let (id, file) = answered();
    let told: Vec<String> = file
        .receipts
        .iter()
        .map(|one| {
            let said = one.said();
            let word = if said.answer == Answer::Erased { "erased" } else { "held" };
            format!("{} {word} {} of {}", said.node.fingerprint(), said.count, said.of)
        })
        .collect();
    let vector = Vector::new("ok", "what its node and another one answered")
        .with("entries", 3)
        .with("states", "erased erased shown")
        .with("heads", id)
        .with("erased_by", format!("{id} {id}"))
        .with("receipts", told.join(", "));
    let text = file.text();
    w.add("proof", "good-answered", &vector.text(&text));
    let lines: Vec<&str> = text.lines().collect();
    let [_, _, _, entry, own, other, _] = lines[..] else { unreachable!("it has seven lines") };
    let moved = |from: usize, to: &str| framed_anew(&text, |n, line| if n == from { to.into() } else { line.into() });
    let with = |receipts: Vec<SignedErasureReceipt>| {
        let (_, mut file) = whole();
        file.receipts = receipts;
        file.text()
    };
    let many = (0..=MAX_RECEIPTS as u64).map(|n| {
        let seed: [u8; 32] = thingdb_format::Hash::of(&n.to_be_bytes()).0;
        receipt(&SigningKey::from_seed(&seed), id, Answer::Erased, 2)
    });
    let forged = |from: &str, to: &str| moved(4, &own.replace(from, to));
    let extra = {
        let line = signature_line_of(&peer(), "another text\n").expect("the key is good");
        own.replace("\\n\"}", &format!("\\n{}\"}}", line.replace('\n', "\\n")))
    };
    let cases: Vec<(&str, &str, String)> = vec![
        ("receipt-of-other", "a receipt for an erasure that is not in the file", {
            with(vec![receipt(&node(), numbered_id(7), Answer::Erased, 2)])
        }),
        ("receipt-twice", "two receipts of one node for one erasure", {
            with(vec![receipt(&node(), id, Answer::Erased, 2), receipt(&node(), id, Answer::Erased, 1)])
        }),
        ("receipt-forged", "a receipt that says more than was signed", forged("erased 2 of 2", "erased 1 of 2")),
        ("receipt-of-other-node", "in the name of another node", {
            let (from, to) = (node().node_key().to_string(), peer().node_key().to_string());
            forged(&from, &to)
        }),
        ("receipt-signed-twice", "a receipt with a line of somebody else", moved(4, &extra)),
        ("receipt-before-entry", "a receipt before an entry", {
            framed_anew(&text, |n, line| match n {
                3 => own.into(),
                4 => entry.into(),
                _ => line.into(),
            })
        }),
        ("receipt-empty", "a receipt of no text", moved(5, "{\"receipt\":\"\"}")),
        ("receipt-with-more", "a member more", moved(5, &other.replace("\"}", "\",\"v\":1}"))),
        ("receipts-many", "1025 receipts", with(many.collect())),
    ];
    for (mutation, comment, input) in cases {
        assert_ne!(input, text, "{mutation}");
        let expect = if mutation == "receipt-forged" { "bad signature" } else { "unreadable" };
        w.add("proof", mutation, &Vector::new(expect, comment).text(&input));
    }
}
