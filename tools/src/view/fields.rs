//! Fields of an entry: their names as commands and routes take them, and what is shown
//! of an entry.

use serde_json::value::RawValue;
use thingdb::format::fields::{FieldName, ShownFields};

use crate::text::{counted, printable};

/// Takes names apart: with commas between them, or as a JSON array of strings, for names
/// with commas and for the pointer of the whole data, which is empty.
///
/// # Errors
/// What is wrong, as a sentence.
pub(crate) fn names(text: &str) -> Result<Vec<FieldName>, String> {
    let texts: Vec<String> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).map_err(|problem| format!("not an array of strings: {problem}"))?,
        false => text.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    let is_list = !text.trim_start().starts_with('[');
    if texts.is_empty() || (is_list && texts.iter().any(String::is_empty)) {
        return Err("a name is empty; all values are [\"\"]".to_owned());
    }
    let name = |text: String| text.parse().map_err(|problem| format!("{text:?}: {problem}"));
    texts.into_iter().map(name).collect()
}

/// The names as one text, which [`names`] takes apart.
pub(crate) fn joined(names: &[FieldName]) -> String {
    let texts: Vec<&str> = names.iter().map(FieldName::as_str).collect();
    serde_json::to_string(&texts).unwrap_or_default()
}

/// An object with what is shown: each value as it stands in the data, digit for digit.
pub(crate) fn object(shown: &ShownFields) -> Option<Box<RawValue>> {
    let member = |name: &str, value: String| Some(format!("{}:{value}", serde_json::to_string(name).ok()?));
    let members: Option<Vec<String>> =
        shown.fields.iter().map(|field| member(field.name.as_str(), field.to_json())).collect();
    RawValue::from_string(format!("{{{}}}", members?.join(","))).ok()
}

/// What is shown, in one line.
pub(crate) fn in_words(shown: &ShownFields) -> String {
    let value = |field: &thingdb::format::fields::ShownField| format!("{}: {}", field.name, field.to_json());
    let values: Vec<String> = shown.fields.iter().map(value).collect();
    let hidden = u64::from(shown.hidden());
    printable(&format!("{} ({} not shown)", values.join(", "), counted(hidden, "other field is", "other fields are")))
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_in_one_way() {
        let found = |text: &str| names(text).map(|names| joined(&names));
        assert_eq!(found("/a/b, @actor"), Ok(r#"["/a/b","@actor"]"#.to_owned()));
        assert_eq!(found(r#"["/a,b","",  "@action"]"#), Ok(r#"["/a,b","","@action"]"#.to_owned()));
        for bad in ["", ",", "/a,", "a", "@name", "/a~", "[]", "[1]", "[\"/a\"", "/a,b"] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }
}
