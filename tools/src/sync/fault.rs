//! Why an exchange with a peer ends early.

use std::io;
use std::time::Duration;

use rustls::CertificateError;
use thingdb::{Conflict, Standing};

use super::pace::is_cancelled;

/// Why an exchange ends early, or is tried again.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The own database.
    Engine(thingdb::Error),
    /// The line broke or stalled. It is tried again.
    Line(String),
    /// The server has too much to do. It is tried again.
    Busy(String, Option<Duration>),
    /// Tried often enough.
    Unreachable {
        /// How often.
        tries: u32,
        /// What happened the last time.
        last: String,
    },
    /// Whoever answers is not the peer.
    WrongPeer(String),
    /// The token is refused, or allows something else.
    Token(String),
    /// The server refuses the request.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// The answer is not what it should be.
    Answer(String),
    /// The peer showed two ledgers.
    Contradiction(Box<Conflict>),
    /// The peer remembers more of this node's ledger than is here.
    OwnRollback(Standing),
    /// The peer says that this node showed it two ledgers: the word for it.
    Accused(String),
    /// Somebody wants it to end.
    Interrupted,
}

/// What a call to a peer gives.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    /// Whether the same may go well a moment later.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Line(_) | Self::Busy(..))
    }

    /// An answer that is not in the form that was expected.
    pub(crate) fn answer(problem: impl std::fmt::Display) -> Self {
        Self::Answer(problem.to_string())
    }

    /// What the socket, or TLS over it, ran into.
    pub(crate) fn of_line(problem: &io::Error) -> Self {
        if is_cancelled(problem) {
            return Self::Interrupted;
        }
        match problem.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            // Ours says which one it is; the others are the library's.
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => Self::WrongPeer(why.to_string()),
            Some(rustls::Error::InvalidCertificate(why)) => Self::WrongPeer(format!("its certificate: {why}")),
            Some(tls @ (rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_))) => {
                Self::WrongPeer(format!("it does not speak TLS 1.3: {tls}"))
            }
            _ => Self::Line(problem.to_string()),
        }
    }
}

impl From<thingdb::Error> for Fault {
    fn from(problem: thingdb::Error) -> Self {
        Self::Engine(problem)
    }
}
