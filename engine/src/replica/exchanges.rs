//! When this node last exchanged with another one, and how that ended.

use bincode::{Decode, Encode};
use thingdb_format::{Origin, Time};

use crate::clock::unix_now;
use crate::encoding;
use crate::error::Result;
use crate::node::Node;
use crate::storage::Batch;
use crate::store::schema;

/// Characters of the word for a failure that are kept.
const MAX_WORD: usize = 64;

/// The last exchanges with another node that this one began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchanges {
    /// When the last one ended that went through.
    pub succeeded: Option<Time>,
    /// When the last one ended that did not, and a word for why.
    pub failed: Option<(Time, String)>,
}

impl Exchanges {
    /// Whether the last one of all did not go through.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed.as_ref().is_some_and(|(failed, _)| self.succeeded.is_none_or(|succeeded| succeeded < *failed))
    }
}

#[derive(Default, Encode, Decode)]
struct Row {
    /// Microseconds since 1970; 0 if there was none.
    succeeded: u64,
    failed: u64,
    why: String,
}

/// How the exchanges with `node` that this one began ended.
pub(crate) fn exchanges(this: &Node, node: &Origin) -> Result<Exchanges> {
    let Row { succeeded, failed, why } = read(this, node)?;
    let time = |micros| Some(micros).filter(|micros| *micros > 0).and_then(|at| Time::from_micros(at).ok());
    Ok(Exchanges { succeeded: time(succeeded), failed: time(failed).map(|at| (at, why)) })
}

/// Notes that one ended now.
pub(crate) fn note(this: &Node, node: &Origin, ended: std::result::Result<(), &str>) -> Result<()> {
    let _one_at_a_time = this.replica.lock().expect("no thread panics while it holds this");
    let mut value = read(this, node)?;
    match ended {
        Ok(()) => value.succeeded = unix_now().micros(),
        Err(why) => {
            value.failed = unix_now().micros();
            value.why = why.chars().take(MAX_WORD).collect();
        }
    }
    let row = schema::exchanges(&this.store.tag_of(&node.0));
    let sealed = this.store.rows.seal(&row, &encoding::encode(&value));
    let mut batch = Batch::new();
    batch.put(row, sealed);
    this.rows(batch)
}

fn read(this: &Node, node: &Origin) -> Result<Row> {
    let row = schema::exchanges(&this.store.tag_of(&node.0));
    let sealed = this.store.storage.get(&row)?;
    // It tells and decides nothing: one that does not open is none.
    Ok(sealed.and_then(|sealed| this.store.rows.open_value(&row, &sealed).ok()).unwrap_or_default())
}
