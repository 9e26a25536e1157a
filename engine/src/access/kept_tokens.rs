//! Tokens in the keyring: the SHA-256 of each text, and what it allows.

use bincode::{Decode, Encode};
use thingdb_format::{MAX_NAME_BYTES, Origin, Time};

use super::tokens::{Token, TokenId};
use crate::encoding;
use crate::error::{Error, Result};
use crate::keyring::{Keyring, MAX_TOKENS};

const RECORD: &str = "tokens";

/// A token as the keyring holds it.
#[derive(Clone, Encode, Decode)]
pub(crate) struct StoredToken {
    pub(crate) hash: [u8; 32],
    pub(crate) name: String,
    /// As words: a scope that this program does not know allows nothing.
    pub(crate) scopes: Vec<String>,
    pub(crate) things: String,
    pub(crate) created: u64,
    pub(crate) expires: Option<u64>,
    pub(crate) node: Option<[u8; 16]>,
}

/// The same as it was before tokens named nodes.
#[derive(Decode)]
struct EarlierToken {
    hash: [u8; 32],
    name: String,
    scopes: Vec<String>,
    things: String,
    created: u64,
    expires: Option<u64>,
}

impl From<EarlierToken> for StoredToken {
    fn from(earlier: EarlierToken) -> Self {
        let EarlierToken { hash, name, scopes, things, created, expires } = earlier;
        Self { hash, name, scopes, things, created, expires, node: None }
    }
}

impl StoredToken {
    /// What is known of it.
    pub(crate) fn token(&self) -> Result<Token> {
        let [a, b, c, d, ..] = self.hash;
        Ok(Token {
            id: TokenId([a, b, c, d]),
            name: self.name.clone(),
            scopes: self.scopes.iter().filter_map(|word| word.parse().ok()).collect(),
            things: self.things.clone(),
            node: self.node.map(Origin),
            created: Time::from_micros(self.created)?,
            expires: self.expires.map(Time::from_micros).transpose()?,
            last_used: None,
        })
    }
}

pub(crate) fn load(keyring: &Keyring) -> Result<Vec<StoredToken>> {
    let Some(record) = keyring.record(RECORD) else { return Ok(Vec::new()) };
    let earlier = || encoding::decode::<Vec<EarlierToken>>(record).ok();
    encoding::decode(record)
        .or_else(|problem| earlier().map(|list| list.into_iter().map(StoredToken::from).collect()).ok_or(problem))
        .map_err(|problem| Error::damaged("the list of tokens in the keyring", problem))
}

fn put(keyring: &mut Keyring, stored: &Vec<StoredToken>) -> Result<()> {
    Ok(keyring.put_record(RECORD, encoding::encode(stored), &mut rand::rng())?)
}

/// Adds a token.
pub(crate) fn add(keyring: &mut Keyring, new: StoredToken) -> Result<()> {
    let length = new.name.len();
    if length == 0 || length > MAX_NAME_BYTES {
        let (field, least, most) = ("length of the token's name", 1, MAX_NAME_BYTES as u64);
        return Err(thingdb_format::Error::OutOfRange { field, found: length as u64, least, most }.into());
    }
    let mut stored = load(keyring)?;
    if stored.iter().any(|token| token.name == new.name) {
        return Err(Error::TokenExists { name: new.name });
    }
    if stored.len() >= MAX_TOKENS {
        return Err(Error::TooManyTokens);
    }
    stored.push(new);
    put(keyring, &stored)
}

/// Takes the token with this name out. Whether there was one.
pub(crate) fn remove(keyring: &mut Keyring, name: &str) -> Result<bool> {
    let mut stored = load(keyring)?;
    let before = stored.len();
    stored.retain(|token| token.name != name);
    if stored.len() == before {
        return Ok(false);
    }
    put(keyring, &stored)?;
    Ok(true)
}

/// Takes the tokens that were made for a node out of the keyring.
pub(crate) fn take_of_node(keyring: &mut Keyring, node: &Origin) -> Result<Vec<Token>> {
    let stored = load(keyring)?;
    let (ended, left): (Vec<_>, Vec<_>) = stored.into_iter().partition(|token| token.node == Some(node.0));
    if !ended.is_empty() {
        put(keyring, &left)?;
    }
    ended.iter().map(StoredToken::token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_before_tokens_named_nodes_is_read() {
        #[derive(Encode)]
        struct Written([u8; 32], &'static str, Vec<String>, &'static str, u64, Option<u64>);
        for count in 1..9_u8 {
            let written = |n| Written([n; 32], "press", vec!["read".to_owned()], "", 1_700_000_000_000_000, None);
            let record = encoding::encode(&(0..count).map(written).collect::<Vec<_>>());
            assert!(encoding::decode::<Vec<StoredToken>>(&record).is_err());
            let earlier: Vec<EarlierToken> = encoding::decode(&record).unwrap();
            let read = StoredToken::from(earlier.into_iter().next_back().unwrap()).token().unwrap();
            assert_eq!((read.id, read.node), (TokenId([count - 1; 4]), None));
        }
    }
}
