//! Layouts of fixed fields: header, body, card.

use thingdb_format::{Card, CardFields, EntryId, Fields, Hash, Header, SigningKey, Suite, ThingId, Time, label};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{actor, fields, node, numbered_id, reader, small_order};

/// Where the fields of the header of `part-42` begin.
const SEQ: usize = 2 + 2 + 7;
const TIME: usize = SEQ + 8;
const PREV: usize = TIME + 8 + 16 + 32;

pub(crate) fn header(w: &mut Writer) {
    let plain = || fields(Suite::Aes256Gcm).0;
    let good = |w: &mut Writer, mutation: &str, comment: &str, fields: Fields| {
        let header = Header::new(fields).expect("the fields go together");
        let vector = Vector::new("ok", comment)
            .with("id", header.id())
            .with("suite", header.suite.number())
            .with_hex("thing", header.thing.as_str().as_bytes())
            .with("seq", header.seq)
            .with("time", header.time)
            .with("micros", header.time.micros())
            .with("origin", header.origin)
            .with("actor", header.actor)
            .with("prev", header.prev.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "))
            .with("data_hash", header.data_hash)
            .with("payload_hash", header.payload_hash)
            .with("payload_len", header.payload_len);
        w.add("header", mutation, &vector.hex(&header.to_bytes()));
    };
    let prev = |n: u32| (0..n).map(numbered_id).collect::<Vec<_>>();
    let thing = |id: &str| ThingId::new(id).expect("it is a good id");
    let time = |micros| Time::from_micros(micros).expect("it is a good time");
    good(w, "good-first", "the first entry of a thing", plain());
    good(w, "good-second", "follows one entry", Fields { seq: 2, prev: prev(1), ..plain() });
    good(w, "good-join", "joins three heads", Fields { seq: 9, prev: prev(3), ..plain() });
    good(w, "good-suite-2", "ChaCha20-Poly1305", Fields { suite: Suite::ChaCha20Poly1305, ..plain() });
    good(w, "good-smallest", "138 bytes", Fields { thing: thing("x"), time: time(0), payload_len: 23, ..plain() });
    let largest = Fields {
        thing: thing(&"é".repeat(256)),
        seq: 9_007_199_254_740_991,
        time: Time::MAX,
        prev: prev(32),
        payload_len: 16_777_216,
        ..plain()
    };
    good(w, "good-largest", "1673 bytes, and the greatest of everything", largest);
    good(w, "good-thing-unicode", "an id of several scripts", Fields { thing: thing("gérät/Ω 😀"), ..plain() });

    let bytes = Header::new(plain()).expect("the fields go together").to_bytes();
    let with = |at: usize, new: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        changed
    };
    let thing_of = |id: &[u8]| {
        let len = u16::try_from(id.len()).expect("it is short").to_be_bytes();
        [&bytes[..2], &len, id, &bytes[SEQ..]].concat()
    };
    let prev_of = |seq: u64, ids: &[EntryId]| {
        let mut changed = with(SEQ, &seq.to_be_bytes())[..PREV].to_vec();
        changed.push(u8::try_from(ids.len()).expect("there are few"));
        ids.iter().for_each(|id| changed.extend_from_slice(&id.0));
        [changed, bytes[PREV + 1..].to_vec()].concat()
    };
    let payload_len = bytes.len() - 4;
    let (a, b) = (numbered_id(1), numbered_id(2));
    w.refused(
        "header",
        &[
            ("empty", "truncated", "no bytes at all", vec![]),
            ("truncated", "truncated", "the last byte is missing", bytes[..bytes.len() - 1].to_vec()),
            ("truncated-in-thing", "truncated", "ends within the thing id", bytes[..8].to_vec()),
            ("trailing", "trailing", "one byte too many", [&bytes[..], &[0]].concat()),
            ("version-0", "newer-version", "there was no version 0", with(0, &[0])),
            ("version-2", "newer-version", "version 2", with(0, &[2])),
            ("suite-0", "newer-version", "there is no suite 0", with(1, &[0])),
            ("suite-3", "newer-version", "suite 3", with(1, &[3])),
            ("thing-empty", "out-of-range", "an id of no bytes", thing_of(b"")),
            ("thing-too-long", "out-of-range", "an id of 513 bytes", thing_of(&[b'x'; 513])),
            ("thing-not-utf-8", "text", "a lone continuation byte", thing_of(b"part-\x80")),
            ("thing-overlong-utf-8", "text", "a slash in two bytes", thing_of(b"part-\xc0\xaf")),
            ("thing-surrogate", "text", "a surrogate in UTF-8", thing_of(b"part-\xed\xa0\x80")),
            ("thing-control-c0", "text", "a tab", thing_of(b"part\t42")),
            ("thing-control-c1", "text", "U+0085, a control character beyond ASCII", thing_of("part\u{85}".as_bytes())),
            ("thing-control-del", "text", "U+007F", thing_of(b"part\x7f")),
            ("thing-length-beyond-end", "truncated", "a length of 512 in a short header", with(2, &[2, 0])),
            ("seq-0", "out-of-range", "seq starts with 1", with(SEQ, &0_u64.to_be_bytes())),
            ("seq-too-great", "out-of-range", "2^53", prev_of(1 << 53, &[a])),
            ("seq-1-with-prev", "seq-without-prev", "the first entry follows nothing", prev_of(1, &[a])),
            ("seq-2-without-prev", "seq-without-prev", "a later entry follows something", prev_of(2, &[])),
            (
                "time-too-great",
                "out-of-range",
                "the year 10000",
                with(TIME, &253_402_300_800_000_000_u64.to_be_bytes()),
            ),
            ("prev-33", "out-of-range", "one prev too many", prev_of(2, &prev(33))),
            ("prev-descending", "not-ascending", "another order is another spelling", prev_of(2, &[b, a])),
            ("prev-repeated", "not-ascending", "the same prev twice", prev_of(2, &[a, a])),
            (
                "payload-len-22",
                "out-of-range",
                "less than the smallest body and the tag",
                with(payload_len, &22_u32.to_be_bytes()),
            ),
            (
                "payload-len-too-great",
                "out-of-range",
                "16 MiB and one byte",
                with(payload_len, &16_777_217_u32.to_be_bytes()),
            ),
        ],
    );
}

pub(crate) fn body(w: &mut Writer) {
    let encode = |name: &[u8], action: &[u8], media: &[u8], data: &[u8]| {
        let mut out = vec![0];
        for part in [name, action, media] {
            out.push(u8::try_from(part.len()).expect("it is short"));
            out.extend_from_slice(part);
        }
        [out, data.to_vec()].concat()
    };
    let good = |w: &mut Writer, mutation: &str, comment: &str, parts: [&[u8]; 4]| {
        let [name, action, media, data] = parts;
        let vector = Vector::new("ok", comment)
            .with_hex("actor_name", name)
            .with_hex("action", action)
            .with_hex("media_type", media)
            .with_hex("data", data);
        w.add("body", mutation, &vector.hex(&encode(name, action, media, data)));
    };
    let json = b"application/json";
    good(w, "good-create", "a first state", [b"alice", b"create", json, br#"{"temp":20}"#]);
    good(w, "good-retire", "no data", [b"alice", b"retire", json, b""]);
    good(
        w,
        "good-own-word",
        "an action of the user's own",
        ["Zoë".as_bytes(), "geprüft".as_bytes(), b"text/plain", b"ok"],
    );
    good(w, "good-binary", "data is bytes", [b"a", b"update", b"application/octet-stream", &[0, 0xff, 0x0a, 0x80]]);
    good(w, "good-longest", "names as long as they may be", [&[b'n'; 128], &[b'a'; 64], &[b'm'; 255], b"x"]);
    good(w, "good-smallest", "7 bytes", [b"a", b"b", b"c", b""]);
    let plain = encode(b"alice", b"create", json, b"data");
    let newer = [&[4], &plain[1..]].concat();
    let attached = |kind: &[u8], len: u32, bytes: &[u8], data: &[u8]| {
        let mut out = encode(b"alice", b"migrate", json, b"");
        out[0] = 1;
        out.push(u8::try_from(kind.len()).expect("it is short"));
        out.extend_from_slice(kind);
        out.extend_from_slice(&len.to_be_bytes());
        [&out, bytes, data].concat()
    };
    let with = Vector::new("ok", "a document that goes with the data")
        .with_hex("actor_name", b"alice")
        .with_hex("action", b"migrate")
        .with_hex("media_type", json)
        .with_hex("attachment_type", b"text/plain")
        .with_hex("attachment", b"signed")
        .with_hex("data", b"{}");
    w.add("body", "good-attachment", &with.hex(&attached(b"text/plain", 6, b"signed", b"{}")));
    w.refused(
        "body",
        &[
            ("empty", "truncated", "no bytes at all", vec![]),
            ("encoding-4", "newer-version", "an encoding that is not known yet", newer),
            ("attachment-cut", "truncated", "one byte short", attached(b"text/plain", 6, b"signe", b"")),
            ("attachment-type-empty", "out-of-range", "a type of no bytes", attached(b"", 0, b"", b"")),
            ("truncated-in-media-type", "truncated", "ends within the media type", plain[..18].to_vec()),
            ("actor-name-empty", "out-of-range", "a name of no bytes", encode(b"", b"create", json, b"")),
            ("actor-name-too-long", "out-of-range", "129 bytes", encode(&[b'n'; 129], b"create", json, b"")),
            ("actor-name-control", "text", "a line feed", encode(b"al\nice", b"create", json, b"")),
            ("actor-name-not-utf-8", "text", "Latin-1", encode(b"Zo\xeb", b"create", json, b"")),
            ("action-empty", "out-of-range", "an action of no bytes", encode(b"alice", b"", json, b"")),
            ("action-too-long", "out-of-range", "65 bytes", encode(b"alice", &[b'a'; 65], json, b"")),
            ("action-control", "text", "U+0000", encode(b"alice", b"cre\0ate", json, b"")),
            ("media-type-empty", "out-of-range", "a media type of no bytes", encode(b"alice", b"create", b"", b"")),
            ("media-type-not-ascii", "text", "a letter beyond ASCII", encode(b"alice", b"create", "é".as_bytes(), b"")),
            ("media-type-del", "text", "U+007F", encode(b"alice", b"create", b"text/\x7f", b"")),
        ],
    );
}

/// The layout of a card by hand, so that it may be a bad one; signed well.
struct Layout {
    version: u8,
    time: u64,
    node_key: [u8; 32],
    encryption_key: [u8; 32],
    tls: Vec<u8>,
    name: Vec<u8>,
    count: Option<u16>,
    actors: Vec<([u8; 32], Vec<u8>)>,
}

impl Layout {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.version];
        let push_short = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.push(u8::try_from(bytes.len()).expect("it is short"));
            out.extend_from_slice(bytes);
        };
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.node_key);
        out.extend_from_slice(&self.encryption_key);
        push_short(&mut out, &self.tls);
        push_short(&mut out, &self.name);
        let count = u16::try_from(self.actors.len()).expect("there are few");
        out.extend_from_slice(&self.count.unwrap_or(count).to_be_bytes());
        for (key, name) in &self.actors {
            out.extend_from_slice(key);
            push_short(&mut out, name);
        }
        let mut message = [0; 32];
        message[..label::CARD.len()].copy_from_slice(label::CARD.as_bytes());
        let signature = node().sign(&[&message[..], &out].concat());
        [&out[..], &signature].concat()
    }
}

pub(crate) fn card(w: &mut Writer) {
    let mut actors =
        vec![(actor().actor(), "alice".to_owned()), (SigningKey::from_seed(&[9; 32]).actor(), "Zoë".into())];
    actors.sort();
    let plain = || CardFields {
        time: Time::from_micros(crate::key::TIME).expect("it is a good time"),
        node_key: node().node_key(),
        encryption_key: reader().encryption_key(),
        tls: Some(Hash([8; 32])),
        name: "workshop".into(),
        actors: actors.clone(),
    };
    let good = |w: &mut Writer, mutation: &str, comment: &str, fields: CardFields| {
        let card = Card::sign(fields, &node()).expect("it is a good card");
        let vector = Vector::new("ok", comment)
            .with("time", card.time)
            .with("node_key", card.node_key)
            .with("encryption_key", card.encryption_key)
            .with("tls", card.tls.map(|hash| hash.to_string()).unwrap_or_default())
            .with_hex("name", card.name.as_bytes())
            .with("actors", card.actors.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(" "))
            .with("fingerprint", card.node_key.fingerprint())
            .with("origin", card.node_key.origin())
            .with("recipient_id", card.encryption_key.recipient_id())
            .with("text", &card);
        w.add("card", mutation, &vector.hex(&card.to_bytes()));
    };
    good(w, "good", "two actors and a TLS certificate", plain());
    good(w, "good-smallest", "141 bytes", CardFields { tls: None, name: String::new(), actors: vec![], ..plain() });

    let layout = || Layout {
        version: 1,
        time: crate::key::TIME,
        node_key: node().node_key().0,
        encryption_key: reader().encryption_key().0,
        tls: vec![8; 32],
        name: b"workshop".to_vec(),
        count: None,
        actors: actors.iter().map(|(key, name)| (key.0, name.clone().into_bytes())).collect(),
    };
    let card = Card::sign(plain(), &node()).expect("it is a good card");
    let bytes = card.to_bytes();
    assert_eq!(layout().to_bytes(), bytes, "the layout by hand is that of the code");
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("it has bytes") ^= 0x10;
    let mut renamed = bytes.clone();
    let at = bytes.windows(8).position(|eight| eight == b"workshop").expect("the name is there");
    renamed[at] = b'W';
    let mut reversed = layout();
    reversed.actors.reverse();
    let twice = [layout().actors[0].clone(), layout().actors[0].clone()].to_vec();
    let named = |name: &[u8]| vec![(actor().actor().0, name.to_vec())];
    // u = 2^255 - 19 + 9 is another spelling of the base point.
    let mut nine_again = [0xff; 32];
    (nine_again[0], nine_again[31]) = (0xf6, 0x7f);
    let of = |layout: Layout| layout.to_bytes();
    w.refused(
        "card",
        &[
            ("empty", "truncated", "no bytes at all", vec![]),
            ("truncated", "truncated", "the last byte is missing", bytes[..bytes.len() - 1].to_vec()),
            ("trailing", "trailing", "one byte too many", [&bytes[..], &[0]].concat()),
            ("version-2", "newer-version", "version 2", of(Layout { version: 2, ..layout() })),
            (
                "time-too-great",
                "out-of-range",
                "the year 10000",
                of(Layout { time: 253_402_300_800_000_000, ..layout() }),
            ),
            ("tls-31", "malformed", "a hash of 31 bytes", of(Layout { tls: vec![8; 31], ..layout() })),
            (
                "name-control",
                "text",
                "a line feed in the name",
                of(Layout { name: b"work\nshop".to_vec(), ..layout() }),
            ),
            ("name-not-utf-8", "text", "Latin-1", of(Layout { name: b"W\xe4rk".to_vec(), ..layout() })),
            ("name-too-long", "out-of-range", "129 bytes", of(Layout { name: vec![b'n'; 129], ..layout() })),
            ("actors-1025", "out-of-range", "one actor too many", of(Layout { count: Some(1025), ..layout() })),
            ("actors-descending", "not-ascending", "another order is another spelling", of(reversed)),
            ("actors-repeated", "not-ascending", "the same actor twice", of(Layout { actors: twice, ..layout() })),
            ("actor-name-empty", "out-of-range", "an actor has a name", of(Layout { actors: named(b""), ..layout() })),
            ("actor-name-control", "text", "U+0000", of(Layout { actors: named(b"a\0"), ..layout() })),
            (
                "actor-small-order",
                "unacceptable-key",
                "an actor key that is not acceptable",
                of(Layout { actors: vec![(small_order(), b"eve".to_vec())], ..layout() }),
            ),
            (
                "node-key-small-order",
                "unacceptable-key",
                "a node key that is not acceptable",
                of(Layout { node_key: small_order(), ..layout() }),
            ),
            (
                "encryption-key-small-order",
                "unacceptable-key",
                "anyone could open what is sealed to 0",
                of(Layout { encryption_key: [0; 32], ..layout() }),
            ),
            (
                "encryption-key-not-canonical",
                "unacceptable-key",
                "another spelling of u = 9",
                of(Layout { encryption_key: nine_again, ..layout() }),
            ),
            ("signature-flipped", "bad-signature", "one bit of the signature", flipped),
            ("name-changed", "bad-signature", "the name is signed", renamed),
            (
                "signature-of-another",
                "bad-signature",
                "signed by the node, for the key of an actor",
                of(Layout { node_key: actor().actor().0, ..layout() }),
            ),
        ],
    );
    let text = card.to_string();
    for (mutation, expect, comment, input) in [
        ("text-other-prefix", "malformed", "a card of another version", text.replacen("card1", "card2", 1)),
        ("text-line-feed", "malformed", "nothing follows the text", format!("{text}\n")),
        ("text-url-safe", "malformed", "the alphabet is the standard one", "tdbcard1:-_-_".into()),
        ("text-unpadded", "malformed", "base64 is padded", text.trim_end_matches('=')[..text.len() - 3].into()),
    ] {
        w.add("card", mutation, &Vector::new(expect, comment).text(&input));
    }
}
