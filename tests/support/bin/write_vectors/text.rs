//! The line.

use thingdb_format::{Entry, Suite, ThingId, line};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{
    entry_of, fields, first, in_batch, numbered_id, passphrase_packet, public_packet, second, with_envelope,
    x25519_packet,
};

/// The line of an entry.
pub(crate) fn text(entry: &Entry) -> String {
    let mut out = Vec::new();
    line::encode(entry, &mut out);
    String::from_utf8(out).expect("a line is UTF-8")
}

/// One with everything: a batch signature, both kinds of recipients.
fn full() -> Entry {
    with_envelope(in_batch(second(), 1, 3), vec![x25519_packet(), passphrase_packet()])
}

pub(crate) fn line(w: &mut Writer) {
    good_lines(w);
    let full = text(&full());
    let re = |from: &str, to: &str| {
        assert!(full.contains(from), "{from}");
        full.replacen(from, to, 1)
    };
    // `"name":` and its value, up to the next member.
    let member = |name: &str| {
        let start = full.find(&format!("\"{name}\":")).expect("the member is there");
        let rest = &full[start..];
        let end = [
            ",\"id\"",
            ",\"thing\"",
            ",\"seq\"",
            ",\"time\"",
            ",\"origin\"",
            ",\"actor\"",
            ",\"prev\"",
            ",\"suite\"",
            ",\"data_hash\"",
            ",\"payload_hash\"",
            ",\"payload_len\"",
            ",\"sig\"",
            ",\"payload\"",
            ",\"envelopes\"",
        ]
        .iter()
        .filter_map(|next| rest.find(next))
        .min()
        .expect("a member follows");
        rest[..end + 1].to_owned()
    };
    let json = "json";
    for name in line::MEMBERS.iter().filter(|name| !["payload", "envelopes"].contains(name)) {
        let gone = re(&member(name), "");
        w.add("line", &format!("missing-{name}"), &Vector::new(json, "a member is missing").text(&gone));
        let twice = re("{", &format!("{{{}", member(name)));
        w.add("line", &format!("repeated-{name}"), &Vector::new(json, "a member is there twice").text(&twice));
    }
    let id = full[7..].split('"').nth(3).expect("the id is the second member").to_owned();
    let upper = id.to_uppercase();
    let (malformed, range, newer) = ("malformed", "out-of-range", "newer-version");
    let b64 = |name: &str| {
        let after = full.split_once(&format!("\"{name}\":\"")).expect("the member is there").1;
        after.split_once('"').expect("a string ends").0.to_owned()
    };
    let value = b64("value");
    let payload = b64("payload");
    let cases = [
        ("empty-object", json, "no member at all", "{}\n".to_owned()),
        ("array", json, "an entry is an object", "[]\n".to_owned()),
        ("truncated", json, "cut in the middle", full[..full.len() / 2].to_owned()),
        ("trailing", json, "something follows the object", format!("{} {{}}\n", full.trim_end())),
        ("trailing-comma", json, "not JSON", format!("{},}}\n", full.trim_end().trim_end_matches('}'))),
        ("byte-order-mark", json, "not JSON", format!("\u{feff}{full}")),
        ("line-feed-within", json, "a line feed where white space may be", re(",\"id\"", ",\n\"id\"")),
        ("comment", json, "not JSON", re("{", "{/**/")),
        ("unknown-member", json, "a member that is not known", re("\"v\":1,", "\"v\":1,\"colour\":\"red\",")),
        ("unknown-member-in-sig", json, "a member that is not known", re("\"sig\":{", "\"sig\":{\"x\":1,")),
        ("unknown-member-in-envelope", json, "a member that is not known", re("[{\"from\"", "[{\"x\":1,\"from\"")),
        ("unknown-member-in-recipient", json, "a member that is not known", re("[{\"kind\":1", "[{\"x\":1,\"kind\":1")),
        ("member-name-in-capitals", json, "names have one spelling", re("\"id\"", "\"Id\"")),
        ("null", json, "null is no value", re(&member("seq"), "\"seq\":null,")),
        ("v-2", newer, "version 2", re("\"v\":1", "\"v\":2")),
        ("v-2-and-unknown", newer, "version 2 with a member that we do not know", re("{\"v\":1", "{\"x\":{},\"v\":2")),
        ("v-0", newer, "there was no version 0", re("\"v\":1", "\"v\":0")),
        ("v-string", json, "numbers are numbers", re("\"v\":1", "\"v\":\"1\"")),
        ("v-fraction", json, "numbers have no fraction", re("\"v\":1", "\"v\":1.0")),
        ("v-exponent", json, "numbers have no exponent", re("\"v\":1", "\"v\":1e0")),
        ("seq-negative", json, "numbers have no sign", re("\"seq\":2", "\"seq\":-2")),
        ("seq-negative-0", json, "numbers have no sign", re("\"seq\":2", "\"seq\":-0")),
        ("seq-leading-zero", json, "not JSON", re("\"seq\":2", "\"seq\":02")),
        ("seq-0", range, "seq starts with 1", re("\"seq\":2", "\"seq\":0")),
        ("seq-too-great", range, "2^53", re("\"seq\":2", "\"seq\":9007199254740992")),
        ("seq-23-digits", json, "a number that no u64 holds", re("\"seq\":2", "\"seq\":12345678901234567890123")),
        ("seq-other", "bad-hash", "not what the id was made of", re("\"seq\":2", "\"seq\":3")),
        ("seq-1-with-prev", "seq-without-prev", "the first entry follows nothing", re("\"seq\":2", "\"seq\":1")),
        ("id-other", "bad-hash", "the id of another entry", re(&id, &first().id().to_string())),
        ("id-upper-case", malformed, "hex is lower case", re(&id, &upper)),
        ("id-short", malformed, "31 bytes", re(&id, &id[2..])),
        ("id-long", malformed, "33 bytes", re(&id, &format!("00{id}"))),
        ("id-not-hex", malformed, "a letter that is no digit", re(&id, &format!("g{}", &id[1..]))),
        ("thing-empty", range, "an id of no bytes", re("\"part-42\"", "\"\"")),
        ("thing-control", "text", "a control character in an escape", re("part-42", "part\\u0007")),
        ("thing-raw-control", json, "not JSON", re("part-42", "part\t42")),
        ("thing-lone-surrogate", json, "half a character", re("part-42", "part\\ud83d")),
        ("thing-too-long", range, "513 bytes", re("part-42", &"x".repeat(513))),
        ("time-without-fraction", malformed, "six digits of fraction", re(".000500Z", "Z")),
        ("time-nanoseconds", malformed, "six digits of fraction", re(".000500Z", ".000500000Z")),
        ("time-offset", malformed, "Z and no offset", re(".000500Z", ".000500+00:00")),
        ("time-lower-case", malformed, "a capital T", re("T06:01", "t06:01")),
        ("time-february-30", malformed, "a day that is not", re("2026-11-22", "2026-02-30")),
        ("time-leap-second", malformed, "leap seconds are not counted", re(":13.0", ":60.0")),
        ("time-before-1970", malformed, "before the epoch", re("2026-11-22", "1969-11-22")),
        ("time-number", json, "a time is a string", re("\"2026-11-22T06:01:13.000500Z\"", "1795327273000500")),
        ("prev-not-array", json, "prev is an array", re("\"prev\":[", "\"prev\":{},\"x\":[")),
        ("prev-number", json, "ids are strings", re("\"prev\":[", "\"prev\":[1,")),
        (
            "prev-repeated",
            "not-ascending",
            "the same prev twice",
            re("\"prev\":[", &format!("\"prev\":[\"{}\",", first().id())),
        ),
        (
            "prev-33",
            json,
            "one prev too many",
            re(
                "\"prev\":[",
                &format!("\"prev\":[{}", (0..32).map(|n| format!("\"{}\",", numbered_id(n))).collect::<String>()),
            ),
        ),
        ("suite-0", newer, "there is no suite 0", re("\"suite\":1", "\"suite\":0")),
        ("suite-3", newer, "suite 3", re("\"suite\":1", "\"suite\":3")),
        ("payload-len-other", "bad-hash", "not what the id was made of", re("\"payload_len\":", "\"payload_len\":1")),
        (
            "payload-len-too-great",
            range,
            "16 MiB and one byte",
            re(&member("payload_len"), "\"payload_len\":16777217,"),
        ),
        ("payload-other", "bad-hash", "one character of the payload", re(&payload, &swap_first(&payload))),
        ("payload-short", range, "shorter than payload_len", re(&payload, &payload[4..])),
        ("payload-unpadded", malformed, "base64 is padded", re(&payload, payload.trim_end_matches('='))),
        ("sig-kind-0", newer, "there is no kind 0", re("\"sig\":{\"kind\":2", "\"sig\":{\"kind\":0")),
        ("sig-kind-3", newer, "kind 3", re("\"sig\":{\"kind\":2", "\"sig\":{\"kind\":3")),
        (
            "sig-kind-3-and-unknown",
            newer,
            "kind 3 with a member that we do not know",
            re("\"sig\":{\"kind\":2", "\"sig\":{\"x\":0,\"kind\":3"),
        ),
        (
            "sig-kind-1-with-index",
            json,
            "a single signature has no place",
            re("\"sig\":{\"kind\":2", "\"sig\":{\"kind\":1"),
        ),
        (
            "sig-without-path",
            json,
            "a batch signature has a path",
            full.replacen(&format!(",\"path\":\"{}\"", b64("path")), "", 1),
        ),
        ("sig-value-short", range, "63 bytes", re(&value, &format!("{}A=", &value[..84 - 2]))),
        ("sig-value-not-canonical", malformed, "unused bits are zero", re(&value, &unused_bits(&value))),
        (
            "sig-value-url-safe",
            malformed,
            "the alphabet is the standard one",
            re(&value, &format!("-_{}", &value[2..])),
        ),
        ("sig-value-padding-within", malformed, "base64 in two pieces", re(&value, &format!("AA=={}", &value[4..]))),
        ("sig-index-beyond", range, "number 3 of 3", re("\"index\":1", "\"index\":3")),
        ("sig-size-1", range, "one entry is signed alone", re("\"size\":3", "\"size\":1")),
        ("sig-size-too-great", range, "65537 entries", re("\"size\":3", "\"size\":65537")),
        ("sig-path-short", range, "a hash is missing", re(&b64("path"), "")),
        ("sig-path-not-whole", malformed, "a third of a hash", re(&b64("path"), "AAAAAAAAAAAAAAAA")),
        (
            "envelopes-empty",
            json,
            "without envelopes the member is absent",
            format!("{}\"envelopes\":[]}}\n", &full[..full.find("\"envelopes\"").expect("it is there")]),
        ),
        ("envelope-without-cek", json, "a member is missing", re(&format!("\"cek\":\"{}\",", b64("cek")), "")),
        ("envelope-cek-short", range, "45 bytes", re(&b64("cek"), &b64("cek")[4..])),
        (
            "envelope-no-recipients",
            range,
            "an envelope has recipients",
            format!("{}\"recipients\":[]}}]}}\n", &full[..full.find("\"recipients\"").expect("it is there")]),
        ),
        ("recipient-public-with-id", json, "a public packet has no name", re("{\"kind\":1", "{\"kind\":3")),
        (
            "recipient-public-long",
            range,
            "the KEK of a public packet has 32 bytes",
            re("{\"kind\":1,\"id\":\"3d74359e38a88a42\"", "{\"kind\":3"),
        ),
        ("recipient-kind-4", newer, "kind 4", re("[{\"kind\":1", "[{\"kind\":4")),
        (
            "recipient-kind-of-the-other",
            json,
            "a passphrase packet that says kind 1",
            re("{\"kind\":2,\"salt\"", "{\"kind\":1,\"salt\""),
        ),
        ("recipient-argon2-too-much", range, "2 GiB", re("\"m\":64", "\"m\":2097152")),
        ("recipient-argon2-too-little", range, "less than 8 KiB a lane", re("\"m\":64", "\"m\":15")),
        ("recipient-kek-short", range, "78 bytes", re(&b64("kek"), &b64("kek")[4..])),
        ("deep", json, "10,000 arrays within each other", format!("{{\"prev\":{}", "[".repeat(10_000))),
    ];
    for (mutation, expect, comment, input) in cases {
        w.add("line", mutation, &Vector::new(expect, comment).text(&input));
    }
    let mut latin = full.clone().into_bytes();
    let at = full.find("part-42").expect("it is there");
    latin[at] = 0xe9;
    w.add("line", "not-utf-8", &Vector::new("text", "Latin-1").hex(&latin));
    let vector = Vector::new("out-of-range", "one byte more than a line may have").with("pad_to", 25_165_825);
    w.add("line", "too-long", &vector.text(full.trim_end()));
}

fn good_lines(w: &mut Writer) {
    let case = |entry: &Entry, comment: &str| {
        Vector::new("ok", comment)
            .with("id", entry.id())
            .with_hex("header", &entry.header.to_bytes())
            .with("stub", entry.is_stub())
            .with("envelopes", entry.envelopes.len())
            .with("verify", "ok")
    };
    let mut good = |mutation: &str, comment: &str, entry: &Entry| {
        w.add("line", mutation, &case(entry, comment).with("canonical", "yes").text(&text(entry)));
    };
    good("good-first", "signed alone, nothing absent but envelopes", &first());
    good("good-second", "follows an entry", &second());
    let example = with_envelope(second(), vec![x25519_packet()]);
    good("good-example", "the example of docs/format.md", &example);
    good("good-stub", "without its payload", &Entry { payload: None, ..second() });
    good("good-batch", "signed in a batch", &in_batch(second(), 1, 3));
    good("good-full", "signed in a batch, for a key and a passphrase", &full());
    let twice = with_envelope(with_envelope(first(), vec![x25519_packet()]), vec![passphrase_packet()]);
    good("good-two-envelopes", "shared later", &twice);
    let (fields_2, payload) = fields(Suite::ChaCha20Poly1305);
    good("good-public", "for everybody", &with_envelope(first(), vec![public_packet()]));
    good("good-suite-2", "ChaCha20-Poly1305", &entry_of(fields_2, Some(payload)));
    let (mut quoted, payload) = fields(Suite::Aes256Gcm);
    quoted.thing = ThingId::new("a \"b\" \\ c/é 😀 \u{2028}").expect("it is a good id");
    good("good-thing-escapes", "quotes, a backslash, a line separator", &entry_of(quoted, Some(payload)));

    let entry = second();
    let line = text(&entry);
    let body = line.trim_end().strip_prefix("{\"v\":1,").and_then(|rest| rest.strip_suffix('}')).expect("it is a line");
    for (mutation, comment, input) in [
        ("good-other-order", "v comes last", format!("{{{body},\"v\":1}}\n")),
        ("good-white-space", "spaces and tabs", format!(" {{\t\"v\" : 1 , {body} }} \n")),
        (
            "good-escapes",
            "escapes where none are needed",
            line.replacen("part-42", "\\u0070art\\u002d42", 1).replace('/', "\\/"),
        ),
        ("good-no-line-end", "the end of a file", line.trim_end().to_owned()),
    ] {
        w.add("line", mutation, &case(&entry, comment).with("canonical", "no").text(&input));
    }
    let crlf = line.replace('\n', "\r\n");
    w.add("line", "good-crlf", &case(&entry, "ended by CR LF").with("canonical", "no").hex(crlf.as_bytes()));
}

fn swap_first(text: &str) -> String {
    let other = if text.starts_with('A') { 'B' } else { 'A' };
    format!("{other}{}", &text[1..])
}

/// 64 bytes end in a character with four unused bits and two of padding.
fn unused_bits(value: &str) -> String {
    let last = value.as_bytes()[value.len() - 3];
    let next = char::from(if last == b'A' { b'B' } else { last + 1 });
    format!("{}{next}==", &value[..value.len() - 3])
}
