//! One line of the input of `thingdb append`:
//! `{"thing":…,"data":…,"action":…,"actor":…,"time":…}`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thingdb::Draft;
use thingdb::format::Body;

use crate::foreign::{self, Fault};

/// A line, well formed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    thing: Text<'a>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    action: Option<Text<'a>>,
    #[serde(borrow, default)]
    actor: Option<Text<'a>>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
}

/// A string, borrowed from the line where it holds no escapes. Within an
/// `Option` a plain `Cow` would always own, and lose its place in the line.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why a line is refused, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Column in bytes, from 1.
    pub(crate) column: usize,
    /// What is wrong there.
    pub(crate) reason: String,
}

/// What a line asks to be written, signed by the actor it names or else by the
/// first of `actors`, which are the actors of the database.
pub(crate) fn draft(line: &[u8], actors: &[String]) -> Result<Draft, Refused> {
    is_object(line)?;
    let members: Members<'_> = foreign::decode(line).map_err(|fault| not_json(line, fault))?;
    let at = |part: &str, reason: String| Refused { column: column(line, part), reason };
    let actor = members
        .actor
        .as_ref()
        .map(|actor| &*actor.0)
        .or_else(|| actors.first().map(String::as_str))
        .unwrap_or_default();
    if !actors.iter().any(|own| own == actor) {
        return Err(at(actor, format!("no actor of this database is named {}", foreign::quoted(actor))));
    }
    let prefix = claim(line, &members)?;
    let text = match &prefix {
        None => members.data.get().to_owned(),
        Some(prefix) => format!("{prefix}{}}}", members.data.get()),
    };
    let draft = Draft::json(&members.thing.0, text).map_err(|problem| match problem {
        thingdb::Error::Json { column: place, problem, .. } => {
            let place = place.saturating_sub(prefix.as_ref().map_or(0, String::len)).saturating_sub(1);
            Refused { column: column(line, members.data.get()).saturating_add(place), reason: problem }
        }
        other => at(&members.thing.0, other.to_string()),
    })?;
    let draft = draft.actor(actor);
    let Some(action) = members.action.as_ref().map(|action| &*action.0) else { return Ok(draft) };
    // The engine would say so too, but of the whole batch.
    Body::new(actor, action, thingdb::JSON, b"").map_err(|problem| at(action, problem.to_string()))?;
    Ok(draft.action(action))
}

/// What stands before the data if the source claims a time. The claim becomes
/// part of what is signed, beside the data and not instead of the entry's own
/// time.
fn claim(line: &[u8], members: &Members<'_>) -> Result<Option<String>, Refused> {
    let Some(time) = members.time else { return Ok(None) };
    if time.get().starts_with(['{', '[', 't', 'f']) {
        let reason = "time is a string or a number".to_owned();
        return Err(Refused { column: column(line, time.get()), reason });
    }
    Ok(Some(format!("{{\"time\":{},\"data\":", time.get())))
}

/// Refuses a line that holds something else than an object: the decoder would
/// take an array for the members in their order.
fn is_object(line: &[u8]) -> Result<(), Refused> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or_default();
    let reason = match line.get(start) {
        None | Some(b'{') => return Ok(()),
        Some(b'[') => {
            "a line is an object, {\"thing\":…,\"data\":…}, and this is an array: jq -c '.[]' makes lines of its elements"
        }
        Some(_) => "a line is an object: {\"thing\":…,\"data\":…}",
    };
    Err(Refused { column: start.saturating_add(1), reason: reason.to_owned() })
}

fn not_json(line: &[u8], Fault { fact: mut reason, column, .. }: Fault) -> Refused {
    if line.trim_ascii() == b"{" {
        reason.push_str(": the object goes on in the next line; jq -c . makes one line of each");
    }
    Refused { column: column.max(1), reason }
}

/// The column of a part of `line`, if it was borrowed from there; else 1.
fn column(line: &[u8], part: &str) -> usize {
    let start = (part.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    if start < line.len() { start.saturating_add(1) } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (usize, String) {
        match draft(line.as_bytes(), &["alice".to_owned()]) {
            Ok(_) => panic!("{line} was accepted"),
            Err(refused) => (refused.column, refused.reason),
        }
    }

    #[test]
    fn complete_lines_are_accepted() {
        for good in [
            r#"{"thing":"a","data":1}"#,
            r#" {"data":{"x":[]},"thing":"a\u00e9","action":"weigh","actor":"alice","time":"2019"} "#,
            r#"{"thing":"a","data":null,"time":1.5e9,"action":null,"actor":null}"#,
        ] {
            assert!(draft(good.as_bytes(), &["alice".to_owned()]).is_ok(), "{good}");
        }
    }

    #[test]
    fn refusals_name_the_column() {
        assert_eq!(refused(r#"{"thing":"a","data":tru}"#).0, 24);
        assert_eq!(refused(r#"{"thing":"a"}"#).1, "missing field `data`");
        assert_eq!(refused(r#"{"thing":"a","data":1,"extra":2}"#).0, 29);
        assert_eq!(refused(r#"{"thing":"a","thing":"b","data":1}"#).0, 20);
        assert_eq!(refused(r#"{"thing":"a","data":1,"actor":"bob"}"#).0, 32);
        assert_eq!(refused(r#"{"thing":"a","data":1,"time":{}}"#).0, 30);
        assert_eq!(refused(r#"{"thing":"","data":1}"#).0, 11);
    }

    #[test]
    fn a_line_is_an_object_and_nothing_else() {
        for (line, column) in [(r#"["part-42",{"temp":20}]"#, 1), (r#" [{"thing":"a","data":1}]"#, 2), ("[]", 1)] {
            let refused = refused(line);
            assert!(refused.1.contains("jq -c '.[]'"), "{refused:?}");
            assert_eq!(refused.0, column);
        }
        for line in ["7", "\"a\"", "null", "true"] {
            assert!(refused(line).1.starts_with("a line is an object"), "{line}");
        }
        assert!(refused("{").1.contains("jq -c ."));
        assert!(refused("}").1.starts_with("a line is an object"));
    }
}
