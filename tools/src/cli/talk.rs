//! What a command says to a person, always on stderr.
//!
//! A stderr that is closed or full is no reason to stop, so nothing here can
//! fail.

use std::io::Write;

use super::console::Console;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

impl Console {
    /// A line as it is.
    pub(crate) fn plain(&self, line: &str) {
        let _ = self.stderr().write_all(format!("{line}\n").as_bytes());
    }

    /// What was done; not said with `--quiet`.
    pub(crate) fn note(&self, line: &str) {
        if !self.is_quiet() {
            self.plain(line);
        }
    }

    /// The head of an error.
    pub(crate) fn error(&self, word: &str, fact: &str) {
        self.plain(&format!("{}: {fact}", self.paint(RED, &format!("error[{word}]"))));
    }

    /// A line below an error or warning.
    pub(crate) fn cause(&self, line: &str) {
        self.plain(&format!("  {line}"));
    }

    /// Something that did not stop the command and should be known.
    pub(crate) fn warning(&self, word: &str, fact: &str) {
        self.plain(&format!("{}: {fact}", self.paint(YELLOW, &format!("warning[{word}]"))));
    }

    /// A command that helps.
    pub(crate) fn hint(&self, command: &str) {
        self.plain(&format!("{} {command}", self.paint(CYAN, "hint:")));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.is_colourful() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}
