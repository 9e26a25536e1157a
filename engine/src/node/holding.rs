//! Holds: nothing of a thing is erased until it is released.

use thingdb_format::ThingId;

use super::Node;
use crate::error::Result;
use crate::storage::Batch;
use crate::store::holds::HoldRow;

impl Node {
    /// Puts a hold on a thing, or ends it, durably. Records that waited for that are due
    /// then. The hold that there was.
    pub(crate) fn set_hold(&self, thing: &ThingId, hold: Option<HoldRow>) -> Result<Option<HoldRow>> {
        let before = {
            // None is being carried out meanwhile.
            let _erasing = self.erasing.lock().expect("no thread panics while it erases");
            let tag = self.store.tag(thing);
            let before = self.store.hold_of(&tag);
            let mut rows = Batch::new();
            self.store.put_hold(&tag, hold.as_ref(), &mut rows);
            self.rows(rows)?;
            self.sync()?;
            self.store.note_hold(tag, hold);
            self.store.erasures.make_due_again();
            before
        };
        self.finish_erasures()?;
        Ok(before)
    }
}
