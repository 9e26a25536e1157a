//! Witnesses are asked for their cosignatures: each may think for a minute, and
//! nobody waits for the database meanwhile.

use std::sync::Arc;
use std::time::Duration;

use thingdb::{Hash, SignedCheckpoint, Witness};

use crate::cli::context::{Context, WayIn};
use crate::client::pace::{Limit, Pace};
use crate::error::Outcome;
use crate::reader::database::Database;
use crate::sync;
use crate::text::printable;

/// How long a witness may say nothing.
const STALL: Duration = Duration::from_secs(15);

/// How long a witness may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// What a witness is asked with: the size that it knows, as far as one knows, and the
/// proof from there.
struct Question<'w> {
    witness: &'w Witness,
    known: u64,
    proof: Vec<Hash>,
}

/// Asks all witnesses. Gives the database, open again, the note with what they said, and
/// how many of them said nothing.
pub(super) fn ask(
    context: &Context,
    db: Database,
    way: WayIn,
    note: &SignedCheckpoint,
    witnesses: &[Witness],
) -> Outcome<(Database, SignedCheckpoint, u64)> {
    if witnesses.is_empty() {
        return Ok((db, note.clone(), 0));
    }
    let (size, before) = (note.claimed().size, db.cosigned()?);
    let mut questions = Vec::new();
    for witness in witnesses {
        let known = before.iter().rev().find(|it| it.by.iter().any(|(name, _)| *name == witness.name));
        let known = known.map_or(0, |it| it.checkpoint.claimed().size);
        let proof = if known == 0 { Vec::new() } else { db.consistency_proof(known, size)? };
        questions.push(Question { witness, known, proof });
    }
    context.close(db);
    let (mut way, mut told, mut silent) = (Some(way), note.clone(), 0);
    for Question { witness, known, proof } in questions {
        // Who knows another size than was thought needs another proof.
        let mut prove = |old: u64| -> Result<Vec<Hash>, String> {
            if old == known {
                return Ok(proof.clone());
            }
            let said = |failure: crate::error::Failure| failure.fact().to_owned();
            let in_hand = way.take().ok_or("the database could not be opened again")?;
            let (db, again) = context.open_again(in_hand).map_err(said)?;
            way = Some(again);
            let proof = db.consistency_proof(old, size).map_err(|problem| problem.to_string());
            context.close(db);
            proof
        };
        let host = context.console.clone();
        let is_cancelled = Arc::new(move || host.is_interrupted());
        let pace = Pace { rate: None, stall: STALL, limit: Some(Limit::of(LIMIT)), is_cancelled };
        match sync::witness::ask(witness, note, known, &mut prove, pace) {
            Ok(cosigned) => told = told.with_signatures(&signatures(&cosigned)).map_err(thingdb::Error::from)?,
            Err(why) => {
                silent += 1;
                let fact = format!("{} did not cosign", printable(&witness.name));
                context.console.warning("not-cosigned", fact).cause(printable(&why).into_owned()).say();
            }
        }
    }
    let db = match way {
        Some(way) => context.open_again(way)?.0,
        None => context.open()?,
    };
    Ok((db, told, silent))
}

/// The signature lines of a note.
fn signatures(note: &SignedCheckpoint) -> String {
    note.as_str().split_once("\n\n").map(|(_, lines)| lines.to_owned()).unwrap_or_default()
}
