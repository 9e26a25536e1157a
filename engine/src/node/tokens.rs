//! The tokens of an open database, as each request is compared with them. When
//! one was used last stands in a sealed row, written now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use subtle::ConstantTimeEq;
use thingdb_format::Time;

use super::Node;
use crate::access::kept_tokens::{self, StoredToken};
use crate::access::peers;
use crate::access::token_text::{self, MAX_TEXT_BYTES, TokenText};
use crate::access::tokens::{Inherited, Token, TokenRefusal, TokenRequest};
use crate::clock::unix_now;
use crate::encoding;
use crate::error::Result;
use crate::keyring::Keyring;
use crate::storage::Batch;
use crate::store::Store;
use crate::store::schema;

/// How old the row that tells of the last use may get, in µs.
const LAST_USE_EVERY: u64 = 60_000_000;

/// A token as requests are compared with it.
struct Held {
    hash: [u8; 32],
    token: Token,
    /// 0 if it was never used.
    last_used: AtomicU64,
}

/// The tokens of an open database. Who changes them holds the keyring.
pub(crate) struct Tokens {
    held: RwLock<Vec<Held>>,
    /// When the row of last uses was written.
    written: AtomicU64,
}

impl Tokens {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let stored = kept_tokens::load(&store.keyring())?;
        let last_used = load_last_used(store);
        let held = stored
            .into_iter()
            .map(|stored| {
                let last = last_used.iter().find(|(hash, _)| *hash == stored.hash).map_or(0, |(_, time)| *time);
                Ok(Held { hash: stored.hash, token: stored.token()?, last_used: AtomicU64::new(last) })
            })
            .collect::<Result<_>>()?;
        Ok(Self { held: RwLock::new(held), written: AtomicU64::new(unix_now().micros()) })
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Held>> {
        self.held.read().expect("no thread panics while it holds the tokens")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Held>> {
        self.held.write().expect("no thread panics while it holds the tokens")
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn all(&self) -> Vec<Token> {
        let held = self.read();
        held.iter()
            .map(|held| {
                let last_used = held.last_used.load(Ordering::Relaxed);
                let last_used = (last_used > 0).then(|| Time::from_micros(last_used).ok()).flatten();
                Token { last_used, ..held.token.clone() }
            })
            .collect()
    }

    /// Those that were taken out of the keyring are refused from now on.
    pub(crate) fn end(&self, ended: &[Token]) {
        let is_ended =
            |held: &Held| ended.iter().any(|token| token.id == held.token.id && token.name == held.token.name);
        self.write().retain(|held| !is_ended(held));
    }

    fn last_used_row(&self, store: &Store) -> Batch {
        let uses: Vec<([u8; 32], u64)> = self
            .read()
            .iter()
            .map(|held| (held.hash, held.last_used.load(Ordering::Relaxed)))
            .filter(|(_, time)| *time > 0)
            .collect();
        let mut batch = Batch::new();
        batch.put(schema::TOKENS_USED.to_vec(), store.rows.seal(schema::TOKENS_USED, &encoding::encode(&uses)));
        batch
    }
}

fn load_last_used(store: &Store) -> Vec<([u8; 32], u64)> {
    // It is for people to look at: where it cannot be read it begins anew.
    let Ok(Some(sealed)) = store.storage.get(schema::TOKENS_USED) else { return Vec::new() };
    store.rows.open_value(schema::TOKENS_USED, &sealed).unwrap_or_default()
}

impl Node {
    /// Makes a token.
    pub(crate) fn new_token(&self, request: &TokenRequest) -> Result<(Token, TokenText)> {
        let mut keyring = self.store.keyring();
        // A peer that is removed meanwhile takes its tokens along.
        let peer = request.peer.as_deref().map(|peer| peers::named(&keyring, peer)).transpose()?;
        let text = TokenText::generate();
        let stored = StoredToken {
            hash: token_text::hash(text.as_str()),
            name: request.name.clone(),
            scopes: request.scopes.iter().map(ToString::to_string).collect(),
            things: request.things.clone(),
            created: unix_now().micros(),
            expires: request.expires.map(Time::micros),
            node: peer.map(|peer| peer.origin().0),
        };
        Ok((self.keep_token(&mut keyring, stored)?, text))
    }

    /// Takes a token of the prototype over. Its text stays what it was, so that
    /// who has it can go on; only its hash is kept. Whether it is new.
    pub(crate) fn inherit_token(&self, inherited: &Inherited) -> Result<bool> {
        let mut keyring = self.store.keyring();
        let hash = token_text::hash(&inherited.text);
        if self.tokens.read().iter().any(|held| held.hash == hash) {
            return Ok(false);
        }
        let stored = StoredToken {
            hash,
            name: inherited.name.clone(),
            scopes: inherited.scopes.iter().map(ToString::to_string).collect(),
            things: String::new(),
            created: unix_now().micros(),
            expires: inherited.expires.map(Time::micros),
            node: None,
        };
        self.keep_token(&mut keyring, stored)?;
        Ok(true)
    }

    fn keep_token(&self, keyring: &mut Keyring, new: StoredToken) -> Result<Token> {
        let token = new.token()?;
        let held = Held { hash: new.hash, token: token.clone(), last_used: AtomicU64::new(0) };
        kept_tokens::add(keyring, new)?;
        self.tokens.write().push(held);
        Ok(token)
    }

    /// Removes the token with this name. Whether there was one.
    pub(crate) fn remove_token(&self, name: &str) -> Result<bool> {
        let mut keyring = self.store.keyring();
        let is_removed = kept_tokens::remove(&mut keyring, name)?;
        self.tokens.write().retain(|held| held.token.name != name);
        Ok(is_removed)
    }

    /// The token with this text, and notes that it was used. How long it takes
    /// does not tell how much of the text is right.
    pub(crate) fn check_token(&self, text: &str) -> std::result::Result<Token, TokenRefusal> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenRefusal::Unknown);
        }
        let hash = token_text::hash(text);
        let now = unix_now();
        let held = self.tokens.read();
        let mut found = None;
        for candidate in held.iter() {
            if bool::from(candidate.hash.ct_eq(&hash)) {
                found = Some(candidate);
            }
        }
        let Some(known) = found else {
            let is_mistyped = token_text::is_mistyped(text);
            return Err(if is_mistyped { TokenRefusal::Malformed } else { TokenRefusal::Unknown });
        };
        if known.token.is_expired(now) {
            return Err(TokenRefusal::Expired);
        }
        known.last_used.fetch_max(now.micros(), Ordering::Relaxed);
        let token = Token { last_used: Some(now), ..known.token.clone() };
        drop(held);
        self.write_last_used(now);
        Ok(token)
    }

    /// Writes the row of last uses if it is old. That it fails stops nobody:
    /// the row is for people to look at.
    fn write_last_used(&self, now: Time) {
        let written = self.tokens.written.load(Ordering::Relaxed);
        let due = now.micros() >= written.saturating_add(LAST_USE_EVERY);
        // Of several who find it old one writes it.
        if due
            && self.tokens.written.compare_exchange(written, now.micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let _ = self.rows(self.tokens.last_used_row(&self.store));
        }
    }

    /// Writes the row of last uses when the database is closed.
    pub(crate) fn flush_last_used(&self) {
        if !self.tokens.read().is_empty() {
            let _ = self.rows(self.tokens.last_used_row(&self.store));
        }
    }
}
