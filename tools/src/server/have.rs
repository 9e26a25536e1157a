//! `POST /have`: which of these entries are not here, so that only they are
//! sent.

use serde::Serialize;
use thingdb::EntryId;
use utoipa::ToSchema;

use super::call::{Answer, Call, json};
use super::encoding::{self, JSON};
use super::problem::Problem;

/// Ids in one request, at most; each is 64 digits, quotes and a comma.
const MAX_IDS: usize = 50_000;
const MAX_BYTES: u64 = 4 << 20;

/// Entries that are not here.
#[derive(Serialize, ToSchema)]
pub(crate) struct Missing {
    /// Their ids, in the order in which they were asked for.
    missing: Vec<String>,
}

/// Tells which entries are missing.
pub(crate) async fn have(mut call: Call) -> Answer {
    if encoding::content_type(&call.headers).as_deref() != Some(JSON) {
        return Err(encoding::unsupported("the ids come as a JSON array").hint("Content-Type: application/json"));
    }
    let things = call.things().to_owned();
    let body = call.whole_body(MAX_BYTES).await?;
    call.run(move |db| {
        let ids = ids(&body)?;
        let missing = db.missing(&ids, &things)?;
        json(&Missing { missing: missing.iter().map(ToString::to_string).collect() })
    })
    .await
}

fn ids(body: &[u8]) -> Result<Vec<EntryId>, Problem> {
    let texts: Vec<String> = serde_json::from_slice(body).map_err(|problem| {
        Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "bad-json", format!("no array of ids: {problem}"))
            .at(problem.line() as u64, Some(problem.column()))
    })?;
    if texts.len() > MAX_IDS {
        return Err(Problem::too_large(format!("more than {MAX_IDS} ids")));
    }
    texts.iter().map(|text| text.parse().map_err(|_| Problem::invalid(format!("{text:?} is no entry id")))).collect()
}
