//! What can be asked, who may ask it, and what is answered: the words of the
//! table of routes.

use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use thingdb::Scope;

use super::call::{Answer, Call};

/// Something that can be asked.
pub(crate) struct Route {
    /// The method.
    pub(crate) method: Method,
    /// The path; `{id}` stands for one part of it, percent-encoded.
    pub(crate) path: &'static str,
    /// What a token must allow.
    pub(crate) needs: Needs,
    /// A name for logs, metrics and the description.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What stands in for `{id}`, if the path has it.
    pub(crate) id: Option<Id>,
    /// What the query may say.
    pub(crate) query: &'static [Parameter],
    /// Headers that matter.
    pub(crate) headers: &'static [Parameter],
    /// Media types that the body may have; none for no body.
    pub(crate) body: &'static [Content],
    /// What is answered when it goes well.
    pub(crate) answers: &'static [Reply],
    /// Statuses of problems beyond those that any route may answer.
    pub(crate) problems: &'static [u16],
    /// Who does it.
    pub(crate) handler: Handler,
}

/// Does what is asked.
pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a route asks of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// There need not be one.
    Nothing,
    /// None: what is sent is signed. Each address may ask as often as a token may.
    Signature,
    /// Any that holds.
    Token,
    /// One with this scope.
    Scope(Scope),
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    /// A thing.
    Thing,
    /// An entry.
    Entry,
    /// The name of a ledger, by its hash.
    Ledger,
}

/// Something in the query or a header.
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) kind: Kind,
    /// What it says.
    pub(crate) about: &'static str,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A number from 0 to this.
    Number(u64),
    /// A number from 1 to this.
    Count(u64),
    /// `true` or `false`.
    Flag,
}

/// A media type and the shape of what it holds.
pub(crate) struct Content(pub(crate) &'static str, pub(crate) Shape);

/// What is answered.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// What it means.
    pub(crate) about: &'static str,
    /// In which forms; none for no body.
    pub(crate) content: &'static [Content],
}

/// The shape of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// This schema.
    One(&'static str),
    /// An array of this schema.
    Many(&'static str),
    /// Text whose lines are of this schema, or anything.
    Text,
    /// Any JSON.
    Any,
    /// Bytes.
    Bytes,
}

/// The greatest page.
pub(crate) const MAX_PAGE: u64 = 1000;

/// The greatest seq and position: clients know no greater numbers for certain.
pub(crate) const MAX_NUMBER: u64 = i64::MAX as u64;

/// The longest wait for new entries, in seconds.
pub(crate) const MAX_WAIT: u64 = 300;

/// A value of the table cannot be built by a function of its own kind, so
/// handlers are named through this.
macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

pub(crate) use handler;
