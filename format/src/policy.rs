//! Whom a reader believes (c2sp.org/tlog-policy): logs, witnesses, and how many of
//! the witnesses must have cosigned a checkpoint.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>…
//! quorum <name>|none
//! ```

use std::collections::BTreeMap;

use crate::codec::{decimal, within};
use crate::note::{KeyKind, VerifierKey};
use crate::{Error, SignedCheckpoint};

/// Largest policy, in bytes.
pub const MAX_POLICY_BYTES: usize = 1 << 18;

/// Most lines that say something.
const MAX_LINES: u64 = 1024;

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: "policy", problem }
}

/// A policy.
///
/// ```
/// use thingdb_format::{Checkpoint, Hash, Policy, SigningKey};
/// let (node, witness) = (SigningKey::generate(&mut rand::rng()), SigningKey::generate(&mut rand::rng()));
/// let text = format!(
///     "log {}\nwitness neighbour {}\nquorum neighbour\n",
///     node.node_key().log_vkey()?,
///     witness.node_key().witness_vkey()?,
/// );
/// let policy = Policy::parse(text.as_bytes())?;
/// let note = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32])).sign(&node)?;
/// assert!(!policy.judge(&note)?.is_met());
/// let cosigned = note.with_signatures(&note.cosign(&witness, 1_679_315_147)?)?;
/// assert!(policy.judge(&cosigned)?.is_met());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    /// By the names of the policy: witnesses, then groups of what came before them.
    members: Vec<(Vec<u8>, Member)>,
    /// The member that must have witnessed; none if nobody needs to.
    quorum: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Witness(VerifierKey),
    Group { least: usize, of: Vec<usize> },
}

/// What a policy makes of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// Whether a log of the policy signed it, or the policy names none.
    pub is_of_a_log: bool,
    /// The witnesses of the policy that cosigned it: the names that the policy gives
    /// them, and the times, in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
    /// Whether they are enough.
    pub is_quorum: bool,
    /// The time by which the checkpoint was there, if one believes as many witnesses
    /// as the quorum asks for: the earliest at which they were enough, in seconds
    /// since 1970. `None` without a quorum.
    pub not_later_than: Option<u64>,
}

impl Judgement {
    /// Whether the checkpoint is to be believed.
    #[must_use]
    pub const fn is_met(&self) -> bool {
        self.is_of_a_log && self.is_quorum
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::Text`]; what is wrong
    /// with a verifier key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        within("policy", bytes.len() as u64, 0, MAX_POLICY_BYTES as u64)?;
        let is_allowed = |byte: &u8| matches!(byte, b'\t' | b'\n' | 0x20..=0x7e | 0x80..);
        if !bytes.iter().all(is_allowed) {
            return Err(Error::Text { field: "policy", problem: "holds a control character" });
        }
        let mut reading = Reading::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let words: Vec<&[u8]> =
                line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
            if words.first().is_some_and(|word| !word.starts_with(b"#")) {
                reading.line(&words)?;
            }
        }
        let quorum = reading.quorum.ok_or_else(|| malformed("has no line `quorum`"))?;
        Ok(Self { logs: reading.logs, members: reading.members, quorum })
    }

    /// The logs that are believed; any if there are none.
    #[must_use]
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The names that the policy gives to its witnesses, and their keys.
    pub fn witnesses(&self) -> impl Iterator<Item = (String, &VerifierKey)> {
        self.members.iter().filter_map(|(name, member)| match member {
            Member::Witness(key) => Some((String::from_utf8_lossy(name).into_owned(), key)),
            Member::Group { .. } => None,
        })
    }

    /// Looks who signed a checkpoint.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if a signature under the name and key id of a witness
    /// is not good.
    pub fn judge(&self, note: &SignedCheckpoint) -> Result<Judgement, Error> {
        let signed = |log: &VerifierKey| note.verify(&crate::NodeKey(*log.key())).is_ok() && log.name() == note.name();
        let is_of_a_log = self.logs.is_empty() || self.logs.iter().any(signed);
        // When each member had witnessed: a group when enough of it had.
        let mut since: Vec<Option<u64>> = Vec::with_capacity(self.members.len());
        let mut witnesses = Vec::new();
        for (name, member) in &self.members {
            let time = match member {
                Member::Witness(key) => note.cosigned_by(key)?,
                Member::Group { least, of } => {
                    let mut times: Vec<u64> = of.iter().filter_map(|member| *since.get(*member)?).collect();
                    times.sort_unstable();
                    least.checked_sub(1).and_then(|last| times.get(last).copied())
                }
            };
            if let (Member::Witness(_), Some(time)) = (member, time) {
                witnesses.push((String::from_utf8_lossy(name).into_owned(), time));
            }
            since.push(time);
        }
        let not_later_than = self.quorum.and_then(|member| since.get(member).copied().flatten());
        let is_quorum = self.quorum.is_none() || not_later_than.is_some();
        Ok(Judgement { is_of_a_log, witnesses, is_quorum, not_later_than })
    }
}

/// A policy of which some lines were read.
#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    members: Vec<(Vec<u8>, Member)>,
    places: BTreeMap<Vec<u8>, usize>,
    /// Members that stand in a group already.
    taken: Vec<usize>,
    quorum: Option<Option<usize>>,
    lines: u64,
}

impl Reading {
    fn line(&mut self, words: &[&[u8]]) -> Result<(), Error> {
        self.lines = self.lines.saturating_add(1);
        within("lines of the policy", self.lines, 1, MAX_LINES)?;
        match words {
            [b"log", key] | [b"log", key, _] => self.log(vkey(key, KeyKind::Log)?),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, vkey(key, KeyKind::Witness)?),
            [b"group", name, least, of @ ..] if !of.is_empty() => self.group(name, least, of),
            [b"quorum", name] => self.quorum(name),
            _ => Err(malformed("has a line that is none of `log`, `witness`, `group` and `quorum` with their words")),
        }
    }

    fn log(&mut self, key: VerifierKey) -> Result<(), Error> {
        if self.logs.iter().any(|known| known.key() == key.key()) {
            return Err(malformed("names a log twice"));
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: VerifierKey) -> Result<(), Error> {
        let has_it =
            |(_, member): &(Vec<u8>, Member)| matches!(member, Member::Witness(known) if known.key() == key.key());
        if self.members.iter().any(has_it) {
            return Err(malformed("names the key of a witness twice"));
        }
        self.define(name, Member::Witness(key))
    }

    fn group(&mut self, name: &[u8], least: &[u8], of: &[&[u8]]) -> Result<(), Error> {
        let least = match least {
            b"all" => of.len(),
            b"any" => 1,
            number => {
                let number = std::str::from_utf8(number).map_err(|_| malformed("has a group with no number"))?;
                let number = decimal("number of a group", number, of.len() as u64)?;
                within("number of a group", number, 1, of.len() as u64)?;
                usize::try_from(number).map_err(|_| malformed("has a group with too great a number"))?
            }
        };
        let of = of.iter().map(|member| self.place(member)).collect::<Result<Vec<_>, _>>()?;
        for member in &of {
            if self.taken.contains(member) {
                return Err(malformed("has a name that is a member twice"));
            }
            self.taken.push(*member);
        }
        self.define(name, Member::Group { least, of })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), Error> {
        if self.quorum.is_some() {
            return Err(malformed("has two lines `quorum`"));
        }
        self.quorum = Some(if name == b"none" { None } else { Some(self.place(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), Error> {
        if name == b"none" || self.places.contains_key(name) {
            return Err(malformed("gives a name twice, or the name `none`"));
        }
        self.places.insert(name.to_vec(), self.members.len());
        self.members.push((name.to_vec(), member));
        Ok(())
    }

    fn place(&self, name: &[u8]) -> Result<usize, Error> {
        self.places.get(name).copied().ok_or_else(|| malformed("uses a name that no line before gives"))
    }
}

fn vkey(word: &[u8], kind: KeyKind) -> Result<VerifierKey, Error> {
    let text = std::str::from_utf8(word).map_err(|_| malformed("has a verifier key that is not UTF-8"))?;
    let key: VerifierKey = text.parse()?;
    if key.kind() != kind {
        return Err(malformed("has the key of a log as that of a witness, or the other way round"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Hash, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn log(seed: u8) -> String {
        key(seed).node_key().log_vkey().unwrap().to_string()
    }

    fn witness(seed: u8) -> String {
        key(seed).node_key().witness_vkey().unwrap().to_string()
    }

    /// A checkpoint that these have cosigned, at the second of their number.
    fn cosigned(by: &[u8]) -> SignedCheckpoint {
        let note = Checkpoint::new(key(1).node_key().origin(), 7, Hash([7; 32])).sign(&key(1)).unwrap();
        let lines: String = by.iter().map(|seed| note.cosign(&key(*seed), u64::from(*seed)).unwrap()).collect();
        note.with_signatures(&lines).unwrap()
    }

    #[test]
    fn groups_of_groups_count_as_the_example_of_the_specification() {
        let mut text = format!("# who is believed\n\n log {} https://example.com\n", log(1));
        for (name, seed) in [("X1", 11), ("X2", 12), ("X3", 13), ("Y1", 21), ("Y2", 22), ("Y3", 23)] {
            text += &format!("witness {name}\t{}\n", witness(seed));
        }
        text += "group X 2 X1 X2 X3\ngroup Y any Y1 Y2 Y3\ngroup both all X Y\nquorum both\n";
        let policy = Policy::parse(text.as_bytes()).unwrap();
        for (by, time) in [
            (&[11, 12, 21][..], Some(21)),
            (&[11, 12, 13, 22], Some(22)),
            (&[12, 13, 11, 21], Some(21)),
            (&[11, 12], None),
            (&[11, 21, 22, 23], None),
            (&[], None),
            (&[99], None),
        ] {
            let judgement = policy.judge(&cosigned(by)).unwrap();
            assert_eq!((judgement.is_met(), judgement.not_later_than), (time.is_some(), time), "{by:?}");
        }
        let all = policy.judge(&cosigned(&[12, 23])).unwrap();
        assert_eq!(all.witnesses, [("X2".to_owned(), 12), ("Y3".to_owned(), 23)]);
    }

    #[test]
    fn the_log_must_be_one_of_those_named() {
        let note = cosigned(&[]);
        for (text, is_of_a_log) in [
            ("quorum none\n".to_owned(), true),
            (format!("log {}\nquorum none", log(1)), true),
            (format!("log {}\nlog {}\nquorum none", log(2), log(1)), true),
            (format!("log {}\nquorum none", log(2)), false),
        ] {
            let judgement = Policy::parse(text.as_bytes()).unwrap().judge(&note).unwrap();
            assert_eq!((judgement.is_of_a_log, judgement.is_met()), (is_of_a_log, is_of_a_log), "{text}");
        }
    }

    #[test]
    fn a_bad_line_of_a_witness_is_an_error() {
        let line = Checkpoint::new(key(1).node_key().origin(), 8, Hash([7; 32])).sign(&key(1)).unwrap();
        let line = line.cosign(&key(2), 5).unwrap();
        let policy = format!("witness w {}\nquorum none", witness(2));
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        assert!(policy.judge(&cosigned(&[]).with_signatures(&line).unwrap()).is_err());
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        let (log1, w2, w3) = (log(1), witness(2), witness(3));
        for bad in [
            String::new(),
            "quorum w".into(),
            "quorum none\nquorum none".into(),
            "quorum".into(),
            "quorum none extra".into(),
            format!("log {w2}\nquorum none"),
            format!("log {log1}\nlog {log1}\nquorum none"),
            format!("witness w {log1}\nquorum w"),
            format!("witness none {w2}\nquorum none"),
            format!("witness w {w2}\nwitness w {w3}\nquorum w"),
            format!("witness w {w2}\nwitness v {w2}\nquorum w"),
            format!("witness w {w2}\ngroup w any w\nquorum w"),
            format!("witness w {w2}\ngroup g any\nquorum g"),
            format!("witness w {w2}\ngroup g 0 w\nquorum g"),
            format!("witness w {w2}\ngroup g 2 w\nquorum g"),
            format!("witness w {w2}\ngroup g 01 w\nquorum g"),
            format!("witness w {w2}\ngroup g 2 w w\nquorum g"),
            format!("witness w {w2}\ngroup g any w\ngroup h any w\nquorum g"),
            format!("group g any w\nwitness w {w2}\nquorum g"),
            format!("quorum w\nwitness w {w2}"),
            format!("witness w {w2}\r\nquorum w"),
            format!("witness w {w2} url more\nquorum w"),
            "nonsense\nquorum none".into(),
        ] {
            assert!(Policy::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let name = [b"witness \xe2\x84\xaa ", w2.as_bytes(), b"\nquorum \xe2\x84\xaa\n"].concat();
        assert!(Policy::parse(&name).is_ok());
    }
}
