//! What is to be proven of a thing, and whether what a server sends is that.

use thingdb::format::erasure::Erasure;
use thingdb::format::fields::{FieldName, Name, ShownField};
use thingdb::format::proof::{Content, ProofReport, Proven, Subject};
use thingdb::format::{KekPacket, header};
use thingdb::{Card, EntryId, ProveOptions, SignedCheckpoint, ThingId};

use crate::error::Outcome;

/// What is to be proven.
pub(crate) struct Proving<'a> {
    /// Of which thing.
    pub(crate) thing: &'a str,
    /// The first and the last seq; all if absent.
    pub(crate) seqs: Option<(u64, u64)>,
    /// Only these entries; all if there is none.
    pub(crate) entries: &'a [EntryId],
    /// Seqs whose content is not shown.
    pub(crate) withheld_seqs: &'a [u64],
    /// Entries whose content is not shown.
    pub(crate) withheld: &'a [EntryId],
    /// No content is shown.
    pub(crate) stubs_only: bool,
    /// That there is no such thing.
    pub(crate) absent: bool,
    /// The one reader, if it is not everybody.
    pub(crate) to: Option<&'a Card>,
    /// The only fields that are shown; all content if there is none.
    pub(crate) fields: &'a [FieldName],
    /// Checkpoints that somebody kept.
    pub(crate) kept: &'a [SignedCheckpoint],
    /// Whether somebody still wants it, to be asked now and then.
    pub(crate) is_wanted: &'a dyn Fn() -> bool,
}

/// What a proof file has.
pub(crate) struct Proved {
    /// Entries.
    pub(crate) entries: u64,
    /// Entries whose content is shown, or sealed to the reader.
    pub(crate) shown: u64,
    /// Entries of which some fields are shown.
    pub(crate) partly_shown: u64,
    /// Entries of which only the header is given, and that were erased, as a record says.
    pub(crate) erased: u64,
    /// Other entries of which only the header is given.
    pub(crate) withheld: u64,
    /// Entries whose content goes along as it is: the node has no key to it.
    pub(crate) undecryptable: u64,
    /// Whether it shows that nothing newer was left out, or that there is no such thing.
    pub(crate) is_complete: bool,
    /// The state of the ledger.
    pub(crate) checkpoint: SignedCheckpoint,
    /// Bytes.
    pub(crate) bytes: u64,
}

impl<'a> Proving<'a> {
    /// The engine's words for it.
    pub(crate) fn options(&self) -> ProveOptions<'a> {
        let mut options =
            ProveOptions::new().stubs_only(self.stubs_only).absent(self.absent).while_wanted(self.is_wanted);
        if let Some((first, last)) = self.seqs {
            options = options.seqs(first, last);
        }
        options = self.entries.iter().fold(options, |options, id| options.entry(*id));
        options = self.withheld_seqs.iter().fold(options, |options, seq| options.withhold_seq(*seq));
        options = self.withheld.iter().fold(options, |options, id| options.withhold(*id));
        options = options.fields(self.fields.iter().cloned());
        options = self.kept.iter().fold(options, |options, note| options.kept(note.clone()));
        match self.to {
            Some(card) => options.to(card.encryption_key),
            None => options,
        }
    }

    /// What the file has to be of.
    pub(super) fn subject(&self) -> Outcome<Subject> {
        let thing = ThingId::new(self.thing).map_err(thingdb::Error::from)?;
        Ok(match (self.entries.is_empty(), self.seqs) {
            _ if self.absent => Subject::Absent { thing },
            (false, _) => Subject::Entries { thing },
            (true, Some((from, to))) => Subject::Range { thing, from, to },
            (true, None) => Subject::History { thing },
        })
    }

    /// Whether an entry was asked for by its id, or all are.
    pub(super) fn is_asked(&self, id: &EntryId) -> bool {
        self.entries.is_empty() || self.entries.contains(id)
    }

    /// Whether an entry is one that was asked for, or the record that erased one, and shows no more than was
    /// asked for: whoever withholds something must not hand it on.
    pub(super) fn fits(&self, proven: &Proven) -> Result<(), String> {
        let (id, seq) = (&proven.id, proven.header.seq);
        let record = proven.content.body().and_then(Erasure::of).and_then(Result::ok);
        let is_of_asked = record.as_ref().is_some_and(|record| self.entries.iter().any(|id| record.covers(id)));
        if !self.is_asked(id) && !is_of_asked {
            return Err(format!("entry {id}, which was not asked for"));
        }
        let is_withheld = self.stubs_only || self.withheld_seqs.contains(&seq) || self.withheld.contains(id);
        let is_withheld_there = matches!(proven.content, Content::Withheld) && proven.envelopes.is_empty();
        if is_withheld && !is_withheld_there {
            return Err(format!("the content of entry {id}, which is to be withheld"));
        }
        if let Content::PartlyShown(shown) = &proven.content {
            let is_asked = |field: &ShownField| self.fields.iter().any(|asked| asked.covers(&Name::from(&field.name)));
            if let Some(other) = shown.fields.iter().find(|field| !is_asked(field)) {
                return Err(format!("the field {} of entry {id}, which was not asked for", other.name));
            }
        }
        let is_whole = !matches!(proven.content, Content::PartlyShown(_) | Content::Withheld);
        if !self.fields.is_empty() && is_whole && record.is_none() {
            return Err(format!("all content of entry {id}, of which fields were asked for"));
        }
        let reader = self.to.map(|card| card.encryption_key.recipient_id());
        let is_reader = |packet: &KekPacket| matches!(packet, KekPacket::X25519 { id, .. } if Some(*id) == reader);
        let is_for_reader = proven.envelopes.iter().flat_map(|envelope| &envelope.recipients).all(is_reader);
        let is_shown_to_all = matches!(proven.content, Content::Shown(_)) && reader.is_some() && record.is_none();
        if is_shown_to_all || !is_for_reader {
            return Err(format!("the content of entry {id} for others than the reader"));
        }
        Ok(())
    }
}

impl Proved {
    /// What a file has that was checked, and was asked for so. `addressed` of its
    /// entries are sealed to the reader.
    pub(super) fn of(report: &ProofReport, addressed: u64, bytes: u64) -> Option<Self> {
        let header = report.header.as_ref()?;
        Some(Self {
            entries: report.entries,
            // Beside what is sealed to the one reader, records are shown to everybody.
            shown: report.shown.saturating_add(addressed),
            partly_shown: report.partly_shown,
            erased: report.erased,
            withheld: report.withheld,
            undecryptable: report.sealed.saturating_sub(addressed),
            is_complete: report.complete.is_some(),
            checkpoint: header.checkpoint.clone(),
            bytes,
        })
    }
}

/// The greatest seq that there can be.
pub(crate) const MAX_SEQ: u64 = header::MAX_SEQ;
