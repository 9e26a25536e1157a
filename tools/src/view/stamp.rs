//! What a time-stamp authority says, as far as it holds.

use serde::Serialize;

use crate::timestamp::roots::Roots;
use crate::timestamp::token::Token;

/// What a token says, and whether it is believed: members of JSON.
#[derive(Serialize)]
pub(crate) struct Stamp {
    /// The time that it names, and the latest that it can mean.
    pub(crate) time: Option<String>,
    pub(crate) not_later_than: Option<String>,
    /// The subject of the certificate of its signer.
    pub(crate) authority: Option<String>,
    /// Whether that leads to a root that was given; nothing without roots.
    pub(crate) trusted: Option<bool>,
    /// What does not hold.
    pub(crate) problem: Option<String>,
}

impl Stamp {
    /// Of a token, or of what is wrong with it.
    pub(crate) fn new(token: Result<&Token, &String>, roots: Option<&Roots>) -> Self {
        let trust = token.ok().and_then(|token| roots.map(|roots| token.trusted_by(roots)));
        let of = |what: fn(&Token) -> String| token.ok().map(what);
        Self {
            time: of(|token| token.time.to_string()),
            not_later_than: of(|token| token.not_later_than.to_string()),
            authority: of(|token| token.authority.clone()),
            trusted: roots.map(|_| matches!(trust, Some(Ok(())))),
            problem: token.err().cloned().or_else(|| trust?.err()),
        }
    }
}
