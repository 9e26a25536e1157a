//! Optimistic concurrency: read, change, write only if nobody was faster.
//!
//! `cargo run -p thingdb --example optimistic`

use thingdb::{Db, Expect, KdfChoice, Options, Passphrase};

/// Adds one to a counter, whoever else does the same.
fn increment(db: &Db, thing: &str) -> thingdb::Result<u64> {
    loop {
        let latest = db.get(thing)?;
        let (expect, count) = match &latest {
            Some(record) => {
                let text = String::from_utf8_lossy(record.data().unwrap_or_default()).into_owned();
                (Expect::Head(record.id()), text.parse().unwrap_or(0))
            }
            None => (Expect::Absent, 0_u64),
        };
        match db.put_if(thing, expect, &(count + 1).to_string()) {
            Ok(_) => return Ok(count + 1),
            Err(problem) if problem.is_conflict() => {}
            Err(problem) => return Err(problem),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let options = Options::new().kdf(KdfChoice::weakest());
    let db = options.create(tmp.path().join("things"), &Passphrase::new("correct horse battery staple"))?;

    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..25).try_for_each(|_| increment(&db, "n").map(drop)))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("the worker does not panic"))
    })?;

    let latest = db.get("n")?.ok_or("the counter is gone")?;
    println!("counted to {}", String::from_utf8_lossy(latest.data().unwrap_or_default()));
    assert_eq!(latest.data(), Some(&b"100"[..]));
    Ok(())
}
