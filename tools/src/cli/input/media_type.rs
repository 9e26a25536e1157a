//! The form of a media type: `type/subtype`, and parameters after semicolons
//! (RFC 6838, section 4.2; RFC 2045, section 5.1). Whether it is registered is
//! nobody's business here.

/// A media type, or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let refused = |problem: &str| format!("{problem}; a media type looks like image/jpeg or text/plain; charset=utf-8");
    let (essence, parameters) = match text.split_once(';') {
        Some((essence, parameters)) => (essence.trim_end_matches(' '), Some(parameters)),
        None => (text, None),
    };
    let (kind, subtype) = essence.split_once('/').ok_or_else(|| refused("there is no slash"))?;
    for name in [kind, subtype] {
        if !is_restricted_name(name) {
            return Err(refused(&format!("{name:?} is no name of a type")));
        }
    }
    match parameters.map(after_parameters) {
        Some(None) => Err(refused("the parameters are not name=value, with semicolons between them")),
        _ => Ok(text.to_owned()),
    }
}

/// RFC 6838: a letter or digit, then up to 126 of those and `!#$&-^_.+`.
fn is_restricted_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    name.len() <= 127 && name.bytes().all(is_part) && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// RFC 2045: what may stand in a word without quotes.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'(' | b')' | b'<' | b'>' | b'@' | b',' | b';' | b':' | b'\\' | b'"' | b'/' | b'[' | b']' | b'?' | b'='
        )
}

/// Reads `name=value; name="value"` to its end.
fn after_parameters(mut rest: &str) -> Option<()> {
    loop {
        let (name, after) = rest.trim_start_matches(' ').split_once('=')?;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return None;
        }
        rest = value(after)?.trim_start_matches(' ');
        match rest.strip_prefix(';') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(()),
        }
    }
}

/// What follows a value, which is a token or stands in quotes.
fn value(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(text.len());
        return if end == 0 { None } else { text.get(end..) };
    };
    let mut bytes = quoted.bytes().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => return quoted.get(place.saturating_add(1)..),
            b'\\' => drop(bytes.next()?),
            b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_have_a_form() {
        for good in [
            "text/plain",
            "application/json",
            "application/vnd.example.x-1+json",
            "text/plain; charset=utf-8",
            "text/plain;charset=\"utf-8\";a=b",
            "multipart/mixed; boundary=\"a; \\\"b\"",
            "x/y",
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "foo",
            "/",
            "text/",
            "/plain",
            "text/plain/x",
            "te xt/plain",
            "text/plain;",
            "text/plain; charset",
            "text/plain; charset=",
            "text/plain; =x",
            "text/plain; a=\"b",
            "text/plain; a=b c",
            "text/plain; a=b;",
            "text/é",
            "-x/y",
            "text/plain\n",
            "text/plain; a=\"\u{7}\"",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&format!("{}/x", "a".repeat(128))).is_err());
    }
}
