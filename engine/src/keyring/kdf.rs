//! How dear a guess of the passphrase is: the parameters of Argon2id.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize;

use super::KeyringError;
use super::seal::Secret;
use crate::Passphrase;

/// Parameters of Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfParams {
    /// The second recommended option of RFC 9106, section 4.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    const MOST_MEMORY_KIB: u32 = 1024 * 1024;
    const MOST_PASSES: u32 = 64;
    const MOST_LANES: u32 = 16;

    /// Checks the limits; what passes is safe to allocate for.
    ///
    /// # Errors
    /// [`KeyringError::KdfOutOfRange`].
    pub fn check(self) -> Result<Self, KeyringError> {
        let within = |parameter, found, least, most| {
            if (least..=most).contains(&found) {
                return Ok(());
            }
            Err(KeyringError::KdfOutOfRange { parameter, found, least, most })
        };
        within("lanes", self.lanes, 1, Self::MOST_LANES)?;
        within("memory_kib", self.memory_kib, 8 * self.lanes, Self::MOST_MEMORY_KIB)?;
        within("passes", self.passes, 1, Self::MOST_PASSES)?;
        Ok(self)
    }

    /// Whether a guess costs less than with `other`. Memory times passes is a
    /// total order, so two versions of the program with different defaults
    /// cannot undo each other's upgrade for ever.
    #[must_use]
    pub const fn is_weaker_than(self, other: Self) -> bool {
        self.cost() < other.cost()
    }

    const fn cost(self) -> u64 {
        self.memory_kib as u64 * self.passes as u64
    }

    /// Argon2id of the passphrase. The working memory is wiped: with its last
    /// blocks at hand no passphrase needs to be guessed.
    pub(super) fn stretch(self, passphrase: &Passphrase, salt: &[u8; 16]) -> Result<Secret, KeyringError> {
        self.check()?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).expect("the limits were checked");
        let count = params.block_count();
        let mut blocks: Vec<Block> = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| KeyringError::NoMemory { memory_kib: self.memory_kib })?;
        blocks.resize(count, Block::new());
        let mut out = Secret::zeroed();
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            passphrase.as_bytes(),
            salt,
            out.as_mut_bytes(),
            &mut blocks[..],
        );
        blocks.iter_mut().for_each(Zeroize::zeroize);
        done.expect("lengths and parameters are within the limits of Argon2id");
        Ok(out)
    }
}

/// Which parameters a passphrase slot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KdfChoice {
    /// Those of the program: a slot that has weaker ones from an older version
    /// gets them when it is next opened.
    #[default]
    Default,
    /// These, for good, weaker or stronger.
    Explicit(KdfParams),
}

impl KdfChoice {
    /// The cheapest parameters there are, for tests and examples: whoever has
    /// the file can guess millions of passphrases a second.
    #[must_use]
    pub const fn weakest() -> Self {
        Self::Explicit(KdfParams { memory_kib: 8, passes: 1, lanes: 1 })
    }

    pub(super) const fn params(self, default: KdfParams) -> KdfParams {
        match self {
            Self::Default => default,
            Self::Explicit(params) => params,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_and_the_salt_matter() {
        let passphrase = Passphrase::from("password".to_owned());
        let tiny = KdfParams { memory_kib: 16, passes: 1, lanes: 1 };
        let one = tiny.stretch(&passphrase, &[1; 16]).unwrap();
        for (params, salt) in [
            (tiny, [2; 16]),
            (KdfParams { memory_kib: 24, ..tiny }, [1; 16]),
            (KdfParams { passes: 2, ..tiny }, [1; 16]),
            (KdfParams { lanes: 2, ..tiny }, [1; 16]),
        ] {
            assert_ne!(params.stretch(&passphrase, &salt).unwrap().as_bytes(), one.as_bytes(), "{params:?}");
        }
    }

    #[test]
    fn limits_are_checked_before_memory_is_taken() {
        let ok = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
        assert!(ok.check().is_ok());
        for bad in [
            KdfParams { memory_kib: 7, ..ok },
            KdfParams { memory_kib: 31, lanes: 4, ..ok },
            KdfParams { memory_kib: 1024 * 1024 + 1, ..ok },
            KdfParams { memory_kib: u32::MAX, ..ok },
            KdfParams { passes: 0, ..ok },
            KdfParams { passes: 65, ..ok },
            KdfParams { lanes: 0, ..ok },
            KdfParams { lanes: 17, memory_kib: 1024, ..ok },
            KdfParams { lanes: u32::MAX, ..ok },
        ] {
            let refused = bad.stretch(&Passphrase::from(String::new()), &[0; 16]);
            assert!(matches!(refused, Err(KeyringError::KdfOutOfRange { .. })), "{bad:?}");
        }
    }
}
