//! `POST /things/{id}/erasures` and `GET /erasures`: the content of entries goes, and
//! who has it gone.

use std::ops::RangeInclusive;

use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use thingdb::{Db, Erase, ErasurePlan};

use super::call::{Answer, Call, json};
use super::encoding::{self, JSON, NDJSON};
use super::entries::no_actor;
use super::problem::Problem;
use super::route::MAX_NUMBER;
use super::things::{PLAIN, linked, listed, no_thing, page};
use crate::foreign;
use crate::view::erasure::{ErasedJson, ErasureJson, PlanJson, plain};
use crate::view::span;
use crate::view::when::{self, When};

/// Bytes of a request, at most.
const MAX_BYTES: u64 = 64 << 10;

/// Records that are looked at for a page.
const MAX_LOOKED_AT: usize = 10_000;

/// Ids of entries after which a page ends: a record may list very many.
const PAGE_IDS: usize = 100_000;

/// What is to be erased of a thing, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Seqs, or from one to another: `3`, `8-10`.
    #[serde(default)]
    seqs: Vec<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    all: bool,
    reason: String,
    #[serde(default)]
    basis: Option<String>,
    #[serde(default)]
    actor: Option<String>,
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        foreign::decode(body).map_err(|fault| Problem::of_json("no erasure", &fault))
    }

    fn erase(&self, thing: &str) -> Result<Erase, Problem> {
        plain(&self.reason).map_err(Problem::invalid)?;
        let is_some = !self.seqs.is_empty() || self.before.is_some();
        if is_some == self.all {
            return Err(Problem::invalid("either all, or some by seqs or before"));
        }
        let mut erase = Erase::new(thing, &self.reason);
        if !self.seqs.is_empty() {
            let seqs = self.seqs.iter().map(|text| span::seqs(text)).collect::<Result<Vec<RangeInclusive<u64>>, _>>();
            erase = erase.seqs(seqs.map_err(Problem::invalid)?);
        }
        if let Some(text) = &self.before {
            erase = erase.before(When::parse(text, when::now()).map_err(Problem::invalid)?.first);
        }
        if let Some(word) = &self.basis {
            erase = erase.basis(word);
        }
        if let Some(name) = &self.actor {
            erase = erase.actor(name);
        }
        Ok(erase)
    }
}

/// Erases, or tells what would be signed.
pub(crate) async fn erase(mut call: Call) -> Answer {
    let thing = call.thing()?;
    let is_dry = call.query.flag("dry_run")?;
    if encoding::content_type(&call.headers).as_deref() != Some(JSON) {
        return Err(encoding::unsupported("what is to be erased comes as JSON").hint("Content-Type: application/json"));
    }
    let asked = Asked::parse(&call.whole_body(MAX_BYTES).await?)?;
    call.run(move |db| {
        let plan = plan(db, &thing, &asked)?;
        if is_dry {
            return json(&PlanJson::new(&plan));
        }
        let erased = db.erase(&plan)?;
        tracing::info!(entries = erased.entries, "the content of entries is erased");
        json(&ErasedJson::new(&thing, &erased).without_paths())
    })
    .await
}

fn plan(db: &Db, thing: &str, asked: &Asked) -> Result<ErasurePlan, Problem> {
    let erase = asked.erase(thing)?;
    if db.heads(thing)?.is_empty() {
        return Err(no_thing(thing));
    }
    if let Some(name) = &asked.actor
        && !db.own_actors().iter().any(|own| own.name == *name)
    {
        return Err(no_actor(format!("no actor of this node is named {name}")));
    }
    Ok(db.plan_erasure(&erase)?)
}

/// A page of erasure records, in the order of the ledger.
pub(crate) async fn list(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let asked = call.query.text("prefix").unwrap_or_default().to_owned();
    let named = call.query.text("thing").map(str::to_owned);
    if named.is_some() && !asked.is_empty() {
        return Err(Problem::usage("thing or prefix, not both"));
    }
    let thing = named.as_deref().map(|thing| call.allowed(thing)).transpose()?;
    let prefix = call.prefix(&asked)?;
    let from = call.query.number("from", MAX_NUMBER)?.unwrap_or(0);
    let limit = page(&call)?;
    call.read(move |db| {
        let (records, next) = page_of(db, thing.as_deref(), &prefix, from, limit)?;
        let next = next.map(|from| {
            let of = match &named {
                Some(thing) => format!("thing={}", utf8_percent_encode(thing, PLAIN)),
                None => format!("prefix={}", utf8_percent_encode(&asked, PLAIN)),
            };
            format!("</erasures?{of}&from={from}&limit={limit}>; rel=\"next\"")
        });
        linked(listed(form, &records)?, next)
    })
    .await
}

/// Records, and the position from which the next page goes on.
fn page_of(
    db: &Db,
    thing: Option<&str>,
    prefix: &str,
    from: u64,
    limit: usize,
) -> Result<(Vec<ErasureJson>, Option<u64>), Problem> {
    if let Some(thing) = thing
        && db.heads(thing)?.is_empty()
    {
        return Err(no_thing(thing));
    }
    let (mut records, mut ids) = (Vec::new(), 0_usize);
    for (looked_at, erasure) in db.erasures_from(from)?.enumerate() {
        let erasure = erasure?;
        let record = &erasure.record;
        if looked_at >= MAX_LOOKED_AT || records.len() >= limit || ids >= PAGE_IDS {
            return Ok((records, Some(record.position())));
        }
        if thing.map_or_else(|| record.thing().starts_with(prefix), |thing| record.thing() == thing) {
            let told = ErasureJson::new(&erasure);
            ids = ids.saturating_add(told.listed.len());
            records.push(told);
        }
    }
    Ok((records, None))
}
