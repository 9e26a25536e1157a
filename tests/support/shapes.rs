//! The worst that a text of some length can be to whoever expects JSON: much of
//! what is small on its way and large once it is taken apart.

/// A shape, and its name.
pub type Shape = (&'static str, Vec<u8>);

fn fill(start: &str, again: &str, end: &str, bytes: usize) -> Vec<u8> {
    let times = bytes.saturating_sub(start.len() + end.len()) / again.len();
    [start.as_bytes(), &again.as_bytes().repeat(times), end.as_bytes()].concat()
}

/// Names that are all different.
fn names(bytes: usize) -> Vec<u8> {
    let mut text = b"{".to_vec();
    for n in 0_u32.. {
        text.extend_from_slice(format!("\"{n:x}\":0,").as_bytes());
        if text.len() + 20 > bytes {
            break;
        }
    }
    text.extend_from_slice(b"\"last\":0}");
    text
}

/// One value of JSON of about `bytes` bytes, in each shape.
pub fn values(bytes: usize) -> Vec<Shape> {
    // With room for what holds two of them together.
    let half = bytes / 2 - 16;
    let deep = [fill("", "[", "", half), fill("", "]", "", half)].concat();
    let name = String::from_utf8(fill("", "\u{7f}", "", half)).expect("it is text");
    vec![
        // An error that quotes it has six letters for each.
        ("one string", fill("\"", "\u{7f}", "\"", bytes)),
        ("one string of escapes", fill("\"", "\\u0061", "\"", bytes)),
        ("one number", fill("1", "0", "", bytes)),
        ("one fraction", fill("0.", "1", "", bytes)),
        ("names", names(bytes)),
        ("a name twice", format!("{{\"{name}\":0,\"{name}\":0}}").into_bytes()),
        ("brackets", deep),
        ("braces", fill("", "{\"\":", "", bytes)),
        ("numbers", fill("[", "0,", "0]", bytes)),
        ("empty strings", fill("[", "\"\",", "\"\"]", bytes)),
        ("empty objects", fill("[", "{},", "{}]", bytes)),
        ("nulls", fill("[", "null,", "null]", bytes)),
        ("blanks", fill("", " ", "", bytes)),
        ("no JSON at all", fill("", "\u{7f}", "", bytes)),
    ]
}

/// The same, and in the place of each member of an object that is expected.
pub fn documents(members: &[(&str, &str)], bytes: usize) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> =
        values(bytes).into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for (place, _) in members {
        for (name, value) in values(bytes) {
            let mut text = Vec::with_capacity(bytes + 1024);
            for (member, ordinary) in members {
                text.extend_from_slice(if text.is_empty() { b"{" } else { b"," });
                text.extend_from_slice(format!("\"{member}\":").as_bytes());
                text.extend_from_slice(if member == place { &value } else { ordinary.as_bytes() });
            }
            text.push(b'}');
            all.push((format!("{name} for {place}"), text));
        }
    }
    all
}

/// A stream of zstd (RFC 8878) that is one byte again and again: four bytes for
/// each 128 KiB.
pub fn zstd_of_one(byte: u8, blocks: usize) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    // The magic, no flags, a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x68];
    for left in (0..blocks).rev() {
        // Whether it is the last, the type "one byte repeated", the size.
        let header = u32::from(left == 0) | 1 << 1 | BLOCK << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(byte);
    }
    frame
}
