//! How an exchange that ends early is told.

use thingdb::Standing;

use crate::client::fault::Fault as ClientFault;
use crate::error::{Exit, Failure, NEWER_VERSION};
use crate::sync::fault::Fault;
use crate::text::{counted, printable};
use crate::view::whole::contradiction;

/// What a fault is to a person.
pub(super) fn failure(fault: Fault, peer: &str, url: &str) -> Failure {
    let name = printable(peer);
    match fault {
        Fault::Engine(problem) => problem.into(),
        Fault::Client(fault) => unanswered(fault, peer, url),
        Fault::Contradiction(conflict) => contradiction(&conflict, peer),
        Fault::OwnRollback(standing) => {
            let (word, fact) = match standing {
                Standing::Truncated { expected, found } => (
                    "rolled-back",
                    format!("this ledger was set back: {name} has seen {expected} entries of it, here are {found}"),
                ),
                _ => ("split-view", format!("this ledger is not the one that {name} has seen, or what it became")),
            };
            Failure::new(Exit::NotVerified, word, fact)
                .cause("an older copy of the directory was put back, or a second copy was written to")
                .hint("find the newer copy of the database, or go on under a new key: thingdb new-node-key --yes")
        }
        Fault::Accused(word) => Failure::new(
            Exit::NotVerified,
            "accused",
            format!("{name} holds two checkpoints of this node that contradict each other ({word})"),
        )
        .hint(format!("its people can look at them; at {name}: thingdb peer forget-checkpoint NAME")),
    }
}

/// What it is to a person that a question is not answered.
pub(super) fn unanswered(fault: ClientFault, peer: &str, url: &str) -> Failure {
    let name = printable(peer);
    let cut_off = |why: String| {
        Failure::new(Exit::Unreachable, "unreachable", format!("{name} cannot be reached at {url}")).cause(why)
    };
    let bad_token = |why: String| {
        Failure::new(Exit::TokenRefused, "token-refused", format!("{name} refuses the token"))
            .cause(why)
            .hint(format!("thingdb peer set {name} --token-file FILE"))
    };
    match fault {
        ClientFault::Line(last) => cut_off(last),
        ClientFault::Busy(refusal) if refusal.is_of_full_disk() => {
            Failure::new(Exit::DiskFull, "disk-full", format!("the disk of {name} is full"))
                .cause(refusal.detail)
                .hint("what arrived is stored; run it again when there is room at its side")
        }
        ClientFault::Busy(refusal) => cut_off(refusal.detail),
        ClientFault::Unreachable { tries, last } => {
            cut_off(format!("{}; the last: {last}", counted(u64::from(tries), "try", "tries")))
                .hint("run it again later: what arrived is stored, and is not sent again")
        }
        ClientFault::WrongPeer(why) => {
            Failure::new(Exit::Unreachable, "wrong-peer", format!("whoever answers at {url} is not {name}"))
                .cause(why)
                .hint(format!("if its certificate is new: get its card by another way, thingdb peer add {name} @FILE"))
        }
        ClientFault::Token(why) => bad_token(why),
        ClientFault::Refused(refusal) if refusal.is_of_token() => {
            let said = refusal.hint.map(|hint| format!("{name} says: {hint}"));
            bad_token(refusal.detail).causes(said)
        }
        ClientFault::Refused(refusal) if refusal.code == NEWER_VERSION => {
            let fact = format!("{name} runs an older version than wrote what was sent: {}", refusal.detail);
            Failure::new(Exit::NewerVersion, NEWER_VERSION, fact).hint(format!("install a newer thingdb at {name}"))
        }
        ClientFault::Refused(refusal) => {
            let word = format!("{} {}", refusal.status, refusal.code);
            let fact = format!("{name} refuses the request ({}): {}", word.trim_end(), refusal.detail);
            Failure::new(Exit::Unexpected, "refused", fact).causes(refusal.hint.map(|hint| format!("it says: {hint}")))
        }
        ClientFault::Answer(why) => {
            Failure::new(Exit::Unexpected, "bad-answer", format!("{name} answers what cannot be: {why}"))
        }
        ClientFault::Newer(why) => {
            let fact = format!("a newer version wrote what {name} sends: {why}");
            Failure::newer(fact)
        }
        ClientFault::Interrupted => {
            Failure::new(Exit::Interrupted, "interrupted", "stopped; what arrived is stored, on both sides")
                .hint("run the same command again: it goes on where it ended")
        }
    }
}
