//! How dear a guess of the passphrase is.

use thingdb_format::KdfParams;

use super::KeyringError;
use super::passphrase::Passphrase;
use super::seal::Secret;

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
    pub fn weakest() -> Self {
        Self::Explicit(KdfParams::new(8, 1, 1).expect("these are the least that are allowed"))
    }

    pub(super) const fn params(self, default: KdfParams) -> KdfParams {
        match self {
            Self::Default => default,
            Self::Explicit(params) => params,
        }
    }
}

/// Whether a guess under `params` is cheaper than under `other`.
pub(super) const fn is_weaker(params: KdfParams, other: KdfParams) -> bool {
    cost(params) < cost(other)
}

/// Memory that is touched for one guess, in KiB.
const fn cost(params: KdfParams) -> u64 {
    params.memory_kib() as u64 * params.passes() as u64
}

/// The key that a passphrase gives.
pub(super) fn stretch(params: KdfParams, passphrase: &Passphrase, salt: &[u8; 16]) -> Result<Secret, KeyringError> {
    let key = params.derive(passphrase.as_bytes(), salt);
    let key = key.map_err(|_| KeyringError::NoMemory { memory_kib: params.memory_kib() })?;
    Ok(Secret::copy_of(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_and_the_salt_matter() {
        let passphrase = Passphrase::from("password".to_owned());
        let params = |memory_kib, passes, lanes| KdfParams::new(memory_kib, passes, lanes).unwrap();
        let one = stretch(params(16, 1, 1), &passphrase, &[1; 16]).unwrap();
        for (params, salt) in [
            (params(16, 1, 1), [2; 16]),
            (params(24, 1, 1), [1; 16]),
            (params(16, 2, 1), [1; 16]),
            (params(16, 1, 2), [1; 16]),
        ] {
            assert_ne!(stretch(params, &passphrase, &salt).unwrap().as_bytes(), one.as_bytes(), "{params:?}");
        }
    }
}
