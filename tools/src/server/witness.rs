//! This node as a witness for the nodes that it knows (c2sp.org/tlog-witness). Who
//! asks needs no token: what counts is the signature under the checkpoint.

use axum::http::{Method, StatusCode};
use thingdb::format::checkpoint::MAX_NOTE_BYTES;
use thingdb::format::heads::SignedHeads;
use thingdb::format::{AddCheckpoint, witness};
use thingdb::{Cosigning, Recomputed};

use super::call::{Answer, Call, answer};
use super::encoding::{LOG_SIZE, TEXT};
use super::problem::Problem;
use super::route::{Content, Id, Needs, Reply, Route, Shape, handler};

/// The routes.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/witness/add-checkpoint",
        needs: Needs::Signature,
        name: "add-checkpoint",
        about: "Cosigns a checkpoint of a node that is known here, if its ledger has only grown (c2sp.org/tlog-witness)",
        id: None,
        query: &[],
        headers: &[],
        body: &[Content(TEXT, Shape::Text)],
        answers: &[
            Reply { status: 200, about: "The cosignature, a line", content: &[Content(TEXT, Shape::Text)] },
            Reply {
                status: 409,
                about: "The size of the checkpoint that is the last one here: the request named another",
                content: &[Content(LOG_SIZE, Shape::Text)],
            },
        ],
        problems: &[400, 403, 404, 408, 413, 415, 422],
        handler: handler!(add_checkpoint),
    },
    Route {
        method: Method::POST,
        path: "/witness/add-heads",
        needs: Needs::Signature,
        name: "add-heads",
        about: "Signs a heads note of a node that is known here, if its ledger is here, entry by entry, and the \
                heads are those of the note",
        id: None,
        query: &[],
        headers: &[],
        body: &[Content(TEXT, Shape::Text)],
        answers: &[Reply { status: 200, about: "The signature, a line", content: &[Content(TEXT, Shape::Text)] }],
        problems: &[400, 403, 404, 408, 409, 413, 415, 422],
        handler: handler!(add_heads),
    },
    Route {
        method: Method::GET,
        path: "/witness/{id}/checkpoint",
        needs: Needs::Signature,
        name: "cosigned-checkpoint",
        about: "The last checkpoint that was cosigned of the ledger whose name has this SHA-256",
        id: Some(Id::Ledger),
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The checkpoint", content: &[Content(TEXT, Shape::Text)] }],
        problems: &[404],
        handler: handler!(cosigned),
    },
];

async fn add_checkpoint(mut call: Call) -> Answer {
    let body = call.whole_body(witness::MAX_REQUEST_BYTES as u64).await?;
    let done = call.run(move |db| {
        let text = std::str::from_utf8(&body).map_err(|_| Problem::usage("the request is not UTF-8"))?;
        let request = AddCheckpoint::parse(text).map_err(|problem| Problem::usage(problem.to_string()))?;
        Ok(db.cosign(&request)?)
    });
    match done.await? {
        Cosigning::Cosigned(line) => Ok(answer(TEXT, line)),
        Cosigning::OtherSize(size) => {
            let mut answer = answer(LOG_SIZE, format!("{size}\n"));
            *answer.status_mut() = StatusCode::CONFLICT;
            Ok(answer)
        }
        Cosigning::NotSigned => {
            let detail = "the checkpoint is not signed with the key under which its node is known here";
            Err(Problem::new(StatusCode::FORBIDDEN, "not-signed", detail))
        }
        Cosigning::UnknownLog => Err(Problem::not_found("no node is known here whose ledger has this name")
            .hint("thingdb peer add NAME @CARD, on this node")),
        _ => {
            let detail = "the proof does not lead from the last checkpoint that is known here to this one";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "inconsistent", detail))
        }
    }
}

async fn add_heads(mut call: Call) -> Answer {
    let body = call.whole_body(MAX_NOTE_BYTES as u64).await?;
    let done = call.run(move |db| {
        let text = std::str::from_utf8(&body).map_err(|_| Problem::usage("the note is not UTF-8"))?;
        let note = SignedHeads::parse(text).map_err(|problem| Problem::usage(problem.to_string()))?;
        Ok(db.recompute_heads(&note)?)
    });
    match done.await? {
        Recomputed::Signed(line) => Ok(answer(TEXT, line)),
        Recomputed::NotSigned => {
            let detail = "the note is not signed with the key under which its node is known here";
            Err(Problem::new(StatusCode::FORBIDDEN, "not-signed", detail))
        }
        Recomputed::UnknownNode => Err(Problem::not_found("no node is known here whose ledger has this name")
            .hint("thingdb peer add NAME @CARD, on this node")),
        Recomputed::OtherLedger => {
            let detail = "the ledger here is not the one that the note is of: it has other entries, or another order";
            Err(Problem::new(StatusCode::CONFLICT, "other-ledger", detail))
        }
        Recomputed::Contradicts(conflict) => {
            let (node, file) = (conflict.evidence.node.origin(), conflict.file.display());
            tracing::warn!(%node, %file, "a node says two things of the heads of one ledger");
            let detail = "the node has signed another heads note for the same size: both are kept here";
            Err(Problem::new(StatusCode::CONFLICT, "split-heads", detail))
        }
        _ => {
            let detail = "the heads are not those that the entries give";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "other-heads", detail))
        }
    }
}

async fn cosigned(call: Call) -> Answer {
    let hash = call.id.clone().unwrap_or_default();
    call.run(move |db| {
        let note = db.cosigned_of(&hash)?;
        let note = note.ok_or_else(|| Problem::not_found("nothing was cosigned of a ledger with this name"))?;
        Ok(answer(TEXT, note.to_string()))
    })
    .await
}
