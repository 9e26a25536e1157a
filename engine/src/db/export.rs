//! Streams of entries out of the database.

use std::io::Write;
use std::ops::{ControlFlow, Range};

use super::Db;
use crate::error::Result;
use crate::exchange::export::{self, ExportOptions, ExportSummary, Outgoing};

impl Db {
    /// Writes entries as a stream with a header and a trailer.
    /// Each entry can be opened by this node; whoever else gets the stream
    /// verifies everything and reads nothing, unless an entry has envelopes
    /// for them.
    ///
    /// # Errors
    /// [`Error::BeyondLedger`](crate::Error::BeyondLedger) if it should begin
    /// behind the ledger's end, with nothing written;
    /// [`Error::Stream`](crate::Error::Stream) if `out` fails,
    /// [`Error::is_damaged`](crate::Error::is_damaged) if an entry does not open,
    /// [`Error::Cancelled`](crate::Error::Cancelled); the stream ends without a
    /// trailer then.
    pub fn export(&self, options: ExportOptions<'_>, out: impl Write) -> Result<ExportSummary> {
        export::export(&self.node, options, out)
    }

    /// Refuses a position behind the ledger's end. The end itself is fine: it is
    /// where whoever has everything goes on. A later one is that of another
    /// ledger; to take it would leave out what is written until then.
    ///
    /// # Errors
    /// [`Error::BeyondLedger`](crate::Error::BeyondLedger).
    pub fn check_position(&self, position: u64) -> Result<()> {
        export::check_position(&self.node.store, position)
    }

    /// Gives the entries at these ledger positions as they leave this node:
    /// with their whole signature, the envelopes that they have, and one for
    /// this node itself, so that whoever keeps them keeps a backup. Goes on for
    /// as long as `act` says; positions behind the ledger's end are left out.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged) if an entry does not open;
    /// what `act` returns.
    pub fn outgoing(
        &self,
        positions: impl IntoIterator<Item = Range<u64>>,
        act: impl FnMut(Outgoing) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        export::outgoing(&self.node, positions, act)
    }
}
