//! Make a database, write, read, look back, verify.
//!
//! `cargo run -p thingdb --example open_put_get`

use thingdb::{Db, KdfChoice, Options, Passphrase, VerifyOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let dir = tmp.path().join("things");
    let passphrase = Passphrase::new("correct horse battery staple");

    // The weakest stretching, so that the example is quick. Leave the line out
    // for a database that you mean to keep.
    let options = Options::new().actor("alice").kdf(KdfChoice::weakest());
    let db = options.create(&dir, &passphrase)?;
    db.put("part-42", r#"{"temp":20.1,"site":"plant-3"}"#)?;
    db.put("part-42", r#"{"temp":21.4,"site":"plant-3"}"#)?;
    db.close()?;

    let db = Db::open(&dir, &passphrase)?;
    let latest = db.get("part-42")?.ok_or("part-42 is gone")?;
    println!("latest: {}", String::from_utf8_lossy(latest.data().unwrap_or_default()));

    // Newest first, in constant memory.
    for record in db.history("part-42")?.rev() {
        let record = record?;
        println!("seq {}  {}  by {}", record.seq(), record.time(), record.actor_name().unwrap_or("?"));
    }

    let report = db.verify(VerifyOptions::new())?;
    println!("{} entries, ok: {}", report.entries, report.is_ok());
    assert!(report.is_ok());
    Ok(())
}
