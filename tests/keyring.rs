//! The keyring, attacked: whoever has the file and no passphrase, whoever cuts
//! the power, and whoever damages a byte.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use thingdb::keyring::{KEY_POSITIONS, Keyring, Unlock};
use thingdb::trust::How;
use thingdb::{KdfChoice, KdfParams, KeyringError, Passphrase, RecoveryKey, SlotId, SlotKind};
use thingdb_format::{Actor, NodeKey, SigningKey, Time};

/// A guess costs nothing: these keyrings guard nothing.
fn tiny() -> KdfChoice {
    KdfChoice::weakest()
}

/// A directory with a keyring that opens with `correct horse`.
struct Fixture {
    dir: TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new() -> (Self, Keyring) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let keyring = Keyring::create(&path, &passphrase("correct horse"), tiny(), &mut rand::rng()).unwrap();
        (Self { dir, path }, keyring)
    }

    fn open(&self, text: &str) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.path, Unlock::Passphrase(&passphrase(text)), &mut rand::rng())
    }

    fn open_with(&self, key: &RecoveryKey) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.path, Unlock::RecoveryKey(key), &mut rand::rng())
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    fn copy(&self) -> PathBuf {
        self.dir.path().join("keyring.copy")
    }

    /// Writes both files.
    fn write(&self, bytes: &[u8]) {
        fs::write(&self.path, bytes).unwrap();
        fs::write(self.copy(), bytes).unwrap();
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

fn at(micros: u64) -> Time {
    Time::from_micros(micros).unwrap()
}

/// Everything that must outlive a change of slots.
type Everything = (NodeKey, [u8; 32], [u8; 32], [u8; 32], Vec<(String, Actor)>, [[u8; 32]; 4], [u8; 32], String);

fn everything(keyring: &Keyring) -> Everything {
    (
        keyring.node_key().node_key(),
        *keyring.decryption_key().as_bytes(),
        *keyring.index_key().as_bytes(),
        *keyring.row_key().as_bytes(),
        keyring.actors().iter().map(|actor| (actor.name.clone(), actor.key.actor())).collect(),
        [0, 1, 65_536, KEY_POSITIONS - 1].map(|at| *keyring.key_tree().position_key(at).unwrap().as_bytes()),
        *keyring.records_key().as_bytes(),
        format!("{:?}", keyring.trust()),
    )
}

fn fill(keyring: &mut Keyring) {
    let rng = &mut rand::rng();
    keyring.add_actor("alice", at(1), rng).unwrap();
    keyring.add_actor("Zoë 2", at(2), rng).unwrap();
    keyring.trust_actor(SigningKey::generate(rng).actor(), "carol", How::Card, at(3), rng).unwrap();
    keyring.trust_origin(SigningKey::generate(rng).node_key(), "hall 2", How::ByHand, at(4), rng).unwrap();
}

#[test]
fn every_damaged_byte_and_every_cut_is_damage_and_not_a_wrong_passphrase() {
    let (fixture, mut keyring) = Fixture::new();
    fill(&mut keyring);
    let whole = fixture.bytes();
    for text in ["correct horse", "wrong horse"] {
        for byte in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[byte] ^= change;
                fixture.write(&damaged);
                let refusal = fixture.open(text).unwrap_err();
                assert!(matches!(refusal, KeyringError::Damaged { .. }), "byte {byte}: {refusal}");
            }
        }
        for len in 0..whole.len() {
            fixture.write(&whole[..len]);
            let refusal = fixture.open(text).unwrap_err();
            assert!(matches!(refusal, KeyringError::Damaged { .. }), "{len} bytes: {refusal}");
        }
        fixture.write(&[&whole[..], b"\n"].concat());
        assert!(matches!(fixture.open(text), Err(KeyringError::Damaged { .. })));
    }
    fixture.write(&whole);
    assert!(matches!(fixture.open("wrong horse"), Err(KeyringError::WrongPassphrase)));
    assert!(fixture.open("correct horse").is_ok());
}

#[test]
fn what_is_no_keyring_is_named() {
    let (fixture, keyring) = Fixture::new();
    drop(keyring);
    fs::remove_file(fixture.copy()).unwrap();
    fs::write(&fixture.path, b"#!/bin/sh\n").unwrap();
    let refusal = fixture.open("correct horse").unwrap_err().to_string();
    let expected = "keyring is damaged: it does not begin like a keyring; and its copy is missing";
    assert!(refusal.ends_with(expected), "{refusal}");

    fs::remove_file(&fixture.path).unwrap();
    assert!(matches!(fixture.open("correct horse"), Err(KeyringError::NotFound { .. })));

    fs::create_dir(&fixture.path).unwrap();
    let refusal = fixture.open("correct horse").unwrap_err();
    assert!(refusal.to_string().ends_with("keyring is damaged: it is a directory"), "{refusal}");
}

#[test]
fn file_beyond_its_bound_is_not_read() {
    let (fixture, keyring) = Fixture::new();
    drop(keyring);
    // Sparse: a terabyte that takes no room, and would not fit into memory.
    for path in [&fixture.path, &fixture.copy()] {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    }
    let refusal = fixture.open("correct horse").unwrap_err();
    assert!(refusal.to_string().ends_with("at most 67108864 are allowed"), "{refusal}");
}

#[test]
fn keyring_is_never_made_over_another() {
    let (fixture, keyring) = Fixture::new();
    drop(keyring);
    let before = fixture.bytes();
    let refusal = Keyring::create(&fixture.path, &passphrase("correct horse"), tiny(), &mut rand::rng()).unwrap_err();
    assert!(matches!(refusal, KeyringError::AlreadyExists { .. }));
    assert_eq!(fixture.bytes(), before);
}

#[test]
fn each_passphrase_and_the_recovery_key_open_the_same_secrets() {
    let (fixture, mut keyring) = Fixture::new();
    fill(&mut keyring);
    let rng = &mut rand::rng();
    let second = keyring.add_passphrase(&passphrase("second horse"), tiny(), rng).unwrap();
    let recovery_key = keyring.new_recovery_key(rng).unwrap();
    let all = everything(&keyring);
    drop(keyring);

    let opened = fixture.open("correct horse").unwrap();
    assert_eq!((opened.opened_by(), everything(&opened)), (SlotId(1), all.clone()));
    let opened = fixture.open("second horse").unwrap();
    assert_eq!((opened.opened_by(), everything(&opened)), (second, all.clone()));
    let typed = RecoveryKey::parse(&recovery_key.text().as_str().to_lowercase().replace('-', " ")).unwrap();
    let mut opened = fixture.open_with(&typed).unwrap();
    assert_eq!(everything(&opened), all);
    assert_eq!(opened.slots().iter().filter(|slot| slot.opened).count(), 1);

    // What it is for: the passphrase of a slot is forgotten.
    opened.change_passphrase(SlotId(1), &passphrase("found horse"), None, rng).unwrap();
    assert_eq!(everything(&fixture.open("found horse").unwrap()), all);
    assert!(matches!(fixture.open("correct horse"), Err(KeyringError::WrongPassphrase)));
    assert!(fixture.open("second horse").is_ok());
}

#[test]
fn replaced_recovery_key_opens_nothing() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    let stranger = RecoveryKey::generate(rng);
    assert!(matches!(fixture.open_with(&stranger), Err(KeyringError::WrongRecoveryKey)));
    let first = keyring.new_recovery_key(rng).unwrap();
    assert!(matches!(keyring.new_recovery_key(rng), Err(KeyringError::RecoveryKeyExists { slot: SlotId(2) })));
    let second = keyring.replace_recovery_key(rng).unwrap();
    assert!(matches!(fixture.open_with(&first), Err(KeyringError::WrongRecoveryKey)));
    assert!(fixture.open_with(&second).is_ok());
    assert_eq!(keyring.slots().len(), 2);
    keyring.remove_slot(SlotId(2), rng).unwrap();
    assert!(matches!(fixture.open_with(&second), Err(KeyringError::WrongRecoveryKey)));
}

#[test]
fn removed_passphrase_opens_nothing_and_the_last_one_stays() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    keyring.new_recovery_key(rng).unwrap();
    assert!(matches!(keyring.remove_slot(SlotId(1), rng), Err(KeyringError::LastPassphrase { .. })));
    assert!(matches!(keyring.remove_slot(SlotId(9), rng), Err(KeyringError::NoSuchSlot { .. })));
    keyring.add_passphrase(&passphrase("second horse"), tiny(), rng).unwrap();
    keyring.remove_slot(SlotId(1), rng).unwrap();
    assert!(matches!(fixture.open("correct horse"), Err(KeyringError::WrongPassphrase)));
    assert!(fixture.open("second horse").is_ok());
    let refusal = keyring.change_passphrase(SlotId(2), &passphrase("third horse"), None, rng).unwrap_err();
    assert!(matches!(refusal, KeyringError::NotAPassphraseSlot { .. }));
}

#[test]
fn slots_are_bounded() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    for n in 2..=16 {
        let id = keyring.add_passphrase(&passphrase(&format!("horse number {n}")), tiny(), rng).unwrap();
        assert_eq!(id, SlotId(n));
    }
    let refusal = keyring.add_passphrase(&passphrase("one too many"), tiny(), rng).unwrap_err();
    assert_eq!(refusal.to_string(), "the keyring has 16 slots, which is the most it can hold");
    assert!(matches!(keyring.new_recovery_key(rng), Err(KeyringError::Full { .. })));
    assert_eq!(fixture.open("horse number 16").unwrap().opened_by(), SlotId(16));
}

#[test]
fn change_of_passphrase_keeps_every_secret_and_the_choice() {
    let (fixture, mut keyring) = Fixture::new();
    fill(&mut keyring);
    let rng = &mut rand::rng();
    let sealed = keyring.row_key().seal_key().seal(b"row 7", b"record", rng);
    let all = everything(&keyring);
    keyring.change_passphrase(keyring.opened_by(), &passphrase("new horse battery"), None, rng).unwrap();
    drop(keyring);
    assert!(matches!(fixture.open("correct horse"), Err(KeyringError::WrongPassphrase)));
    let opened = fixture.open("new horse battery").unwrap();
    assert_eq!(everything(&opened), all);
    assert_eq!(opened.row_key().seal_key().open(b"row 7", &sealed).unwrap(), b"record");
    assert!(matches!(opened.slots()[0].kind, SlotKind::Passphrase { explicit: true, .. }));
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 2, "only the keyring and its copy are there");
}

#[test]
fn short_passphrases_are_refused_when_new_and_merely_wrong_when_not() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    let before = fixture.bytes();
    let refusals = [
        Keyring::create(&fixture.dir.path().join("other"), &passphrase("1234567"), tiny(), rng).map(drop),
        keyring.add_passphrase(&passphrase("1234567"), tiny(), rng).map(drop),
        keyring.change_passphrase(SlotId(1), &passphrase("1234567"), None, rng),
    ];
    for refusal in refusals {
        let text = refusal.unwrap_err().to_string();
        assert_eq!(text, "the passphrase has 7 characters, at least 8 are needed");
    }
    assert_eq!(fixture.bytes(), before);
    // No rule when opening: it is wrong, not too short.
    assert!(matches!(fixture.open(""), Err(KeyringError::WrongPassphrase)));
}

#[test]
fn passphrases_are_taken_as_given() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    // One with U+00E9, the other with e and U+0301; then trailing white space.
    keyring.change_passphrase(SlotId(1), &passphrase("caf\u{e9} caf\u{e9}"), None, rng).unwrap();
    assert!(matches!(fixture.open("cafe\u{301} cafe\u{301}"), Err(KeyringError::WrongPassphrase)));
    assert!(matches!(fixture.open("caf\u{e9} caf\u{e9} "), Err(KeyringError::WrongPassphrase)));
    assert!(fixture.open("caf\u{e9} caf\u{e9}").is_ok());
}

#[test]
fn default_parameters_are_those_of_the_documentation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    let right = passphrase("correct horse");
    let rng = &mut rand::rng();
    let keyring = Keyring::create(&path, &right, KdfChoice::Default, rng).unwrap();
    let params = KdfParams::new(65536, 3, 4).unwrap();
    assert_eq!(keyring.slots()[0].kind, SlotKind::Passphrase { params, explicit: false });
    assert!(Keyring::open(&path, Unlock::Passphrase(&right), rng).is_ok());
}

#[test]
fn crash_between_the_temporary_file_and_the_rename_leaves_the_old_keyring() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    let before = fixture.bytes();
    keyring.add_actor("alice", at(1), rng).unwrap();
    let after = fixture.bytes();
    drop(keyring);
    let tmp = fixture.dir.path().join(".keyring.4711.0.new");
    for len in 0..=after.len() {
        fixture.write(&before);
        fs::write(&tmp, &after[..len]).unwrap();
        assert_eq!(fixture.open("correct horse").unwrap().actors().len(), 0, "{len} bytes were written");
    }
    let mut keyring = fixture.open("correct horse").unwrap();
    keyring.add_actor("bob", at(1), rng).unwrap();
    assert!(!tmp.exists());
    assert_eq!(fixture.open("correct horse").unwrap().actors()[0].name, "bob");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (fixture, mut keyring) = Fixture::new();
    let mode = || fs::metadata(&fixture.path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(keyring.mode_warning(), None);
    let rng = &mut rand::rng();
    keyring.add_actor("alice", at(1), rng).unwrap();
    assert_eq!(mode(), 0o600);

    fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut keyring = fixture.open("correct horse").unwrap();
    let warning = keyring.mode_warning().unwrap();
    assert!(warning.ends_with("keyring has mode 0644, 0600 is enough"), "{warning}");
    keyring.add_actor("bob", at(1), rng).unwrap();
    assert_eq!((mode(), keyring.mode_warning()), (0o600, None));
}

#[test]
fn file_shows_no_name_and_no_key() {
    let (fixture, mut keyring) = Fixture::new();
    fill(&mut keyring);
    let bytes = fixture.bytes();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let node_key = keyring.node_key();
    for needle in [
        &b"alice"[..],
        b"carol",
        b"hall 2",
        b"horse",
        node_key.seed(),
        &node_key.node_key().0,
        keyring.index_key().as_bytes(),
        &keyring.default_actor().unwrap().key.actor().0,
    ] {
        assert!(!holds(needle));
    }
    // A second write of the same secrets looks like another file.
    keyring.set_default_actor("alice", &mut rand::rng()).unwrap();
    let again = fixture.bytes();
    assert_eq!(again.len(), bytes.len());
    let same = again.iter().zip(&bytes).skip(133).filter(|(a, b)| a == b).count();
    assert!(same < bytes.len() / 50, "{same} bytes are as before");
}

#[test]
fn nothing_secret_is_printed() {
    let (fixture, keyring) = Fixture::new();
    let wrong = passphrase("hunter2 hunter2");
    let refusal = Keyring::open(&fixture.path, Unlock::Passphrase(&wrong), &mut rand::rng()).unwrap_err();
    let recovery_key = RecoveryKey::generate(&mut rand::rng());
    let text = recovery_key.text();
    let typo = RecoveryKey::parse(&text.as_str()[1..]).unwrap_err();
    let printed = format!(
        "{refusal} {refusal:?} {typo} {typo:?} {keyring:?} {wrong:?} {recovery_key:?} {text:?} {:?} {:?}",
        Unlock::Passphrase(&wrong),
        keyring.row_key().seal_key(),
    );
    assert!(!printed.contains("hunter2"), "{printed}");
    for group in text.as_str().split('-').skip(1) {
        assert!(!printed.contains(group), "{printed}");
    }
}

#[test]
fn actors_have_one_name_each_and_the_first_is_the_default() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    assert!(matches!(keyring.default_actor(), Err(KeyringError::NoActor)));
    let alice = keyring.add_actor("alice", at(1), rng).unwrap().actor();
    let bob = keyring.add_actor("bob", at(2), rng).unwrap().actor();
    assert!(matches!(keyring.add_actor("alice", at(3), rng), Err(KeyringError::ActorExists { .. })));
    assert!(matches!(keyring.add_actor("", at(3), rng), Err(KeyringError::BadName { .. })));
    assert!(matches!(keyring.add_actor("a\nb", at(3), rng), Err(KeyringError::BadName { .. })));
    assert_eq!(keyring.default_actor().unwrap().key.actor(), alice);
    assert!(keyring.trust().trusts_actor(&alice) && keyring.trust().trusts_actor(&bob));

    keyring.set_default_actor("bob", rng).unwrap();
    let opened = fixture.open("correct horse").unwrap();
    assert_eq!(opened.default_actor().unwrap().key.actor(), bob);
    assert_eq!(opened.actor("alice").unwrap().key.actor(), alice);
    assert_eq!(opened.actor("carol").unwrap_err().to_string(), "there is no actor 'carol'");
}

#[test]
fn trust_outlives_a_restart_and_its_withdrawal_too() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    let (carol, dave) = (SigningKey::generate(rng).actor(), SigningKey::generate(rng).actor());
    let peer = SigningKey::generate(rng).node_key();
    keyring.trust_actor(carol, "carol", How::Card, at(1), rng).unwrap();
    keyring.trust_origin(peer, "hall 2", How::ByHand, at(2), rng).unwrap();
    // Somebody else's key does not get a name that people know.
    let refusal = keyring.trust_actor(dave, "carol", How::Card, at(3), rng).unwrap_err();
    assert_eq!(refusal.to_string(), format!("the name 'carol' is taken by the key {carol}"));
    assert!(matches!(keyring.add_actor("carol", at(3), rng), Err(KeyringError::NameTaken { .. })));
    assert!(keyring.actors().is_empty());
    let weak = keyring.trust_actor(Actor([0; 32]), "weak", How::Card, at(3), rng).unwrap_err();
    assert!(matches!(weak, KeyringError::UnacceptableKey { .. }));

    keyring.trust_actor(carol, "carol", How::ByHand, at(3), rng).unwrap();
    assert_eq!(keyring.trust().actor(&carol).unwrap().since, at(1));

    keyring.untrust_actor(&carol, at(4), rng).unwrap();
    keyring.untrust_origin(&peer.origin(), at(5), rng).unwrap();
    assert!(matches!(keyring.untrust_actor(&dave, at(4), rng), Err(KeyringError::NotKnown { .. })));
    keyring.trust_actor(dave, "carol", How::ByHand, at(6), rng).unwrap();

    let opened = fixture.open("correct horse").unwrap();
    let trust = opened.trust();
    assert_eq!(trust.actor(&carol).unwrap().withdrawn, Some(at(4)));
    assert_eq!(trust.origin(&peer.origin()).unwrap().withdrawn, Some(at(5)));
    assert!(!trust.trusts_actor(&carol) && trust.trusts_actor(&dave) && !trust.trusts_origin(&peer.origin()));
    assert_eq!(trust, keyring.trust());
}

/// Versions 1 and 2 are of databases that are not read either: no damage, and no
/// newer program.
#[test]
fn a_keyring_of_an_older_version_is_refused_as_one() {
    let (fixture, keyring) = Fixture::new();
    drop(keyring);
    let whole = fixture.bytes();
    for version in [1, 2] {
        let mut older = whole[..whole.len() - 32].to_vec();
        older[16] = version;
        older.extend(<sha2::Sha256 as sha2::Digest>::digest(&older));
        fixture.write(&older);
        let problem = fixture.open("correct horse").unwrap_err();
        assert!(matches!(problem, KeyringError::OlderVersion { found } if found == u64::from(version)), "{problem}");
        let told = thingdb::KeyringFile::from_bytes(older).unwrap_err();
        assert!(matches!(told, KeyringError::OlderVersion { .. }), "{told}");
    }
}

/// No secret comes to be with the entries: a copy that is kept elsewhere has the
/// keys of all that is written later.
#[test]
fn the_keys_of_positions_are_those_of_every_copy() {
    let (fixture, mut keyring) = Fixture::new();
    let kept = fixture.open("correct horse").unwrap();
    keyring.rotate_node_key(&mut rand::rng()).unwrap();
    fill(&mut keyring);
    let opened = fixture.open("correct horse").unwrap();
    for position in [0, 1, 65_535, 65_536, 1 << 33, KEY_POSITIONS - 1] {
        let key = |keyring: &Keyring| *keyring.key_tree().position_key(position).unwrap().as_bytes();
        assert_eq!(key(&kept), key(&opened), "{position}");
    }
    assert_eq!(kept.records_key().as_bytes(), opened.records_key().as_bytes());
    assert!(opened.key_tree().position_key(KEY_POSITIONS).is_none());
}

#[test]
fn rotated_node_still_opens_what_was_sealed_to_it() {
    let (fixture, mut keyring) = Fixture::new();
    let rng = &mut rand::rng();
    let (node_key, encryption_key) = (keyring.node_key().node_key(), keyring.decryption_key().encryption_key());
    let rotated = keyring.rotate_node_key(rng).unwrap();
    assert_ne!(rotated, node_key);
    let opened = fixture.open("correct horse").unwrap();
    assert_eq!(opened.node_key().node_key(), rotated);
    let [former] = opened.former_nodes() else { panic!("one former node") };
    assert_eq!((former.node_key, former.decryption_key.encryption_key()), (node_key, encryption_key));
    assert_ne!(opened.decryption_key().encryption_key(), encryption_key);
}
