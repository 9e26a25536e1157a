//! Walks through a JSON text and says where each of its leaf values stands. Nothing of
//! it is re-spelled.

use super::{MAX_DEPTH, MAX_POINTER_BYTES};
use crate::Error;

/// Calls `each` with the pointer (RFC 6901) and the exact bytes of every leaf value of a
/// JSON text (RFC 8259), in the order in which they stand there: strings, numbers, `true`,
/// `false`, `null`, and what is empty of objects and arrays.
///
/// ```
/// use thingdb_format::fields::walk;
/// let mut found = Vec::new();
/// walk(br#"{"a/b": [1.50, {}], "c": null}"#, |pointer, value| {
///     found.push(format!("{pointer} {}", String::from_utf8_lossy(value)));
///     Ok(())
/// })?;
/// assert_eq!(found, ["/a~1b/0 1.50", "/a~1b/1 {}", "/c null"]);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
///
/// # Errors
/// [`Error::Field`] with the pointer of what is no JSON, has a member twice, is too deep,
/// or has too long a pointer; and those of `each`.
pub fn walk<'t>(data: &'t [u8], mut each: impl FnMut(&str, &'t [u8]) -> Result<(), Error>) -> Result<(), Error> {
    let text = std::str::from_utf8(data).map_err(|_| refused("", "is not UTF-8"))?;
    let mut walk = Walk { bytes: text.as_bytes(), text, ..Walk::default() };
    walk.space();
    loop {
        let start = walk.at;
        if walk.begins()? {
            continue;
        }
        each(&walk.pointer, data.get(start..walk.at).unwrap_or_default())?;
        if walk.ends()? {
            return Ok(());
        }
    }
}

/// Whether `value` is one leaf value and nothing else.
pub(super) fn is_leaf(value: &[u8]) -> bool {
    let mut found = None;
    let walked = walk(value, |pointer, leaf| {
        // What is within others, or after others, is not the whole.
        found = Some(found.is_none() && pointer.is_empty() && leaf.len() == value.len());
        Ok(())
    });
    walked.is_ok() && found == Some(true)
}

fn refused(pointer: &str, problem: &'static str) -> Error {
    const MOST: usize = 100;
    let mut shown: String = pointer.chars().take(MOST).collect();
    if shown.len() < pointer.len() {
        shown.push('…');
    }
    Error::Field { pointer: shown, problem }
}

/// An object or array that has not ended.
struct Open {
    /// Length of its own pointer.
    pointer: usize,
    /// The number of the element; nothing for an object.
    element: Option<u32>,
    /// How many names of members were there before its own.
    names: usize,
    /// How long these are together.
    letters: usize,
}

#[derive(Default)]
struct Walk<'t> {
    bytes: &'t [u8],
    text: &'t str,
    at: usize,
    /// Of the value that comes next.
    pointer: String,
    open: Vec<Open>,
    /// The names of the members of all objects that are open, one after the other.
    letters: String,
    /// Where in `letters` each begins and ends.
    names: Vec<(usize, usize)>,
}

impl Walk<'_> {
    fn refuse<T>(&self, problem: &'static str) -> Result<T, Error> {
        Err(refused(&self.pointer, problem))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step();
        }
    }

    /// Takes a leaf value, or the begin of what has others in it: then it is true.
    fn begins(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(first @ (b'{' | b'[')) => {
                self.step();
                self.space();
                let is_object = first == b'{';
                if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                    self.step();
                    return Ok(false);
                }
                if self.open.len() >= MAX_DEPTH {
                    return self.refuse("is deeper than fields can be: 128 arrays and objects");
                }
                let (pointer, names, letters) = (self.pointer.len(), self.names.len(), self.letters.len());
                self.open.push(Open { pointer, element: (!is_object).then_some(0), names, letters });
                if is_object {
                    self.member()?
                } else {
                    self.extend("0")?
                }
                Ok(true)
            }
            Some(b'"') => self.string().map(|_| false),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.refuse("is no JSON: a value is expected"),
            None => self.refuse("is no JSON: the text ends where a value is expected"),
        }
    }

    /// After a value: goes to the next one, or says that there is none.
    fn ends(&mut self) -> Result<bool, Error> {
        loop {
            self.space();
            let Some(open) = self.open.last_mut() else {
                return if self.at == self.bytes.len() {
                    Ok(true)
                } else {
                    self.refuse("is no JSON: something stands behind the value")
                };
            };
            self.pointer.truncate(open.pointer);
            match (self.bytes.get(self.at), &mut open.element) {
                (Some(b','), None) => {
                    self.step();
                    self.space();
                    self.member()?;
                    return Ok(false);
                }
                (Some(b','), Some(element)) => {
                    *element = element.saturating_add(1);
                    let element = element.to_string();
                    self.step();
                    self.space();
                    self.extend(&element)?;
                    return Ok(false);
                }
                (Some(b'}'), None) | (Some(b']'), Some(_)) => {
                    self.step();
                    self.close()?;
                }
                _ => return self.refuse("is no JSON: a comma or the end of it is expected"),
            }
        }
    }

    /// The last object or array has ended.
    fn close(&mut self) -> Result<(), Error> {
        let Some(Open { names, letters, .. }) = self.open.pop() else { return Ok(()) };
        let own = self.names.get_mut(names..).unwrap_or_default();
        let all = &self.letters;
        let letters_of = |(start, end): &(usize, usize)| all.get(*start..*end).unwrap_or_default();
        own.sort_unstable_by_key(|name| letters_of(name));
        let twice = own.windows(2).find_map(|pair| match pair {
            [one, other] if letters_of(one) == letters_of(other) => Some(letters_of(one).to_owned()),
            _ => None,
        });
        if let Some(name) = twice {
            self.pointer.push('/');
            self.pointer.push_str(&escaped(&name));
            return self.refuse("is there twice");
        }
        self.names.truncate(names);
        self.letters.truncate(letters);
        Ok(())
    }

    /// The name of a member, up to its value.
    fn member(&mut self) -> Result<(), Error> {
        if self.peek() != Some(b'"') {
            return self.refuse("is no JSON: the name of a member is expected");
        }
        let (start, from) = (self.at.saturating_add(1), self.letters.len());
        let has_escape = self.string()?;
        let raw = self.text.get(start..self.at.saturating_sub(1)).unwrap_or_default();
        if has_escape {
            unescape(raw, &mut self.letters);
        } else {
            self.letters.push_str(raw);
        }
        self.names.push((from, self.letters.len()));
        let letters = std::mem::take(&mut self.letters);
        let extended = self.extend(&escaped(letters.get(from..).unwrap_or_default()));
        self.letters = letters;
        extended?;
        self.space();
        if self.peek() != Some(b':') {
            return self.refuse("is no JSON: a colon is expected behind the name");
        }
        self.step();
        self.space();
        Ok(())
    }

    /// One more step of the pointer.
    fn extend(&mut self, step: &str) -> Result<(), Error> {
        if self.pointer.len().saturating_add(step.len()) >= MAX_POINTER_BYTES {
            return self.refuse("has something in it whose pointer is longer than 1024 bytes");
        }
        self.pointer.push('/');
        self.pointer.push_str(step);
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<bool, Error> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at = self.at.saturating_add(word.len());
            return Ok(false);
        }
        self.refuse("is no JSON: a value is expected")
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step();
        }
        self.at > start
    }

    fn number(&mut self) -> Result<bool, Error> {
        if self.peek() == Some(b'-') {
            self.step();
        }
        // A number has no zeros before it.
        let mut is_good = match self.peek() {
            Some(b'0') => {
                self.step();
                true
            }
            _ => self.digits(),
        };
        if self.peek() == Some(b'.') {
            self.step();
            is_good &= self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.step();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.step();
            }
            is_good &= self.digits();
        }
        if is_good { Ok(false) } else { self.refuse("is no JSON: not a number") }
    }

    /// A string, from quote to quote. Says whether it has an escape.
    fn string(&mut self) -> Result<bool, Error> {
        let mut has_escape = false;
        self.step();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(has_escape);
                }
                Some(b'\\') => {
                    has_escape = true;
                    self.escape()?;
                }
                Some(0..0x20) => return self.refuse("is no JSON: a control character in a string"),
                Some(_) => self.step(),
                None => return self.refuse("is no JSON: a string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        self.step();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step();
                Ok(())
            }
            Some(b'u') => {
                let first = self.unit()?;
                let is_pair = match first {
                    0xd800..0xdc00 if self.peek() == Some(b'\\') => {
                        self.step();
                        self.peek() == Some(b'u') && matches!(self.unit()?, 0xdc00..0xe000)
                    }
                    0xd800..0xe000 => false,
                    _ => true,
                };
                if is_pair { Ok(()) } else { self.refuse("has half of a surrogate pair in a string") }
            }
            _ => self.refuse("is no JSON: an escape that is none"),
        }
    }

    /// The `u` of an escape, and its four digits.
    fn unit(&mut self) -> Result<u32, Error> {
        let start = self.at.saturating_add(1);
        let end = start.saturating_add(4);
        let digits = self.bytes.get(start..end).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.refuse("is no JSON: an escape that is none");
        };
        self.at = end;
        Ok(unit)
    }
}

/// A name as a step of a pointer.
fn escaped(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

/// Resolves the escapes of a string that was looked at.
fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw.chars();
    let unit = |rest: &mut std::str::Chars<'_>| {
        let digits = rest.as_str().get(..4).unwrap_or_default();
        let unit = u32::from_str_radix(digits, 16).unwrap_or(0);
        rest.nth(3);
        unit
    };
    while let Some(letter) = rest.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        out.push(match rest.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = unit(&mut rest);
                let code = if matches!(first, 0xd800..0xdc00) {
                    // The other half follows, behind `\u`.
                    rest.nth(1);
                    let high = first.saturating_sub(0xd800) << 10;
                    let low = unit(&mut rest).saturating_sub(0xdc00);
                    high.saturating_add(low).saturating_add(0x10000)
                } else {
                    first
                };
                char::from_u32(code).unwrap_or_default()
            }
            other => other.unwrap_or_default(),
        });
    }
}
