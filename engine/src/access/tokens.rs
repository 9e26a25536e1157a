//! Tokens: what a client shows to the peer server, and what it allows.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use thingdb_format::{Origin, Time};

use crate::error::{Error, Result};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read things and entries, with their data.
    Read,
    /// Write entries, which the node's actor signs.
    Write,
    /// Take entries away as a stream, sealed as they are.
    Export,
    /// Bring entries that others signed.
    Import,
    /// Erase the content of entries, with a record that the node's actor signs. No other
    /// scope allows it.
    Erase,
    /// What concerns the server itself.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Export, Self::Import, Self::Erase, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Export => "export",
            Self::Import => "import",
            Self::Erase => "erase",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| Error::NoSuchScope { scope: text.into() })
    }
}

/// Names a token where its text must not stand: the first 4 bytes of its
/// SHA-256, in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub(super) [u8; 4]);

impl TokenId {
    pub(crate) const fn bytes(self) -> [u8; 4] {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it in logs.
    pub id: TokenId,
    /// The name under which it was made.
    pub name: String,
    /// What it allows; nothing if empty.
    pub scopes: BTreeSet<Scope>,
    /// Only for things whose id begins with this.
    pub things: String,
    /// The peer that it was made for: only that node may show it, and with it
    /// tell how its own ledger stands.
    pub node: Option<Origin>,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused.
    pub expires: Option<Time>,
    /// When it was shown last, to the minute if the process was killed.
    pub last_used: Option<Time>,
}

impl Token {
    /// Whether it allows this.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is for this thing.
    #[must_use]
    pub fn covers(&self, thing: &str) -> bool {
        thing.starts_with(&self.things)
    }

    /// Whether it is refused at `now` because its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a new token is to allow.
///
/// ```
/// use thingdb::{Scope, TokenRequest};
/// let request = TokenRequest::new("press-7").scope(Scope::Import).things("plant-3/");
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub(crate) name: String,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) things: String,
    pub(crate) peer: Option<String>,
    pub(crate) expires: Option<Time>,
}

impl TokenRequest {
    /// A token that allows nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), scopes: BTreeSet::new(), things: String::new(), peer: None, expires: None }
    }

    /// Allows this, too.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scopes.insert(scope);
        self
    }

    /// Only for things whose id begins with `prefix`.
    #[must_use]
    pub fn things(mut self, prefix: &str) -> Self {
        self.things = prefix.into();
        self
    }

    /// For the node of this peer, by the name that it has here.
    #[must_use]
    pub fn peer(mut self, peer: &str) -> Self {
        self.peer = Some(peer.into());
        self
    }

    /// Only until then.
    #[must_use]
    pub const fn expires(mut self, time: Time) -> Self {
        self.expires = Some(time);
        self
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// It was copied wrongly: its checksum does not hold.
    #[error("the token is not complete or was mistyped: its checksum does not hold")]
    Malformed,
    /// There is none like it, or no longer.
    #[error("the token is not known here, or was removed")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// A token of the prototype, whose text is its own.
pub(crate) struct Inherited {
    pub(crate) text: zeroize::Zeroizing<String>,
    pub(crate) name: String,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) expires: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_their_words() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        assert!("root".parse::<Scope>().unwrap_err().is_invalid_input());
    }
}
