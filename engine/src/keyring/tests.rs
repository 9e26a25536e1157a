//! Claims that need the inside of the keyring: planted files, parameters of
//! older versions.

use std::fs;
use std::time::Instant;

use thingdb_format::{SigningKey, Time};

use super::trust::How;
use super::*;

fn tiny() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

fn now() -> Time {
    Time::from_micros(1_795_327_272_000_500).unwrap()
}

fn create(dir: &tempfile::TempDir) -> (PathBuf, Keyring) {
    let path = dir.path().join("keyring");
    let keyring =
        Keyring::create(&path, &passphrase("correct horse"), KdfChoice::Explicit(tiny()), &mut rand::rng()).unwrap();
    (path, keyring)
}

fn open(path: &Path, text: &str) -> Result<Keyring, KeyringError> {
    Keyring::open(path, Unlock::Passphrase(&passphrase(text)), &mut rand::rng())
}

/// Writes both files.
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::write(file::copy_of(path), bytes).unwrap();
}

/// Both files with a change that whoever made it hid from the checksum.
fn plant(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    layout::repair_checksum(&mut bytes);
    write(path, &bytes);
}

/// While this lives, a directory stands where the keyring was, and no file can
/// be renamed over it.
struct SavesFail<'a> {
    path: &'a Path,
    aside: PathBuf,
}

impl<'a> SavesFail<'a> {
    fn of(path: &'a Path) -> Self {
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).unwrap();
        fs::create_dir(path).unwrap();
        Self { path, aside }
    }
}

impl Drop for SavesFail<'_> {
    fn drop(&mut self) {
        fs::remove_dir(self.path).unwrap();
        fs::rename(&self.aside, self.path).unwrap();
    }
}

const COUNT: usize = 41;
const SLOT: usize = 42;
const CHOICE: usize = SLOT + 2;
const MEMORY: usize = SLOT + 3;

#[test]
fn keys_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    keyring.add_actor("alice", now(), rng).unwrap();
    let before = keyring.secrets.encode();
    drop(keyring);
    assert_eq!(*open(&path, "correct horse").unwrap().secrets.encode(), *before);
    assert!(matches!(open(&path, "wrong horse"), Err(KeyringError::WrongPassphrase)));
}

#[test]
fn planted_parameters_are_refused_before_memory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = create(&dir);
    let whole = fs::read(&path).unwrap();
    for (at, number) in [
        (MEMORY, u32::MAX),
        (MEMORY, 1024 * 1024 + 1),
        (MEMORY, 7),
        (MEMORY + 4, 0),
        (MEMORY + 4, 65),
        (MEMORY + 8, 0),
        (MEMORY + 8, 2),
        (MEMORY + 8, u32::MAX),
    ] {
        write(&path, &whole);
        plant(&path, |bytes| bytes[at..at + 4].copy_from_slice(&number.to_be_bytes()));
        let start = Instant::now();
        let refusal = open(&path, "correct horse").unwrap_err();
        assert!(
            matches!(&refusal, KeyringError::Damaged { detail, .. } if detail.starts_with("slot 1: ")),
            "{refusal}"
        );
        assert!(start.elapsed().as_millis() < 100, "{refusal}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = create(&dir);
    let whole = fs::read(&path).unwrap();
    for (at, field) in [(16, "version"), (SLOT + 1, "slot kind"), (CHOICE, "slot choice")] {
        let mut damaged = whole.clone();
        damaged[at] = 9;
        write(&path, &damaged);
        assert!(matches!(open(&path, "correct horse"), Err(KeyringError::Damaged { .. })), "{field}");
        plant(&path, |_| ());
        let refusal = open(&path, "correct horse").unwrap_err();
        assert_eq!(refusal.to_string(), format!("{field} 9 of the keyring was written by a newer version"));
    }
}

#[test]
fn slot_list_that_was_tampered_with_is_noticed_after_unlock() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    let tiny = KdfChoice::Explicit(tiny());
    keyring.add_passphrase(&passphrase("second horse"), tiny, rng).unwrap();
    let whole = fs::read(&path).unwrap();
    let slot_bytes = 15 + 16 + 60;

    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [(&str, Change); 5] = [
        (
            "another slot removed",
            Box::new(move |bytes| {
                bytes[COUNT] = 1;
                bytes.drain(SLOT + slot_bytes..SLOT + 2 * slot_bytes);
            }),
        ),
        ("choice turned to default", Box::new(|bytes| bytes[CHOICE] = 0)),
        ("passes of another slot", Box::new(move |bytes| bytes[MEMORY + slot_bytes + 7] = 2)),
        ("number of another slot", Box::new(move |bytes| bytes[SLOT + slot_bytes] = 7)),
        ("salt of the secrets", Box::new(move |bytes| bytes[SLOT + 2 * slot_bytes] ^= 1)),
    ];
    for (what, change) in changes {
        write(&path, &whole);
        plant(&path, change);
        let planted = fs::read(&path).unwrap();
        let refusal = open(&path, "correct horse").unwrap_err();
        assert!(matches!(refusal, KeyringError::Damaged { .. }), "{what}: {refusal}");
        assert_eq!(fs::read(&path).unwrap(), planted, "{what}: the file was written");
    }
}

#[test]
fn every_planted_byte_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, keyring) = create(&dir);
    drop(keyring);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() - 32 {
        let mut planted = whole.clone();
        planted[at] ^= 1;
        layout::repair_checksum(&mut planted);
        // Memory of a slot may now be 16 MiB or more; what it costs is not the claim.
        if (MEMORY..MEMORY + 8).contains(&at) {
            continue;
        }
        write(&path, &planted);
        let refusal = open(&path, "correct horse").unwrap_err();
        let of_the_slot = (CHOICE + 1..SLOT + 15 + 16 + 60).contains(&at);
        match refusal {
            KeyringError::WrongPassphrase => assert!(of_the_slot, "byte {at}"),
            KeyringError::Damaged { .. } | KeyringError::NewerVersion { .. } | KeyringError::OlderVersion { .. } => {}
            other => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn weak_default_slot_is_upgraded_at_unlock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    let rng = &mut rand::rng();
    let mut keyring = Keyring::create(&path, &passphrase("correct horse"), KdfChoice::Explicit(tiny()), rng).unwrap();
    // As an older version with a weaker default left it.
    let old = Slot::for_passphrase(SlotId(1), &keyring.root, &passphrase("correct horse"), (tiny(), false), rng);
    keyring.put_slot(old.unwrap(), rng).unwrap();
    keyring.add_passphrase(&passphrase("second horse"), KdfChoice::Explicit(tiny()), rng).unwrap();
    let secrets = keyring.secrets.encode();

    let right = passphrase("correct horse");
    let stronger = KdfParams::new(16, 2, 1).unwrap();
    let reopened =
        Keyring::open_with_default(&path, Unlock::Passphrase(&right), &Opening::default(), stronger, rng).unwrap();
    assert!(matches!(reopened.kdf_upgrade(), KdfUpgrade::Done { from, to } if *from == tiny() && *to == stronger));
    assert_eq!(reopened.slots()[0].kind, SlotKind::Passphrase { params: stronger, explicit: false });
    assert_eq!(*reopened.secrets.encode(), *secrets);
    assert_eq!(reopened.slots()[1].kind, SlotKind::Passphrase { params: tiny(), explicit: true });

    // Once is enough, and a program with a weaker default leaves it.
    let bytes = fs::read(&path).unwrap();
    for default in [stronger, tiny()] {
        let again =
            Keyring::open_with_default(&path, Unlock::Passphrase(&right), &Opening::default(), default, rng).unwrap();
        assert!(matches!(again.kdf_upgrade(), KdfUpgrade::NotNeeded));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn explicit_weak_choice_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = create(&dir);
    let bytes = fs::read(&path).unwrap();
    let keyring = open(&path, "correct horse").unwrap();
    assert!(matches!(keyring.kdf_upgrade(), KdfUpgrade::NotNeeded));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn keyring_that_cannot_be_upgraded_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    let right = passphrase("correct horse");
    let old = Slot::for_passphrase(SlotId(1), &keyring.root, &right, (tiny(), false), rng).unwrap();
    keyring.put_slot(old, rng).unwrap();
    let mut opened =
        Keyring::open_with_default(&path, Unlock::Passphrase(&right), &Opening::default(), tiny(), rng).unwrap();
    let saves = SavesFail::of(&path);
    let stronger = KdfParams::new(16, 2, 1).unwrap();
    opened.upgrade = opened.upgrade_opened_slot(Unlock::Passphrase(&right), stronger, rng);
    drop(saves);
    assert!(matches!(opened.kdf_upgrade(), KdfUpgrade::Failed { cause: KeyringError::Io { .. } }));
    assert_eq!(opened.slots()[0].kind, SlotKind::Passphrase { params: tiny(), explicit: false });
}

#[test]
fn failed_save_leaves_memory_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    keyring.add_actor("alice", now(), rng).unwrap();
    let (secrets, slots, bytes) = (keyring.secrets.encode(), keyring.slots.clone(), fs::read(&path).unwrap());
    let saves = SavesFail::of(&path);

    let other = SigningKey::generate(rng);
    let tiny = KdfChoice::Explicit(tiny());
    let failed = [
        keyring.add_actor("bob", now(), rng).map(drop),
        keyring.rotate_node_key(rng).map(drop),
        keyring.trust_actor(other.actor(), "carol", How::Card, now(), rng),
        keyring.trust_origin(other.node_key(), "hall 2", How::Card, now(), rng),
        keyring.set_default_actor("alice", rng),
        keyring.change_passphrase(SlotId(1), &passphrase("another horse"), None, rng),
        keyring.add_passphrase(&passphrase("another horse"), tiny, rng).map(drop),
        keyring.new_recovery_key(rng).map(drop),
    ];
    for (n, outcome) in failed.into_iter().enumerate() {
        assert!(matches!(outcome, Err(KeyringError::Io { .. })), "change {n}");
    }
    assert_eq!(*keyring.secrets.encode(), *secrets);
    assert_eq!(keyring.slots, slots);
    drop(saves);
    assert_eq!(fs::read(&path).unwrap(), bytes);

    keyring.add_actor("bob", now(), rng).unwrap();
    assert_eq!(open(&path, "correct horse").unwrap().actors().len(), 2);
}

#[test]
fn secrets_have_one_spelling_and_every_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    keyring.add_actor("alice", now(), rng).unwrap();
    assert!(keyring.secrets.key_tree.puncture(7));
    keyring.rotate_node_key(rng).unwrap();
    let peer = SigningKey::generate(rng).node_key();
    keyring.trust_origin(peer, "hall 2", How::Card, now(), rng).unwrap();
    keyring.untrust_origin(&peer.origin(), now(), rng).unwrap();
    let bytes = keyring.secrets.encode();
    assert_eq!(bytes.len(), keyring.secrets.encoded_bytes());
    for len in 0..bytes.len() {
        assert!(Secrets::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(Secrets::decode(&longer).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(secrets) = Secrets::decode(&changed) {
            assert_eq!(*secrets.encode(), changed, "bit {bit}");
        }
    }
}

#[test]
fn no_secret_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut keyring) = create(&dir);
    let rng = &mut rand::rng();
    let key = keyring.add_actor("alice", now(), rng).unwrap();
    let printed = format!("{keyring:?} {:?} {:?}", keyring.secrets, keyring.root);
    for secret in [key.seed(), keyring.root.as_bytes(), keyring.index_key().as_bytes(), keyring.node_key().seed()] {
        assert!(!printed.contains(&data_encoding::HEXLOWER.encode(secret)));
        assert!(!printed.contains(&format!("{secret:?}")));
    }
    assert!(!printed.contains("horse"), "{printed}");
}

#[test]
fn fuzz_body_takes_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, keyring) = create(&dir);
    fuzz_keyring(&fs::read(path).unwrap());
    fuzz_keyring(&keyring.secrets.encode());
    fuzz_keyring(b"");
    fuzz_keyring(layout::MAGIC);
    fuzz_keyring(&[0; 100]);
}
