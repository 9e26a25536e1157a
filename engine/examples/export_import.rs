//! Move entries as ndjson: another node verifies them without being able to
//! read them, and this node gets them back after a loss.
//!
//! `cargo run -p thingdb --example export_import`

use thingdb::{ExportOptions, ImportOptions, KdfChoice, Options, Passphrase, TrustPolicy, VerifyOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let passphrase = Passphrase::new("correct horse battery staple");
    let options = Options::new().actor("alice").kdf(KdfChoice::weakest());

    let here = options.create(tmp.path().join("here"), &passphrase)?;
    for n in 0..100 {
        here.put("part-42", &format!(r#"{{"n":{n}}}"#))?;
    }
    let mut stream = Vec::new();
    let exported = here.export(ExportOptions::new(), &mut stream)?;
    println!("exported {} entries, {} bytes", exported.entries, exported.bytes);

    // A stranger: nothing here is known to it until it says so.
    let there = options.create(tmp.path().join("there"), &passphrase)?;
    let refused = there.import(ImportOptions::new(), &stream[..])?;
    println!("without trust: {} refused, because {}", refused.refused, refused.reasons[0].reason);

    for actor in here.own_actors() {
        there.trust_actor(&format!("{} (here)", actor.name), actor.key)?;
    }
    let accepted = there.import(ImportOptions::new().trust(TrustPolicy::All), &stream[..])?;
    println!("with trust: {} added, {} known", accepted.added, accepted.known);

    // It verifies everything and reads nothing.
    let report = there.verify(VerifyOptions::new())?;
    println!("verified {} entries, {} of them sealed to others", report.entries, report.undecryptable);
    assert!(report.is_ok());
    assert_eq!(report.undecryptable, 100);
    assert!(there.get("part-42")?.is_some_and(|record| record.data().is_none()));
    Ok(())
}
