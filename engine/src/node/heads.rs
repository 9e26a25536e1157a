//! The node signs what the heads of all things are.

use thingdb_format::heads::{HeadsNote, HeadsProof, Other, Place, SignedHeads};
use thingdb_format::{EntryId, SignedCheckpoint, ThingId};

use super::Node;
use crate::encoding;
use crate::error::{Error, Result};
use crate::storage::Batch;
use crate::store::heads_map::{Found, HeadsMap, Reached, heads_of};
use crate::store::schema;

/// Entries that the map may lag by when the committer is held for the rest.
const HELD: u64 = 256;

/// Times that the map is brought on before the committer is held, however much is left.
const ROUNDS: u32 = 8;

/// What the map says of a thing at one moment.
struct Moment {
    reached: Reached,
    /// What stands at the place of the thing that was asked for.
    found: Option<Found>,
    /// How many entries it has, and its heads; nothing if there is no such thing.
    state: Option<(u64, Vec<EntryId>)>,
}

impl Node {
    /// Signs what the heads of all things are, as of the ledger's end, and the ledger
    /// itself.
    pub(crate) fn heads(&self) -> Result<(SignedCheckpoint, SignedHeads)> {
        let _one_at_a_time = self.heads.lock().expect("no thread panics while it holds this");
        self.sign_heads(self.moment(None)?.reached)
    }

    /// The same, and what stands at the place of a thing.
    pub(crate) fn heads_of(&self, thing: &ThingId) -> Result<(SignedCheckpoint, HeadsProof)> {
        let _one_at_a_time = self.heads.lock().expect("no thread panics while it holds this");
        match self.place_of(thing) {
            // A page that nothing has touched since: all are made anew, once.
            Err(problem) if problem.is_damaged() => {
                let mut batch = Batch::new();
                batch.delete(schema::HEADS_MAP);
                self.rows(batch)?;
                self.place_of(thing)
            }
            found => found,
        }
    }

    fn place_of(&self, thing: &ThingId) -> Result<(SignedCheckpoint, HeadsProof)> {
        let Moment { reached, found, state } = self.moment(Some(thing))?;
        let Some(Found { path, leaf }) = found else {
            return Err(Error::damaged("the map of heads", "it was not asked"));
        };
        let place = match (state, leaf) {
            (Some((count, heads)), Some(_)) => Place::Thing { count, heads },
            (None, Some((key, value))) => Place::Other(Other { key, value }),
            (None, None) => Place::Empty,
            (Some(_), None) => return Err(Error::damaged("the map of heads", format!("{thing} is not in it"))),
        };
        let (checkpoint, note) = self.sign_heads(reached)?;
        let proof = HeadsProof { note, place, path };
        // What does not hold here convinces nobody elsewhere.
        proof.verify(thing).map_err(|problem| Error::damaged("the map of heads", problem))?;
        Ok((checkpoint, proof))
    }

    /// Brings the map to the ledger's end, and holds still for a look.
    fn moment(&self, thing: Option<&ThingId>) -> Result<Moment> {
        self.committer.check_open()?;
        let mut map = HeadsMap::new(&self.store);
        for _ in 0..ROUNDS {
            let reached = map.advance(false, &mut |batch| self.rows(batch))?;
            if self.store.size().saturating_sub(reached.size) <= HELD {
                break;
            }
        }
        self.committer.still(|| {
            let reached = map.advance(true, &mut |batch| self.store.commit(batch).map(drop))?;
            let Some(thing) = thing else { return Ok(Moment { reached, found: None, state: None }) };
            let state = self.store.state(&self.store.tag(thing))?;
            let state = state.map(|state| (state.entries, heads_of(&state)));
            Ok(Moment { reached, found: Some(map.find(thing)?), state })
        })
    }

    /// Signs, and keeps the note with what others have said of the same.
    fn sign_heads(&self, reached: Reached) -> Result<(SignedCheckpoint, SignedHeads)> {
        let checkpoint = self.checkpoint_at(reached.size)?;
        let key = std::sync::Arc::clone(self.store.keyring().node_key());
        let note = HeadsNote::of(checkpoint.claimed(), reached.root()).sign(&key)?;
        let kept = self.kept_heads().ok().flatten().filter(|kept| kept.text() == note.text());
        if let Some(kept) = kept {
            return Ok((checkpoint, kept));
        }
        self.keep_heads(&note)?;
        Ok((checkpoint, note))
    }

    /// The newest heads note of this node, with the signatures of others.
    pub(crate) fn kept_heads(&self) -> Result<Option<SignedHeads>> {
        let store = &self.store;
        let note: Option<String> = store.rows.read_or_default(&*store.storage, schema::HEADS_NOTE)?;
        Ok(note.map(|note| SignedHeads::parse(&note)).transpose()?)
    }

    /// Keeps it in the place of the last one.
    pub(crate) fn keep_heads(&self, note: &SignedHeads) -> Result<()> {
        let row = encoding::encode(&Some(note.as_str().to_owned()));
        let mut batch = Batch::new();
        batch.put(schema::HEADS_NOTE, self.store.rows.seal(schema::HEADS_NOTE, &row));
        self.rows(batch)
    }
}
