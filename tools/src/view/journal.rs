//! How much of the journal is kept, in a word.

use serde::{Deserialize, Serialize};
use thingdb::Keep;
use utoipa::ToSchema;

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JournalKept)]
pub(crate) enum Kept {
    /// All of it: what is stored stands twice on the disk.
    Keep,
    /// What is not safe in the store yet, and what backups have not fetched.
    Recent,
}

impl Kept {
    /// The word for it.
    pub(crate) const fn of(keep: Keep) -> Self {
        match keep {
            Keep::Recent => Self::Recent,
            _ => Self::Keep,
        }
    }

    /// What it means.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Keep => "all of it is kept: what is stored stands twice",
            Self::Recent => "recent commits only: the store is the only whole copy",
        }
    }
}
