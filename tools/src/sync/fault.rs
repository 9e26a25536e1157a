//! Why an exchange with a peer ends early.

use std::io;

use thingdb::{Conflict, Standing};

use crate::client::fault::Fault as ClientFault;

/// Why an exchange ends early, or is tried again.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The own database.
    Engine(thingdb::Error),
    /// The peer's server, or the way to it.
    Client(ClientFault),
    /// The peer showed two ledgers.
    Contradiction(Box<Conflict>),
    /// The peer remembers more of this node's ledger than is here.
    OwnRollback(Standing),
    /// The peer says that this node showed it two ledgers: the word for it.
    Accused(String),
}

/// What a step of an exchange gives.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    /// An answer that is not in the form that was expected.
    pub(crate) fn answer(problem: impl std::fmt::Display) -> Self {
        ClientFault::answer(problem).into()
    }

    /// Whoever answers is not the peer.
    pub(crate) fn wrong_peer(why: impl Into<String>) -> Self {
        ClientFault::WrongPeer(why.into()).into()
    }

    /// What the socket, or TLS over it, ran into.
    pub(crate) fn of_line(problem: &io::Error) -> Self {
        ClientFault::of_line(problem).into()
    }
}

impl From<thingdb::Error> for Fault {
    fn from(problem: thingdb::Error) -> Self {
        Self::Engine(problem)
    }
}

impl From<ClientFault> for Fault {
    fn from(fault: ClientFault) -> Self {
        Self::Client(fault)
    }
}
