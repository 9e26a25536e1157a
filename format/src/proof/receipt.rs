//! The line of a receipt, and what is told of it.

use serde::de::MapAccess;

use crate::Error;
use crate::erasure::receipt::SignedErasureReceipt;
use crate::json::{Members, Object, push_string, read_line};

/// What a node answered to an erasure record of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The receipt: the node whose key it names has signed it.
    pub receipt: SignedErasureReceipt,
    /// The name of that node on a card that the reader [gave](super::ProofCheck::trust), or
    /// its origin if that card has no name. Nothing if it is a key of which the reader
    /// knows nothing.
    pub name: Option<String>,
}

/// Appends the line, with its line feed.
pub(super) fn encode(receipt: &SignedErasureReceipt, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"receipt\":");
    push_string(out, receipt.as_str());
    out.extend_from_slice(b"}\n");
}

/// Reads the line, and checks the signature.
pub(super) fn decode(line: &[u8], number: u64) -> Result<SignedErasureReceipt, Error> {
    read_line::<WireReceipt>(line, number)
}

struct WireReceipt;

impl Object for WireReceipt {
    const NAME: &'static str = "receipt";
    const MEMBERS: &'static [&'static str] = &["receipt"];
    type Value = SignedErasureReceipt;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<SignedErasureReceipt, A::Error> {
        let mut receipt = None;
        while let Some(name) = members.next()? {
            members.text(name, &mut receipt, SignedErasureReceipt::parse)?;
        }
        members.need("receipt", receipt)
    }
}
