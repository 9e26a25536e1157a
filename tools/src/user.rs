//! Users of the system, by the number that files and processes have.

use std::fs;

/// A user as `sudo -u` and `chown` take it: by name if `/etc/passwd` has one.
/// Names that other services know are not looked up, a number does as well.
pub(crate) fn named(number: u32) -> String {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&known, number).map_or_else(|| format!("'#{number}'"), str::to_owned)
}

fn name_in(known: &str, number: u32) -> Option<&str> {
    known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        (is_plain && fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let known = "root:x:0:0:root:/root:/bin/sh\n#x:x\nthing-db:x:990:990::/var/lib/thingdb:/usr/sbin/nologin\n\
                     a b:x:7:7:::\n";
        assert_eq!(name_in(known, 0), Some("root"));
        assert_eq!(name_in(known, 990), Some("thing-db"));
        assert_eq!(name_in(known, 7), None);
        assert_eq!(name_in("", 0), None);
    }
}
