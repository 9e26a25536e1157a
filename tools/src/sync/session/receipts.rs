//! Receipts for erasures go both ways when the entries have gone: who took a record in has
//! answered it by then.

use thingdb::Cursors;

use super::exchange::Session;
use super::greeting::Greeting;
use crate::sync::fault::{Fault, Outcome};
use crate::sync::receipts;
use crate::sync::wire::Receipts;

/// Questions for receipts in one exchange: a million receipts.
const MOST_PAGES: u64 = 4096;

impl Session<'_> {
    /// Gives the peer the receipts that came here since the last time, and takes those that
    /// came there. If neither side has any, nothing goes over the line.
    pub(super) fn exchange_receipts(&mut self, greeting: &Greeting, cursors: &mut Cursors) -> Outcome {
        let newest = self.db.receipts_revision();
        if (newest == 0 && greeting.receipts == 0) || !self.db.is_writable() {
            return Ok(());
        }
        // What was passed over because nobody knew its node may be kept now.
        if std::mem::replace(&mut cursors.receipts_trust_here, self.refused_here.trust) != self.refused_here.trust
            || cursors.pulled_receipts > greeting.receipts
        {
            cursors.pulled_receipts = 0;
        }
        if std::mem::replace(&mut cursors.receipts_trust_there, self.refused_there.trust) != self.refused_there.trust
            || cursors.pushed_receipts > newest
        {
            cursors.pushed_receipts = 0;
        }
        // What it has taken in meanwhile it has answered meanwhile.
        let may_have_more = self.summary.pushed.tally.added > 0 || greeting.receipts > cursors.pulled_receipts;
        if !may_have_more && newest == cursors.pushed_receipts {
            return Ok(());
        }
        let own = self.db.origin();
        let (mut pulled, mut pushed) = (cursors.pulled_receipts, cursors.pushed_receipts);
        let (mut unknown_here, mut unknown_there, mut pages) = (0_u64, 0_u64, 0_u64);
        loop {
            let given = self.db.receipts_since(&self.origin, pushed, &self.prefix)?;
            let sent = Receipts { receipts: given.receipts.iter().map(ToString::to_string).collect() };
            let answer = self.remote.receipts(&self.prefix, &own, pulled, &sent)?;
            if answer.revision < pulled || (answer.more && answer.revision == pulled) {
                return Err(Fault::answer("receipts that were not asked for"));
            }
            let taken = receipts::take(self.db, &answer.receipts)?;
            self.summary.receipts = self.summary.receipts.saturating_add(taken.kept);
            unknown_here = unknown_here.saturating_add(taken.unknown);
            unknown_there = unknown_there.saturating_add(answer.unknown);
            pages = pages.saturating_add(1);
            if pages > MOST_PAGES {
                return Err(Fault::answer("receipts without an end"));
            }
            (pulled, pushed) = (answer.revision, given.revision);
            if !answer.more && !given.more {
                break;
            }
        }
        // Those whose record is to come yet are offered once more, as long as they are few.
        let goes_on = |unknown: u64| unknown == 0 || pages > 1;
        if goes_on(unknown_here) {
            cursors.pulled_receipts = pulled;
        }
        if goes_on(unknown_there) {
            cursors.pushed_receipts = pushed;
        }
        Ok(())
    }
}
