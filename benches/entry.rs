//! What one entry costs, part by part, without a disk.

#[path = "support/work.rs"]
#[expect(dead_code, reason = "the databases of the other benches")]
mod work;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use thingdb::Draft;
use thingdb::format::{
    Body, Cek, Entry, EntryId, Fields, Header, Line, Origin, Signature, SigningKey, Suite, ThingId, Time,
};
use thingdb::format::{line, merkle, payload, signature};
use thingdb::keyring::SealKey;

fn body(n: u64) -> Body {
    Body::new("owner", "update", "application/json", work::json(n).as_bytes()).expect("it is within bounds")
}

fn header(key: &SigningKey, sealed: &payload::Sealed) -> Header {
    let fields = Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new("plant-3/part-0042").expect("it is an id"),
        seq: 2,
        time: Time::from_micros(1_795_327_272_000_000).expect("it is before the year 9999"),
        origin: Origin([1; 16]),
        actor: key.actor(),
        prev: vec![EntryId([2; 32])],
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: sealed.payload.len() as u32,
    };
    Header::new(fields).expect("it is within bounds")
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2))
        .configure_from_args();
    let mut rng = rand::rng();
    let key = SigningKey::generate(&mut rng);
    let cek = Cek::generate(&mut rng);
    let json = work::json(1);
    let mut group = criterion.benchmark_group("entry");
    group.throughput(Throughput::Elements(1));

    group.bench_function("check json", |b| b.iter(|| Draft::json("plant-3/part-0042", black_box(&json[..]))));
    for (name, suite) in [("aes-256-gcm", Suite::Aes256Gcm), ("chacha20-poly1305", Suite::ChaCha20Poly1305)] {
        group.bench_function(format!("seal payload, {name}"), |b| {
            b.iter(|| {
                let cek = Cek::generate(&mut rand::rng());
                payload::seal(suite, &cek, body(1))
            });
        });
    }
    let sealed = payload::seal(Suite::Aes256Gcm, &cek, body(1)).expect("it is within bounds");
    let header = header(&key, &sealed);
    let bytes = header.to_bytes();
    let id = header.id();
    group.bench_function("open payload", |b| {
        b.iter(|| payload::open(&header, &cek, black_box(&sealed.payload)).expect("it is intact"));
    });
    // The same data, with its fields to be shown one by one, and without.
    for count in [5, 50] {
        let data: Vec<String> = (0..count).map(|n| format!("\"field {n}\":{n}.25")).collect();
        let data = format!("{{{}}}", data.join(","));
        let body = || Body::new("owner", "update", "application/json", data.as_bytes()).expect("it is within bounds");
        for (name, body) in [("whole", body()), ("with fields", body().with_provable_fields())] {
            group.bench_function(format!("seal {count} values, {name}"), |b| {
                b.iter(|| payload::seal(Suite::Aes256Gcm, &cek, black_box(body.clone())));
            });
            let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).expect("it is within bounds");
            let header = self::header(&key, &sealed);
            group.bench_function(format!("open {count} values, {name}"), |b| {
                b.iter(|| payload::open(&header, &cek, black_box(&sealed.payload)).expect("it is intact"));
            });
        }
    }
    group.bench_function("encode header", |b| b.iter(|| black_box(&header).to_bytes()));
    group.bench_function("decode header", |b| b.iter(|| Header::from_bytes(black_box(&bytes)).expect("it is one")));
    group.bench_function("id of header", |b| b.iter(|| thingdb::format::header::id_of(black_box(&bytes))));
    let row = SealKey::new(&[7; 32]);
    let record = [&bytes[..], &sealed.payload].concat();
    let at_rest = row.seal(&[0; 24], &record, &mut rng);
    group.bench_function("seal record at rest", |b| b.iter(|| row.seal(&[0; 24], &record, &mut rand::rng())));
    group.bench_function("open record at rest", |b| b.iter(|| row.open(&[0; 24], black_box(&at_rest))));
    group.bench_function("sign", |b| b.iter(|| signature::sign_single(&key, black_box(&bytes))));
    let value = signature::sign_single(&key, &bytes);
    let verifier = key.verifier();
    group.bench_function("verify signature", |b| {
        b.iter(|| signature::verify_single(&verifier, black_box(&bytes), &value).expect("it is good"));
    });
    let entry = Entry { header, signature: Signature::Single(value), payload: Some(sealed.payload), envelopes: vec![] };
    let mut text = Vec::new();
    line::encode_with_id(&entry, &id, &mut text);
    group.bench_function("encode line", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(2048);
            line::encode_with_id(black_box(&entry), &id, &mut out);
            out
        });
    });
    group.bench_function("decode line", |b| b.iter(|| Line::parse(black_box(&text), 1).expect("it is one")));
    group.finish();

    let ids: Vec<EntryId> = (0..1000_u64).map(|n| EntryId(thingdb::format::Hash::of(&n.to_be_bytes()).0)).collect();
    let mut group = criterion.benchmark_group("batch of 1000");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("merkle root", |b| b.iter(|| merkle::root(black_box(&ids).iter().map(merkle::leaf))));
    group.finish();
    criterion.final_summary();
}
