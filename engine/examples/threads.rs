//! Batches from several threads: each batch is all or nothing and shares one
//! signature; threads share commits and syncs.
//!
//! `cargo run -p thingdb --example threads`

use thingdb::{Draft, KdfChoice, Options, Passphrase};

const THREADS: usize = 4;
const BATCHES: usize = 10;
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let options = Options::new().kdf(KdfChoice::weakest());
    let db = options.create(tmp.path().join("things"), &Passphrase::new("correct horse battery staple"))?;

    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let db = &db;
                scope.spawn(move || -> thingdb::Result<()> {
                    for batch in 0..BATCHES {
                        let drafts = (0..BATCH)
                            .map(|n| {
                                Draft::json(&format!("sensor-{n}"), format!(r#"{{"worker":{worker},"batch":{batch}}}"#))
                            })
                            .collect::<thingdb::Result<Vec<_>>>()?;
                        // Durable when this returns.
                        db.write_batch(drafts)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("the worker does not panic"))
    })?;

    let stats = db.stats()?;
    println!("{} entries about {} things", stats.entries, stats.things);
    assert_eq!(stats.entries as usize, THREADS * BATCHES * BATCH);
    assert!(db.verify(Default::default())?.is_ok());
    Ok(())
}
