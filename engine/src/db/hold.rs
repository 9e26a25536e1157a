//! Holds: things of which nothing is erased here.

use thingdb_format::erasure::MAX_REASON_BYTES;
use thingdb_format::{ThingId, Time, erasure};

use super::Db;
use crate::clock::unix_now;
use crate::error::{Error, Result};
use crate::store::holds::HoldRow;

/// A thing of which nothing is erased here until it is released.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// The thing.
    pub thing: String,
    /// Why. Other nodes are told it where an erasure is not carried out for it.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// Holds.
impl Db {
    /// Keeps what is stored of a thing from being erased here, whoever erases it elsewhere,
    /// until [`Db::release`]. An own erasure of it is refused. A record that comes in waits:
    /// it is answered with the reason, and what it covers can be read here, is given to no
    /// other node and takes in nothing. A second hold on a thing replaces the first, and the
    /// answers with it.
    ///
    /// The reason is 1 to 1024 bytes without control characters.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::{Erase, Error};
    /// db.put("person-7", r#"{"name":"Ada"}"#)?;
    /// db.hold("person-7", "a lawsuit that is pending")?;
    /// let erase = Erase::new("person-7", "asked for by the person");
    /// assert!(matches!(db.plan_erasure(&erase), Err(Error::OnHold { .. })));
    /// db.release("person-7")?;
    /// assert_eq!(db.erase(&db.plan_erasure(&erase)?)?.entries, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::is_invalid_input`] for a reason or thing that is not allowed;
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn hold(&self, thing: &str, reason: &str) -> Result<()> {
        let thing = ThingId::new(thing)?;
        erasure::check_reason(reason)?;
        let hold = HoldRow { thing: thing.to_string(), reason: reason.to_owned(), since: unix_now().micros() };
        self.node.set_hold(&thing, Some(hold))?;
        Ok(())
    }

    /// Ends a hold: the erasures that waited for that are carried out before this returns,
    /// and answered anew. Whether there was one.
    ///
    /// # Errors
    /// As [`Db::erase`]. The hold has ended then, and the next opening erases.
    pub fn release(&self, thing: &str) -> Result<bool> {
        let thing = ThingId::new(thing)?;
        Ok(self.node.set_hold(&thing, None)?.is_some())
    }

    /// The holds, by thing.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn holds(&self) -> Result<Vec<Hold>> {
        let hold = |row: HoldRow| {
            let since = Time::from_micros(row.since)?;
            Ok(Hold { thing: row.thing, reason: row.reason, since })
        };
        self.node.store.all_holds().into_iter().map(hold).collect()
    }

    /// Refuses an erasure of a thing that is on hold.
    pub(super) fn check_hold(&self, thing: &ThingId) -> Result<()> {
        match self.node.store.hold_of(&self.node.store.tag(thing)) {
            Some(hold) => Err(Error::OnHold { thing: thing.clone(), reason: hold.reason }),
            None => Ok(()),
        }
    }
}

const _: () = assert!(MAX_REASON_BYTES == 1024, "it stands in the text above");
