use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::tree::{committed, leaf};
use super::*;
use crate::header::Fields;
use crate::{Attachment, Cek, Hash, Header, SigningKey, Suite, ThingId, Time, merkle, payload};

const DATA: &[u8] =
    br#" {"temp": 20.10, "at": {"site":"plant\u002d3", "x": [1e-07, {}, [ ], null]}, "":"" , "a/b~c":true}"#;
const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];

fn cek() -> Cek {
    Cek::from_bytes([5; 32])
}

fn body(data: &[u8]) -> Body {
    Body::new("alice", "update", "application/json", data).unwrap().with_provable_fields()
}

fn header_of(suite: Suite, data_hash: Hash) -> Header {
    let key = SigningKey::from_seed(&[1; 32]);
    Header::new(Fields {
        suite,
        thing: ThingId::new("part-42").unwrap(),
        seq: 1,
        time: Time::from_micros(0).unwrap(),
        origin: key.node_key().origin(),
        actor: key.actor(),
        prev: vec![],
        data_hash,
        payload_hash: Hash([0; 32]),
        payload_len: 100,
    })
    .unwrap()
}

fn all(suite: Suite, body: &Body) -> (Header, ShownFields) {
    let wanted = ["@actor", "@action", "@media-type", ""].map(|name| name.parse().unwrap());
    let shown = show(suite, &cek(), body, &wanted).unwrap().unwrap();
    (header_of(suite, payload::seal(suite, &cek(), body.clone()).unwrap().data_hash), shown)
}

fn leaves(data: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    walk(data, |pointer, value| {
        found.push((pointer.to_owned(), String::from_utf8(value.to_vec()).unwrap()));
        Ok(())
    })?;
    Ok(found)
}

fn problem(data: &str) -> (String, &'static str) {
    match walk(data.as_bytes(), |_, _| Ok(())) {
        Err(Error::Field { pointer, problem }) => (pointer, problem),
        other => panic!("{data}: {other:?}"),
    }
}

#[test]
fn every_value_is_shown_as_it_stands_there() {
    for suite in SUITES {
        let body = body(DATA);
        let (header, shown) = all(suite, &body);
        shown.verify(&header).unwrap();
        let found: Vec<_> = shown.fields.iter().map(|field| (field.name.as_str(), field.text())).collect();
        assert_eq!(
            found,
            [
                ("@actor", "alice"),
                ("@action", "update"),
                ("@media-type", "application/json"),
                ("/temp", "20.10"),
                ("/at/site", r#""plant\u002d3""#),
                ("/at/x/0", "1e-07"),
                ("/at/x/1", "{}"),
                ("/at/x/2", "[ ]"),
                ("/at/x/3", "null"),
                ("/", "\"\""),
                ("/a~1b~0c", "true"),
            ]
        );
        assert_eq!((shown.count, shown.hidden()), (12, 0));
        for (wanted, names) in [
            ("/at/x", vec!["/at/x/0", "/at/x/1", "/at/x/2", "/at/x/3"]),
            ("/temp", vec!["/temp"]),
            ("/", vec!["/"]),
            ("@actor", vec!["@actor"]),
        ] {
            let shown = show(suite, &cek(), &body, &[wanted.parse().unwrap()]).unwrap().unwrap();
            shown.verify(&header).unwrap();
            assert_eq!(shown.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), names);
            assert_eq!(shown.hidden() as usize, 11 - names.len());
        }
        assert_eq!(show(suite, &cek(), &body, &["/tem".parse().unwrap(), "/at/x/".parse().unwrap()]).unwrap(), None);
    }
}

#[test]
fn other_data_has_four_fields_and_an_attachment_is_part_of_the_whole_only() {
    let attached = Attachment { media_type: "text/plain", bytes: b"signed" };
    let plain = Body::with_attachment("alice", "update", "text/plain", b"{", Some(attached)).unwrap();
    assert_eq!(show(SUITES[0], &cek(), &plain, &["@actor".parse().unwrap()]).unwrap(), None);
    let body = plain.with_provable_fields();
    assert_eq!((body.as_bytes()[0], body.attachment()), (3, Some(attached)));
    let (header, shown) = all(SUITES[0], &body);
    shown.verify(&header).unwrap();
    assert_eq!((shown.count, shown.fields.len()), (4, 3));
    let sealed = payload::seal(SUITES[0], &cek(), body.clone()).unwrap();
    assert_eq!(payload::open(&header, &cek(), &sealed.payload).unwrap(), body);
}

#[test]
fn the_tree_is_that_of_rfc_9162() {
    for count in [0, 1, 2, 3, 4, 5, 12, 13, 60, 61] {
        let numbers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let (header, shown) = all(SUITES[0], &body(format!("[{}]", numbers.join(",")).as_bytes()));
        let mut leaves: Vec<Hash> =
            shown.fields.iter().map(|field| leaf(&field.salt, &field.name.as_name(), &field.value)).collect();
        // The whole body is the one that is not shown; it is in the path of the first.
        leaves.insert(0, shown.fields[0].path[0]);
        let root = merkle::root(leaves.iter().copied());
        assert_eq!(committed(&shown.key, shown.count, &root), header.data_hash);
        for field in &shown.fields {
            let path = merkle::inclusion_proof(&leaves[..], field.index.into(), shown.count.into()).unwrap();
            assert_eq!(field.path, path, "{} of {count}", field.index);
        }
    }
}

#[test]
fn what_is_changed_in_any_way_is_refused() {
    let (header, good) = all(SUITES[0], &body(DATA));
    let refused = |what: &str, change: &dyn Fn(&mut ShownFields)| {
        let mut changed = good.clone();
        change(&mut changed);
        assert!(changed.verify(&header).is_err(), "{what}");
    };
    refused("another key", &|shown| shown.key[0] ^= 1);
    for count in [0, 1, 4, 11, 13, 16, 65_536, 65_537, u32::MAX] {
        refused("another count", &|shown| shown.count = count);
    }
    refused("nothing", &|shown| shown.fields.clear());
    refused("another order", &|shown| shown.fields.swap(4, 5));
    refused("twice", &|shown| shown.fields.insert(4, shown.fields[4].clone()));
    for at in 0..good.fields.len() {
        for alone in [false, true] {
            let refused = |what: &str, change: &dyn Fn(&mut ShownField)| {
                refused(what, &|shown| {
                    change(&mut shown.fields[at]);
                    if alone {
                        shown.fields = vec![shown.fields[at].clone()];
                    }
                });
            };
            refused("another value", &|field| *field.value.last_mut().unwrap() ^= 1);
            refused("a longer value", &|field| field.value.push(b' '));
            refused("no UTF-8", &|field| field.value = vec![0xff]);
            refused("another salt", &|field| field.salt[31] ^= 1);
            refused("a path of another", &|field| field.path = good.fields[(at + 1) % 11].path.clone());
            refused("a longer path", &|field| field.path.push(Hash([0; 32])));
            refused("a shorter path", &|field| field.path.truncate(field.path.len() - 1));
            refused("no path", &|field| field.path.clear());
            refused("the whole", &|field| field.index = 0);
            for index in (1..14).chain([u32::MAX]).filter(|index| *index != good.fields[at].index) {
                refused("another index", &|field| field.index = index);
            }
            for name in ["@actor", "@action", "@media-type", "", "/x", "/temp/x"] {
                if name == good.fields[at].name.as_str() {
                    continue;
                }
                refused("another name", &|field| field.name = name.parse().unwrap());
            }
        }
    }
    // Of another entry, with the same content: under another key, and of another suite.
    let other =
        header_of(SUITES[0], payload::seal(SUITES[0], &Cek::from_bytes([6; 32]), body(DATA)).unwrap().data_hash);
    assert!(good.verify(&other).is_err());
    assert!(good.verify(&all(SUITES[1], &body(DATA)).0).is_err());
    // Of a body whose fields cannot be shown.
    let plain = Body::new("alice", "update", "application/json", DATA).unwrap();
    let plain = header_of(SUITES[0], payload::seal(SUITES[0], &cek(), plain).unwrap().data_hash);
    assert!(good.verify(&plain).is_err());
}

/// What a writer commits to who makes a tree of his own.
fn forged(fields: &[(Name<'_>, &[u8])]) -> (Header, ShownFields) {
    let key = *payload::commitment_key(SUITES[0], &cek());
    let salt = [9; 32];
    let mut leaves = vec![Hash([7; 32])];
    leaves.extend(fields.iter().map(|(name, value)| leaf(&salt, name, value)));
    let count = leaves.len() as u32;
    let shown = fields.iter().zip(1..).map(|((name, value), index)| ShownField {
        index,
        name: name.into(),
        value: value.to_vec(),
        salt,
        path: merkle::inclusion_proof(&leaves[..], index.into(), count.into()).unwrap(),
    });
    let shown = ShownFields { key, count, fields: shown.collect() };
    let root = merkle::root(leaves.iter().copied());
    (header_of(SUITES[0], committed(&key, count, &root)), shown)
}

#[test]
fn a_tree_of_no_body_shows() {
    let base: [(Name<'_>, &[u8]); 3] =
        [(Name::Actor, b"alice"), (Name::Action, b"update"), (Name::MediaType, b"application/json")];
    let made = |more: &[(Name<'_>, &[u8])]| forged(&[&base[..], more].concat());
    let (header, shown) = made(&[(Name::Pointer("/a"), b"1"), (Name::Pointer("/b"), b"2")]);
    shown.verify(&header).unwrap();
    // Each alone verifies; one file cannot have both, and two convict the writer.
    for (one, other) in [(("/a", "1"), ("/a", "2")), (("/a", "1"), ("/a/b", "2")), (("", "1"), ("/b", "2"))] {
        let pair = [one, other].map(|(pointer, value)| (Name::Pointer(pointer), value.as_bytes()));
        for order in [[0, 1], [1, 0]] {
            let (header, shown) = made(&order.map(|at: usize| pair[at]));
            assert!(shown.verify(&header).is_err(), "{one:?} {other:?}");
            for field in &shown.fields {
                let alone = ShownFields { fields: vec![field.clone()], ..shown.clone() };
                alone.verify(&header).unwrap();
            }
            // What comes of a body that has one of them does not have this hash.
            let body = Body::new("alice", "update", "application/json", br#"{"a":1}"#).unwrap().with_provable_fields();
            let sealed = payload::seal(SUITES[0], &cek(), body).unwrap();
            let refused = payload::open(&header, &cek(), &sealed.payload).unwrap_err();
            assert!(matches!(refused, Error::BadHash { field: "data_hash", .. }));
        }
    }
    for value in
        ["", " 1", "1 ", "1 2", "[1]", "{\"a\":1}", "01", "+1", "1.", "nul", "\"", "\"\\ud800\"", "\u{feff}1", "NaN"]
    {
        let (header, shown) = made(&[(Name::Pointer("/a"), value.as_bytes())]);
        assert!(shown.verify(&header).is_err(), "{value}");
    }
    let (header, shown) = made(&[(Name::Pointer("/a"), b"\"\xff\"")]);
    assert!(shown.verify(&header).is_err());
    // A body in the place of a name, a name in the place of another, a count that is too small.
    let whole = body(DATA);
    for first in [(Name::Actor, whole.as_bytes()), (Name::Action, b"alice"), (Name::Pointer("/a"), b"1")] {
        let (header, shown) = forged(&[first, base[1], base[2]]);
        assert!(shown.verify(&header).is_err(), "{first:?}");
    }
    assert!({
        let (header, shown) = forged(&base[..2]);
        shown.verify(&header).is_err()
    });
}

#[test]
fn a_member_that_is_there_twice_is_named() {
    for (data, pointer) in [
        (r#"{"a":1,"a":2}"#, "/a"),
        (r#"{"a":1,"b":[],"\u0061":2}"#, "/a"),
        (r#"{"x":[0,{"a/~":1,"b":2,"a\/~":2}]}"#, "/x/1/a~1~0"),
        (r#"{"😀":1,"\ud83d\uDE00":2}"#, "/😀"),
        (r#"{"":{},"":{}}"#, "/"),
    ] {
        assert_eq!(problem(data), (pointer.to_owned(), "is there twice"), "{data}");
        assert!(payload::seal(SUITES[0], &cek(), body(data.as_bytes())).is_err());
    }
    leaves(br#"{"a":{"a":{"a":1}},"b":{"a":1},"A":1,"a ":1}"#).unwrap();
}

#[test]
fn bounds_are_as_they_are_written() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(leaves(deep(128).as_bytes()).unwrap(), [("/0".repeat(128), "1".to_owned())]);
    assert!(leaves(deep(129).as_bytes()).is_err());
    assert!(leaves("[".repeat(1 << 20).as_bytes()).is_err());
    let long = |len: usize| format!("{{\"{}\":1}}", "n".repeat(len));
    assert_eq!(leaves(long(1023).as_bytes()).unwrap()[0].0.len(), 1024);
    assert_eq!(problem(&long(1024)), (String::new(), "has something in it whose pointer is longer than 1024 bytes"));
    let many = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    let (header, shown) = {
        let body = body(many(65_532).as_bytes());
        let shown = show(SUITES[0], &cek(), &body, &["/65531".parse().unwrap()]).unwrap().unwrap();
        assert!(show(SUITES[0], &cek(), &body, &["".parse().unwrap()]).is_err());
        (header_of(SUITES[0], payload::seal(SUITES[0], &cek(), body).unwrap().data_hash), shown)
    };
    shown.verify(&header).unwrap();
    assert_eq!((shown.count, shown.hidden()), (65_536, 65_534));
    let refused = payload::seal(SUITES[0], &cek(), body(many(65_533).as_bytes())).unwrap_err();
    assert!(matches!(refused, Error::OutOfRange { found: 65_537, .. }), "{refused}");
}

#[test]
fn a_pointer_has_one_spelling() {
    for bad in ["a", "a/b", "/~", "/~2", "/a~", "/~~0", "@", "@Actor", "@actor/a", " /a", "#/a"] {
        assert!(bad.parse::<FieldName>().is_err(), "{bad}");
    }
    for good in ["", "/", "//", "/~0~1", "/a/0/00", "/ä", "/@actor"] {
        assert_eq!(good.parse::<FieldName>().unwrap().as_str(), good);
    }
    assert!("/a".repeat(129).parse::<FieldName>().is_err());
}

/// Whatever the text: what is read here is what serde_json reads, but for members that are
/// there twice, and numbers that it has no room for.
#[test]
fn any_text_is_json_here_if_it_is_elsewhere() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let pieces: [&str; 34] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"b\"",
        "\"a\\u0062\"",
        "1",
        "0",
        "-",
        "1.5",
        "e+1",
        "E9",
        ".",
        "true",
        "false",
        "null",
        " ",
        "\n",
        "\\",
        "\\u00",
        "\\ud83d",
        "\\ude00",
        "ä",
        "\u{1}",
        "\u{7f}",
        "{\"a\":1}",
        "[1,2]",
        "{}",
        "[]",
        "\"x\":",
    ];
    let mut read = 0;
    for _ in 0..200_000 {
        let mut text = String::new();
        match rng.random_range(0..3) {
            0 => (0..rng.random_range(1..9)).for_each(|_| text.push_str(pieces[rng.random_range(0..pieces.len())])),
            _ => {
                text = String::from_utf8(DATA.to_vec()).unwrap();
                for _ in 0..rng.random_range(1..3) {
                    let at = rng.random_range(0..text.len());
                    if !text.is_char_boundary(at) {
                        continue;
                    }
                    if rng.random() {
                        text.replace_range(at..at + text[at..].chars().next().unwrap().len_utf8(), "")
                    } else {
                        text.insert_str(at, pieces[rng.random_range(0..pieces.len())])
                    }
                }
            }
        }
        let here = leaves(text.as_bytes());
        let there = serde_json::from_str::<serde_json::Value>(&text);
        read += u32::from(here.is_ok());
        match (&here, &there) {
            (Ok(found), Ok(value)) => {
                for (pointer, leaf) in found {
                    let value = value.pointer(pointer).unwrap_or_else(|| panic!("{text}: no {pointer}"));
                    assert_eq!(&serde_json::from_str::<serde_json::Value>(leaf).unwrap(), value, "{text}");
                }
            }
            (Err(Error::Field { problem: "is there twice", .. }), _) | (Err(_), Err(_)) => {}
            (Ok(_), Err(problem)) if problem.to_string().contains("number out of range") => {}
            other => panic!("{text:?}: {other:?}"),
        }
    }
    assert!(read > 1000, "{read} were read");
}
