//! Asking a time-stamp authority (RFC 3161) over HTTP.

use thingdb::Hash;
use thingdb::format::timestamp::MAX_TOKEN_BYTES;

use super::witness::told;
use crate::client::Client;
use crate::client::address::{Address, with_path};
use crate::client::pace::Pace;
use crate::client::question::Question;
use crate::timestamp::request::{self, QUERY, REPLY};
use crate::timestamp::token::Token;

/// A token with what stands around it. It says its own length, so one that is cut shows.
const MAX_ANSWER_BYTES: usize = MAX_TOKEN_BYTES + 4096;

/// Tries at one authority.
const TRIES: u32 = 3;

/// The address of an authority, and the path at which it answers.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn place(url: &str) -> Result<(Address, String), &'static str> {
    let (head, path) = with_path(url)?;
    Ok((Address::of_open_url(head)?, if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
}

/// Has an imprint stamped. The token is an answer to this request, and its signature
/// is good; whose it is, is for the caller to see.
///
/// # Errors
/// Why there is none.
pub(crate) fn ask(address: Address, path: String, imprint: &Hash, pace: Pace) -> Result<(Vec<u8>, Token), String> {
    let nonce = rand::random();
    let mut client = Client::without_token(address, None, pace, TRIES).map_err(|fault| told(&fault))?;
    let body = request::encode(imprint, nonce);
    let question =
        Question::post(path, QUERY).header("accept", REPLY).body(&body).at_most(MAX_ANSWER_BYTES).old_fashioned();
    let answer = client.bytes(&question).map_err(|fault| told(&fault))?;
    let bytes = request::token(&answer)?;
    let token = Token::of(&bytes, imprint)?;
    if !token.answers(nonce) {
        return Err("its token is the answer to another request".to_owned());
    }
    Ok((bytes, token))
}
