//! What an exchange leaves behind: entries that one side refuses, and entries
//! that wait on either side for others.

use data_encoding::HEXLOWER;
use thingdb::ShortId;

use crate::error::{Exit, Failure, Outcome};
use crate::sync::session::{Count, Summary};
use crate::text::{counted, printable};

/// Refused entries that are explained on stderr.
const MAX_SHOWN: usize = 10;

/// One way, as it is told.
struct Way<'a> {
    count: &'a Count,
    by: &'static str,
    place: &'static str,
    /// Before what the peer says.
    says: String,
    /// How who refuses comes to trust the other side.
    trust: String,
}

/// That entries are refused ends a command badly also when they did not go this
/// time: they are missing all the same.
pub(super) fn conclude(summary: &Summary, peer: &str) -> Outcome {
    let name = printable(peer);
    let ways = [
        Way {
            count: &summary.pulled,
            by: "here",
            place: "here",
            says: String::new(),
            trust: format!("thingdb peer add {name} @FILE, if they are of its node (at {name}: thingdb card > FILE)"),
        },
        Way {
            count: &summary.pushed,
            by: "by the peer",
            place: "there",
            says: format!("{name} says: "),
            trust: format!(
                "at {name}: thingdb peer add NAME @FILE, if they are of this node (here: thingdb card > FILE)"
            ),
        },
    ];
    let (mut facts, mut causes, mut hints) = (Vec::new(), Vec::new(), Vec::new());
    for way in ways.iter().filter(|way| way.count.refused() > 0) {
        way.tell(&mut facts, &mut causes, &mut hints);
    }
    let word = if facts.is_empty() { "waiting-entries" } else { "refused-entries" };
    let waiting = &summary.waiting;
    if waiting.entries > 0 {
        let wait = counted(waiting.entries, "entry waits", "entries wait");
        let missing = counted(waiting.waits_for.len() as u64, "entry that is not", "entries that are not");
        facts.push(format!("{wait} here for {missing} here"));
        causes.extend(
            waiting.waits_for.iter().take(MAX_SHOWN).map(|id| format!("{id} is not here, and {name} does not give it")),
        );
        hints.push("another peer may have what is waited for: thingdb pull OTHER".to_owned());
    }
    wait_there(summary, &name, &mut facts, &mut causes, &mut hints);
    if facts.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Partly, word, facts.join("; ")).causes(causes);
    Err(hints.into_iter().fold(failure, Failure::hint))
}

/// What entries at the peer wait for.
fn wait_there(
    summary: &Summary,
    name: &str,
    facts: &mut Vec<String>,
    causes: &mut Vec<String>,
    hints: &mut Vec<String>,
) {
    let there = &summary.waiting_there;
    if there.missing() == 0 {
        return;
    }
    let missing = counted(there.missing(), "entry that is not", "entries that are not");
    facts.push(format!("entries wait at {name} for {missing} there"));
    let short = |id: &ShortId| HEXLOWER.encode(id);
    let not_taken = there.not_taken.iter().map(|id| format!("{} is here, and {name} does not take it", short(id)));
    let nowhere = there.nowhere.iter().map(|id| format!("{} is neither at {name} nor here", short(id)));
    causes.extend(not_taken.take(MAX_SHOWN));
    causes.extend(nowhere.take(MAX_SHOWN));
    if !there.nowhere.is_empty() {
        hints.push(format!("another peer may have what is waited for: thingdb pull OTHER; then thingdb push {name}"));
    }
}

impl Way<'_> {
    fn tell(&self, facts: &mut Vec<String>, causes: &mut Vec<String>, hints: &mut Vec<String>) {
        let Self { count, by, place, says, trust } = self;
        let (now, still) = (&count.tally, count.still);
        if now.refused > 0 {
            facts.push(format!("{} refused {by}", counted(now.refused, "entry was", "entries were")));
        }
        if count.still_refused() > 0 {
            let entries = counted(count.still_refused(), "entry is", "entries are");
            facts.push(format!("{entries} still refused {place}"));
        }
        let id = |id: &Option<String>| {
            id.as_deref().map_or_else(String::new, |id| format!("{}: ", id.get(..12).unwrap_or(id)))
        };
        let reasons = now.reasons.iter().take(MAX_SHOWN);
        causes.extend(reasons.map(|reason| format!("{}{says}{}", id(&reason.id), reason.reason)));
        let kinds = now.kinds;
        let explained = kinds.permanent + kinds.version + kinds.passing;
        // What is not explained is taken for a matter of trust.
        if now.refused > explained || still.trust > 0 {
            hints.push(format!("{trust}; the same with the card of the node that wrote them, if that is another one"));
            hints.push("the next exchange offers them again then".to_owned());
        }
        if kinds.version > 0 || still.version > 0 {
            hints.push(format!("a newer version wrote some: install a newer thingdb {place}"));
        }
        if kinds.passing > 0 || still.passing > 0 {
            let from = count.again_at().map_or_else(String::new, |time| format!(", from {time} on"));
            causes.push(format!("what is refused for a time is offered again by itself{from}"));
        }
        if kinds.permanent > 0 || still.permanent > 0 {
            causes.push("what is refused for good is offered again with --all only".to_owned());
        }
    }
}
