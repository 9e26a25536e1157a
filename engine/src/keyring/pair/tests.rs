//! Claims about the two files: whatever happens to one of them, the other
//! opens, and afterwards both are the same again.

use std::fs;

use thingdb_format::Time;

use super::super::*;
use super::*;

const SLOT: usize = 42;

fn tiny() -> KdfChoice {
    KdfChoice::Explicit(KdfParams::new(8, 1, 1).unwrap())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

fn now() -> Time {
    Time::from_micros(1_795_327_272_000_500).unwrap()
}

/// A directory with a keyring of generation 2, and its file of generation 1.
struct Fixture {
    dir: tempfile::TempDir,
    path: PathBuf,
    copy: PathBuf,
    old: Vec<u8>,
    whole: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let mut keyring = Keyring::create(&path, &passphrase("correct horse"), tiny(), &mut rand::rng()).unwrap();
        let old = fs::read(&path).unwrap();
        keyring.add_actor("alice", now(), &mut rand::rng()).unwrap();
        let whole = fs::read(&path).unwrap();
        Self { copy: file::copy_of(&path), dir, path, old, whole }
    }

    fn open(&self, text: &str) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.path, Unlock::Passphrase(&passphrase(text)), &mut rand::rng())
    }

    fn look(&self) -> Result<Keyring, KeyringError> {
        let opening = Opening { may_write: false, ..Opening::default() };
        let right = passphrase("correct horse");
        Keyring::open_with(&self.path, Unlock::Passphrase(&right), &opening, &mut rand::rng())
    }

    fn put_back(&self) {
        fs::write(&self.path, &self.whole).unwrap();
        fs::write(&self.copy, &self.whole).unwrap();
    }

    fn files(&self) -> [&Path; 2] {
        [&self.path, &self.copy]
    }

    /// The newest keyring opens, says what was wrong, and both files are the
    /// same again.
    #[track_caller]
    fn mends(&self, what: &str) -> Mending {
        let mut keyring = self.open("correct horse").unwrap();
        assert_eq!(keyring.actors().len(), 1, "{what}: an old one opened");
        let mending = keyring.mending.take().unwrap_or_else(|| panic!("{what}: nothing was said"));
        assert!(matches!(mending.done, Mended::Replaced(_)), "{what}: {mending}");
        for file in self.files() {
            assert!(fs::read(file).unwrap() == self.whole, "{what}: {} is not as it was", file.display());
        }
        assert!(self.open("correct horse").unwrap().mending.is_none(), "{what}: it was not mended for good");
        for name in self.asides() {
            fs::remove_file(self.dir.path().join(name)).unwrap();
        }
        mending
    }

    fn asides(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(".aside-"));
        names
    }
}

#[test]
fn every_damage_of_one_file_is_mended_from_the_other() {
    let fixture = Fixture::new();
    // Each byte in one of the two; which does not matter to what is tried.
    for (n, file) in fixture.files().into_iter().enumerate() {
        for byte in (n..fixture.whole.len()).step_by(2) {
            let mut damaged = fixture.whole.clone();
            damaged[byte] ^= 1 << (byte % 8);
            fs::write(file, &damaged).unwrap();
            let mending = fixture.mends(&format!("byte {byte}"));
            assert!(matches!(mending.fault, Fault::Damaged(_)), "{mending}");
        }
        for len in (n..fixture.whole.len()).step_by(11) {
            fs::write(file, &fixture.whole[..len]).unwrap();
            fixture.mends(&format!("cut to {len}"));
        }
        fs::write(file, vec![0; fixture.whole.len()]).unwrap();
        fixture.mends("zeroed");
        fs::write(file, b"").unwrap();
        fixture.mends("empty");
        fs::remove_file(file).unwrap();
        assert!(matches!(fixture.mends("gone").fault, Fault::Missing));
        fs::write(file, &fixture.old).unwrap();
        let mending = fixture.mends("old");
        assert!(matches!(mending.fault, Fault::Older { generation: 1, newest: 2 }), "{mending}");
    }
}

#[test]
fn a_good_pair_is_left_alone_and_says_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fs::read(&fixture.copy).unwrap(), fixture.whole);
    let keyring = fixture.open("correct horse").unwrap();
    assert!(keyring.mending().is_none() && keyring.copy_problem().is_none());
    assert_eq!(keyring.generation(), 2);
    assert!(fixture.asides().is_empty());
}

/// What is damaged may be newer than what is good: it is kept.
#[test]
fn what_was_damaged_is_set_aside_and_what_was_old_is_not() {
    let fixture = Fixture::new();
    let mut damaged = fixture.whole.clone();
    damaged[100] ^= 1;
    for (file, name) in fixture.files().into_iter().zip(["keyring.aside-", "keyring.copy.aside-"]) {
        for n in 1..=2 {
            fs::write(file, &damaged).unwrap();
            fixture.open("correct horse").unwrap();
            assert_eq!(fs::read(fixture.dir.path().join(format!("{name}{n}"))).unwrap(), damaged);
        }
    }
    let before = fixture.asides().len();
    fs::write(&fixture.path, &fixture.old).unwrap();
    fixture.open("correct horse").unwrap();
    assert_eq!(fixture.asides().len(), before);
}

#[test]
fn two_damaged_files_are_damage_and_no_wrong_passphrase_and_are_not_touched() {
    let fixture = Fixture::new();
    let mut damaged = fixture.whole.clone();
    damaged[60] ^= 1;
    fs::write(&fixture.path, &damaged).unwrap();
    fs::write(&fixture.copy, &fixture.whole[..80]).unwrap();
    for text in ["correct horse", "wrong horse"] {
        let refusal = fixture.open(text).unwrap_err();
        assert!(matches!(refusal, KeyringError::Damaged { .. }), "{refusal}");
        assert!(refusal.to_string().contains("; and so is its copy: "), "{refusal}");
    }
    assert_eq!((fs::read(&fixture.path).unwrap(), fs::read(&fixture.copy).unwrap().len()), (damaged, 80));
}

#[test]
fn a_wrong_passphrase_is_wrong_whatever_became_of_the_other_file() {
    let fixture = Fixture::new();
    let damaged = vec![0; 300];
    for content in [Some(&fixture.whole), Some(&fixture.old), Some(&damaged), None] {
        for file in fixture.files() {
            fixture.put_back();
            match content {
                Some(bytes) => fs::write(file, bytes).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
            let before = fixture.files().map(|file| fs::read(file).ok());
            assert!(matches!(fixture.open("wrong horse"), Err(KeyringError::WrongPassphrase)));
            assert_eq!(fixture.files().map(|file| fs::read(file).ok()), before, "it was written without a key");
        }
    }
}

/// The older file has a slot that takes a gigabyte sixty-four times: to try a
/// wrong passphrase on it, too, would take minutes.
#[test]
fn the_older_file_is_not_tried_with_a_passphrase_that_the_newer_refuses() {
    let fixture = Fixture::new();
    let mut dear = fixture.old.clone();
    dear[SLOT + 3..SLOT + 7].copy_from_slice(&(1024_u32 * 1024).to_be_bytes());
    dear[SLOT + 7..SLOT + 11].copy_from_slice(&64_u32.to_be_bytes());
    layout::repair_checksum(&mut dear);
    assert!(Locked::parse(&dear).is_ok());
    fs::write(&fixture.copy, &dear).unwrap();
    assert!(matches!(fixture.open("wrong horse"), Err(KeyringError::WrongPassphrase)));
    fixture.mends("dear");
}

/// A passphrase that was taken away does not come back because the newer file
/// is gone behind it: only that file's loss makes the older one count.
#[test]
fn between_the_two_writes_the_new_passphrase_counts() {
    let fixture = Fixture::new();
    let mut keyring = fixture.open("correct horse").unwrap();
    keyring.change_passphrase(SlotId(1), &passphrase("new horse battery"), None, &mut rand::rng()).unwrap();
    drop(keyring);
    // As a kill between the writes leaves it.
    fs::write(&fixture.copy, &fixture.whole).unwrap();
    assert!(matches!(fixture.open("correct horse"), Err(KeyringError::WrongPassphrase)));
    let keyring = fixture.open("new horse battery").unwrap();
    assert!(matches!(keyring.mending(), Some(Mending { fault: Fault::Older { .. }, .. })));
    assert_eq!(fs::read(&fixture.copy).unwrap(), fs::read(&fixture.path).unwrap());
}

/// Whoever makes the checksum right again is found out once the root key is
/// known: then the other file opens, with the slot that is open already.
#[test]
fn damage_that_shows_after_the_passphrase_is_mended_too() {
    let fixture = Fixture::new();
    for file in fixture.files() {
        // The generation, the salt, the secrets.
        for byte in [40, SLOT + 91 + 3, fixture.whole.len() - 40] {
            let mut planted = fixture.whole.clone();
            planted[byte] ^= 1;
            layout::repair_checksum(&mut planted);
            fs::write(file, &planted).unwrap();
            fixture.mends(&format!("byte {byte} of {}", file.display()));
        }
    }
}

#[test]
fn the_keyring_of_another_database_is_set_aside() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let node = fixture.look().unwrap().node_key().node_key();
    let is_right = |keyring: &Keyring| keyring.node_key().node_key() == node;
    let opening = Opening { is_right: &is_right, ..Opening::default() };
    for file in fixture.files() {
        fs::write(file, &other.whole).unwrap();
        let right = passphrase("correct horse");
        let opened = Keyring::open_with(&fixture.path, Unlock::Passphrase(&right), &opening, &mut rand::rng()).unwrap();
        assert_eq!(opened.node_key().node_key(), node);
        assert!(matches!(opened.mending(), Some(Mending { fault: Fault::OtherDatabase, .. })));
        let [aside] = &fixture.asides()[..] else { panic!("one is set aside") };
        assert_eq!(fs::read(fixture.dir.path().join(aside)).unwrap(), other.whole);
        fs::remove_file(fixture.dir.path().join(aside)).unwrap();
        assert_eq!(fs::read(file).unwrap(), fixture.whole);
    }
    // With another passphrase it does not open, and is in nobody's way.
    let mut keyring = other.open("correct horse").unwrap();
    keyring.change_passphrase(SlotId(1), &passphrase("other horse"), None, &mut rand::rng()).unwrap();
    fs::copy(&other.path, &fixture.path).unwrap();
    assert_eq!(fixture.open("correct horse").unwrap().node_key().node_key(), node);
}

#[test]
fn who_may_not_write_writes_nothing() {
    let fixture = Fixture::new();
    for file in fixture.files() {
        fs::write(file, b"damaged").unwrap();
        let keyring = fixture.look().unwrap();
        assert!(matches!(keyring.mending(), Some(Mending { done: Mended::Left, .. })));
        assert_eq!(fs::read(file).unwrap(), b"damaged");
        assert!(fixture.asides().is_empty());
        fixture.put_back();
    }
}

/// As on a full disk, or one that fails: the first file has the change, so it
/// counts, and the second is written when it can be.
#[test]
fn a_change_whose_copy_cannot_be_written_counts() {
    let fixture = Fixture::new();
    let mut keyring = fixture.open("correct horse").unwrap();
    let rng = &mut rand::rng();
    fs::remove_file(&fixture.copy).unwrap();
    fs::create_dir_all(fixture.copy.join("in the way")).unwrap();
    keyring.add_actor("bob", now(), rng).unwrap();
    assert!(matches!(keyring.copy_problem(), Some(KeyringError::Io { .. })));
    let opened = fixture.look().unwrap();
    assert_eq!((opened.actors().len(), opened.generation()), (2, 3));
    fs::remove_dir_all(&fixture.copy).unwrap();
    keyring.add_actor("carol", now(), rng).unwrap();
    assert!(keyring.copy_problem().is_none());
    assert_eq!(fs::read(&fixture.copy).unwrap(), fs::read(&fixture.path).unwrap());
}

#[test]
fn a_change_that_failed_uses_up_its_generation() {
    let fixture = Fixture::new();
    let mut keyring = fixture.open("correct horse").unwrap();
    let rng = &mut rand::rng();
    fs::remove_file(&fixture.path).unwrap();
    fs::create_dir_all(fixture.path.join("in the way")).unwrap();
    assert!(keyring.add_actor("bob", now(), rng).is_err());
    fs::remove_dir_all(&fixture.path).unwrap();
    keyring.add_actor("bob", now(), rng).unwrap();
    assert_eq!(fixture.look().unwrap().generation(), 4);
}

/// A newer program wrote the one and was killed before it wrote the other: to go
/// on from that one would go behind it.
#[test]
fn a_file_of_a_newer_version_is_not_gone_behind() {
    let fixture = Fixture::new();
    let mut newer = fixture.whole.clone();
    newer[16] = 9;
    layout::repair_checksum(&mut newer);
    for file in fixture.files() {
        fs::write(file, &newer).unwrap();
        assert!(matches!(fixture.open("correct horse"), Err(KeyringError::NewerVersion { .. })));
        assert_eq!(fs::read(file).unwrap(), newer);
        fixture.put_back();
    }
}

#[test]
fn a_draft_has_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    let rng = &mut rand::rng();
    let mut keyring = Keyring::draft(&path, &passphrase("correct horse"), tiny(), rng).unwrap();
    keyring.add_actor("alice", now(), rng).unwrap();
    keyring.new_recovery_key(rng).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    keyring.publish(rng).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let opened = Keyring::open(&path, Unlock::Passphrase(&passphrase("correct horse")), rng).unwrap();
    assert_eq!((opened.actors().len(), opened.slots().len(), opened.generation()), (1, 2, 1));
    for path in [path.clone(), file::copy_of(&path)] {
        let there = Keyring::create(&path, &passphrase("correct horse"), tiny(), rng).unwrap_err();
        assert!(matches!(there, KeyringError::AlreadyExists { .. }));
    }
}
