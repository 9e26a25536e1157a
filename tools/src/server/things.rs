//! `GET /things`, `GET /things/{id}` and `GET /things/{id}/entries`.

use std::ops::RangeInclusive;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use thingdb::{Db, ThingQuery};

use super::call::{Answer, Call, answer, header_value, json};
use super::encoding::{self, JSON, NDJSON};
use super::problem::Problem;
use super::route::{MAX_NUMBER, MAX_PAGE};
use super::tags::{Tag, etags, tagged};
use crate::view::entry::Entry;
use crate::view::record::EntryJson;
use crate::view::similar;
use crate::view::span::Span;
use crate::view::thing::{HeadJson, ThingJson};
use crate::view::when::{self, When};

/// Entries on a page if nobody says how many.
const PAGE: u64 = 100;

/// Bytes of data after which a page of entries ends: entries may be large.
const PAGE_BYTES: usize = 8 << 20;

/// Entries that are looked at for a page: few of many may be of the time that
/// is asked for.
const MAX_LOOKED_AT: usize = 4096;

/// Heads that a problem names; there may be very many.
const MAX_NAMED_HEADS: usize = 32;

/// What stands unescaped in a query that is written here.
pub(crate) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A page of things.
pub(crate) async fn list(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let asked = call.query.text("prefix").unwrap_or_default().to_owned();
    let prefix = call.prefix(&asked)?;
    let after = call.query.text("after").map(str::to_owned);
    let limit = page(&call)?;
    if let Some(name) = call.query.text("similar").map(str::to_owned) {
        if after.is_some() {
            return Err(Problem::usage("similar or after, not both"));
        }
        return call.run(move |db| linked(listed(form, &similar(db, &name, &prefix, limit)?)?, None)).await;
    }
    call.run(move |db| {
        let mut query = ThingQuery::new().prefix(&prefix).limit(limit.saturating_add(1)).retired().erased();
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

/// Things with names like `name`, the nearest first.
fn similar(db: &Db, name: &str, prefix: &str, limit: usize) -> Result<Vec<ThingJson>, Problem> {
    let mut found = Vec::new();
    for name in similar::names(db, name, prefix).iter().take(limit) {
        let thing = db.things_from(&ThingQuery::new().prefix(name).limit(1).retired().erased())?.next().transpose()?;
        found.extend(thing.as_ref().map(ThingJson::new));
    }
    Ok(found)
}

/// The latest entry of a thing, or an older one.
pub(crate) async fn latest(call: Call) -> Answer {
    let thing = call.thing()?;
    let known = etags(&call.headers, &header::IF_NONE_MATCH, false)?;
    let is_exact = call.query.flag("base64")?;
    let seq = call.query.number("seq", MAX_NUMBER)?;
    let at = call.query.text("at").map(|text| When::parse(text, when::now())).transpose().map_err(Problem::usage)?;
    let is_strict = call.query.flag("strict")?;
    if seq.is_some() && (at.is_some() || is_strict) {
        return Err(Problem::usage("seq or at, not both; strict without seq"));
    }
    call.node.look(|db| {
        let record = match (seq, at) {
            (Some(seq), _) => db.get_seq(&thing, seq)?.into_iter().max_by_key(|record| (record.time(), record.id())),
            (_, Some(when)) => db.get_at(&thing, when.last)?,
            _ => db.get(&thing)?,
        };
        let entry = record.map(Entry::from).ok_or_else(|| no_thing(&thing))?;
        if is_strict && entry.heads() > 1 {
            return Err(forked(db, &thing, &entry, at.is_none())?);
        }
        let tag = Tag::of(&entry);
        // That there are several heads is told, though the entry may be known.
        if entry.heads() == 1 && known.is_some_and(|known| known.matches(&tag)) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return tagged(response, &tag);
        }
        tagged(json(&EntryJson::as_asked(&entry, is_exact))?, &tag)
    })
}

/// The answer where none of several heads is to be chosen.
fn forked(db: &Db, thing: &str, entry: &Entry, is_latest: bool) -> Result<Problem, Problem> {
    let verb = if is_latest { "has" } else { "had then" };
    let problem = Problem::new(StatusCode::CONFLICT, "forked", format!("{thing} {verb} {} heads", entry.heads()));
    if !is_latest {
        return Ok(problem);
    }
    let heads = db.heads(thing)?;
    Ok(problem.heads(heads.iter().take(MAX_NAMED_HEADS).map(HeadJson::new).collect()).hint("GET /forks?thing="))
}

/// A page of the history of a thing.
pub(crate) async fn history(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let thing = call.thing()?;
    let query = &call.query;
    let wanted = Wanted {
        span: Span::parse(query.text("since"), query.text("until"), when::now()).map_err(Problem::usage)?,
        newest_first: query.flag("newest_first")?,
        after: query.number("after_seq", MAX_NUMBER)?,
        before: query.number("before_seq", MAX_NUMBER)?,
        limit: page(&call)?,
        is_exact: query.flag("base64")?,
    };
    call.read(move |db| {
        let (entries, last) = page_of(db, &thing, &wanted)?;
        let next = last.map(|seq| {
            let path = utf8_percent_encode(&thing, PLAIN);
            format!("</things/{path}/entries?{}>; rel=\"next\"", wanted.next(seq))
        });
        linked(listed(form, &entries)?, next)
    })
    .await
}

/// The part of a history that is asked for.
struct Wanted {
    span: Span,
    newest_first: bool,
    after: Option<u64>,
    before: Option<u64>,
    limit: usize,
    is_exact: bool,
}

impl Wanted {
    /// The seqs in which it lies.
    fn seqs(&self) -> RangeInclusive<u64> {
        let after = self.after.map(|seq| seq.saturating_add(1));
        // There is no seq 0.
        let before = self.before.map(|seq| seq.saturating_sub(1));
        let first = self.span.first_seq.max(after).unwrap_or(1);
        let last = [self.span.last_seq, before].into_iter().flatten().min().unwrap_or(MAX_NUMBER);
        first..=last
    }

    /// The query of the page after the one that ends with the entries of a seq.
    fn next(&self, seq: u64) -> String {
        let (mut after, mut before) = (self.after, self.before);
        *(if self.newest_first { &mut before } else { &mut after }) = Some(seq);
        let Span { first_seq, last_seq, since, until } = self.span;
        let number = |seq: Option<u64>| seq.map(|seq| seq.to_string());
        // Times that were relative stay what they were on the first page.
        let time = |time: Option<thingdb::Time>| time.map(|time| time.to_string());
        let members = [
            ("since", number(first_seq).or_else(|| time(since))),
            ("until", number(last_seq).or_else(|| time(until))),
            ("newest_first", self.newest_first.then(|| "true".to_owned())),
            ("after_seq", number(after)),
            ("before_seq", number(before)),
            ("limit", Some(self.limit.to_string())),
            ("base64", self.is_exact.then(|| "true".to_owned())),
        ];
        let text =
            |(name, value): (&str, Option<String>)| Some(format!("{name}={}", utf8_percent_encode(&value?, PLAIN)));
        members.into_iter().filter_map(text).collect::<Vec<_>>().join("&")
    }
}

/// Entries, and the seq with which the page ends if there may be more. Entries
/// of one seq are not torn apart.
fn page_of(db: &Db, thing: &str, wanted: &Wanted) -> Result<(Vec<EntryJson>, Option<u64>), Problem> {
    if db.heads(thing)?.is_empty() {
        return Err(no_thing(thing));
    }
    let mut history = db.history_range(thing, wanted.seqs())?;
    let (mut entries, mut bytes, mut looked_at, mut last) = (Vec::new(), 0, 0, None);
    loop {
        let Some(record) = (if wanted.newest_first { history.next_back() } else { history.next() }) else {
            return Ok((entries, None));
        };
        let entry = Entry::from(record?);
        let is_full = entries.len() >= wanted.limit || bytes >= PAGE_BYTES || looked_at >= MAX_LOOKED_AT;
        if is_full && last.is_some_and(|last| last != entry.seq()) {
            return Ok((entries, last));
        }
        last = Some(entry.seq());
        looked_at += 1;
        if wanted.span.has(|| entry.dated()) {
            bytes += entry.data().map_or(0, <[u8]>::len);
            entries.push(EntryJson::as_asked(&entry, wanted.is_exact));
        }
    }
}

/// How many items a page has at most.
pub(crate) fn page(call: &Call) -> Result<usize, Problem> {
    let limit = call.query.count("limit", MAX_PAGE)?.unwrap_or(PAGE);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Items in the form that is wanted.
pub(crate) fn listed(form: &'static str, items: &[impl Serialize]) -> Answer {
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

/// Adds where the next page is.
pub(crate) fn linked(mut response: Response<Body>, next: Option<String>) -> Answer {
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, header_value(&next)?);
    }
    Ok(response)
}

pub(crate) fn no_thing(thing: &str) -> Problem {
    Problem::not_found(format!("no thing named {thing}")).hint("GET /things")
}
