//! Where what a command works on is, as its arguments named it: a command that
//! a hint proposes has to name it again, or it does not work when it is pasted.

use std::borrow::Cow;
use std::path::Path;

use crate::text::quoted_path;

/// The commands that open a database. Not `card`: hints propose it for the other side.
/// Not `salvage`: they name its directory.
pub(crate) const COMMANDS: [&str; 42] = [
    "actor",
    "append",
    "audience",
    "backup",
    "checkpoint",
    "diff",
    "doctor",
    "erase",
    "erasures",
    "export",
    "forks",
    "get",
    "hold",
    "import",
    "journal",
    "keyring",
    "log",
    "ls",
    "migrate",
    "new-node-key",
    "passwd",
    "peer",
    "prove",
    "prove-fork",
    "pull",
    "push",
    "put",
    "readers",
    "recovery-key",
    "resolve",
    "retain",
    "compact",
    "serve",
    "share",
    "show",
    "stats",
    "sync",
    "timestamp",
    "token",
    "witness",
    "unshare",
    "verify",
];

/// Those of them that read a server, too.
pub(crate) const READERS: [&str; 11] =
    ["get", "log", "show", "ls", "diff", "stats", "forks", "erasures", "checkpoint", "export", "prove"];

/// How arguments name a database or a server. Nothing, if the environment does:
/// it is there for the next command, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts {
    database: Option<String>,
    server: Option<String>,
}

impl Whereabouts {
    /// The directory of a database and the options of a server, if arguments name
    /// them.
    pub(crate) fn new(dir: Option<&Path>, server: Option<String>) -> Self {
        Self { database: dir.map(|dir| format!("--db {}", quoted_path(dir))), server }
    }

    /// The command that shows the card of the database here.
    pub(crate) fn card(&self) -> String {
        self.database.as_ref().map_or_else(|| "thingdb card".to_owned(), |named| format!("thingdb {named} card"))
    }

    /// The hint with the place after each command that needs it. Only a hint that
    /// begins with a command is for this place: others tell what to do elsewhere.
    pub(crate) fn in_hint<'a>(&self, hint: &'a str) -> Cow<'a, str> {
        if !hint.starts_with(PROGRAM) || self.database.is_none() && self.server.is_none() {
            return Cow::Borrowed(hint);
        }
        let mut named = String::new();
        for piece in hint.split_inclusive(PROGRAM) {
            named.push_str(&self.after_program(piece, named.ends_with(PROGRAM)));
        }
        Cow::Owned(named)
    }

    /// Text behind the name of the program.
    fn after_program<'a>(&self, text: &'a str, is_command: bool) -> Cow<'a, str> {
        let word = text.split(|c: char| !c.is_ascii_alphabetic() && c != '-').next().unwrap_or_default();
        if !is_command {
            return Cow::Borrowed(text);
        }
        match (&self.server, &self.database) {
            (Some(server), _) if READERS.contains(&word) => {
                Cow::Owned(format!("{word} {server}{}", text.get(word.len()..).unwrap_or_default()))
            }
            (None, Some(database)) if COMMANDS.contains(&word) => Cow::Owned(format!("{database} {text}")),
            _ => Cow::Borrowed(text),
        }
    }
}

/// What a command begins with.
const PROGRAM: &str = "thingdb ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_for_here_names_the_place_again() {
        let database = Whereabouts { database: Some("--db 'my things'".to_owned()), server: None };
        for (hint, named) in [
            ("thingdb ls", "thingdb --db 'my things' ls"),
            (
                "thingdb actor new NAME && thingdb actor default NAME",
                "thingdb --db 'my things' actor new NAME && thingdb --db 'my things' actor default NAME",
            ),
            ("thingdb help passphrase", "thingdb help passphrase"),
            ("thingdb --db other stats", "thingdb --db other stats"),
            ("thingdb card, at the peer", "thingdb card, at the peer"),
            ("at the other side: thingdb token ls", "at the other side: thingdb token ls"),
        ] {
            assert_eq!(database.in_hint(hint), named);
            assert_eq!(Whereabouts::default().in_hint(hint), hint);
        }
        let server = Whereabouts { database: None, server: Some("--url https://a:1".to_owned()) };
        assert_eq!(server.in_hint("thingdb log x -n 1"), "thingdb log --url https://a:1 x -n 1");
        assert_eq!(server.in_hint("thingdb resolve x"), "thingdb resolve x");
    }
}
