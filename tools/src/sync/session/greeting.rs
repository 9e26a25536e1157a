//! How an exchange begins: both sides show how their ledgers stand, and each
//! has to have grown out of what the other one remembers.

use thingdb::{Observation, Origin, SignedCheckpoint, ThingId};

use super::exchange::Session;
use crate::client::fault::Fault as ClientFault;
use crate::foreign;
use crate::sync::fault::{Fault, Outcome};
use crate::sync::hearsay;
use crate::sync::wire::{self, Shown, State};

/// Letters of the peer's word for a contradiction.
const MAX_WORD: usize = 40;

/// The peer as it was when the exchange began.
pub(super) struct Greeting {
    /// Entries in its ledger.
    pub(super) size: u64,
    /// The newest revision in its log of completions.
    pub(super) revision: u64,
    /// Entries that waited there.
    pub(super) waiting: u64,
    /// Entries of this node that waited there and were dropped.
    pub(super) dropped: u64,
    /// The newest revision of a receipt there.
    pub(super) receipts: u64,
}

impl Session<'_> {
    /// Learns how the peer stands, and shows it how this node does.
    pub(super) fn greet(&mut self) -> Outcome<Greeting> {
        let own = self.db.origin();
        loop {
            let remembered = self.db.remembered(&self.origin)?;
            let known = remembered.checkpoint.map_or(0, |note| note.claimed().size);
            // What it shows now may prove what was its word against ours.
            let state = match (self.remote.state(&own, known), remembered.conflict) {
                (Err(_), Some(conflict)) => return Err(Fault::Contradiction(Box::new(conflict))),
                (state, _) => state?,
            };
            let note = self.checkpoint_of(&state)?;
            let proof = wire::hashes_of_text(&state.proof).ok_or_else(|| Fault::answer("a proof that is none"))?;
            match self.db.observe_checkpoint(&self.peer.card.node_key, &note, known, &proof)? {
                Observation::Contradicts(conflict) => return Err(Fault::Contradiction(conflict)),
                // Another exchange with the same peer was faster.
                Observation::Outdated => continue,
                _ => {}
            }
            // What came of it is cosigned.
            let theirs = self.db.remembered(&self.origin)?.checkpoint;
            self.narrow(&state)?;
            self.refused_here.trust = self.db.trust_digest();
            self.refused_there.trust =
                wire::trust_of_text(&state.trust).ok_or_else(|| Fault::answer("trust that is not 8 bytes"))?;
            self.summary.things.clone_from(&self.prefix);
            self.summary.is_known = state.peer;
            self.ask_of_heard(&own)?;
            if state.peer {
                self.introduce(&state, theirs)?;
                self.pass_on(state.passes_on)?;
            }
            let State { revision, waiting, dropped, receipts, .. } = state;
            return Ok(Greeting { size: note.claimed().size, revision, waiting, dropped, receipts });
        }
    }

    /// Has the peer show that its ledger grew out of what it showed to others.
    fn ask_of_heard(&mut self, own: &Origin) -> Outcome {
        let Some(heard) = self.db.heard(&self.origin)? else { return Ok(()) };
        let state = self.remote.state(own, heard.claimed().size)?;
        let note = self.checkpoint_of(&state)?;
        let proof = wire::hashes_of_text(&state.proof).ok_or_else(|| Fault::answer("a proof that is none"))?;
        // If its ledger has grown since, the next exchange settles it.
        match self.db.settle_heard(&self.peer.card.node_key, &note, &proof)? {
            Observation::Contradicts(conflict) => Err(Fault::Contradiction(conflict)),
            _ => Ok(()),
        }
    }

    /// Tells the peer what was seen of third nodes, and hears what it has seen.
    /// If neither side has anything, nothing goes over the line.
    fn pass_on(&mut self, is_told_something: bool) -> Outcome {
        if self.plan.dry_run || !self.db.is_writable() {
            return Ok(());
        }
        let seen = hearsay::seen(self.db, &self.origin)?;
        if seen.is_empty() && !is_told_something {
            return Ok(());
        }
        let passed = self.remote.pass_on(&seen)?;
        self.summary.contradicted = hearsay::take(self.db, &passed)?;
        Ok(())
    }

    fn checkpoint_of(&self, state: &State) -> Outcome<SignedCheckpoint> {
        if state.origin != self.origin.to_string() {
            let detail = format!("it is the node {}, not {}", foreign::quoted(&state.origin), self.origin);
            return Err(Fault::wrong_peer(detail));
        }
        let note = SignedCheckpoint::parse(&state.checkpoint).map_err(Fault::answer)?;
        note.verify(&self.peer.card.node_key)
            .map_err(|_| Fault::wrong_peer("its checkpoint is not signed with the key on the peer's card"))?;
        Ok(note)
    }

    /// Takes over the prefix of the token if it is the longer one: cursors for
    /// more than the peer shows would be wrong.
    fn narrow(&mut self, state: &State) -> Outcome {
        // With a longer one nothing begins, and each question would carry it.
        if state.things.len() > ThingId::MAX_BYTES {
            return Err(Fault::answer("a token for things whose ids are longer than any"));
        }
        if state.things.starts_with(&self.prefix) {
            self.prefix.clone_from(&state.things);
        } else if !self.prefix.starts_with(&state.things) {
            let detail = format!("it is for things that begin with {:?} only", state.things);
            return Err(ClientFault::Token(detail).into());
        }
        Ok(())
    }

    /// Shows this node's checkpoint to a peer that remembers an older one, and gives
    /// it what this node says of its own. A ledger that was set back to an older
    /// state shows here.
    fn introduce(&mut self, state: &State, theirs: Option<SignedCheckpoint>) -> Outcome {
        let remembered = state.remembered.as_deref().map(SignedCheckpoint::parse).transpose().map_err(Fault::answer)?;
        // What is not signed by this node says nothing of it.
        let remembered = remembered.filter(|note| note.verify(&self.db.node_key()).is_ok());
        let standing = remembered.as_ref().map(|note| self.db.standing(note)).transpose()?;
        let set_back = standing.filter(|standing| !standing.is_consistent());
        let since = remembered.as_ref().map_or(0, |note| note.claimed().size);
        let seen = match self.db.newest_checkpoint() {
            Ok(own) if !self.plan.dry_run => {
                if let Some(note) = remembered.as_ref().filter(|_| set_back.is_none()) {
                    self.db.keep_cosignatures(note)?;
                }
                let is_new = since != own.claimed().size;
                let theirs = theirs.filter(|note| note.claimed().size != state.cosigned);
                if set_back.is_some() || is_new || theirs.is_some() {
                    self.show(&own, since, set_back.is_some(), theirs)?
                } else {
                    None
                }
            }
            Ok(_) => None,
            // A ledger that cannot be signed has nothing new to show.
            Err(problem) if problem.is_read_only() => None,
            Err(problem) => return Err(problem.into()),
        };
        match (remembered, set_back) {
            (Some(note), Some(standing)) => {
                if !self.plan.dry_run {
                    self.db.heed(&note)?;
                }
                Err(Fault::OwnRollback(standing))
            }
            _ => {
                let told = || state.contradiction.as_deref().map(|word| word.chars().take(MAX_WORD).collect());
                seen.or_else(told).map_or(Ok(()), |word| Err(Fault::Accused(word)))
            }
        }
    }

    /// Shows the peer a checkpoint. Gives the word for it if the peer says that
    /// it contradicts what it remembers.
    fn show(
        &mut self,
        own: &SignedCheckpoint,
        since: u64,
        set_back: bool,
        theirs: Option<SignedCheckpoint>,
    ) -> Outcome<Option<String>> {
        let size = own.claimed().size;
        let proof = if since <= size && !set_back { self.db.consistency_proof(since, size)? } else { Vec::new() };
        let shown = Shown {
            node: self.db.origin().to_string(),
            since,
            checkpoint: own.to_string(),
            proof: wire::hashes_to_text(&proof),
            yours: theirs.map(|note| note.to_string()),
        };
        let seen = self.remote.show(&shown)?;
        if let Some(note) = &seen.cosigned {
            let note = SignedCheckpoint::parse(note).map_err(Fault::answer)?;
            self.db.keep_cosignatures(&note).map_err(|_| Fault::answer("a cosignature of another checkpoint"))?;
        }
        Ok(Some(seen.observed).filter(|word| matches!(word.as_str(), "rolled-back" | "split-view")))
    }
}
