//! `GET /forks`: things with several heads.

use percent_encoding::utf8_percent_encode;
use thingdb::{Db, ThingQuery};

use super::call::{Answer, Call};
use super::encoding::{self, JSON, NDJSON};
use super::problem::Problem;
use super::things::{PLAIN, linked, listed, page};
use crate::view::fork::ForkJson;

/// Things that are looked at for a page: few of many have forked.
const MAX_LOOKED_AT: usize = 10_000;

/// A page of forks, or that of one thing.
pub(crate) async fn list(call: Call) -> Answer {
    let form = encoding::accepted(&call.headers, &[JSON, NDJSON])?;
    let asked = call.query.text("prefix").unwrap_or_default().to_owned();
    let after = call.query.text("after").map(str::to_owned);
    let limit = page(&call)?;
    if let Some(thing) = call.query.text("thing") {
        if !asked.is_empty() || after.is_some() {
            return Err(Problem::usage("thing or prefix and after, not both"));
        }
        let thing = call.allowed(thing)?;
        return call.run(move |db| linked(listed(form, &forks_of(db, &thing)?)?, None)).await;
    }
    let prefix = call.prefix(&asked)?;
    call.run(move |db| {
        let (forks, next) = page_of(db, &prefix, after.as_deref(), limit)?;
        let next = next.map(|last| {
            let (prefix, last) = (utf8_percent_encode(&asked, PLAIN), utf8_percent_encode(&last, PLAIN));
            format!("</forks?prefix={prefix}&after={last}&limit={limit}>; rel=\"next\"")
        });
        linked(listed(form, &forks)?, next)
    })
    .await
}

fn forks_of(db: &Db, thing: &str) -> Result<Vec<ForkJson>, Problem> {
    Ok(db.forks(Some(thing))?.iter().map(ForkJson::new).collect())
}

/// Forks, and the thing after which the next page begins.
fn page_of(
    db: &Db,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<ForkJson>, Option<String>), Problem> {
    let mut query = ThingQuery::new().prefix(prefix).limit(MAX_LOOKED_AT + 1);
    if let Some(after) = after {
        query = query.after(after);
    }
    let (mut forks, mut last) = (Vec::new(), None);
    for (looked_at, thing) in db.things_from(&query)?.enumerate() {
        let thing = thing?;
        if looked_at == MAX_LOOKED_AT || forks.len() >= limit {
            return Ok((forks, last));
        }
        if thing.heads.len() > 1 {
            forks.extend(forks_of(db, thing.thing.as_str())?);
        }
        last = Some(thing.thing.to_string());
    }
    Ok((forks, None))
}
