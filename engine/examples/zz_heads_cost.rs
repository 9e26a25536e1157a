use std::time::Instant;
use thingdb::*;
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = std::env::args().nth(2).unwrap();
    let passphrase = Passphrase::new(b"correct horse battery".to_vec());
    let db =
        Options::new().kdf(KdfChoice::weakest()).durability(Durability::Relaxed).create(&dir, &passphrase).unwrap();
    let t = Instant::now();
    for c in 0..n / 1000 {
        let drafts = (0..1000).map(|m| Draft::json(&format!("thing-{}", c * 1000 + m), "{\"n\":1}").unwrap()).collect();
        db.write_batch(drafts).unwrap();
    }
    println!("written {n}: {:?}", t.elapsed());
    let t = Instant::now();
    db.heads_note().unwrap();
    println!("first note: {:?}", t.elapsed());
    for round in 0..8u64 {
        // Spread over all things.
        let step = n / 1000;
        let drafts: Vec<_> = (0..1000)
            .map(|m| Draft::json(&format!("thing-{}", (m * step + round * 7) % n), "{\"n\":2}").unwrap())
            .collect();
        let t = Instant::now();
        db.write_batch(drafts).unwrap();
        let wrote = t.elapsed();
        let t = Instant::now();
        db.checkpoint().unwrap();
        let checkpoint = t.elapsed();
        let t = Instant::now();
        db.heads_note().unwrap();
        println!("1000 changed: write {wrote:?}, checkpoint alone {checkpoint:?}, heads note {:?}", t.elapsed());
    }
    let t = Instant::now();
    let mut file = Vec::new();
    db.prove("thing-77", ProveOptions::new(), &mut file).unwrap();
    println!("prove, nothing changed: {:?}, {} bytes", t.elapsed(), file.len());
    let t = Instant::now();
    let mut file = Vec::new();
    db.prove("nothing", ProveOptions::new().absent(true), &mut file).unwrap();
    println!("prove absent: {:?}, {} bytes", t.elapsed(), file.len());
    db.put("thing-5", "3").unwrap();
    let t = Instant::now();
    db.heads_note().unwrap();
    println!("one changed: {:?}", t.elapsed());
}
