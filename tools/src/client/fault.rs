//! Why a server does not answer, or not what was asked for.

use std::io;

use rustls::CertificateError;

use super::pace::is_cancelled;
use super::refusal::Refusal;

/// How the fault of an answer begins that is not in the form of HTTP at all.
const NO_HTTP: &str = "this is no HTTP/1.1";

/// Why a question is not answered, or is asked again.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The line broke or stalled. It is tried again.
    Line(String),
    /// The server has too much to do. It is tried again.
    Busy(Box<Refusal>),
    /// Tried often enough.
    Unreachable {
        /// How often.
        tries: u32,
        /// What happened the last time.
        last: String,
    },
    /// Whoever answers is not who was pinned.
    WrongPeer(String),
    /// The token cannot be right, or is for something else.
    Token(String),
    /// The server refuses the request.
    Refused(Box<Refusal>),
    /// The answer is not what it should be.
    Answer(String),
    /// A newer version wrote what came.
    Newer(String),
    /// Somebody wants it to end.
    Interrupted,
}

/// A newer version wrote what came over a line, as the error of a line.
#[derive(Debug)]
pub(crate) struct NewerVersion(pub(crate) String);

impl std::fmt::Display for NewerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NewerVersion {}

/// What a question to a server gives.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    /// Whether the same may go well a moment later.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Line(_) | Self::Busy(_))
    }

    /// An answer that is not in the form that was expected.
    pub(crate) fn answer(problem: impl std::fmt::Display) -> Self {
        Self::Answer(problem.to_string())
    }

    /// Whether what came is not even HTTP, as when the server speaks TLS and was
    /// asked without.
    pub(crate) fn is_no_http(&self) -> bool {
        matches!(self, Self::Answer(why) if why.starts_with(NO_HTTP))
    }

    /// What the socket, or TLS over it, ran into.
    pub(crate) fn of_line(problem: &io::Error) -> Self {
        if is_cancelled(problem) {
            return Self::Interrupted;
        }
        if let Some(newer) = problem.get_ref().and_then(|inner| inner.downcast_ref::<NewerVersion>()) {
            return Self::Newer(newer.to_string());
        }
        // What the library says of the framing comes through a body like this.
        if let Some(problem) = problem.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            return Self::answer(problem);
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

    /// What asking over HTTP ran into.
    pub(super) fn of_http(problem: ureq::Error) -> Self {
        match problem {
            ureq::Error::Io(problem) => Self::of_line(&problem),
            problem @ (ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => Self::Line(problem.to_string()),
            problem @ ureq::Error::Protocol(_) => Self::Answer(format!("{NO_HTTP}: {problem}")),
            problem => Self::answer(problem),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let is_passing = refusal.is_passing();
        let refusal = Box::new(refusal);
        if is_passing { Self::Busy(refusal) } else { Self::Refused(refusal) }
    }
}
