//! What changed between two JSON texts, as operations of a JSON Patch
//! (RFC 6902).
//!
//! It compares text, not parsed numbers: a number of thirty digits is a
//! different number when its last digit differs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::paint::{Paint, Painted};
use crate::text::{printable, shorten};

/// Nesting that is compared member by member; below it a value is replaced as
/// a whole.
const MAX_DEPTH: usize = 64;

/// One operation. Applied in order they turn the old text into the new one.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Change {
    /// A member or element that was not there.
    Add {
        /// JSON Pointer (RFC 6901).
        path: String,
        /// What is there now.
        value: Box<RawValue>,
    },
    /// A member or element that is gone.
    Remove {
        /// JSON Pointer.
        path: String,
        /// What was there; not part of a patch.
        #[serde(skip)]
        old: Box<RawValue>,
    },
    /// A value that is another one now.
    Replace {
        /// JSON Pointer; empty for the whole.
        path: String,
        /// What is there now.
        value: Box<RawValue>,
        /// What was there; not part of a patch.
        #[serde(skip)]
        old: Box<RawValue>,
    },
}

/// The changes from one JSON text to another; nothing if one of them is none.
pub(crate) fn changes(old: &str, new: &str) -> Option<Vec<Change>> {
    let (old, new) = (serde_json::from_str(old).ok()?, serde_json::from_str(new).ok()?);
    let mut found = Vec::new();
    compare(&mut String::new(), old, new, 0, &mut found);
    Some(found)
}

pub(crate) type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

fn compare(path: &mut String, old: &RawValue, new: &RawValue, depth: usize, found: &mut Vec<Change>) {
    if old.get() == new.get() {
        return;
    }
    if depth < MAX_DEPTH {
        if let (Some(old), Some(new)) = (members(old), members(new)) {
            return compare_members(path, &old, &new, depth, found);
        }
        if let (Some(old), Some(new)) = (elements(old), elements(new)) {
            return compare_elements(path, &old, &new, depth, found);
        }
    }
    if !is_same(old, new) {
        found.push(Change::Replace { path: path.clone(), value: new.to_owned(), old: old.to_owned() });
    }
}

fn compare_members(path: &mut String, old: &Members<'_>, new: &Members<'_>, depth: usize, found: &mut Vec<Change>) {
    for (name, value) in old {
        within(path, name, |path| match new.get(name) {
            Some(now) => compare(path, value, now, depth.saturating_add(1), found),
            None => found.push(Change::Remove { path: path.clone(), old: (*value).to_owned() }),
        });
    }
    let mut added: Vec<_> = new.iter().filter(|(name, _)| !old.contains_key(*name)).collect();
    // In the order in which they stand in the text.
    added.sort_by_key(|(_, value)| value.get().as_ptr());
    for (name, value) in added {
        within(path, name, |path| found.push(Change::Add { path: path.clone(), value: (*value).to_owned() }));
    }
}

/// Elements are compared by their place. Removals come from the end, so that
/// the places of the others stay what they are.
fn compare_elements(path: &mut String, old: &[&RawValue], new: &[&RawValue], depth: usize, found: &mut Vec<Change>) {
    for (place, (value, now)) in old.iter().zip(new).enumerate() {
        within(path, &place.to_string(), |path| compare(path, value, now, depth.saturating_add(1), found));
    }
    for (place, value) in old.iter().enumerate().skip(new.len()).rev() {
        within(path, &place.to_string(), |path| {
            found.push(Change::Remove { path: path.clone(), old: (*value).to_owned() });
        });
    }
    for value in new.iter().skip(old.len()) {
        within(path, "-", |path| found.push(Change::Add { path: path.clone(), value: (*value).to_owned() }));
    }
}

/// Runs `body` with a reference token added to the path.
fn within(path: &mut String, token: &str, body: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&token.replace('~', "~0").replace('/', "~1"));
    body(path);
    path.truncate(length);
}

/// The members of an object, by name.
pub(crate) fn members(value: &RawValue) -> Option<Members<'_>> {
    // Cow borrows only through this wrapper; a plain Cow would always own.
    #[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    if !value.get().starts_with('{') {
        return None;
    }
    let members: BTreeMap<Name<'_>, &RawValue> = serde_json::from_str(value.get()).ok()?;
    Some(members.into_iter().map(|(name, value)| (name.0, value)).collect())
}

/// The elements of an array.
pub(crate) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    if !value.get().starts_with('[') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// Whether two values are the same although their texts differ, as strings
/// with different escapes or spaces between tokens are.
fn is_same(old: &RawValue, new: &RawValue) -> bool {
    let string = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
    match (string(old), string(new)) {
        (Some(old), Some(new)) => old == new,
        _ => false,
    }
}

impl Change {
    /// One line for a person: `temp 20.1 → 21.4`, `+site "plant-3"`.
    pub(crate) fn line(&self, width: usize) -> Painted {
        let show = |value: &RawValue| shorten(&printable(value.get()), width).into_owned();
        let line = Painted::default();
        match self {
            Self::Add { path, value } => line.and(Paint::Added, format!("+{} {}", name(path), show(value))),
            Self::Remove { path, old } => line.and(Paint::Removed, format!("-{} {}", name(path), show(old))),
            Self::Replace { path, value, old } => line
                .and(Paint::Plain, format!("{} ", name(path)).trim_start())
                .and(Paint::Removed, show(old))
                .and(Paint::Plain, " → ")
                .and(Paint::Added, show(value)),
        }
    }

    /// As few words as possible, for a column of a table.
    pub(crate) fn word(&self) -> Painted {
        match self {
            Self::Add { path, .. } => Painted::default().and(Paint::Added, format!("+{}", name(path))),
            Self::Remove { path, .. } => Painted::default().and(Paint::Removed, format!("-{}", name(path))),
            Self::Replace { .. } => self.line(16),
        }
    }
}

/// A path as people say it: without the first slash.
fn name(path: &str) -> Cow<'_, str> {
    printable(path.strip_prefix('/').unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(old: &str, new: &str) -> String {
        serde_json::to_string(&changes(old, new).unwrap()).unwrap()
    }

    #[test]
    fn members_are_added_removed_and_replaced() {
        assert_eq!(
            patch(r#"{"a":1,"b":{"c":[1,2,3]},"d":0}"#, r#"{"b":{"c":[1,9]},"a":1,"e/~":null}"#),
            r#"[{"op":"replace","path":"/b/c/1","value":9},{"op":"remove","path":"/b/c/2"},{"op":"remove","path":"/d"},{"op":"add","path":"/e~1~0","value":null}]"#
        );
        assert_eq!(
            patch("[1]", "[1,2,3]"),
            r#"[{"op":"add","path":"/-","value":2},{"op":"add","path":"/-","value":3}]"#
        );
        assert_eq!(patch("1", r#""x""#), r#"[{"op":"replace","path":"","value":"x"}]"#);
    }

    #[test]
    fn spaces_and_escapes_are_no_changes_and_digits_are() {
        assert_eq!(patch(r#"{"a": "\u0041", "b" :[ ]}"#, r#"{"b":[],"a":"A"}"#), "[]");
        assert_eq!(
            patch("[100000000000000000000000000000]", "[100000000000000000000000000001]"),
            r#"[{"op":"replace","path":"/0","value":100000000000000000000000000001}]"#
        );
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(changes(&deep("1"), &deep("2")).unwrap().len(), 1);
    }

    #[test]
    fn changes_read_as_one_line() {
        let line = |old, new| changes(old, new).unwrap()[0].line(40).to_string();
        assert_eq!(line(r#"{"temp":20.1}"#, r#"{"temp":21.4}"#), "temp 20.1 → 21.4");
        assert_eq!(line("1", "2"), "1 → 2");
        assert_eq!(line("{}", r#"{"site":"x"}"#), r#"+site "x""#);
    }
}
