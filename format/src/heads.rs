//! The heads of all things: what a node signs of them, and how one thing's place
//! among them is shown.
//!
//! ```text
//! map ──── a Merkle map: key of a thing → how many entries it has, and its heads
//!   │        one root for one set of entries, in whatever order they came
//! note ─── thingdb.heads/<origin>, ledger size, map root, ledger root; signed
//!   │
//! path ─── from the place of one thing to the root: it is there, with these heads,
//!          or it is not there
//! ```
//!
//! Links show that nothing is missing below a head. That there is no other head, and
//! that there is no such thing, only this shows. The normative text is the section
//! "Heads" of `docs/format.md`.

mod map;
mod note;
mod path;

pub use map::{LEAF_DEPTH, bit, empty, inner, key, leaf, subtree, value, way};
pub use note::{HeadsNote, SignedHeads};
pub use path::{HeadsProof, Other, Place, Sibling};
pub(crate) use path::{MAX_PATH_BYTES, path_bytes, read_path};

#[cfg(test)]
mod tests;
