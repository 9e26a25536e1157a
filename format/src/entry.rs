//! An entry as it travels: header, signature, and what may be there or not,
//! the payload and the envelopes.

use std::ops::Deref;

use crate::envelope::Envelope;
use crate::signature::BatchMemo;
use crate::{EntryId, Error, Header, Signature, Verifier, payload};

/// A well-formed entry; nothing more is known of it.
///
/// [`Entry::verify`] gives the only thing that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The signed part.
    pub header: Header,
    /// The signature over it.
    pub signature: Signature,
    /// The sealed body; absent in a *stub*.
    pub payload: Option<Vec<u8>>,
    /// Who can open it. Not signed.
    pub envelopes: Vec<Envelope>,
}

impl Entry {
    /// The name of the entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.header.id()
    }

    /// Whether the payload is absent.
    #[must_use]
    pub const fn is_stub(&self) -> bool {
        self.payload.is_none()
    }

    /// Checks the signature and the payload's hash. `verifier` must be that of
    /// the header's actor.
    ///
    /// # Errors
    /// [`Error::BadSignature`], [`Error::BadProof`], [`Error::BadHash`],
    /// [`Error::OutOfRange`].
    pub fn verify(self, verifier: &Verifier) -> Result<Verified, Error> {
        self.verify_with(verifier, &mut BatchMemo::default())
    }

    /// The same for one who checks many.
    ///
    /// # Errors
    /// As [`Entry::verify`].
    pub fn verify_with(self, verifier: &Verifier, memo: &mut BatchMemo) -> Result<Verified, Error> {
        self.verify_or_back(verifier, memo).map_err(|(problem, _)| problem)
    }

    /// The same for one who wants the entry back if it is refused.
    ///
    /// # Errors
    /// As [`Entry::verify`], with the entry.
    #[expect(clippy::result_large_err, reason = "the entry moves either way")]
    pub fn verify_or_back(self, verifier: &Verifier, memo: &mut BatchMemo) -> Result<Verified, (Error, Self)> {
        match self.check(verifier, memo) {
            Ok(id) => Ok(Verified { entry: self, id }),
            Err(problem) => Err((problem, self)),
        }
    }

    fn check(&self, verifier: &Verifier, memo: &mut BatchMemo) -> Result<EntryId, Error> {
        if verifier.key() != self.header.actor.0 {
            return Err(Error::BadSignature { what: "the entry" });
        }
        let header = self.header.to_bytes();
        let id = crate::header::id_of(&header);
        self.signature.verify_with(verifier, &header, &id, memo)?;
        if let Some(bytes) = &self.payload {
            payload::check(&self.header, bytes)?;
        }
        Ok(id)
    }
}

/// An entry whose signature and payload hash were checked. Whether its links
/// hold is for the one who has the entries before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    entry: Entry,
    id: EntryId,
}

impl Verified {
    /// The name of the entry.
    #[must_use]
    pub const fn id(&self) -> EntryId {
        self.id
    }

    /// The entry itself.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        self.entry
    }
}

impl Deref for Verified {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}
