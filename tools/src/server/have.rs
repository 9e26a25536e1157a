//! `POST /have`: which of these entries are not here, so that only they are
//! sent.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thingdb::EntryId;
use utoipa::ToSchema;

use super::call::{Answer, Call, json};
use super::encoding::{self, JSON};
use super::problem::Problem;
use crate::foreign;

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
    let asked: Asked = foreign::decode(body).map_err(|fault| Problem::of_json("no array of ids", &fault))?;
    match asked {
        Asked { count, .. } if count > MAX_IDS => Err(Problem::too_large(format!("more than {MAX_IDS} ids"))),
        Asked { wrong: Some(text), .. } => Err(Problem::invalid(format!("{text} is no entry id"))),
        Asked { ids, .. } => Ok(ids),
    }
}

/// What is asked for, no more of it than is answered: an empty string takes
/// three bytes of the body, and would take ten times that here.
#[derive(Default)]
struct Asked {
    ids: Vec<EntryId>,
    count: usize,
    /// The first text that is none, as it is quoted.
    wrong: Option<String>,
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(AskedVisitor)
    }
}

struct AskedVisitor;

impl<'de> Visitor<'de> for AskedVisitor {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Asked, A::Error> {
        let mut asked = Asked::default();
        while let Some(Id { id, wrong }) = seq.next_element()? {
            asked.count = asked.count.saturating_add(1);
            if asked.count > MAX_IDS {
                continue;
            }
            asked.ids.extend(id);
            asked.wrong = asked.wrong.or(wrong);
        }
        Ok(asked)
    }
}

/// A text, as an id or as it is quoted.
struct Id {
    id: Option<EntryId>,
    wrong: Option<String>,
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Id, E> {
        Ok(match text.parse() {
            Ok(id) => Id { id: Some(id), wrong: None },
            Err(_) => Id { id: None, wrong: Some(foreign::quoted(text)) },
        })
    }
}
