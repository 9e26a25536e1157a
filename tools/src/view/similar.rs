//! Names that are like one that is not there.

use thingdb::{Db, ThingQuery};

/// Most things that are compared with a name.
const MAX_COMPARED: usize = 10_000;

/// Longest names that are compared, in characters: it takes the product of
/// their lengths, and nobody types more than that.
const MAX_LENGTH: usize = 128;

/// Most names that are given.
const MAX_NAMES: usize = 3;

/// Up to three things with names like `thing`, of those that begin with
/// `prefix`. It only helps to write a message, so what cannot be read is left
/// out.
pub(crate) fn names(db: &Db, thing: &str, prefix: &str) -> Vec<String> {
    let first: String = if prefix.is_empty() { thing.chars().take(1).collect() } else { prefix.to_owned() };
    let listed = |prefix: &str| {
        let things = db.things_from(&ThingQuery::new().prefix(prefix).limit(MAX_COMPARED));
        things.into_iter().flatten().flatten().map(|info| info.thing.as_str().to_owned())
    };
    let mut found: Vec<(usize, String)> =
        listed(&first).chain(listed(prefix)).filter_map(|name| Some((distance(thing, &name)?, name))).collect();
    found.sort();
    found.dedup();
    found.into_iter().take(MAX_NAMES).map(|(_, name)| name).collect()
}

/// Edits between two names that look alike.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let (length, other) = (wanted.chars().count(), name.chars().count());
    let most = length.max(3) / 3;
    if length.abs_diff(other) > most || other > MAX_LENGTH {
        return None;
    }
    let edits = strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
    (edits <= most).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_near() {
        assert_eq!(distance("part-43", "part-42"), Some(1));
        assert_eq!(distance("Part-42", "part-42"), Some(0));
        assert_eq!(distance("part-42", "lamp"), None);
        assert_eq!(distance(&"x".repeat(129), &"x".repeat(129)), None);
    }
}
