//! What a verification report says, and what a checkpoint that was kept
//! elsewhere adds.
//!
//! `cargo run -p thingdb --example verification`

use thingdb::{Db, KdfChoice, Options, Passphrase, VerifyOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tmp = tempfile::tempdir()?;
    let dir = tmp.path().join("things");
    let passphrase = Passphrase::new("correct horse battery staple");
    let db = Options::new().kdf(KdfChoice::weakest()).create(&dir, &passphrase)?;
    db.put("part-42", r#"{"temp":20.1}"#)?;
    db.close()?;
    copy(&dir, &tmp.path().join("backup"))?;

    let db = Db::open(&dir, &passphrase)?;
    db.put("part-42", r#"{"temp":99.9}"#)?;
    // Someone else keeps this: an auditor, a peer, a printout.
    let kept = db.checkpoint()?.to_string();
    db.close()?;

    // The operator puts the old copy in the place of the ledger.
    let set_back = Db::open(tmp.path().join("backup"), &passphrase)?;
    assert!(set_back.verify(VerifyOptions::new())?.is_ok(), "by itself an old copy is whole");
    let report = set_back.verify(VerifyOptions::new().checkpoint(&kept))?;
    for problem in &report.problems {
        println!("{problem}");
    }
    assert!(!report.is_ok());
    Ok(())
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            std::fs::copy(entry.path(), target).map(drop)?
        }
    }
    Ok(())
}
