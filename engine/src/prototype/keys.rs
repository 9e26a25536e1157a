//! The prototype's keys: what its passphrase opens.
//!
//! ```text
//! salt 16 | nonce 12 | AES-256-GCM of 32 bytes X25519, or of a PKCS#8 PEM with Ed25519
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::pkcs8::DecodePrivateKey;
use sha2::Sha256;
use thingdb_format::SigningKey;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::cipher;
use crate::error::{Error, Result};
use crate::keyring::passphrase::Passphrase;

const SALT_FILE: &str = "salt.bin";
const NODE_FILE: &str = "node_x25519.enc";
const CLEAR_FILE: &str = "actor_key.pem";

/// Rounds of PBKDF2-HMAC-SHA-256 in the prototype.
const ROUNDS: u32 = 200_000;

/// Key files are smaller, and a directory may hold other files.
const MAX_FILE_BYTES: u64 = 65_536;

/// Key files that are tried; each costs a stretching of the passphrase.
const MAX_FILES: usize = 1000;

/// What opens the prototype's entries, or why there is nothing.
pub(crate) struct OldKeys {
    ledger: std::result::Result<Zeroizing<[u8; 32]>, String>,
    node: std::result::Result<StaticSecret, String>,
    /// The files with actors' keys, by name.
    pub(crate) actors: Vec<KeyFile>,
    /// Whether the passphrase opened a file, and whether one did not open.
    pub(crate) opened: bool,
    pub(crate) failed: bool,
}

/// A file with an actor's key.
pub(crate) struct KeyFile {
    /// Its name in the directory.
    pub(crate) file: String,
    pub(crate) key: std::result::Result<Arc<SigningKey>, String>,
}

impl OldKeys {
    /// Reads the key files of a prototype directory.
    pub(crate) fn load(dir: &Path, passphrase: &Passphrase) -> Result<Self> {
        let mut keys = Self {
            ledger: Err(String::new()),
            node: Err(String::new()),
            actors: Vec::new(),
            opened: false,
            failed: false,
        };
        keys.ledger = match read(&dir.join(SALT_FILE))? {
            Some(salt) => Ok(stretch(passphrase, &salt)),
            None => Err(format!("there is no {SALT_FILE} to make its key from")),
        };
        keys.node = match read(&dir.join(NODE_FILE))? {
            Some(bytes) => keys.open_node(passphrase, &bytes).map_err(|problem| format!("{NODE_FILE}: {problem}")),
            None => Err(format!("there is no {NODE_FILE} to open it with")),
        };
        for file in key_files(dir)? {
            let bytes = read(&dir.join(&file))?.unwrap_or_default();
            let pem = if file == CLEAR_FILE { Ok(bytes) } else { keys.open(passphrase, &bytes) };
            let key = pem.and_then(|pem| signing_key(&pem));
            keys.actors.push(KeyFile { file, key });
        }
        Ok(keys)
    }

    /// The key under which legacy entries lie.
    pub(crate) fn ledger(&self) -> std::result::Result<&[u8; 32], String> {
        self.ledger.as_deref().map_err(Clone::clone)
    }

    /// The key to which entries in envelopes are sealed.
    pub(crate) fn node(&self) -> std::result::Result<&StaticSecret, String> {
        self.node.as_ref().map_err(Clone::clone)
    }

    fn open_node(&mut self, passphrase: &Passphrase, bytes: &[u8]) -> std::result::Result<StaticSecret, String> {
        let opened = self.open(passphrase, bytes)?;
        let secret: [u8; 32] = opened.as_slice().try_into().map_err(|_| "it holds no key of 32 bytes")?;
        let secret = Zeroizing::new(secret);
        Ok(StaticSecret::from(*secret))
    }

    fn open(&mut self, passphrase: &Passphrase, bytes: &[u8]) -> std::result::Result<Zeroizing<Vec<u8>>, String> {
        let parts =
            bytes.split_first_chunk::<16>().and_then(|(salt, rest)| Some((salt, rest.split_first_chunk::<12>()?)));
        let (salt, (nonce, ciphertext)) = parts.ok_or("it is too short to be a key")?;
        let opened = cipher::open(&stretch(passphrase, salt), nonce, ciphertext);
        self.opened |= opened.is_some();
        self.failed |= opened.is_none();
        opened.ok_or_else(|| "it does not open with the passphrase".to_owned())
    }
}

fn stretch(passphrase: &Passphrase, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), salt, ROUNDS, &mut key[..]);
    key
}

fn signing_key(pem: &[u8]) -> std::result::Result<Arc<SigningKey>, String> {
    let text = std::str::from_utf8(pem).map_err(|_| "it holds no PEM")?;
    // The library refuses a public key in the file that is not that of the
    // secret one.
    let key = ed25519_dalek::SigningKey::from_pkcs8_pem(text);
    let key = key.map_err(|_| "it holds no Ed25519 key in PKCS#8")?;
    Ok(Arc::new(SigningKey::from_seed(key.as_bytes())))
}

/// The files that may hold an actor's key, in order of their names.
fn key_files(dir: &Path) -> Result<Vec<String>> {
    let problem = |source| Error::file(dir, "cannot be read")(source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_key = name == CLEAR_FILE || (name != NODE_FILE && name.ends_with(".enc"));
        if is_key && entry.path().is_file() {
            files.push(name);
        }
    }
    files.sort();
    files.truncate(MAX_FILES);
    Ok(files)
}

/// A small file, if it is there.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    read_up_to(path, MAX_FILE_BYTES)
}

/// The beginning of a file, if it is there.
pub(crate) fn read_up_to(path: &Path, most: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
    // Room first, so that no copy of a key is left behind when it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let file = match File::open(path) {
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::file(path, "cannot be read"))?,
    };
    file.take(most).read_to_end(&mut bytes).map_err(Error::file(path, "cannot be read"))?;
    Ok(Some(bytes))
}

/// Whether a directory looks like the prototype's.
pub(crate) fn is_prototype(dir: &Path) -> bool {
    [super::LEDGER_FILE, SALT_FILE, NODE_FILE].iter().any(|file| dir.join(file).is_file())
}

/// The name that a key file tells: `bob` of `actor_bob.enc`.
pub(crate) fn name_of_file(file: &str) -> Option<&str> {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let name = stem.strip_prefix("actor_").unwrap_or(stem);
    let name = name.strip_suffix("_key").unwrap_or(name);
    (!matches!(name, "" | "key" | "actor")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_names() {
        assert_eq!(name_of_file("actor_bob.enc"), Some("bob"));
        assert_eq!(name_of_file("press-7.enc"), Some("press-7"));
        assert_eq!(name_of_file("alice_key.enc"), Some("alice"));
        assert_eq!(name_of_file("actor_key.enc"), None);
        assert_eq!(name_of_file("actor_key.pem"), None);
    }

    #[test]
    fn a_key_in_pem_is_the_seed_that_it_was_made_from() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        // RFC 8410, section 10.3.
        let seed = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
        let key = signing_key(pem.as_bytes()).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(key.seed()), seed);
        assert!(signing_key(b"no key").is_err());
    }
}
