//! The labels that keep bytes made for one purpose from being taken for those
//! made for another. All of them, so that no two are the same.

/// Before a header, in the hash that names the entry.
pub const ENTRY: &str = "thingdb/1/entry";

/// Before a header, in a signature of kind 1.
pub const SIGN_ENTRY: &str = "thingdb/1/sign-entry";

/// Before the size and root of a batch, in a signature of kind 2.
pub const SIGN_BATCH: &str = "thingdb/1/sign-batch";

/// Derives the key of a payload from the CEK.
pub const PAYLOAD: &str = "thingdb/1/payload";

/// Derives the key of the commitment from the CEK.
pub const COMMITMENT: &str = "thingdb/1/commitment";

/// Associated data of a payload.
pub const BODY: &str = "thingdb/1/body";

/// Derives the key of a sealed CEK from the KEK.
pub const CEK: &str = "thingdb/1/cek";

/// HPKE's info of a KEK packet of kind 1.
pub const KEK: &str = "thingdb/1/kek";

/// Derives the key of a KEK packet of kind 2 from the stretched passphrase.
pub const KEK_PASSPHRASE: &str = "thingdb/1/kek-passphrase";

/// Before a card, in its signature.
pub const CARD: &str = "thingdb/1/card";

/// Before a thing id, in the hash that says where the thing stands in the map of heads.
pub const HEADS_KEY: &str = "thingdb/1/heads-key";

/// Before a thing id, the number of its entries and its heads, in their hash.
pub const HEADS: &str = "thingdb/1/heads";

/// Before a field, in its leaf.
pub const FIELD: &str = "thingdb/1/field";

/// Derives the salts of fields from the CEK.
pub const FIELD_SALT: &str = "thingdb/1/field-salt";
/// Before a public key, in the hash that promises it.
pub const NEXT_KEY: &str = "thingdb/1/next-key";

/// Before two keys, in the signature of a key that follows another one.
pub const SIGN_SUCCESSOR: &str = "thingdb/1/sign-successor";

/// All of them.
pub const ALL: [&str; 16] = [
    ENTRY,
    SIGN_ENTRY,
    SIGN_BATCH,
    PAYLOAD,
    COMMITMENT,
    BODY,
    CEK,
    KEK,
    KEK_PASSPHRASE,
    CARD,
    HEADS_KEY,
    HEADS,
    FIELD,
    FIELD_SALT,
    NEXT_KEY,
    SIGN_SUCCESSOR,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        for (place, label) in ALL.iter().enumerate() {
            assert!(!ALL[..place].contains(label), "{label}");
            assert!(label.len() < 32, "{label} fits label32 with a zero byte after it");
        }
    }
}
