//! Writes directories as the Python prototype wrote them, whole and tampered.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::Signer;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use hkdf::Hkdf;
use rand::Rng;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

/// An actor of the prototype.
pub struct OldActor {
    /// The name in the entries.
    pub name: String,
    key: ed25519_dalek::SigningKey,
}

impl OldActor {
    /// An actor whose key follows from the name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), key: ed25519_dalek::SigningKey::from_bytes(&sha256(name.as_bytes())) }
    }

    /// The public key, in hex.
    #[must_use]
    pub fn key(&self) -> String {
        HEXLOWER.encode(self.key.verifying_key().as_bytes())
    }

    /// A document as the prototype signed it. `data` is the canonical text.
    #[must_use]
    pub fn sign(&self, thing: &str, action: &str, data: &str, prev_hash: Option<&str>) -> String {
        self.sign_at("2026-11-22T06:55:49.314774Z", thing, action, data, prev_hash)
    }

    /// The same, with the time that the signer's clock showed.
    #[must_use]
    pub fn sign_at(&self, time: &str, thing: &str, action: &str, data: &str, prev_hash: Option<&str>) -> String {
        let head = format!(
            r#"{{"action":{},"actor":{},"data":{data},"data_hash":"{}","prev_hash":{}"#,
            python_text(action),
            python_text(&self.name),
            HEXLOWER.encode(&sha256(data.as_bytes())),
            prev_hash.map_or_else(|| "null".to_owned(), |hash| format!("\"{hash}\"")),
        );
        let tail = format!(r#""thing_id":{},"timestamp":"{time}"}}"#, python_text(thing));
        let signature = self.key.sign(format!("{head},{tail}").as_bytes());
        format!(
            r#"{head},"pubkey":"{}","signature":"{}",{tail}"#,
            BASE64.encode(self.key.verifying_key().as_bytes()),
            BASE64.encode(&signature.to_bytes()),
        )
    }

    /// The key as a PKCS#8 PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.key.to_pkcs8_pem(Default::default()).expect("an Ed25519 key has a PEM").to_string()
    }
}

/// A prototype directory that is being written.
pub struct Prototype {
    dir: PathBuf,
    passphrase: String,
    ledger_key: [u8; 32],
    node: StaticSecret,
    /// The lines of the ledger, for tests to change before they are saved.
    pub lines: Vec<String>,
    heads: HashMap<String, String>,
}

impl Prototype {
    /// An empty prototype in `dir`, which is created.
    ///
    /// # Panics
    /// If files cannot be written; so do the others.
    #[must_use]
    pub fn new(dir: &Path, passphrase: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let salt: [u8; 16] = rand::random();
        fs::write(dir.join("salt.bin"), salt).unwrap();
        let node = StaticSecret::from(rand::random::<[u8; 32]>());
        let prototype = Self {
            dir: dir.to_owned(),
            passphrase: passphrase.into(),
            ledger_key: stretch(passphrase, &salt),
            node,
            lines: Vec::new(),
            heads: HashMap::new(),
        };
        prototype.save();
        prototype
    }

    /// Writes the ledger.
    pub fn save(&self) {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.dir.join("ledger.ndjson"), text).unwrap();
    }

    /// Writes the node's key, to which envelopes are sealed.
    pub fn save_node_key(&self) {
        self.save_key("node_x25519.enc", self.node.as_bytes());
    }

    /// Writes an encrypted key file.
    pub fn save_key(&self, file: &str, secret: &[u8]) {
        let salt: [u8; 16] = rand::random();
        let (nonce, sealed) = seal(&stretch(&self.passphrase, &salt), secret);
        fs::write(self.dir.join(file), [&salt[..], &nonce, &sealed].concat()).unwrap();
    }

    /// Writes any other file.
    pub fn save_file(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).unwrap();
    }

    /// Appends an entry as the default mode wrote it.
    pub fn legacy(&mut self, signer: &OldActor, thing: &str, action: &str, data: &str) {
        let line = self.seal_legacy(&signer.sign(thing, action, data, None));
        self.lines.push(line);
    }

    /// Appends an entry as the envelope mode wrote it, after the last one of
    /// its thing.
    pub fn envelope(&mut self, signer: &OldActor, thing: &str, action: &str, data: &str) {
        let prev = self.heads.get(thing).cloned();
        self.envelope_after(prev.as_deref(), signer, thing, action, data);
    }

    /// The same after another one.
    pub fn envelope_after(&mut self, prev: Option<&str>, signer: &OldActor, thing: &str, action: &str, data: &str) {
        let (line, hash) = self.seal_envelope(&signer.sign(thing, action, data, prev));
        self.lines.push(line);
        self.heads.insert(thing.into(), hash);
    }

    /// By what an entry after the last one of the thing would name it.
    #[must_use]
    pub fn head(&self, thing: &str) -> Option<String> {
        self.heads.get(thing).cloned()
    }

    /// A line of the default mode.
    #[must_use]
    pub fn seal_legacy(&self, document: &str) -> String {
        let (nonce, ciphertext) = seal(&self.ledger_key, document.as_bytes());
        format!(r#"{{"nonce": "{}", "ciphertext": "{}"}}"#, BASE64.encode(&nonce), BASE64.encode(&ciphertext))
    }

    /// A line of the envelope mode, sealed to this node and a stranger, and
    /// the hash of its ciphertext.
    #[must_use]
    pub fn seal_envelope(&self, document: &str) -> (String, String) {
        self.seal_envelope_to(document, &[("__node__", PublicKey::from(&self.node)), ("stranger", stranger())])
    }

    /// A line that only a stranger can open.
    #[must_use]
    pub fn seal_to_stranger(&self, document: &str) -> String {
        self.seal_envelope_to(document, &[("stranger", stranger())]).0
    }

    /// A line as another node wrote it, which calls this one `name`.
    #[must_use]
    pub fn seal_from_elsewhere(&self, document: &str, name: &str) -> (String, String) {
        self.seal_envelope_to(document, &[("__node__", stranger()), (name, PublicKey::from(&self.node))])
    }

    fn seal_envelope_to(&self, document: &str, recipients: &[(&str, PublicKey)]) -> (String, String) {
        let cek: [u8; 32] = rand::random();
        let (nonce, ciphertext) = seal(&cek, document.as_bytes());
        let recipients: Vec<String> = recipients
            .iter()
            .map(|(id, key)| {
                let ephemeral = StaticSecret::from(rand::random::<[u8; 32]>());
                let mut kek = [0; 32];
                let shared = ephemeral.diffie_hellman(key);
                Hkdf::<Sha256>::new(None, shared.as_bytes()).expand(b"thingdb-enc", &mut kek).unwrap();
                let (nonce, sealed) = seal(&kek, &cek);
                format!(
                    r#"{{"id": "{id}", "ephemeral_pub": "{}", "enc_cek": "{}", "nonce": "{}"}}"#,
                    BASE64.encode(PublicKey::from(&ephemeral).as_bytes()),
                    BASE64.encode(&sealed),
                    BASE64.encode(&nonce),
                )
            })
            .collect();
        let line = format!(
            r#"{{"payload": {{"nonce": "{}", "ciphertext": "{}"}}, "recipients": [{}], "meta": {{"thing_id": "a lie", "timestamp": "1999-01-01T00:00:00Z"}}}}"#,
            BASE64.encode(&nonce),
            BASE64.encode(&ciphertext),
            recipients.join(", "),
        );
        (line, HEXLOWER.encode(&sha256(&ciphertext)))
    }
}

fn stranger() -> PublicKey {
    PublicKey::from(&StaticSecret::from([7; 32]))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn stretch(passphrase: &str, salt: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), salt, 200_000, &mut key);
    key
}

fn seal(key: &[u8; 32], plaintext: &[u8]) -> ([u8; 12], Vec<u8>) {
    let mut nonce = [0; 12];
    rand::rng().fill_bytes(&mut nonce);
    let mut out = plaintext.to_vec();
    let cipher = Aes256Gcm::new(key.into());
    let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), &[], out.as_mut_slice().into()).unwrap();
    out.extend_from_slice(&tag);
    (nonce, out)
}

/// Text as Python's `json.dumps` spells it.
#[must_use]
pub fn python_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
    out
}
