//! A JSON string, unescaped as it comes: a long one is never held as a whole.

/// What stands in a string so far.
#[derive(Debug, Default)]
pub(crate) struct Unescape {
    state: State,
    /// The first half of a character that takes two `\u`.
    high: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Plain,
    /// Behind a backslash.
    Escape,
    /// In the digits behind `\u`: how many came, and what they say.
    Digits(u8, u32),
}

impl Unescape {
    /// Takes the next byte, and puts what it makes into `out`. Whether the
    /// string has ended.
    pub(crate) fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        match (self.state, byte) {
            (State::Plain, b'\\') => self.state = State::Escape,
            (State::Escape, b'u') => self.state = State::Digits(0, 0),
            (State::Digits(count, value), _) => self.digit(count, value, byte, out)?,
            _ if self.high.is_some() => return Err(HALF),
            (State::Plain, b'"') => return Ok(true),
            (State::Plain, 0..0x20) => return Err("a control character stands in a string of the array"),
            (State::Plain, _) => out.push(byte),
            (State::Escape, _) => {
                out.push(match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return Err("a string of the array has an escape that does not exist"),
                });
                self.state = State::Plain;
            }
        }
        Ok(false)
    }

    fn digit(&mut self, count: u8, value: u32, byte: u8, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let digit = char::from(byte).to_digit(16).ok_or("\\u in a string of the array has no four digits")?;
        let value = value << 4 | digit;
        if count < 3 {
            self.state = State::Digits(count + 1, value);
            return Ok(());
        }
        self.state = State::Plain;
        let code = match (self.high.take(), value) {
            (None, 0xD800..0xDC00) => {
                self.high = Some(value);
                return Ok(());
            }
            (Some(high), 0xDC00..0xE000) => 0x1_0000 + ((high - 0xD800) << 10 | (value - 0xDC00)),
            (Some(_), _) => return Err(HALF),
            (None, _) => value,
        };
        let character = char::from_u32(code).ok_or(HALF)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }
}

const HALF: &str = "a string of the array has half a character";

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> Option<String> {
        let (mut string, mut out) = (Unescape::default(), Vec::new());
        let mut bytes = text.bytes();
        while !string.byte(bytes.next()?, &mut out).ok()? {}
        assert_eq!(bytes.next(), None, "{text}");
        String::from_utf8(out).ok()
    }

    #[test]
    fn strings_are_what_the_parser_makes_of_them() {
        for text in [
            r#"""#,
            r#"a/\/b\"\\\b\f\n\r\t""#,
            r#"\u0041\u00e9\u20AC\ud83d\ude00é€""#,
            r#"\uD83D""#,
            r#"\uDE00""#,
            r#"\ud83d\u0041""#,
            r#"\ud83dx""#,
            r#"\ud83d\n""#,
            r#"\u004""#,
            r#"\x""#,
            r#"no end"#,
            "\t\"",
        ] {
            let parsed: Option<String> = serde_json::from_str(&format!("\"{text}")).ok();
            assert_eq!(unescaped(text), parsed, "{text}");
        }
    }
}
