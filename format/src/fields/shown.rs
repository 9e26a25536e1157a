//! Fields of an entry that are shown to somebody who has no key to the rest.

use std::cmp::Ordering;
use std::fmt;

use super::tree::{committed, leaf};
use super::{FieldName, MAX_FIELDS, MAX_SHOWN, MIN_FIELDS, scan};
use crate::codec::within;
use crate::header::Header;
use crate::{Error, Hash, body, merkle};

/// Some fields of an entry. [`verify`](Self::verify) says whether they are of an entry with
/// this header; what is not shown is not known, and is not absent.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownFields {
    /// The commitment key of the entry. It opens nothing.
    pub key: [u8; 32],
    /// How many fields the entry has, the whole body among them.
    pub count: u32,
    /// Those that are shown, by their index.
    pub fields: Vec<ShownField>,
}

/// One field.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownField {
    /// Its place among the fields of the entry, from 1.
    pub index: u32,
    /// What it is called.
    pub name: FieldName,
    /// The text, or the exact bytes of the value as they stand in the data.
    pub value: Vec<u8>,
    /// What hides it where it is not shown.
    pub salt: [u8; 32],
    /// The way to the root of the tree.
    pub path: Vec<Hash>,
}

impl ShownField {
    /// The value: text, or a JSON value as it stands in the data.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap_or_default()
    }

    /// The value as JSON: the exact bytes of a value, or a name, action or media type as a
    /// string of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match (&self.name, self.value.first()) {
            // There can be line feeds in what is empty.
            (FieldName::Pointer(_), Some(b'{')) => "{}".to_owned(),
            (FieldName::Pointer(_), Some(b'[')) => "[]".to_owned(),
            (FieldName::Pointer(_), _) => self.text().to_owned(),
            _ => {
                let mut out = Vec::new();
                crate::json::push_string(&mut out, self.text());
                String::from_utf8(out).unwrap_or_default()
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let is_in_place = match self.name {
            FieldName::Pointer(_) => self.index >= MIN_FIELDS,
            _ => self.index == u32::from(self.name.kind()),
        };
        if !is_in_place {
            return Err(Error::Malformed { what: "field", problem: "does not stand at this index" });
        }
        let text = || {
            let problem = "is not UTF-8";
            std::str::from_utf8(&self.value).map_err(|_| Error::Text { field: "field", problem })
        };
        match self.name {
            FieldName::Actor => body::check_name(text()?),
            FieldName::Action => body::check_action(text()?),
            FieldName::MediaType => body::check_media_type("media type", text()?),
            FieldName::Pointer(_) if scan::is_leaf(&self.value) => Ok(()),
            FieldName::Pointer(_) => Err(Error::Malformed { what: "field", problem: "is not one value of JSON" }),
        }
    }
}

impl ShownFields {
    /// How many fields of the entry are not shown. The whole body is not one of these.
    #[must_use]
    pub fn hidden(&self) -> u32 {
        self.count.saturating_sub(1).saturating_sub(u32::try_from(self.fields.len()).unwrap_or(u32::MAX))
    }

    /// Checks that these are fields of the entry with this header.
    ///
    /// # Errors
    /// [`Error::BadHash`] or [`Error::BadProof`] if they are not; what is said of bytes that
    /// are out of bounds or in another spelling.
    pub fn verify(&self, header: &Header) -> Result<(), Error> {
        self.check()?;
        let mut root = None;
        for field in &self.fields {
            let leaf = leaf(&field.salt, &field.name.as_name(), &field.value);
            let found = merkle::root_of_inclusion(&leaf, u64::from(field.index), u64::from(self.count), &field.path)?;
            if *root.get_or_insert(found) != found {
                return Err(Error::BadProof { what: "inclusion", problem: "of a field leads to another root" });
            }
        }
        let computed = committed(&self.key, self.count, &root.unwrap_or(Hash([0; 32])));
        if computed != header.data_hash {
            return Err(Error::BadHash {
                field: "data_hash",
                found: header.data_hash.to_string(),
                computed: computed.to_string(),
            });
        }
        Ok(())
    }

    /// What can be seen without the header.
    fn check(&self) -> Result<(), Error> {
        within("count", u64::from(self.count), u64::from(MIN_FIELDS), u64::from(MAX_FIELDS))?;
        within("the number of fields that are shown", self.fields.len() as u64, 1, MAX_SHOWN as u64)?;
        if !self.fields.is_sorted_by(|one, next| one.index < next.index) {
            return Err(Error::NotAscending { field: "index" });
        }
        self.fields.iter().try_for_each(ShownField::check)?;
        let pointers = self.fields.iter().filter_map(|field| match &field.name {
            FieldName::Pointer(pointer) => Some(pointer.as_str()),
            _ => None,
        });
        let mut pointers: Vec<&str> = pointers.collect();
        // By their steps: what is in a value comes right behind it.
        pointers.sort_unstable_by(|one, other| by_steps(one, other));
        let is_within = |pair: &[&str]| match pair {
            [outer, inner] => inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            _ => false,
        };
        if pointers.windows(2).any(is_within) {
            let problem = "is there twice, or within a value that has nothing in it";
            return Err(Error::Malformed { what: "field", problem });
        }
        Ok(())
    }
}

fn by_steps(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

impl fmt::Debug for ShownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShownFields({} of {})", self.fields.len(), self.count)
    }
}

impl fmt::Debug for ShownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShownField({}, {} bytes)", self.index, self.value.len())
    }
}
