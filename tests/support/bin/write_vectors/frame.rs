//! The binary stream.

use thingdb_format::frame::{Encoder, MAGIC};
use thingdb_format::stream::Digest;
use thingdb_format::{Entry, Hash, KekPacket, Line, Signature, SigningKey, Suite, ThingId, Trailer, merkle};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{
    entry_of, fields, first, in_batch, numbered_id, passphrase_packet, public_packet, second, with_envelope,
    x25519_packet,
};

fn encode(lines: &[Line]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for line in lines {
        match line {
            Line::Header(header) => encoder.header(header, &mut out),
            Line::Entry(entry) => encoder.entry(entry, &entry.id(), &mut out).expect("the entry can be written"),
            Line::Trailer(trailer) => encoder.trailer(trailer, &mut out),
            Line::Blank => {}
        }
    }
    out
}

fn entries(entries: impl IntoIterator<Item = Entry>) -> Vec<Line> {
    entries.into_iter().map(|entry| Line::Entry(Box::new(entry))).collect()
}

fn stub(entry: Entry) -> Entry {
    Entry { payload: None, envelopes: vec![], ..entry }
}

/// An entry on a thing of its own, the first or, with `seq`, a later one.
fn of(thing: &str, seq: u64) -> Entry {
    let (mut fields, payload) = fields(Suite::ChaCha20Poly1305);
    fields.thing = ThingId::new(thing).expect("it is a good id");
    fields.seq = seq;
    if seq > 1 {
        fields.prev = vec![numbered_id(1), numbered_id(2)];
    }
    entry_of(fields, Some(payload))
}

/// An entry that stands at this place of a batch of three.
fn batch(index: u32) -> Vec<Line> {
    entries([in_batch(first(), index, 3)])
}

/// A stream of one frame.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let len = u8::try_from(body.len() >> 7).expect("it is short");
    out.extend_from_slice(&[body.len() as u8 | 0x80, len]);
    out.extend_from_slice(body);
    out
}

/// Numbers of entries that are outside their bounds, and packets that are named
/// in ways that cannot be.
fn bounds(w: &mut Writer) {
    let one = encode(&entries([first()]));
    let with = |at: usize, value: u8| {
        let mut changed = one.clone();
        changed[at] = value;
        changed
    };
    // Behind magic, length, kind, flags, the thing's id, and seq.
    let prev = 19;
    let envelopes = one.len() - 1;
    let ending = |ending: &[u8]| framed(&[&one[7..envelopes], ending].concat());
    let KekPacket::X25519 { id, kek } = x25519_packet() else { unreachable!("it is one") };
    let from = [0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    let packets = [&[0, 1, 1][..], &id.0, &kek, &[8; 48]].concat();
    let (malformed, range) = ("malformed", "out-of-range");
    w.refused(
        "frame",
        &[
            ("prev-33", range, "more prev than an entry has", with(prev, 33)),
            ("envelopes-9", range, "more envelopes than an entry has", with(envelopes, 9)),
            ("recipients-0", range, "an envelope is to somebody", ending(&[&[1][..], &from, &[0, 0]].concat())),
            ("recipients-257", range, "too many recipients", ending(&[&[1][..], &from, &[0, 0x81, 2]].concat())),
            ("packets-never-defined", malformed, "names packets before any", ending(&[&[1][..], &from, &[1]].concat())),
            (
                "packets-defined-again",
                malformed,
                "packets that are known must be named",
                ending(&[&[2][..], &from, &packets, &[1], &packets].concat()),
            ),
            ("seq-0", range, "seq begins at 1", with(prev - 1, 0)),
            ("varint-of-eleven-bytes", malformed, "a number above 2^64 - 1", {
                let many = [0xff; 10];
                [&MAGIC[..], &many, &[1]].concat()
            }),
        ],
    );
}

/// Batches that are not the entry's, or not so large.
fn batches(w: &mut Writer) {
    let whole = encode(&batch(1));
    let Signature::Batch(signature) = in_batch(first(), 1, 3).signature else { unreachable!("it is in one") };
    let place_in = |bytes: &[u8]| bytes.windows(64).position(|window| window == signature.value).expect("it is there");
    let value = place_in(&whole);
    let with = |at: usize, to: u8| {
        let mut changed = whole.clone();
        changed[at] = to;
        changed
    };
    // An entry of another actor, under the name of the batch before it.
    let (mut of_other, payload) = fields(Suite::Aes256Gcm);
    of_other.actor = SigningKey::from_seed(&[5; 32]).actor();
    let mut other = in_batch(entry_of(of_other, Some(payload)), 1, 3);
    let Signature::Batch(own) = &mut other.signature else { unreachable!("it is in one") };
    own.value = signature.value;
    let both = encode(&entries([in_batch(first(), 1, 3), other]));
    let body = &both[whole.len() + 2..];
    let value_of_other = place_in(body);
    // Instead of 0, the size and the value.
    let named = [&body[..value_of_other - 2], &[1], &body[value_of_other + 64..]].concat();
    let of_another = [&whole[..], &framed(&named)[MAGIC.len()..]].concat();
    w.refused(
        "frame",
        &[
            ("batch-of-another-actor", "malformed", "one actor signs a batch", of_another),
            ("batch-size-1", "out-of-range", "a batch of one is none", with(value - 1, 1)),
            ("batch-index-at-size", "malformed", "the index is below the size", with(value + 64, 6)),
            ("batch-index-negative", "malformed", "an index is not negative", with(value + 64, 1)),
            ("batch-never-defined", "malformed", "names a batch before any", with(value - 2, 1)),
        ],
    );
}

/// The frames of a stream, each with its length.
fn frames_of(lines: &[Line]) -> Vec<Vec<u8>> {
    let ends: Vec<usize> = (0..=lines.len()).map(|n| encode(&lines[..n]).len()).collect();
    let all = encode(lines);
    ends.windows(2).map(|pair| all[pair[0]..pair[1]].to_vec()).collect()
}

pub(crate) fn frame(w: &mut Writer) {
    good(w);
    bounds(w);
    batches(w);
    let one = encode(&entries([first()]));
    let two = encode(&entries([first(), second()]));
    let frame = |body: &[u8]| {
        let mut out = MAGIC.to_vec();
        out.push(u8::try_from(body.len()).expect("it is short"));
        out.extend_from_slice(body);
        out
    };
    let with = |at: usize, value: u8| {
        let mut changed = one.clone();
        changed[at] = value;
        changed
    };
    // Behind the magic and the two bytes of the length.
    let (kind, flags, thing) = (7, 8, 9);
    let second_frame = one.len();
    let again = [&one[..], &one[MAGIC.len()..]].concat();
    let mut names_prev = two[..second_frame].to_vec();
    names_prev.extend_from_slice(&encode(&entries([second()]))[MAGIC.len()..]);
    let trailer =
        Line::Trailer(Box::new(Trailer { entries: 0, root: merkle::root([]), digest: None, checkpoint: None }));
    let after = encode(&[entries([first()]), vec![trailer.clone(), trailer]].concat());
    let mut longer = one.clone();
    longer[5] += 1;
    longer.push(0);
    let mut shorter = one[..one.len() - 1].to_vec();
    shorter[5] -= 1;
    let mut needless = one[..5].to_vec();
    needless.extend_from_slice(&[one[5], one[6] | 0x80, 0]);
    needless.extend_from_slice(&one[7..]);
    let (malformed, newer) = ("malformed", "newer-version");
    w.refused(
        "frame",
        &[
            ("magic", malformed, "no binary stream", with(0, b'T')),
            ("magic-version-2", newer, "version 2", with(4, 2)),
            ("kind-4", newer, "a kind that is not known", with(kind, 4)),
            ("flags-16", newer, "a flag that is not known", with(flags, 17)),
            ("thing-never-defined", malformed, "named before anything was defined", with(thing, 1)),
            ("thing-defined-again", malformed, "what is known must be named", again),
            ("prev-that-follows", malformed, "prev that follows from the stream must not be sent", names_prev),
            ("follows-nothing", malformed, "no entry of the thing before it", with(flags, 3)),
            ("after-the-trailer", malformed, "nothing follows a trailer", after),
            ("trailing", "trailing", "a byte behind the last field", longer),
            ("truncated", "truncated", "the frame ends within a field", shorter),
            ("length-needless-byte", malformed, "numbers have one spelling", needless),
            ("length-0", "out-of-range", "a frame has a kind", frame(&[])),
            (
                "length-too-great",
                "out-of-range",
                "one more than a frame may have",
                [&MAGIC[..], &[0x81, 0x80, 0xc0, 0x08]].concat(),
            ),
            ("header-flags-4", newer, "a flag that is not known", frame(&[2, 4])),
            ("trailer-size", "out-of-range", "more entries than there can be", {
                let mut body = vec![3, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
                body.extend_from_slice(&[7; 32]);
                frame(&body)
            }),
            ("time-before-1970", malformed, "a step back from zero", {
                // The time stands behind the thing, seq and prev.
                let mut changed = one.clone();
                changed[thing + 2 + 7 + 2] |= 1;
                changed
            }),
        ],
    );
}

fn good(w: &mut Writer) {
    let mut add = |mutation: &str, comment: &str, lines: &[Line]| {
        let ids: Vec<String> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Entry(entry) => Some(entry.id().to_string()),
                _ => None,
            })
            .collect();
        let vector = Vector::new("ok", comment).with("frames", lines.len()).with("ids", ids.join(" "));
        w.add("frame", mutation, &vector.hex(&encode(lines)));
    };
    add("good-one", "one entry, signed alone", &entries([first()]));
    add("good-follows", "the prev of the second is the first", &entries([first(), second()]));
    add("good-prev-elsewhere", "the prev is not in the stream", &entries([second()]));
    add("good-stub", "without payloads", &entries([stub(first()), stub(second())]));
    add("good-things", "several things and suite 2", &entries([of("a", 1), of("b", 9), of("a", 9), of("b", 1)]));
    let sealed = |entry| with_envelope(entry, vec![x25519_packet(), passphrase_packet()]);
    add("good-public", "for everybody", &entries([with_envelope(first(), vec![public_packet()])]));
    add("good-envelopes", "the packets go once", &entries([sealed(first()), sealed(second())]));
    add("good-batch", "an entry of a batch, with its path", &batch(1));
    add("good-batch-last", "the last of an odd batch has a short path", &batch(2));
    let header = Line::Header(Box::default());
    let ids = [first(), second()].map(|entry| merkle::leaf(&entry.id()));
    let trailer = Trailer { entries: 2, root: merkle::root(ids), digest: None, checkpoint: None };
    let lines = [vec![header], entries([first(), second()]), vec![Line::Trailer(Box::new(trailer))]].concat();
    add("good-whole", "header and trailer", &lines);
    let digested = |digest| {
        let ids = [first(), second()].map(|entry| merkle::leaf(&entry.id()));
        let trailer = Trailer { entries: 2, root: merkle::root(ids), digest: Some(digest), checkpoint: None };
        let header = Line::Header(Box::default());
        [vec![header], entries([first(), second()]), vec![Line::Trailer(Box::new(trailer))]].concat()
    };
    let mut digest = Digest::default();
    for frame in frames_of(&digested(Hash([0; 32])))[1..3].iter() {
        digest.push(&Hash::of(frame));
    }
    add("good-digest", "the digest of the frames", &digested(digest.value()));
    let other = encode(&digested(Hash([7; 32])));
    w.refused("frame", &[("digest-other", "damaged", "a digest of other frames", other)]);
}
