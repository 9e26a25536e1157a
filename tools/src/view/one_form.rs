//! The forms of the proof of one entry that tools of others read.

use thingdb::{Db, EntryId};

/// A form of the proof of one entry that tools of others read. It shows no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OneForm {
    /// For clients of transparency logs (c2sp.org/tlog-proof).
    TlogProof,
    /// A COSE receipt (RFC 9942).
    Receipt,
}

impl OneForm {
    /// Its name in a query.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TlogProof => "tlog-proof",
            Self::Receipt => "cose",
        }
    }

    /// The proof of an entry, as a database makes it; nothing if it is not there.
    pub(crate) fn of(self, db: &Db, id: &EntryId) -> thingdb::Result<Option<Vec<u8>>> {
        match self {
            Self::TlogProof => Ok(db.tlog_proof(id)?.map(|proof| proof.to_string().into_bytes())),
            Self::Receipt => db.receipt(id),
        }
    }
}
