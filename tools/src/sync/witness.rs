//! Asking a witness for its cosignature (c2sp.org/tlog-witness).

use thingdb::format::AddCheckpoint;
use thingdb::{Hash, SignedCheckpoint, Witness};

use crate::client::Client;
use crate::client::address::{Address, with_path};
use crate::client::fault::Fault;
use crate::client::pace::Pace;
use crate::client::question::Question;

/// A cosignature is a line.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Tries at one witness.
const TRIES: u32 = 3;

/// How often it may know another size than the one that was named: when somebody
/// else asks for the same ledger at the same time.
const SIZES: u32 = 4;

/// The address of a witness and the path before its answers, of its submission
/// prefix.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn place(url: &str) -> Result<(Address, String), &'static str> {
    let (head, path) = with_path(url)?;
    Ok((Address::of_url(head)?, path.trim_end_matches('/').to_owned()))
}

/// Has a checkpoint cosigned by a witness, and gives the note with what it says.
/// `known` is the size that it cosigned last, as far as one knows; `prove` gives the
/// consistency proof from a size to that of the note.
///
/// # Errors
/// Why there is no cosignature.
pub(crate) fn ask(
    witness: &Witness,
    note: &SignedCheckpoint,
    known: u64,
    prove: &mut dyn FnMut(u64) -> Result<Vec<Hash>, String>,
    pace: Pace,
) -> Result<SignedCheckpoint, String> {
    let (address, path) = place(&witness.url)?;
    let mut client = Client::without_token(address, witness.tls, pace, TRIES).map_err(|fault| told(&fault))?;
    let size = note.claimed().size;
    let mut old = known;
    for _ in 0..SIZES {
        if old > size {
            return Err(format!("it knows a ledger of {old} entries, and this one has {size}"));
        }
        let proof = if old == 0 { Vec::new() } else { prove(old)? };
        let body = AddCheckpoint { old, proof, checkpoint: note.clone() }.to_string();
        let question = Question::post(format!("{path}/add-checkpoint"), "text/plain");
        match client.bytes(&question.body(body.as_bytes()).at_most(MAX_ANSWER_BYTES)) {
            Ok(lines) => {
                let lines = String::from_utf8(lines).map_err(|_| "an answer that is no text".to_owned())?;
                let cosigned = note.with_signatures(&lines).map_err(|problem| problem.to_string())?;
                return match cosigned.cosigned_by(&witness.vkey) {
                    Ok(Some(_)) => Ok(cosigned),
                    Ok(None) => Err("its answer is not signed with the key by which it is known".to_owned()),
                    Err(problem) => Err(problem.to_string()),
                };
            }
            Err(Fault::Refused(refusal)) if refusal.log_size.is_some() => old = refusal.log_size.unwrap_or_default(),
            Err(fault) => return Err(told(&fault)),
        }
    }
    Err("it knows another size each time".to_owned())
}

pub(super) fn told(fault: &Fault) -> String {
    match fault {
        Fault::Line(why) | Fault::WrongPeer(why) | Fault::Token(why) => why.clone(),
        Fault::Unreachable { last, .. } => last.clone(),
        Fault::Refused(refusal) | Fault::Busy(refusal) => refusal.detail.clone(),
        _ => "no answer that can be understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_submission_prefix_is_kept() {
        for (url, host, path) in [
            ("https://witness.example", "https://witness.example:443", ""),
            ("https://witness.example/", "https://witness.example:443", ""),
            ("https://hall:5001/witness", "https://hall:5001", "/witness"),
            ("http://127.0.0.1:8080/a/b/", "http://127.0.0.1:8080", "/a/b"),
        ] {
            let (address, found) = place(url).unwrap();
            assert_eq!((address.to_string().as_str(), found.as_str()), (host, path));
        }
        for bad in
            ["witness.example/x", "ftp://x/y", "https://x/y z", "https://x/y?z", "http://10.0.0.1/", "https:///x"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
