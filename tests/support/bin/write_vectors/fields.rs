//! Bodies whose fields can be shown one by one, and proof files that show some.

use thingdb_format::fields::{FieldName, ShownField, ShownFields, show};
use thingdb_format::proof::{ProofEntry, Subject};
use thingdb_format::{Attachment, Body, Cek, Entry, Hash, Header, Suite, Time, erasure, payload};
use thingdb_tests::fields::{Leaf, Tree, value};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, cek, entry_of, fields as of_entry};
use crate::proof::{File, framed_anew, thing, with};

const DATA: &str = r#"{"temp": 20.10, "big":123456789012345678901234567890.0e-07, "at": {"site":"plant\u002d3", "x/~": [{}, [ ], null, false]}, "":""}"#;
const JSON: &str = "application/json";

fn body(media_type: &str, data: &[u8]) -> Body {
    Body::new("alice", "create", media_type, data).expect("it is a good body").with_provable_fields()
}

pub(crate) fn fields(w: &mut Writer) {
    bodies(w);
    data(w);
    payloads(w);
    good_files(w);
    refused_files(w);
}

fn bodies(w: &mut Writer) {
    let attached = Attachment { media_type: "text/plain", bytes: b"signed" };
    let with = Body::with_attachment("alice", "create", JSON, b"{}", Some(attached)).expect("it is a good body");
    for (mutation, comment, body) in [
        ("good-fields", "encoding 2", body(JSON, b"{}")),
        ("good-fields-attachment", "encoding 3", with.with_provable_fields()),
    ] {
        w.add("body", mutation, &Vector::new("ok", comment).with_hex("data", b"{}").hex(body.as_bytes()));
    }
}

/// JSON, and what comes of it.
fn data(w: &mut Writer) {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let long = |len: usize| format!("{{\"{}\":[1]}}", "n".repeat(len));
    for (mutation, comment, data) in [
        ("good-one-value", "one value is the whole of it; its pointer is empty", " 1 ".to_owned()),
        ("good-values", "values of all kinds, as they are spelt", DATA.to_owned()),
        ("good-empty", "nothing in it: one value", "{ }".to_owned()),
        (
            "good-names",
            "names with ~ and /, and escapes",
            r#"{"~1":1,"~":{"/":2},"a\/b\u007e":3,"\ud83d\ude00":4,"0":5}"#.into(),
        ),
        ("good-same-names", "one name in several objects", r#"[{"a":1},{"a":{"a":2}}]"#.into()),
        ("good-deep", "128 arrays", deep(128)),
        ("good-long", "a pointer of 1024 bytes", long(1021)),
        ("good-huge-numbers", "no number is too large or too small", "[1e999,-0,0.0E-999,-1.5e+7]".into()),
        ("good-white-space", "all four kinds of it", "\r\n\t [ 1 , 2 ] \n".into()),
    ] {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        thingdb_format::fields::walk(data.as_bytes(), |pointer, value| {
            names.push(data_encoding::HEXLOWER.encode(pointer.as_bytes()));
            values.push(data_encoding::HEXLOWER.encode(value));
            Ok(())
        })
        .expect("it is good");
        let hash = payload::seal(Suite::Aes256Gcm, &cek(), body(JSON, data.as_bytes())).expect("it is good").data_hash;
        let vector = Vector::new("ok", comment).with("pointers", names.join(" ")).with("values", values.join(" "));
        let vector = vector.with_hex("cek", cek().as_bytes()).with("data_hash", hash);
        w.add("fields", mutation, &vector.hex(data.as_bytes()));
    }
    for (mutation, comment, data) in [
        ("twice", "a member twice", &br#"{"a":1,"b":2,"a":1}"#[..]),
        ("twice-by-escape", "a member twice, in two spellings", br#"{"a":1,"\u0061":2}"#),
        ("twice-by-pair", "a character beyond U+FFFF, in two spellings", "{\"😀\":1,\"\\ud83d\\ude00\":2}".as_bytes()),
        ("twice-by-slash", "an escape that needs none", br#"{"/":1,"\/":2}"#),
        ("twice-deep", "in an object within others", br#"{"x":[{"y":{"":0,"":0}}]}"#),
        ("not-json", "no text at all", b""),
        ("two-values", "something behind the value", b"1 2"),
        ("byte-order-mark", "a byte order mark", b"\xef\xbb\xbf{}"),
        ("not-utf-8", "Latin-1", b"\"\xeb\""),
        ("half-pair", "half of a surrogate pair in a value", br#"["\ud83d"]"#),
        ("half-pair-low", "the other half alone", br#"["\ude00"]"#),
        ("half-pair-in-name", "half of a surrogate pair in a name", br#"{"\ud83dx":1}"#),
        ("two-high-halves", "two first halves", br#"["\ud83d\ud83d"]"#),
        ("control", "a tab in a string", b"\"\t\""),
        ("leading-zero", "a number that begins with 0", b"[01]"),
        ("plus", "a number with +", b"[+1]"),
        ("no-fraction", "a point without digits", b"[1.]"),
        ("no-exponent", "an exponent without digits", b"[1e]"),
        ("no-digits", "a sign alone", b"[-]"),
        ("not-a-number", "NaN", b"[NaN]"),
        ("trailing-comma", "a comma before the end", b"[1,]"),
        ("trailing-comma-in-object", "a comma before the end", br#"{"a":1,}"#),
        ("no-colon", "a name without its value", br#"{"a"}"#),
        ("name-without-quotes", "no string", b"{a:1}"),
        ("other-end", "an array that ends as an object", b"[1}"),
        ("no-end", "it is cut", br#"{"a":[1"#),
        ("comment", "a comment", b"/**/1"),
        ("escape", "an escape that is none", br#"["\x41"]"#),
        ("escape-short", "three digits", br#"["\u004"]"#),
        ("other-space", "white space of another kind", "\u{a0}1".as_bytes()),
        ("too-deep", "129 arrays", deep(129).as_bytes()),
        (
            "too-deep-empty",
            "129 arrays, the innermost with nothing in it",
            format!("{}[]{}", "[".repeat(129), "]".repeat(129)).as_bytes(),
        ),
        ("too-long", "a pointer of 1025 bytes", long(1022).as_bytes()),
    ] {
        w.add("fields", mutation, &Vector::new("field", comment).with_hex("cek", cek().as_bytes()).hex(data));
    }
    let many = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    let vector = Vector::new("out-of-range", "65533 values").with_hex("cek", cek().as_bytes());
    w.add("fields", "too-many", &vector.hex(many(65_533).as_bytes()));
}

fn header(suite: Suite, data_hash: Hash, payload: &[u8]) -> Header {
    let (mut fields, _) = of_entry(suite);
    fields.data_hash = data_hash;
    fields.payload_hash = Hash::of(payload);
    fields.payload_len = u32::try_from(payload.len()).expect("it is small");
    Header::new(fields).expect("the fields go together")
}

fn payloads(w: &mut Writer) {
    let case = |expect, comment, header: &Header| {
        Vector::new(expect, comment).with_hex("header", &header.to_bytes()).with_hex("cek", cek().as_bytes())
    };
    let attached = Attachment { media_type: "text/plain", bytes: b"signed" };
    let with = Body::with_attachment("alice", "create", JSON, DATA.as_bytes(), Some(attached));
    let with = with.expect("it is a good body").with_provable_fields();
    let suites = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
    for (mutation, comment, suite, body) in [
        ("good-fields-suite-1", "fields of JSON", suites[0], body(JSON, DATA.as_bytes())),
        ("good-fields-suite-2", "fields of JSON", suites[1], body(JSON, DATA.as_bytes())),
        ("good-fields-attachment", "with an attachment", suites[0], with),
        ("good-fields-other-data", "data that is not JSON", suites[0], body("text/json", b"{")),
        ("good-fields-parameters", "JSON by its name before ;", suites[0], body(" Application/Senml+JSON ;x", b"[]")),
    ] {
        let sealed = payload::seal(suite, &cek(), body.clone()).expect("it is small");
        let header = header(suite, sealed.data_hash, &sealed.payload);
        let vector = case("ok", comment, &header).with_hex("body", body.as_bytes());
        w.add("payload", mutation, &vector.hex(&sealed.payload));
    }
    let plain = |body: &Body| payload::commitment(suites[0], &cek(), body.as_bytes());
    let good = body(JSON, b"[1]");
    let other = payload::seal(suites[0], &cek(), body(JSON, b"[2]")).expect("it is small").data_hash;
    let twice = body(JSON, br#"{"a":1,"\u0061":2}"#);
    let tree = Tree::new(&cek(), &[(0, twice.as_bytes().to_vec()), (1, b"alice".to_vec()), (2, b"create".to_vec())]);
    let newer = [&[4], &good.as_bytes()[1..]].concat();
    let newer_hash = payload::commitment(suites[0], &cek(), &newer);
    for (mutation, expect, comment, data_hash, bytes) in [
        ("fields-of-another", "bad-hash", "the fields of another body", other, good.as_bytes()),
        ("fields-as-bytes", "bad-hash", "encoding 2, and the hash of encoding 0", plain(&good), good.as_bytes()),
        ("fields-twice", "field", "a member twice", tree.data_hash(), twice.as_bytes()),
        ("fields-not-json", "field", "data that should be JSON", tree.data_hash(), body(JSON, b"{").as_bytes()),
        ("encoding-newer", "newer-version", "an encoding that is not known yet", other, &newer[..]),
        ("encoding-newer-same-hash", "newer-version", "the same, by the hash of encoding 0", newer_hash, &newer[..]),
    ] {
        let payload = thingdb_tests::fields::payload(&cek(), bytes);
        w.add("payload", mutation, &case(expect, comment, &header(suites[0], data_hash, &payload)).hex(&payload));
    }
}

/// An entry in the place of [`first`], with this commitment and payload.
fn entry(suite: Suite, data_hash: Hash, payload: Vec<u8>) -> Entry {
    let (mut fields, _) = of_entry(suite);
    (fields.data_hash, fields.payload_hash) = (data_hash, Hash::of(&payload));
    fields.payload_len = u32::try_from(payload.len()).expect("it is small");
    entry_of(fields, Some(payload))
}

fn sealed(suite: Suite, body: &Body) -> Entry {
    let sealed = payload::seal(suite, &cek(), body.clone()).expect("it is small");
    entry(suite, sealed.data_hash, sealed.payload)
}

fn of(body: &Body, suite: Suite, wanted: &[&str]) -> ShownFields {
    let wanted: Vec<FieldName> = wanted.iter().map(|name| name.parse().expect("it is a name")).collect();
    show(suite, &cek(), body, &wanted).expect("it is good").expect("they are there")
}

/// A history of one entry, at place 5.
fn file(entry: Entry, fields: Option<ShownFields>) -> String {
    let mut file = File::new(Subject::History { thing: thing() });
    file.leaves[5] = thingdb_format::merkle::leaf(&entry.id());
    let (size, root) = (file.leaves.len() as u64, thingdb_format::merkle::root(file.leaves.iter().copied()));
    let note = thingdb_format::Checkpoint::new(crate::key::origin(), size, root);
    file.header.checkpoint = note.sign(&crate::key::node()).expect("it is good");
    file.entries.clear();
    match fields {
        None => file.entries.push((5, Some(cek()), entry)),
        Some(fields) => file.partly.push((5, fields, entry)),
    }
    file.text()
}

fn good_files(w: &mut Writer) {
    let names = ["@actor", "@action", "@media-type", ""];
    let suites = [Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
    let json = body(JSON, DATA.as_bytes());
    let text = body("text/plain", "grün".as_bytes());
    let empty = body(JSON, b"[ {\r\n} ]");
    let record = erasure::Erasure::new(vec![sealed(suites[0], &json).id()], "asked for", None).expect("it is one");
    for (mutation, comment, states, fields, entry) in [
        ("one", "one value", "partly shown", Some(of(&json, suites[0], &["/temp"])), sealed(suites[0], &json)),
        ("actor", "only who acted", "partly shown", Some(of(&json, suites[0], &["@actor"])), sealed(suites[0], &json)),
        ("all", "all that can be shown", "partly shown", Some(of(&json, suites[0], &names)), sealed(suites[0], &json)),
        ("suite-2", "all, of suite 2", "partly shown", Some(of(&json, suites[1], &names)), sealed(suites[1], &json)),
        (
            "other-data",
            "data that is not JSON",
            "partly shown",
            Some(of(&text, suites[0], &names)),
            sealed(suites[0], &text),
        ),
        (
            "empty",
            "an object without members, over two lines",
            "partly shown",
            Some(of(&empty, suites[0], &[""])),
            sealed(suites[0], &empty),
        ),
        ("whole", "shown whole", "shown", None, sealed(suites[0], &json)),
        ("whole-suite-2", "shown whole, of suite 2", "shown", None, sealed(suites[1], &json)),
        ("whole-other-data", "data that is not JSON, shown whole", "shown", None, sealed(suites[0], &text)),
    ] {
        let vector = Vector::new("ok", comment).with("entries", 1).with("states", states);
        let vector = vector.with("heads", entry.id()).with("fields", hex_of(fields.as_ref()));
        w.add("proof", &format!("good-fields-{mutation}"), &vector.text(&file(entry, fields)));
    }
    erased(w, &json, &record);
}

fn hex_of(fields: Option<&ShownFields>) -> String {
    let text = |field: &ShownField| {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        format!("{}={}", hex(field.name.as_str().as_bytes()), hex(&field.value))
    };
    let Some(fields) = fields else { return String::new() };
    let shown: Vec<String> = fields.fields.iter().map(text).collect();
    format!("{} of {} {}", fields.fields.len(), fields.count, shown.join(" "))
}

/// What is shown is not erased in this file, whatever a record says; and a record of which
/// fields are shown erases nothing.
fn erased(w: &mut Writer, json: &Body, record: &erasure::Erasure) {
    let one = sealed(Suite::Aes256Gcm, json);
    let body = Body::new("alice", erasure::ACTION, erasure::MEDIA_TYPE, record.to_json().as_bytes());
    let body = body.expect("it is a good body").with_provable_fields();
    let sealed = payload::seal(Suite::Aes256Gcm, &cek(), body.clone()).expect("it is small");
    let (mut fields, _) = of_entry(Suite::Aes256Gcm);
    (fields.data_hash, fields.payload_hash) = (sealed.data_hash, Hash::of(&sealed.payload));
    fields.payload_len = u32::try_from(sealed.payload.len()).expect("it is small");
    (fields.seq, fields.prev) = (2, vec![one.id()]);
    fields.time = Time::from_micros(TIME + 1_000_000).expect("it is a good time");
    let two = entry_of(fields, Some(sealed.payload));
    let shown = of(json, Suite::Aes256Gcm, &["/temp"]);
    for (mutation, comment, states) in [
        ("erased", "a record lists an entry of which fields are shown", "partly shown,shown"),
        ("of-record", "fields of a record: it erases nothing", "withheld,partly shown"),
    ] {
        let mut file = File::new(Subject::History { thing: thing() });
        (file.leaves[5], file.leaves[9]) =
            (thingdb_format::merkle::leaf(&one.id()), thingdb_format::merkle::leaf(&two.id()));
        let (size, root) = (file.leaves.len() as u64, thingdb_format::merkle::root(file.leaves.iter().copied()));
        let note = thingdb_format::Checkpoint::new(crate::key::origin(), size, root);
        file.header.checkpoint = note.sign(&crate::key::node()).expect("it is good");
        file.entries.clear();
        if mutation == "erased" {
            file.partly.push((5, shown.clone(), one.clone()));
            file.entries.push((9, Some(cek()), two.clone()));
        } else {
            file.entries.push((5, None, Entry { payload: None, ..one.clone() }));
            file.partly.push((9, of(&body, Suite::Aes256Gcm, &["/reason", "@action"]), two.clone()));
        }
        let vector = Vector::new("ok", comment).with("entries", 2).with("states", states.replace(',', " "));
        let vector = vector.with("heads", two.id());
        w.add("proof", &format!("good-fields-{mutation}"), &vector.text(&file.text()));
    }
}

/// Name, the first thing that is wrong, comment, the file.
type Case = (&'static str, &'static str, &'static str, String);

fn refused_files(w: &mut Writer) {
    let cases = of_changed_fields().into_iter().chain(of_own_trees()).chain(of_the_line()).chain(of_whole_bodies());
    for (mutation, expect, comment, text) in cases {
        w.add("proof", &format!("fields-{mutation}"), &Vector::new(expect, comment).text(&text));
    }
}

/// A good tree, and something else in what is shown of it.
fn of_changed_fields() -> Vec<Case> {
    let json = body(JSON, DATA.as_bytes());
    let good = of(&json, Suite::Aes256Gcm, &["@actor", "/temp", "/at/site"]);
    let change = |change: &dyn Fn(&mut ShownFields)| {
        let mut fields = good.clone();
        change(&mut fields);
        file(sealed(Suite::Aes256Gcm, &json), Some(fields))
    };
    let other = payload::seal(Suite::Aes256Gcm, &Cek::from_bytes([6; 32]), json.clone()).expect("it is small");
    let plain = Body::new("alice", "create", JSON, DATA.as_bytes()).expect("it is a good body");
    let (hash, unreadable, path) = ("bad hash", "unreadable", "bad signature");
    vec![
        ("other-key", hash, "another commitment key", change(&|shown| shown.key[0] ^= 1)),
        ("other-count", path, "a count to which the paths do not fit", change(&|shown| shown.count = 40)),
        ("count-beside", hash, "a count to which the path fits, too", {
            change(&|shown| {
                shown.count -= 1;
                shown.fields.truncate(1);
            })
        }),
        ("count-small", unreadable, "fewer fields than there can be", change(&|shown| shown.count = 3)),
        ("count-large", unreadable, "more fields than there can be", change(&|shown| shown.count = 65_536 + 1)),
        (
            "index-beyond",
            path,
            "an index that is not below the count",
            change(&|shown| shown.fields[2].index = shown.count),
        ),
        ("index-other", path, "the index of a neighbour", change(&|shown| shown.fields[1].index += 1)),
        ("index-of-whole", unreadable, "the index of the whole body", change(&|shown| shown.fields[0].index = 0)),
        ("index-of-name", unreadable, "a value in the place of the actor", {
            change(&|shown| {
                shown.fields.remove(0);
                shown.fields[0].index = 1;
            })
        }),
        ("name-in-values", unreadable, "the actor in the place of a value", {
            change(&|shown| shown.fields = vec![ShownField { index: 4, ..shown.fields[0].clone() }])
        }),
        (
            "name-other",
            unreadable,
            "the actor called action",
            change(&|shown| shown.fields[0].name = FieldName::Action),
        ),
        ("value-other", path, "another value", change(&|shown| shown.fields[1].value = b"20.11".to_vec())),
        (
            "value-spelt",
            path,
            "the same number in another spelling",
            change(&|shown| shown.fields[1].value = b"20.1".to_vec()),
        ),
        (
            "pointer-other",
            path,
            "another pointer",
            change(&|shown| shown.fields[1].name = FieldName::Pointer("/tamp".into())),
        ),
        ("salt-other", path, "another salt", change(&|shown| shown.fields[1].salt[31] ^= 1)),
        (
            "path-of-another",
            path,
            "the path of another field",
            change(&|shown| shown.fields[1].path = shown.fields[2].path.clone()),
        ),
        (
            "path-short",
            path,
            "a hash is missing",
            change(&|shown| {
                shown.fields[1].path.remove(0);
            }),
        ),
        ("path-long", path, "a hash too many", change(&|shown| shown.fields[1].path.push(Hash([0; 32])))),
        ("path-none", path, "no hash", change(&|shown| shown.fields[1].path.clear())),
        ("none", unreadable, "no field", change(&|shown| shown.fields.clear())),
        ("descending", unreadable, "fields in another order", change(&|shown| shown.fields.swap(1, 2))),
        ("twice", unreadable, "a field twice", change(&|shown| shown.fields.push(shown.fields[2].clone()))),
        ("of-other-entry", hash, "fields of another entry with the same content", {
            file(entry(Suite::Aes256Gcm, other.data_hash, other.payload), Some(good.clone()))
        }),
        ("of-other-suite", hash, "fields of an entry of suite 1", {
            file(sealed(Suite::ChaCha20Poly1305, &json), Some(good.clone()))
        }),
        (
            "of-plain-body",
            hash,
            "the entry has a body of encoding 0",
            file(sealed(Suite::Aes256Gcm, &plain), Some(good.clone())),
        ),
        ("many", unreadable, "4097 fields", {
            let data = format!("[{}0]", "0,".repeat(4096));
            let wide = body(JSON, data.as_bytes());
            let mut shown: ShownFields = of(&wide, Suite::Aes256Gcm, &["/0"]);
            shown.fields = vec![ShownField { path: vec![], value: vec![], ..shown.fields[0].clone() }; 4097];
            file(sealed(Suite::Aes256Gcm, &wide), Some(shown))
        }),
    ]
}

/// A tree that comes of no body, and leaves of it that are shown.
fn own(leaves: &[Leaf], fields: &[(u32, &str, &[u8])]) -> String {
    let tree = Tree::new(&cek(), leaves);
    let fields = fields.iter().map(|(index, name, value)| tree.field(*index, name, value)).collect();
    file(entry(Suite::Aes256Gcm, tree.data_hash(), vec![0; 100]), Some(tree.shown(fields)))
}

fn of_own_trees() -> Vec<Case> {
    let names = || -> Vec<Leaf> {
        vec![(0, vec![7; 30]), (1, b"alice".to_vec()), (2, b"create".to_vec()), (3, JSON.as_bytes().to_vec())]
    };
    let with = |pointers: &[(&str, &[u8])]| {
        let leaves: Vec<Leaf> = names().into_iter().chain(pointers.iter().map(|(name, of)| value(name, of))).collect();
        let shown: Vec<_> = (4..).zip(pointers).map(|(index, (name, of))| (index, *name, *of)).collect();
        own(&leaves, &shown)
    };
    let renamed = |at: usize, kind: u8, content: &[u8], name: &str| {
        let mut leaves = names();
        leaves[at] = (kind, content.to_vec());
        own(&leaves, &[(u32::try_from(at).expect("it is small"), name, content)])
    };
    let (unreadable, hash) = ("unreadable", "bad hash");
    vec![
        ("contradict", unreadable, "two values for one pointer", with(&[("/a", b"1"), ("/a", b"2")])),
        ("contradict-same", unreadable, "one value twice", with(&[("/a", b"1"), ("/a", b"1")])),
        (
            "contradict-within",
            unreadable,
            "a value within a number",
            with(&[("/a", b"1"), ("/b", b"1"), ("/a/b", b"2")]),
        ),
        (
            "contradict-around",
            unreadable,
            "a value within an object without members",
            with(&[("/a/b/c", b"1"), ("/a", b"{}")]),
        ),
        ("contradict-whole", unreadable, "a value within the only one", with(&[("", b"1"), ("/b", b"2")])),
        ("value-two", unreadable, "two values as one", with(&[("/a", b"1,2")])),
        ("value-space", unreadable, "a space behind the value", with(&[("/a", b"1 ")])),
        ("value-none", unreadable, "no value", with(&[("/a", b"")])),
        ("value-object", unreadable, "an object with a member", with(&[("/a", br#"{"b":1}"#)])),
        ("value-not-utf-8", unreadable, "Latin-1", with(&[("/a", b"\"\xeb\"")])),
        ("value-half-pair", unreadable, "half of a surrogate pair", with(&[("/a", br#""\ud83d""#)])),
        ("value-number", unreadable, "a number that begins with 0", with(&[("/a", b"020")])),
        ("value-nan", unreadable, "NaN", with(&[("/a", b"NaN")])),
        ("value-control", unreadable, "a tab in a string", with(&[("/a", b"\"\t\"")])),
        ("actor-control", unreadable, "a name with a line feed", renamed(1, 1, b"al\nice", "@actor")),
        ("actor-long", unreadable, "a name of 129 bytes", renamed(1, 1, &[b'n'; 129], "@actor")),
        ("action-empty", unreadable, "an action of no bytes", renamed(2, 2, b"", "@action")),
        (
            "media-type-not-ascii",
            unreadable,
            "a media type with umlaut",
            renamed(3, 3, "text/grün".as_bytes(), "@media-type"),
        ),
        ("whole-as-actor", hash, "a leaf of kind 0 called the actor", renamed(1, 0, b"alice", "@actor")),
        ("action-as-actor", hash, "a leaf of kind 2 called the actor", renamed(1, 2, b"alice", "@actor")),
        ("whole-as-value", hash, "the whole body as a value", {
            let leaves: Vec<Leaf> = names().into_iter().chain([(0, b"1".to_vec())]).collect();
            own(&leaves, &[(4, "/a", b"1")])
        }),
        ("pointer-longer", hash, "the end of the pointer taken for the begin of the value", {
            let leaves: Vec<Leaf> = names().into_iter().chain([value("/a1", b"2")]).collect();
            own(&leaves, &[(4, "/a", b"12")])
        }),
        ("three", unreadable, "a tree of three fields", own(&names()[..3], &[(1, "@actor", b"alice")])),
    ]
}

/// What is not written as it should be.
fn of_the_line() -> Vec<Case> {
    let json = body(JSON, DATA.as_bytes());
    let one = || sealed(Suite::Aes256Gcm, &json);
    let text = file(one(), Some(of(&json, Suite::Aes256Gcm, &["/temp"])));
    let edit = |from: &str, to: &str| with(&text, 1, from, to);
    let unreadable = "unreadable";
    let mut cases = vec![
        ("with-payload", unreadable, "beside the payload", {
            let mut line = Vec::new();
            let (place, gap) = (5, ProofEntry::decode(text.lines().nth(1).expect("it is there").as_bytes(), 2));
            let gap = gap.expect("it is good").gap;
            let fields = Some(of(&json, Suite::Aes256Gcm, &["/temp"]));
            ProofEntry { place, gap, cek: None, fields, entry: one() }.encode(&mut line);
            let line = String::from_utf8(line).expect("lines are UTF-8").trim_end().to_owned();
            framed_anew(&text, |n, found| if n == 1 { line.clone() } else { found.to_owned() })
        }),
        ("with-cek", unreadable, "beside a CEK", {
            edit(
                "\"fields\":{",
                &format!("\"cek\":\"{}\",\"fields\":{{", data_encoding::BASE64.encode(cek().as_bytes())),
            )
        }),
        ("null", unreadable, "null for the object", {
            framed_anew(&text, |n, found| match (found.split_once("\"fields\":{"), found.split_once("]},\"entry\"")) {
                (Some((before, _)), Some((_, after))) if n == 1 => format!("{before}\"fields\":null,\"entry\"{after}"),
                _ => found.to_owned(),
            })
        }),
        ("no-count", unreadable, "no count", edit("\"count\":12,", "")),
        ("no-salt", unreadable, "no salt", {
            framed_anew(&text, |n, found| {
                let Some((before, after)) = found.split_once(",\"salt\":\"").filter(|_| n == 1) else {
                    return found.to_owned();
                };
                format!("{before}{}", &after[after.find('"').expect("the string ends") + 1..])
            })
        }),
        ("count-twice", unreadable, "the count twice", edit("\"count\":12,", "\"count\":12,\"count\":12,")),
        (
            "unknown-member",
            unreadable,
            "a member that is not listed",
            edit("\"count\":12,", "\"count\":12,\"kind\":4,"),
        ),
        ("index-fraction", unreadable, "a number with a fraction", edit("\"index\":4,", "\"index\":4.0,")),
        ("value-not-base64", unreadable, "a value as it is", edit("\"value\":\"MjAuMTA=\"", "\"value\":20.10")),
        ("value-base64-unpadded", unreadable, "base64 without padding", edit("\"MjAuMTA=\"", "\"MjAuMTA\"")),
    ];
    for (mutation, comment, pointer) in [
        ("pointer-tilde", "a ~ with nothing behind it", "/temp~"),
        ("pointer-tilde-2", "a ~ with 2 behind it", "/~2"),
        ("pointer-relative", "no / at the begin", "temp"),
        ("pointer-fragment", "a pointer as part of a URI", "#/temp"),
        ("pointer-unknown", "an @ with something else behind it", "@name"),
    ] {
        cases.push((mutation, unreadable, comment, edit("\"/temp\"", &format!("\"{pointer}\""))));
    }
    let long = |pointer: String| edit("\"/temp\"", &format!("\"{pointer}\""));
    cases.push(("pointer-long", unreadable, "1025 bytes", long(format!("/{}", "n".repeat(1024)))));
    cases.push(("pointer-deep", unreadable, "129 steps", long("/0".repeat(129))));
    cases
}

/// Entries that are shown whole, and are not what a body with fields can be.
fn of_whole_bodies() -> Vec<Case> {
    let shown = |body: &Body, data_hash: Hash| {
        file(entry(Suite::Aes256Gcm, data_hash, thingdb_tests::fields::payload(&cek(), body.as_bytes())), None)
    };
    // The tree as its writer may want it.
    let own = |body: &Body, values: &[(&str, &[u8])]| {
        let mut leaves: Vec<Leaf> =
            vec![(0, body.as_bytes().to_vec()), (1, b"alice".to_vec()), (2, b"create".to_vec())];
        leaves.push((3, body.media_type().as_bytes().to_vec()));
        leaves.extend(values.iter().map(|(pointer, of)| value(pointer, of)));
        shown(body, Tree::new(&cek(), &leaves).data_hash())
    };
    let many = format!("[{}0]", "0,".repeat(65_532));
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let long = format!("{{\"{}\":1}}", "n".repeat(1024));
    let (hash, unreadable) = ("bad hash", "unreadable");
    vec![
        ("whole-twice", unreadable, "a member twice", {
            own(&body(JSON, br#"{"a":1,"a":2}"#), &[("/a", b"1"), ("/a", b"2")])
        }),
        ("whole-twice-by-escape", unreadable, "a member twice, in two spellings", {
            own(&body(JSON, br#"{"a":1,"\u0061":2}"#), &[("/a", b"1"), ("/a", b"2")])
        }),
        ("whole-not-json", unreadable, "data that should be JSON", own(&body(JSON, b"{]"), &[])),
        ("whole-not-json-as-other", unreadable, "+json, in capitals", own(&body("a/b+JSON ; c", b"{]"), &[])),
        (
            "whole-half-pair",
            unreadable,
            "half of a surrogate pair",
            own(&body(JSON, br#""\ud83d""#), &[("", br#""\ud83d""#)]),
        ),
        ("whole-mark", unreadable, "a byte order mark", own(&body(JSON, b"\xef\xbb\xbf1"), &[("", b"1")])),
        ("whole-deep", unreadable, "129 arrays", own(&body(JSON, deep.as_bytes()), &[(&"/0".repeat(129), b"1")])),
        ("whole-long", unreadable, "a pointer of 1025 bytes", {
            own(&body(JSON, long.as_bytes()), &[(&format!("/{}", "n".repeat(1024)), b"1")])
        }),
        ("whole-many", unreadable, "65537 fields", own(&body(JSON, many.as_bytes()), &[])),
        ("whole-other-tree", hash, "a tree with another value", own(&body(JSON, b"[1]"), &[("/0", b"2")])),
        ("whole-left-out", hash, "a tree without one of the values", own(&body(JSON, b"[1,2]"), &[("/0", b"1")])),
        ("whole-as-bytes", hash, "the hash of encoding 0", {
            let body = body(JSON, b"[1]");
            shown(&body, payload::commitment(Suite::Aes256Gcm, &cek(), body.as_bytes()))
        }),
        ("whole-values-of-text", hash, "values of data that is not JSON by its type", {
            own(&body("text/json", b"[1]"), &[("/0", b"1")])
        }),
        ("whole-newer", "newer version", "an encoding that is not known yet", {
            let good = body(JSON, b"[1]");
            let newer = [&[4], &good.as_bytes()[1..]].concat();
            let payload = thingdb_tests::fields::payload(&cek(), &newer);
            file(entry(Suite::Aes256Gcm, payload::commitment(Suite::Aes256Gcm, &cek(), &newer), payload), None)
        }),
    ]
}
