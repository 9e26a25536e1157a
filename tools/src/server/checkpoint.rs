//! `GET /checkpoint`: the signed state of the ledger, and the proof that it
//! grew out of an older one.

use data_encoding::BASE64;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Answer, Call, answer, json};
use super::encoding::{self, JSON, TEXT};
use super::problem::Problem;
use super::route::MAX_NUMBER;

/// A checkpoint.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// The node whose ledger it is.
    origin: String,
    /// Entries in the ledger.
    size: u64,
    /// Merkle tree hash over their ids (RFC 9162).
    root: String,
    /// The signed note (C2SP).
    note: String,
    /// The size of the older ledger that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// The proof that it is a part of this one, hashes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency: Option<Vec<String>>,
}

/// Signs the ledger's state, or gives what was signed if nothing came since.
pub(crate) async fn checkpoint(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[TEXT, JSON])?;
    let since = call.query.number("since", MAX_NUMBER)?;
    call.run(move |db| {
        let size = db.ledger_size();
        let last = db.last_checkpoint().ok().flatten().filter(|note| note.claimed().size == size);
        let note = match last {
            Some(note) => note,
            None => db.checkpoint()?,
        };
        let claimed = note.claimed();
        if since.is_some_and(|since| since > claimed.size) {
            return Err(Problem::invalid(format!("the ledger has {} entries only", claimed.size)));
        }
        let proof = match since {
            Some(since) => Some(db.consistency_proof(since, claimed.size)?),
            None => None,
        };
        let proof: Option<Vec<String>> = proof.map(|hashes| hashes.iter().map(|hash| BASE64.encode(&hash.0)).collect());
        if form == JSON {
            return json(&Checkpoint {
                origin: claimed.origin.to_string(),
                size: claimed.size,
                root: claimed.root.to_string(),
                note: note.to_string(),
                since,
                consistency: proof,
            });
        }
        // With a proof it is the form in which C2SP's witnesses take it.
        let text = match (since, proof) {
            (Some(since), Some(proof)) => {
                let lines: String = proof.iter().map(|line| format!("{line}\n")).collect();
                format!("old {since}\n{lines}\n{note}")
            }
            _ => note.to_string(),
        };
        Ok(answer(TEXT, text))
    })
    .await
}
