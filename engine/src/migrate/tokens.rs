//! Tokens of the prototype's server. It kept them in clear; here they become
//! hashes, and allow what their scopes say and no more.

use std::collections::BTreeSet;

use serde::Deserialize;
use thingdb_format::Time;
use zeroize::Zeroizing;

use super::report::MigrateReport;
use crate::access::tokens::Inherited;
use crate::error::{Error, Result};
use crate::node::Node;

/// A shorter text can be guessed.
const LEAST_BYTES: usize = 16;

/// A token as `tokens.json` has it, without its text.
#[derive(Deserialize)]
pub(super) struct RawToken {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    expires_at: Option<Expiry>,
}

/// The prototype checked no expiry and prescribed no form for it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expiry {
    Seconds(f64),
    Text(String),
}

impl Expiry {
    fn time(&self) -> Option<Time> {
        match self {
            // Whole microseconds up to the year 9999 fit, and `as` saturates.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it saturates, and the time is checked"
            )]
            Self::Seconds(seconds) => Time::from_micros((seconds * 1e6) as u64).ok(),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// Takes one token over, unless it is here.
pub(super) fn bring(
    node: &Node,
    report: &mut MigrateReport,
    number: usize,
    text: String,
    raw: &RawToken,
) -> Result<()> {
    let text = Zeroizing::new(text);
    let said = raw.name.clone().filter(|name| !name.is_empty());
    let name = said.unwrap_or_else(|| format!("prototype token {number}"));
    report.tokens += 1;
    let mut scopes = BTreeSet::new();
    for word in raw.scopes.iter().flatten() {
        match word.parse() {
            Ok(scope) => drop(scopes.insert(scope)),
            Err(_) => report.notes.push(format!("token {name}: the scope {word} means nothing here")),
        }
    }
    let expires = raw.expires_at.as_ref().map(Expiry::time);
    let weakness = match (text.len() < LEAST_BYTES, &expires) {
        (true, _) => Some(format!("has fewer than {LEAST_BYTES} bytes and could be guessed")),
        (false, Some(None)) => Some("has an expiry that cannot be read".to_owned()),
        (false, _) => None,
    };
    if let Some(weakness) = weakness.filter(|_| !scopes.is_empty()) {
        scopes.clear();
        report.notes.push(format!("token {name}: it {weakness}, so it allows nothing here"));
    }
    if scopes.is_empty() {
        report.tokens_without_scopes += 1;
    }
    if report.dry_run {
        return Ok(());
    }
    let mut inherited = Inherited { text, name: name.clone(), scopes, expires: expires.flatten() };
    for other in 2.. {
        match node.inherit_token(&inherited) {
            Err(Error::TokenExists { .. }) => inherited.name = format!("{name} ({other})"),
            Err(problem) if problem.is_invalid_input() => {
                report.notes.push(format!("token {number}: {problem}"));
                return Ok(());
            }
            done => return done.map(|_| ()),
        }
    }
    Ok(())
}
