//! `GET /things`, `GET /things/{id}` and `GET /things/{id}/entries`.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use thingdb::{Db, EntryId, ThingQuery};

use super::call::{Answer, Call, answer, header_value, json};
use super::encoding::{self, JSON, NDJSON};
use super::problem::Problem;
use super::routes::{MAX_NUMBER, MAX_PAGE};
use crate::cli::record::{EntryJson, ThingJson};

/// Entries on a page if nobody says how many.
const PAGE: u64 = 100;

/// Bytes of data after which a page of entries ends: entries may be large.
const PAGE_BYTES: usize = 8 << 20;

/// What stands unescaped in a query that is written here.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A page of things.
pub(crate) async fn list(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let asked = call.query.text("prefix").unwrap_or_default().to_owned();
    let prefix = call.prefix(&asked)?;
    let after = call.query.text("after").map(str::to_owned);
    let limit = page(&call)?;
    call.run(move |db| {
        let mut query = ThingQuery::new().prefix(&prefix).limit(limit.saturating_add(1));
        if let Some(after) = &after {
            query = query.after(after);
        }
        let mut things = db.things_from(&query)?.collect::<thingdb::Result<Vec<_>>>()?;
        let has_more = things.len() > limit;
        things.truncate(limit);
        let last = things.last().filter(|_| has_more).map(|thing| thing.thing.to_string());
        let next = last.map(|last| {
            let (prefix, last) = (utf8_percent_encode(&asked, PLAIN), utf8_percent_encode(&last, PLAIN));
            format!("</things?prefix={prefix}&after={last}&limit={limit}>; rel=\"next\"")
        });
        let things: Vec<ThingJson> = things.iter().map(ThingJson::new).collect();
        linked(listed(form, &things)?, next)
    })
    .await
}

/// The latest entry of a thing.
pub(crate) async fn latest(call: Call) -> Answer {
    let thing = call.thing()?;
    let known = etags(&call.headers, &header::IF_NONE_MATCH, false)?;
    call.node.look(|db| {
        if let Some(known) = known {
            let heads = db.heads(&thing)?;
            let head = heads.first().ok_or_else(|| no_thing(&thing))?;
            if known.matches(&head.id) {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return tagged(response, &head.id);
            }
        }
        let record = db.get(&thing)?.ok_or_else(|| no_thing(&thing))?;
        tagged(json(&EntryJson::new(&record))?, &record.id())
    })
}

/// A page of the history of a thing.
pub(crate) async fn history(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let thing = call.thing()?;
    let after = call.query.number("after_seq", MAX_NUMBER)?.unwrap_or(0);
    let limit = page(&call)?;
    call.read(move |db| {
        let (entries, next) = page_of(db, &thing, after, limit)?;
        let next = next.map(|seq| {
            let path = utf8_percent_encode(&thing, PLAIN);
            format!("</things/{path}/entries?after_seq={seq}&limit={limit}>; rel=\"next\"")
        });
        linked(listed(form, &entries)?, next)
    })
    .await
}

/// Entries after a seq, and the seq after which the next page begins. Entries
/// of one seq are not torn apart.
fn page_of(db: &Db, thing: &str, after: u64, limit: usize) -> Result<(Vec<EntryJson>, Option<u64>), Problem> {
    if db.heads(thing)?.is_empty() {
        return Err(no_thing(thing));
    }
    let (mut entries, mut bytes, mut last) = (Vec::new(), 0, after);
    for record in db.history_range(thing, after.saturating_add(1)..)? {
        let record = record?;
        if record.seq() > last && (entries.len() >= limit || bytes >= PAGE_BYTES) {
            return Ok((entries, Some(last)));
        }
        last = record.seq();
        bytes += record.data().map_or(0, <[u8]>::len);
        entries.push(EntryJson::new(&record));
    }
    Ok((entries, None))
}

fn page(call: &Call) -> Result<usize, Problem> {
    let limit = call.query.number("limit", MAX_PAGE)?.unwrap_or(PAGE);
    Ok(usize::try_from(limit.max(1)).unwrap_or(1))
}

fn listed(form: &'static str, items: &[impl Serialize]) -> Answer {
    if form == JSON {
        return json(&items);
    }
    let mut lines = Vec::new();
    for item in items {
        serde_json::to_writer(&mut lines, item).map_err(|problem| Problem::unexpected(problem.to_string()))?;
        lines.push(b'\n');
    }
    Ok(answer(NDJSON, lines))
}

fn linked(mut response: Response<Body>, next: Option<String>) -> Answer {
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, header_value(&next)?);
    }
    Ok(response)
}

/// Adds the entity tag of an entry. It may be asked again whether it is still
/// the latest.
fn tagged(mut response: Response<Body>, id: &EntryId) -> Answer {
    response.headers_mut().insert(header::ETAG, header_value(&format!("\"{id}\""))?);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

pub(crate) fn no_thing(thing: &str) -> Problem {
    Problem::not_found(format!("no thing named {thing}")).hint("GET /things")
}

/// Entity tags of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`.
    Any,
    /// These ids.
    Ids(Vec<EntryId>),
}

impl Tags {
    fn matches(&self, id: &EntryId) -> bool {
        match self {
            Self::Any => true,
            Self::Ids(ids) => ids.contains(id),
        }
    }
}

/// The condition in a header: strong tags as `ETag` gives them. A tag that is
/// none of ours can match nothing (RFC 9110, section 8.8.3.2); where `strict`,
/// it is a mistake that is told.
pub(crate) fn etags(headers: &HeaderMap, name: &header::HeaderName, strict: bool) -> Result<Option<Tags>, Problem> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for value in values {
        let malformed = || Problem::usage(format!("{name} holds entry ids in quotes, or *"));
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (tag, is_weak) = tag.strip_prefix("W/").map_or((tag, false), |tag| (tag, true));
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
            match tag.parse::<EntryId>() {
                Ok(id) if !(strict && is_weak) => ids.push(id),
                Ok(_) | Err(_) if strict => {
                    let tag: String = tag.chars().take(80).collect();
                    let why = if is_weak { "a weak tag never matches" } else { "an entry id has 64 hex digits" };
                    return Err(Problem::usage(format!("{name}: {tag:?}: {why}")).hint("the ETag of GET /things/{id}"));
                }
                _ => {}
            }
        }
    }
    Ok(Some(Tags::Ids(ids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &'static str, strict| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, header::HeaderValue::from_static(text))]);
            etags(&headers, &header::IF_MATCH, strict)
        };
        let tags = |text| read(text, false);
        let id = EntryId([0xab; 32]);
        assert_eq!(tags(" * ").unwrap(), Some(Tags::Any));
        let both = concat!("\"", "abababababababababababababababababababababababababababababababab", "\", W/\"other\"");
        assert_eq!(tags(both).unwrap(), Some(Tags::Ids(vec![id])));
        assert!(tags("abab").is_err());
        let weak = concat!("W/\"", "abababababababababababababababababababababababababababababababab", "\"");
        assert_eq!(tags(weak).unwrap(), Some(Tags::Ids(vec![id])));
        for mistaken in [weak, both, "\"abab\"", "\"\""] {
            assert!(read(mistaken, true).is_err(), "{mistaken}");
        }
        assert_eq!(etags(&HeaderMap::new(), &header::IF_MATCH, true).unwrap(), None);
    }
}
