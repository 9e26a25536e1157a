//! `POST /things/{id}/entries` and `GET /entries/{id}`.

use axum::http::{StatusCode, header};
use thingdb::{Db, Draft, Expect, Record};

use super::call::{Answer, Call, header_value, json};
use super::encoding::{self, JSON};
use super::problem::Problem;
use super::tags::{Tag, Tags, etags, tagged};
use super::things::no_thing;
use crate::view::details::WholeJson;
use crate::view::entry::Entry;
use crate::view::record::{AllJson, EntryJson, ReceiptJson};

/// Most entries that are named where an abbreviated id names several.
const MAX_CANDIDATES: usize = 8;

/// All of one entry, by its id.
pub(crate) async fn read(call: Call) -> Answer {
    let digits = call.entry()?.to_owned();
    let is_exact = call.query.flag("base64")?;
    let things = call.things().to_owned();
    call.read(move |db| {
        let record = found(db, &digits, &things)?;
        let (whole, entry) = (WholeJson::new(&record), Entry::from(record));
        let told = EntryJson::as_asked(&entry, is_exact);
        tagged(json(&AllJson::new(told, whole))?, &Tag::of(&entry))
    })
    .await
}

/// The one entry whose id begins with `digits`.
/// What the token is not for is not told apart from what is not here.
fn found(db: &Db, digits: &str, things: &str) -> Result<Record, Problem> {
    let missing = || Problem::not_found(format!("no entry {digits}"));
    if let Ok(id) = digits.parse() {
        let record = db.get_id(&id)?.filter(|record| record.thing().starts_with(things));
        return record.ok_or_else(missing);
    }
    let mut found = db.find_entries(digits, things, MAX_CANDIDATES + 1)?;
    let record = found.pop().ok_or_else(missing)?;
    if found.is_empty() {
        return Ok(record);
    }
    let ids = found.iter().chain([&record]).take(MAX_CANDIDATES).map(|record| record.id().to_string()).collect();
    let detail = format!("several entries start with {digits}");
    Err(Problem::new(StatusCode::CONFLICT, "ambiguous", detail).hint("give more digits").candidates(ids))
}

/// Writes an entry that an actor of this node signs.
pub(crate) async fn write(mut call: Call) -> Answer {
    let thing = call.thing()?;
    let media_type = media_type(&call)?;
    let expect = expectation(&call)?;
    let fields_provable = call.query.flag("fields_provable")?;
    let is_public = call.query.flag("public")?;
    let (data, room) = call.whole_body(call.node.limits.body_bytes).await?.into_parts();
    let (action, actor) = (call.query.text("action").map(str::to_owned), call.query.text("actor").map(str::to_owned));
    call.run(move |db| {
        let _room = room;
        let mut draft = match media_type.as_str() {
            JSON => Draft::json(&thing, data)?,
            other => Draft::bytes(&thing, other, data)?,
        };
        if fields_provable {
            draft = draft.fields_provable(true);
        }
        if let Some(action) = &action {
            draft = draft.action(action);
        }
        if is_public {
            draft = draft.public();
        }
        let own = db.own_actors();
        let signer = own.iter().find(|own| actor.as_deref().map_or(own.default, |name| own.name == name));
        let signer = signer.ok_or_else(|| {
            let detail = actor.map_or_else(
                || "this node has no actor".to_owned(),
                |name| format!("no actor of this node is named {name}"),
            );
            no_actor(detail)
        })?;
        draft = match expect {
            None => draft.actor(&signer.name),
            Some(Expected::Exists) if db.heads(&thing)?.is_empty() => {
                return Err(no_thing(&thing).with_status(StatusCode::PRECONDITION_FAILED, "conflict"));
            }
            Some(Expected::Exists) => draft.actor(&signer.name),
            Some(Expected::Engine(expect)) => draft.actor(&signer.name).expect(expect),
        };
        let receipt = db.write(draft)?;
        let mut response = json(&ReceiptJson::new(&receipt, &signer.name))?;
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::ETAG, header_value(&format!("\"{}\"", receipt.id))?);
        response.headers_mut().insert(header::LOCATION, header_value(&format!("/entries/{}", receipt.id))?);
        Ok(response)
    })
    .await
}

/// Nobody here could sign so.
pub(super) fn no_actor(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-found", detail).hint("thingdb actor ls")
}

/// What a writer takes for granted.
enum Expected {
    /// Some entry; the engine has no word for it, and things do not go away.
    Exists,
    /// What the engine checks when it commits.
    Engine(Expect),
}

fn expectation(call: &Call) -> Result<Option<Expected>, Problem> {
    let matching = etags(&call.headers, &header::IF_MATCH, true)?;
    let none = etags(&call.headers, &header::IF_NONE_MATCH, true)?;
    Ok(match (matching, none) {
        (None, None) => None,
        (Some(Tags::Any), None) => Some(Expected::Exists),
        (Some(Tags::Some(tags)), None) => {
            let mut ids: Vec<_> = tags.into_iter().map(|tag| tag.id).collect();
            ids.sort_unstable();
            ids.dedup();
            Some(Expected::Engine(match ids.as_slice() {
                [id] => Expect::Head(*id),
                _ => Expect::Heads(ids),
            }))
        }
        (None, Some(Tags::Any)) => Some(Expected::Engine(Expect::Absent)),
        (None, Some(Tags::Some(_))) => return Err(Problem::usage("with a write, If-None-Match is * only")),
        (Some(_), Some(_)) => return Err(Problem::usage("If-Match or If-None-Match, not both")),
    })
}

/// The media type of the data. What a client sends when nobody told it is
/// refused: it would be kept for ever.
fn media_type(call: &Call) -> Result<String, Problem> {
    let hint = "Content-Type: application/json";
    match encoding::content_type(&call.headers).as_deref() {
        None | Some("") => Err(encoding::unsupported("the data has no Content-Type").hint(hint)),
        Some("application/x-www-form-urlencoded") => Err(encoding::unsupported("a form is no data").hint(hint)),
        Some(JSON) => Ok(JSON.to_owned()),
        // Parameters such as a charset belong to the type of the data.
        Some(other) if other.contains('/') => Ok(call.header(&header::CONTENT_TYPE).unwrap_or(other).trim().to_owned()),
        Some(other) => Err(encoding::unsupported(format!("{other:?} is no media type")).hint(hint)),
    }
}
