//! What was found of the originals of migrated entries, as JSON and as text.

use std::collections::BTreeMap;

use serde::Serialize;
use thingdb::{Chain, ChainVerdict, OriginalReport};

use crate::text::{counted, printable};

/// Chains that are named.
const MAX_SHOWN: usize = 10;

/// What was found of originals, as JSON.
#[derive(Serialize)]
pub(crate) struct OriginalReportJson<'a> {
    signatures_good: u64,
    signatures_bad: u64,
    chains: Vec<ChainJson<'a>>,
}

#[derive(Serialize)]
struct ChainJson<'a> {
    thing: &'a str,
    entries: u64,
    verdict: &'static str,
    detail: Option<&'a str>,
}

impl<'a> OriginalReportJson<'a> {
    /// What was found of originals.
    pub(crate) fn new(original: &'a OriginalReport) -> Self {
        let chain = |chain: &'a Chain| ChainJson {
            thing: chain.thing.as_str(),
            entries: chain.entries,
            verdict: chain.verdict.as_str(),
            detail: chain.detail.as_deref(),
        };
        Self {
            signatures_good: original.signatures_good,
            signatures_bad: original.signatures_bad,
            chains: original.chains.iter().map(chain).collect(),
        }
    }
}

/// What was found of originals, in lines for people.
pub(crate) fn lines(original: &OriginalReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (count, what) in [(original.signatures_good, "good"), (original.signatures_bad, "bad")] {
        if count > 0 {
            lines.push(format!("    {}: prototype signature {what}", counted(count, "entry", "entries")));
        }
    }
    let mut verdicts: BTreeMap<ChainVerdict, Vec<&Chain>> = BTreeMap::new();
    for chain in &original.chains {
        verdicts.entry(chain.verdict).or_default().push(chain);
    }
    for (verdict, chains) in verdicts {
        lines.push(format!("    {}: {verdict}", counted(chains.len() as u64, "thing", "things")));
        if !matches!(verdict, ChainVerdict::Good | ChainVerdict::Absent) {
            lines.extend(chains.iter().take(MAX_SHOWN).map(|chain| chain_line(chain)));
        }
    }
    lines
}

fn chain_line(chain: &Chain) -> String {
    let thing = printable(chain.thing.as_str());
    match &chain.detail {
        Some(detail) => format!("      {thing}: {}", printable(detail)),
        None => format!("      {thing}"),
    }
}
