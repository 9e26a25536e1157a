//! Entity tags: what an answer of an entry is known by, and conditions on it.

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use thingdb::EntryId;

use super::call::{Answer, header_value};
use super::problem::Problem;
use crate::view::details::State;
use crate::view::entry::Entry;

/// The entity tag of an entry: its id, and what is to be had of its content if that is
/// not all. So who has a stub is told when the content is there, and who has the content
/// when it was erased.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) id: EntryId,
    state: State,
}

impl Tag {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { id: entry.id(), state: entry.state() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, state) = match text.split_once('.') {
            None => (text, State::Open),
            Some((id, word)) => (id, State::ALL.into_iter().find(|state| state.word() == word)?),
        };
        Some(Self { id: id.parse().ok()?, state })
    }

    pub(crate) fn value(&self) -> Result<header::HeaderValue, Problem> {
        header_value(&match self.state {
            State::Open => format!("\"{}\"", self.id),
            state => format!("\"{}.{}\"", self.id, state.word()),
        })
    }
}

/// Entity tags of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`.
    Any,
    /// These.
    Some(Vec<Tag>),
}

impl Tags {
    pub(crate) fn matches(&self, tag: &Tag) -> bool {
        match self {
            Self::Any => true,
            Self::Some(tags) => tags.contains(tag),
        }
    }
}

/// The condition in a header: strong tags as `ETag` gives them. A tag that is
/// none of ours can match nothing (RFC 9110, section 8.8.3.2); where `strict`,
/// it is a mistake that is told.
pub(crate) fn etags(headers: &HeaderMap, name: &header::HeaderName, strict: bool) -> Result<Option<Tags>, Problem> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut tags = Vec::new();
    for value in values {
        let malformed = || Problem::usage(format!("{name} holds entry ids in quotes, or *"));
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (tag, is_weak) = tag.strip_prefix("W/").map_or((tag, false), |tag| (tag, true));
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(malformed)?;
            match Tag::parse(tag) {
                Some(tag) if !(strict && is_weak) => tags.push(tag),
                _ if strict => {
                    let tag: String = tag.chars().take(80).collect();
                    let why = if is_weak { "a weak tag never matches" } else { "an entry id has 64 hex digits" };
                    return Err(Problem::usage(format!("{name}: {tag:?}: {why}")).hint("the ETag of GET /things/{id}"));
                }
                _ => {}
            }
        }
    }
    Ok(Some(Tags::Some(tags)))
}

/// Adds the entity tag of an entry. It may be asked again whether it is still
/// the latest.
pub(crate) fn tagged(mut response: Response<Body>, tag: &Tag) -> Answer {
    response.headers_mut().insert(header::ETAG, tag.value()?);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &'static str, strict| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, header::HeaderValue::from_static(text))]);
            etags(&headers, &header::IF_MATCH, strict)
        };
        let tags = |text| read(text, false);
        let tag = |state| Tag { id: EntryId([0xab; 32]), state };
        assert_eq!(tags(" * ").unwrap(), Some(Tags::Any));
        let both = concat!("\"", "abababababababababababababababababababababababababababababababab", "\", W/\"other\"");
        assert_eq!(tags(both).unwrap(), Some(Tags::Some(vec![tag(State::Open)])));
        assert!(tags("abab").is_err());
        let weak = concat!("W/\"", "abababababababababababababababababababababababababababababababab", "\"");
        assert_eq!(tags(weak).unwrap(), Some(Tags::Some(vec![tag(State::Open)])));
        let erased = concat!("\"", "abababababababababababababababababababababababababababababababab", ".erased\"");
        assert_eq!(read(erased, true).unwrap(), Some(Tags::Some(vec![tag(State::Erased)])));
        for mistaken in [weak, both, "\"abab\"", "\"\""] {
            assert!(read(mistaken, true).is_err(), "{mistaken}");
        }
        assert_eq!(etags(&HeaderMap::new(), &header::IF_MATCH, true).unwrap(), None);
    }
}
