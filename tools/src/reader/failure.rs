//! What it is to a person that a server does not answer as it should.

use crate::client::fault::Fault;
use crate::client::refusal::Refusal;
use crate::error::{Exit, Failure};
use crate::text::{counted, shorten};

/// Characters of what is wrong with an answer that are told: it may name parts
/// of it.
const MAX_TOLD: usize = 1000;

/// What helps if nobody answers.
const NO_SERVER: &str =
    "at the other side: thingdb serve --listen ADDR:PORT; its port stands in --url https://HOST:PORT";

/// What helps if TLS answers where there should be none.
const SPEAKS_TLS: &str = "a server that speaks TLS is read with https://: --url https://HOST:PORT --card FILE";

/// What helps if a newer version wrote what came.
const NEWER: &str = "install a newer thingdb; thingdb --version";

/// What helps if there is no good token.
const NEW_TOKEN: &str = "thingdb token new --name NAME --scope read";

/// What it is to a person that a server does not answer as it should.
pub(super) fn failure(fault: Fault, url: &str) -> Failure {
    let unreachable =
        |why: String| Failure::new(Exit::Unreachable, "unreachable", format!("{url} cannot be reached")).cause(why);
    let asks_for_tls = url.starts_with("http://") && fault.is_no_http();
    match fault {
        Fault::Line(last) => unreachable(last).hint(NO_SERVER),
        Fault::Busy(refusal) => unreachable(refusal.detail),
        Fault::Unreachable { tries, last } => {
            unreachable(format!("{}; the last: {last}", counted(u64::from(tries), "try", "tries"))).hint(NO_SERVER)
        }
        Fault::WrongPeer(why) => {
            Failure::new(Exit::Unreachable, "wrong-peer", format!("whoever answers at {url} is not who was pinned"))
                .cause(why)
                .hint("if its certificate is new: get its card by another way (thingdb card), then --card FILE")
        }
        Fault::Token(why) => Failure::new(Exit::TokenRefused, "token-refused", "this cannot be a token".to_owned())
            .cause(why)
            .hint(there(NEW_TOKEN)),
        Fault::Refused(refusal) => refused(*refusal, url),
        Fault::Answer(why) => {
            let why = shorten(&why, MAX_TOLD);
            let failure = Failure::new(Exit::Unexpected, "bad-answer", format!("{url} answers what cannot be: {why}"));
            if asks_for_tls { failure.hint(SPEAKS_TLS) } else { failure }
        }
        Fault::Newer(why) => {
            let fact = format!("a newer version wrote what {url} sends: {}", shorten(&why, MAX_TOLD));
            Failure::new(Exit::NewerVersion, "newer-version", fact).hint(NEWER)
        }
        Fault::Interrupted => Failure::new(Exit::Interrupted, "interrupted", "stopped"),
    }
}

/// What a server refuses, in the words that a database here would use.
fn refused(refusal: Refusal, url: &str) -> Failure {
    let is_of_token = refusal.is_of_token();
    let failure = match (refusal.status, refusal.code.as_str()) {
        _ if is_of_token => {
            Failure::new(Exit::TokenRefused, "token-refused", format!("{url} refuses the token")).cause(refusal.detail)
        }
        (_, "not-found") => Failure::not_found(refusal.detail),
        (_, "usage") => Failure::usage(refusal.detail),
        (_, word @ ("rolled-back" | "not-verified")) => {
            Failure::new(Exit::NotVerified, word.to_owned(), refusal.detail)
        }
        (_, "invalid-input") => Failure::new(Exit::Usage, "invalid-input", refusal.detail),
        (status, _) => {
            let fact = format!("{url} refuses the request ({status}): {}", refusal.detail);
            Failure::new(Exit::Unexpected, "refused", fact)
        }
    };
    match refusal.hint {
        Some(hint) if refusal.status != 404 => failure.hint(there(&hint)),
        None if is_of_token => failure.hint(there(NEW_TOKEN)),
        _ => failure,
    }
}

/// A hint of a server: a command in it is one for the server's own side.
fn there(hint: &str) -> String {
    if hint.starts_with("thingdb ") { format!("at the other side: {hint}") } else { hint.to_owned() }
}
