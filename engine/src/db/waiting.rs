//! What waits for its prev.

use thingdb_format::Origin;

use super::Db;
use crate::error::Result;
use crate::exchange::waiting::{Waiting, WaitingEntry};

/// What waits.
impl Db {
    /// How much waits for its prev. Every import, and so every exchange, takes in
    /// what can go on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let options = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest());
    /// # let db = options.create(&ours, &passphrase)?;
    /// # let other = options.create(&theirs, &passphrase)?;
    /// # db.add_peer("other", &other.card()?)?;
    /// let first = other.put("part-42", "1")?;
    /// let second = other.put("part-42", "2")?;
    ///
    /// // The second entry comes alone.
    /// let mut stream = Vec::new();
    /// other.export(thingdb::ExportOptions::new().since(1).bare(true), &mut stream)?;
    /// db.import(thingdb::ImportOptions::new(), &stream[..])?;
    ///
    /// assert_eq!(db.waiting()?.entries, 1);
    /// let waiting = &db.waiting_entries(10)?[0];
    /// assert_eq!((waiting.id, waiting.waits_for), (second.id, first.id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn waiting(&self) -> Result<Waiting> {
        self.waiting.waiting(&self.node.store)
    }

    /// Those who have waited longest, at most `most` of them.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn waiting_entries(&self, most: usize) -> Result<Vec<WaitingEntry>> {
        self.waiting.entries(&self.node.store, most)
    }

    /// How many entries that `node` sent ([`ImportOptions::from`]) were kept to
    /// wait and then dropped before their prev came: others took their place, or
    /// they had waited for too long. The number only grows. They were refused
    /// for now, after the exchange had moved on: where it is another number than
    /// when the exchange ended last, everything is compared again.
    ///
    /// [`ImportOptions::from`]: crate::ImportOptions::from
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn dropped_from(&self, node: &Origin) -> Result<u64> {
        self.waiting.dropped_from(&self.node.store, node)
    }
}
