//! What nodes ask each other before they send: how far a ledger goes, which
//! entries are not here, and whether the ledger only grew.

use std::collections::HashMap;

use thingdb_format::{EntryId, Hash, key_record, merkle};

use super::Db;
use crate::error::Result;

impl Db {
    /// How many entries the ledger has: the position of the next one.
    #[must_use]
    pub fn ledger_size(&self) -> u64 {
        self.node.store.size()
    }

    /// Those of `ids` that name no entry here of a thing whose id begins with
    /// `prefix`, in their order. Takes time in proportion to the ledger (32
    /// bytes an entry are read), however many ids there are.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn missing(&self, ids: &[EntryId], prefix: &str) -> Result<Vec<EntryId>> {
        let mut here: HashMap<EntryId, Option<u64>> = ids.iter().map(|id| (*id, None)).collect();
        let mut left = here.len();
        self.node.store.scan_ids(|position, id| {
            if let Some(found @ None) = here.get_mut(&EntryId(id)) {
                *found = Some(position);
                left -= 1;
            }
            left > 0
        })?;
        if !prefix.is_empty() {
            for found in here.values_mut() {
                let Some(position) = *found else { continue };
                if !key_record::is_within(&self.node.store.located_at(position)?.header.thing, prefix) {
                    *found = None;
                }
            }
        }
        Ok(ids.iter().filter(|id| here.get(id).is_some_and(Option::is_none)).copied().collect())
    }

    /// The proof that the ledger of `new_size` entries grew out of the one of
    /// `old_size` (RFC 9162, section 2.1.4); empty if that one is empty or not
    /// older, or if the ledger has fewer than `new_size` entries.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Result<Vec<Hash>> {
        if new_size > self.node.store.size() {
            return Ok(Vec::new());
        }
        self.node.store.with_tree(|tree| merkle::consistency_proof(tree, old_size, new_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExportOptions, ImportOptions, KdfChoice, Options, Passphrase, ThingQuery};

    /// 300 entries of 10 things, more than a row of ids.
    fn furnished() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().kdf(KdfChoice::weakest());
        let db = options.create(dir.path().join("db"), &Passphrase::new("correct horse battery")).unwrap();
        for n in 0..300 {
            db.put(&format!("{}/{}", if n % 2 == 0 { "even" } else { "odd" }, n % 10), &n.to_string()).unwrap();
        }
        (dir, db)
    }

    fn export(db: &Db, options: ExportOptions<'_>) -> String {
        let mut out = Vec::new();
        db.export(options, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_missing_is_told_in_the_order_of_the_question() {
        let (_dir, db) = furnished();
        let even = db.get("even/0").unwrap().unwrap().id();
        let odd = db.get("odd/1").unwrap().unwrap().id();
        let (first, second) = (EntryId([1; 32]), EntryId([2; 32]));
        assert_eq!(db.missing(&[second, even, first, odd, second], "").unwrap(), [second, first, second]);
        assert_eq!(db.missing(&[odd, even], "even/").unwrap(), [odd]);
        assert_eq!(db.missing(&[], "").unwrap(), []);
    }

    #[test]
    fn a_proof_leads_from_an_older_checkpoint_to_a_newer_one() {
        let (_dir, db) = furnished();
        let old = db.checkpoint().unwrap();
        db.put("more", "1").unwrap();
        let new = db.checkpoint().unwrap();
        let (old, new) = (old.claimed(), new.claimed());
        let proof = db.consistency_proof(old.size, new.size).unwrap();
        merkle::verify_consistency(old.size, new.size, &proof, &old.root, &new.root).unwrap();
        assert!(merkle::verify_consistency(old.size, new.size, &proof, &Hash([0; 32]), &new.root).is_err());
        assert_eq!(db.consistency_proof(1, db.ledger_size() + 1).unwrap(), []);
    }

    #[test]
    fn parts_of_a_stream_are_the_stream() {
        let (_dir, db) = furnished();
        let whole = export(&db, ExportOptions::new());
        let parts: String = [(0, 7), (7, 7), (7, 256), (256, 1000)]
            .into_iter()
            .map(|(since, until)| export(&db, ExportOptions::new().since(since).until(until).bare(true)))
            .collect();
        let ids = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("{\"v\":")).map(|line| line[..80].to_owned()).collect()
        };
        assert_eq!((ids(&parts), parts.lines().count()), (ids(&whole), 300));
    }

    #[test]
    fn an_import_for_a_prefix_refuses_the_rest_and_tells() {
        let (_dir, db) = furnished();
        let stream = export(&db, ExportOptions::new());
        let mut told = Vec::new();
        let mut tell = |refusal: &crate::Refusal| told.push(refusal.line);
        let options = ImportOptions::new().prefix("even/").refused(&mut tell).dry_run(true);
        let imported = db.import(options, stream.as_bytes()).unwrap();
        assert_eq!((imported.known, imported.refused), (150, 150));
        assert_eq!(told, (3..=301).step_by(2).collect::<Vec<u64>>());
    }

    #[test]
    fn pages_of_things_have_a_limit() {
        let (_dir, db) = furnished();
        let page = |query: ThingQuery| -> Vec<String> {
            db.things_from(&query).unwrap().map(|thing| thing.unwrap().thing.to_string()).collect()
        };
        assert_eq!(page(ThingQuery::new().limit(2)), ["even/0", "even/2"]);
        assert_eq!(page(ThingQuery::new().after("even/8").limit(1)), ["odd/1"]);
        assert_eq!(page(ThingQuery::new().prefix("odd/").after("even/8").limit(1)), ["odd/1"]);
        assert_eq!(page(ThingQuery::new().prefix("even/").after("even/8").limit(9)), [""; 0]);
        assert_eq!(page(ThingQuery::new().prefix("even/").after("z").limit(9)), [""; 0]);
    }
}
