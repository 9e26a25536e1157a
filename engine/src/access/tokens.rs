//! Tokens: what a client shows to the peer server.
//!
//! A token is 256 random bits. The keyring holds its SHA-256 and what it
//! allows; the text itself is shown once and kept nowhere here. When it was used
//! last stands in a sealed row, written now and then.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bincode::{Decode, Encode};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thingdb_format::{MAX_NAME_BYTES, Origin, Time};
use zeroize::Zeroizing;

use super::actors::unix_now;
use crate::committer::Job;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::storage::Batch;
use crate::store::Store;
use crate::store::schema;
use crate::store::stored;

const RECORD: &str = "tokens";

/// Of tokens of ours; those that came from the prototype have any form.
const PREFIX: &str = "tdb_";

/// Random bytes of a token, and the bytes of the checksum behind them.
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Tokens of a database, at most: each check compares with all of them.
pub const MAX_TOKENS: usize = 1000;

/// A longer text is no token.
const MAX_TEXT_BYTES: usize = 512;

/// How old the row that tells of the last use may get, in µs.
const LAST_USE_EVERY: u64 = 60_000_000;

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
    /// What concerns the server itself.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Export, Self::Import, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Export => "export",
            Self::Import => "import",
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
pub struct TokenId([u8; 4]);

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
    name: String,
    scopes: BTreeSet<Scope>,
    things: String,
    peer: Option<String>,
    expires: Option<Time>,
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

/// The text of a token, to be shown once. It is wiped when it is dropped.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// The text. Whoever has it may do what the token allows.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
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

/// A token as the keyring holds it.
#[derive(Clone, Encode, Decode)]
struct StoredToken {
    hash: [u8; 32],
    name: String,
    /// As words: a scope that this program does not know allows nothing.
    scopes: Vec<String>,
    things: String,
    created: u64,
    expires: Option<u64>,
    node: Option<[u8; 16]>,
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

/// A token as requests are compared with it.
struct Held {
    hash: [u8; 32],
    token: Token,
    /// 0 if it was never used.
    last_used: AtomicU64,
}

/// The tokens of an open database.
pub(crate) struct Tokens {
    held: RwLock<Vec<Held>>,
    /// When the row of last uses was written.
    written: AtomicU64,
}

impl Tokens {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let stored = stored_tokens(&store.keyring())?;
        let last_used = load_last_used(store);
        let held = stored
            .into_iter()
            .map(|stored| {
                let last = last_used.iter().find(|(hash, _)| *hash == stored.hash).map_or(0, |(_, time)| *time);
                Ok(Held { hash: stored.hash, token: token(&stored)?, last_used: AtomicU64::new(last) })
            })
            .collect::<Result<_>>()?;
        Ok(Self { held: RwLock::new(held), written: AtomicU64::new(unix_now().micros()) })
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Held>> {
        self.held.read().expect("no thread panics while it holds the tokens")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Held>> {
        self.held.write().expect("no thread panics while it holds the tokens")
    }

    fn last_used_row(&self, store: &Store) -> Batch {
        let uses: Vec<([u8; 32], u64)> = self
            .read()
            .iter()
            .map(|held| (held.hash, held.last_used.load(Ordering::Relaxed)))
            .filter(|(_, time)| *time > 0)
            .collect();
        let mut batch = Batch::new();
        batch.put(schema::TOKENS_USED.to_vec(), store.rows.seal(schema::TOKENS_USED, &stored::encode(&uses)));
        batch
    }
}

fn load_last_used(store: &Store) -> Vec<([u8; 32], u64)> {
    // It is for people to look at: where it cannot be read it begins anew.
    let Ok(Some(sealed)) = store.storage.get(schema::TOKENS_USED) else { return Vec::new() };
    store.rows.open_value(schema::TOKENS_USED, &sealed).unwrap_or_default()
}

fn stored_tokens(keyring: &Keyring) -> Result<Vec<StoredToken>> {
    let Some(record) = keyring.record(RECORD) else { return Ok(Vec::new()) };
    let earlier = || stored::decode::<Vec<EarlierToken>>(record).ok();
    stored::decode(record)
        .or_else(|problem| earlier().map(|list| list.into_iter().map(StoredToken::from).collect()).ok_or(problem))
        .map_err(|problem| Error::damaged("the list of tokens in the keyring", problem))
}

/// Takes the tokens that were made for a node out of the keyring.
pub(crate) fn take_of_node(keyring: &mut Keyring, node: &Origin) -> Result<Vec<Token>> {
    let stored = stored_tokens(keyring)?;
    let (ended, left): (Vec<_>, Vec<_>) = stored.into_iter().partition(|token| token.node == Some(node.0));
    if !ended.is_empty() {
        keyring.put_record(RECORD, stored::encode(&left), &mut rand::rng())?;
    }
    ended.iter().map(token).collect()
}

fn token(stored: &StoredToken) -> Result<Token> {
    let [a, b, c, d, ..] = stored.hash;
    Ok(Token {
        id: TokenId([a, b, c, d]),
        name: stored.name.clone(),
        scopes: stored.scopes.iter().filter_map(|word| word.parse().ok()).collect(),
        things: stored.things.clone(),
        node: stored.node.map(Origin),
        created: Time::from_micros(stored.created)?,
        expires: stored.expires.map(Time::from_micros).transpose()?,
        last_used: None,
    })
}

/// What stands for a token: SHA-256 of its text. Its 256 random bits need no
/// salt and no stretching.
fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::new_with_prefix(b"thingdb token checksum\0").chain_update(secret).finalize().into();
    *digest.first_chunk().expect("4 is less than 32")
}

fn generate() -> TokenText {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECKSUM_BYTES]);
    let (secret, check) = bytes.split_at_mut(SECRET_BYTES);
    rand::fill(secret);
    check.copy_from_slice(&checksum(secret));
    let digits = Zeroizing::new(BASE32_NOPAD.encode(&*bytes));
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + digits.len()));
    text.push_str(PREFIX);
    text.extend(digits.chars().map(|digit| digit.to_ascii_lowercase()));
    TokenText(text)
}

/// Whether a text of our form is spelled wrongly; another form is unknown.
fn is_mistyped(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(PREFIX) else { return false };
    let digits = Zeroizing::new(digits.to_ascii_uppercase());
    let Ok(bytes) = BASE32_NOPAD.decode(digits.as_bytes()).map(Zeroizing::new) else { return true };
    match bytes.split_at_checked(SECRET_BYTES) {
        Some((secret, check)) => check != checksum(secret),
        None => true,
    }
}

/// A token of the prototype, whose text is its own.
pub(crate) struct Inherited {
    pub(crate) text: Zeroizing<String>,
    pub(crate) name: String,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) expires: Option<Time>,
}

/// Tokens of the peer server.
impl Db {
    /// Makes a token. Its text is in what is returned and nowhere else.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`] if it is for a peer that is not known,
    /// [`Error::TokenExists`] if one of this name is there, [`Error::Invalid`]
    /// if the name is empty or longer than 128 bytes, [`Error::TooManyTokens`] beyond
    /// [`MAX_TOKENS`], [`Error::Keyring`] if the keyring cannot be written.
    ///
    /// ```
    /// use thingdb::{Scope, TokenRefusal, TokenRequest};
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// let (_, text) = db.new_token(&TokenRequest::new("press-7").scope(Scope::Import))?;
    /// let token = db.check_token(text.as_str())?;
    /// assert!(token.allows(Scope::Import) && !token.allows(Scope::Read));
    /// assert!(db.remove_token("press-7")?);
    /// assert_eq!(db.check_token(text.as_str()), Err(TokenRefusal::Unknown));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new_token(&self, request: &TokenRequest) -> Result<(Token, TokenText)> {
        let node = request.peer.as_deref().map(|peer| self.peer(peer)).transpose()?.map(|peer| peer.origin());
        let text = generate();
        let stored = StoredToken {
            hash: hash(text.as_str()),
            name: request.name.clone(),
            scopes: request.scopes.iter().map(ToString::to_string).collect(),
            things: request.things.clone(),
            created: unix_now().micros(),
            expires: request.expires.map(Time::micros),
            node: node.map(|node| node.0),
        };
        Ok((self.keep_token(stored)?, text))
    }

    /// Takes a token of the prototype over. Its text stays what it was, so that
    /// who has it can go on; only its hash is kept. Whether it is new.
    pub(crate) fn inherit_token(&self, inherited: &Inherited) -> Result<bool> {
        let hash = hash(&inherited.text);
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
        self.keep_token(stored)?;
        Ok(true)
    }

    fn keep_token(&self, new: StoredToken) -> Result<Token> {
        let length = new.name.len();
        if length == 0 || length > MAX_NAME_BYTES {
            let (field, least, most) = ("length of the token's name", 1, MAX_NAME_BYTES as u64);
            return Err(thingdb_format::Error::OutOfRange { field, found: length as u64, least, most }.into());
        }
        // The keyring is the lock: who changes the tokens has it.
        let mut keyring = self.store.keyring();
        let mut stored = stored_tokens(&keyring)?;
        if stored.iter().any(|token| token.name == new.name) {
            return Err(Error::TokenExists { name: new.name });
        }
        if stored.len() >= MAX_TOKENS {
            return Err(Error::TooManyTokens);
        }
        let made = token(&new)?;
        let held = Held { hash: new.hash, token: made.clone(), last_used: AtomicU64::new(0) };
        stored.push(new);
        keyring.put_record(RECORD, stored::encode(&stored), &mut rand::rng())?;
        self.tokens.write().push(held);
        Ok(made)
    }

    /// The tokens, in the order in which they were made.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        let held = self.tokens.read();
        held.iter()
            .map(|held| {
                let last_used = held.last_used.load(Ordering::Relaxed);
                let last_used = (last_used > 0).then(|| Time::from_micros(last_used).ok()).flatten();
                Token { last_used, ..held.token.clone() }
            })
            .collect()
    }

    /// Removes the token with this name: it is refused from now on. Whether
    /// there was one.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the keyring cannot be written; the token is still
    /// good then.
    pub fn remove_token(&self, name: &str) -> Result<bool> {
        let mut keyring = self.store.keyring();
        let mut stored = stored_tokens(&keyring)?;
        let before = stored.len();
        stored.retain(|token| token.name != name);
        if stored.len() == before {
            return Ok(false);
        }
        keyring.put_record(RECORD, stored::encode(&stored), &mut rand::rng())?;
        self.tokens.write().retain(|held| held.token.name != name);
        Ok(true)
    }

    /// The tokens that were taken out of the keyring are refused from now on.
    pub(crate) fn end_tokens(&self, ended: &[Token]) {
        self.tokens.write().retain(|held| ended.iter().all(|token| token.name != held.token.name));
    }

    /// The token with this text, and notes that it was used. How long it takes
    /// does not tell how much of the text is right.
    ///
    /// # Errors
    /// A [`TokenRefusal`].
    pub fn check_token(&self, text: &str) -> std::result::Result<Token, TokenRefusal> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenRefusal::Unknown);
        }
        let hash = hash(text);
        let now = unix_now();
        let held = self.tokens.read();
        let mut found = None;
        for candidate in held.iter() {
            if bool::from(candidate.hash.ct_eq(&hash)) {
                found = Some(candidate);
            }
        }
        let Some(known) = found else {
            return Err(if is_mistyped(text) { TokenRefusal::Malformed } else { TokenRefusal::Unknown });
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
            let _ = self.committer.submit(&self.store, Job::Rows(self.tokens.last_used_row(&self.store)));
        }
    }

    /// Writes the row of last uses when the database is closed.
    pub(crate) fn flush_last_used(&self) {
        if !self.tokens.read().is_empty() {
            let _ = self.committer.submit(&self.store, Job::Rows(self.tokens.last_used_row(&self.store)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_what_it_is_and_when_it_was_mistyped() {
        let text = generate();
        assert_eq!(text.as_str().len(), 4 + 58);
        assert!(text.as_str().starts_with("tdb_"));
        assert!(!is_mistyped(text.as_str()));
        assert_eq!(format!("{text:?}"), "TokenText(..)");
        for at in 4..text.as_str().len() {
            let mut other = text.as_str().as_bytes().to_vec();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            assert!(is_mistyped(std::str::from_utf8(&other).unwrap()), "at {at}");
        }
        assert!(is_mistyped(&text.as_str()[..61]));
        assert!(is_mistyped("tdb_"));
        assert!(!is_mistyped("a token of the prototype"));
    }

    #[test]
    fn a_list_of_before_tokens_named_nodes_is_read() {
        #[derive(Encode)]
        struct Written([u8; 32], &'static str, Vec<String>, &'static str, u64, Option<u64>);
        for count in 1..9_u8 {
            let written = |n| Written([n; 32], "press", vec!["read".to_owned()], "", 1_700_000_000_000_000, None);
            let record = stored::encode(&(0..count).map(written).collect::<Vec<_>>());
            assert!(stored::decode::<Vec<StoredToken>>(&record).is_err());
            let earlier: Vec<EarlierToken> = stored::decode(&record).unwrap();
            let read = token(&StoredToken::from(earlier.into_iter().next_back().unwrap())).unwrap();
            assert_eq!((read.id, read.node), (TokenId([count - 1; 4]), None));
        }
    }

    #[test]
    fn scopes_have_their_words() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        assert!("root".parse::<Scope>().unwrap_err().is_invalid_input());
    }
}
