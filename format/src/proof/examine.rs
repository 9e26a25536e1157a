//! A line of a proof file, looked at by itself.

use super::wire::Kind;
use super::{ProofEnd, ProofEntry, ProofHeader};
use crate::audit::Memos;
use crate::stream::hash_of_line;
use crate::{Body, EntryId, Error, Hash, Header, payload};

/// What a proof file has of the content of an entry.
#[derive(Debug)]
pub enum Content {
    /// It is here, and opened with the key that stands beside it.
    Shown(Body),
    /// The payload is here and whole, and no key to it.
    Sealed,
    /// Only the header is here: the content exists elsewhere.
    Withheld,
}

impl Content {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Shown(_) => "shown",
            Self::Sealed => "sealed",
            Self::Withheld => "withheld",
        }
    }
}

/// A line, looked at by itself, in any thread. [`ProofCheck`](super::ProofCheck)
/// takes it.
#[derive(Debug)]
pub struct ProofLine {
    pub(super) number: u64,
    pub(super) hash: Hash,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Blank,
    Header(Box<ProofHeader>),
    Entry(Box<Examined>),
    End(ProofEnd),
    Unread { is_entry: bool, has_line_end: bool, problem: Error },
}

/// An entry whose line could be read.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) place: u64,
    pub(super) gap: Vec<Hash>,
    pub(super) id: EntryId,
    pub(super) header: Header,
    pub(super) content: Content,
    /// Why the entry is not good.
    pub(super) problem: Option<Error>,
}

/// Looks at a line, with or without its line end; `number` is its place in the
/// file, from 1. The signature of an entry is verified, its payload opened if
/// the key is there.
#[must_use]
pub fn examine(line: &[u8], number: u64, memos: &mut Memos) -> ProofLine {
    let kind = Kind::of(line);
    let what = match kind {
        Kind::Blank => Ok(What::Blank),
        Kind::Header => ProofHeader::decode(line, number).map(|header| What::Header(Box::new(header))),
        Kind::Entry => {
            ProofEntry::decode(line, number).map(|entry| What::Entry(Box::new(examine_entry(entry, number, memos))))
        }
        Kind::End => ProofEnd::decode(line, number).map(What::End),
    };
    let what = what.unwrap_or_else(|problem| What::Unread {
        is_entry: kind == Kind::Entry,
        has_line_end: line.ends_with(b"\n"),
        problem,
    });
    ProofLine { number, hash: hash_of_line(line), what }
}

fn examine_entry(line: ProofEntry, number: u64, memos: &mut Memos) -> Examined {
    let ProofEntry { place, gap, cek, mut entry } = line;
    let (id, header) = (entry.id(), entry.header.clone());
    // What is signed is the header.
    let payload = entry.payload.take();
    let mut problem = memos.verify(entry).err();
    let content = match (payload, cek) {
        (None, _) => Content::Withheld,
        (Some(_), None) => Content::Sealed,
        (Some(bytes), Some(cek)) => match payload::open(&header, &cek, &bytes) {
            Ok(body) => Content::Shown(body),
            Err(found) => {
                problem.get_or_insert(found);
                Content::Sealed
            }
        },
    };
    let problem = problem.map(|problem| Error::Line { line: number, column: 1, problem: Box::new(problem) });
    Examined { place, gap, id, header, content, problem }
}
