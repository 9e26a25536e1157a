//! What became of a stream, as JSON.

use serde::Serialize;
use thingdb::{ImportSummary, Refusal};
use utoipa::ToSchema;

use super::whole::{self, ContradictionJson, LedgerJson};

/// What became of a stream.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Imported)]
pub(crate) struct ImportedJson {
    /// Entries that were not here.
    pub(crate) added: u64,
    /// Entries that were here already.
    pub(crate) known: u64,
    /// Entries that were here and lacked something that came now.
    pub(crate) completed: u64,
    /// Entries whose content was erased, as records that came say.
    pub(crate) erased: u64,
    /// Entries that wait for others.
    pub(crate) pending: u64,
    /// Lines that were refused.
    pub(crate) refused: u64,
    /// Envelopes that found no place in an entry, or lost it.
    pub(crate) envelopes_dropped: u64,
    /// Entries that came, whatever became of them.
    pub(crate) entries: u64,
    /// `whole`, `part`, `bare`, `cut`, `damaged` or `newer`.
    pub(crate) stream: &'static str,
    /// Of what ledger it is the whole or a part, if its node has signed that.
    pub(crate) ledger: Option<LedgerJson>,
    /// Checkpoints that contradict what a known node signed before.
    pub(crate) contradictions: Vec<ContradictionJson>,
    /// Whether it was left before its end.
    pub(crate) interrupted: bool,
    /// Why lines were refused, for the first thousand.
    pub(crate) reasons: Vec<RefusalJson>,
    /// Refused lines that the answer of a server does not list.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlisted: Option<u64>,
}

impl ImportedJson {
    /// What `imported` says.
    pub(crate) fn new(imported: &ImportSummary, interrupted: bool) -> Self {
        Self {
            added: imported.added,
            known: imported.known,
            completed: imported.completed,
            erased: imported.erased,
            pending: imported.pending,
            refused: imported.refused,
            envelopes_dropped: imported.envelopes_dropped,
            entries: imported.entries,
            stream: whole::word(&imported.stream),
            ledger: imported.stream.ledger().map(LedgerJson::new),
            contradictions: imported.conflicts.iter().map(ContradictionJson::new).collect(),
            interrupted: interrupted || imported.limited,
            reasons: imported.reasons.iter().map(RefusalJson::new).collect(),
            unlisted: None,
        }
    }

    /// The same, where the reasons were told already.
    pub(crate) fn without_reasons(&self) -> Self {
        Self { reasons: Vec::new(), ..self.clone() }
    }

    /// Says how many refused lines were not told.
    pub(crate) fn left_out(mut self, lines: u64) -> Self {
        self.unlisted = (lines > 0).then_some(lines);
        self
    }
}

/// Why a line was refused.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct RefusalJson {
    /// Line of the stream, from 1.
    pub(crate) line: u64,
    /// Column in the line, in bytes, from 1, if it does not decode.
    pub(crate) column: Option<usize>,
    /// The entry, if the line decodes.
    pub(crate) id: Option<String>,
    /// The reason, for programs.
    pub(crate) code: &'static str,
    /// What would have to change: `permanent` (nothing helps), `trust`,
    /// `version` (of the program), or `passing`.
    pub(crate) kind: &'static str,
    /// From when on a `passing` one is worth another try; 1970 if at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
    /// The reason, for people.
    pub(crate) reason: String,
}

impl RefusalJson {
    /// What `refusal` says.
    pub(crate) fn new(refusal: &Refusal) -> Self {
        Self {
            line: refusal.line,
            column: refusal.column,
            id: refusal.id.as_ref().map(ToString::to_string),
            code: refusal.code.as_str(),
            kind: refusal.code.kind().as_str(),
            again: refusal.again.map(|time| time.to_string()),
            reason: refusal.reason.clone(),
        }
    }
}
