//! What a command says beside its data, always on stderr: lines for people, or a
//! JSON object a line for who asked for JSON.
//!
//! A stderr that is closed or full is no reason to stop, so nothing here can
//! fail.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use super::output::folded;
use super::whereabouts::Whereabouts;
use super::{Console, Form};
use crate::error::{Failure, Remark};
use crate::text::{harmless_json, printable};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// The members of errors and warnings; `docs/cli.md` lists them.
#[derive(Serialize)]
struct RemarkJson<'a> {
    code: &'a str,
    message: &'a str,
    details: &'a [String],
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
}

#[derive(Serialize)]
struct Said<'a> {
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    Error(RemarkJson<'a>),
    Warning(RemarkJson<'a>),
    Note(Said<'a>),
    Hint(Said<'a>),
}

impl<'a> RemarkJson<'a> {
    fn new(remark: &'a Remark, exit: Option<u8>, whereabouts: &Whereabouts) -> Self {
        let hints: Vec<_> = remark.hints.iter().map(|hint| whereabouts.in_hint(hint)).collect();
        let hint = (!hints.is_empty()).then(|| hints.join("\n"));
        Self { code: &remark.word, message: &remark.fact, details: &remark.causes, hint, exit }
    }
}

/// A warning that is being put together. It is said when it is dropped.
#[must_use = "a warning is said at the end of the statement"]
pub(crate) struct Warning<'a> {
    console: &'a Console,
    remark: Remark,
}

impl Warning<'_> {
    /// Adds a line of explanation.
    pub(crate) fn cause(mut self, line: impl Into<String>) -> Self {
        self.remark.causes.push(line.into());
        self
    }

    /// Adds a command that helps.
    pub(crate) fn hint(mut self, command: impl Into<String>) -> Self {
        self.remark.hints.push(command.into());
        self
    }

    /// Says it.
    pub(crate) fn say(self) {}
}

impl Drop for Warning<'_> {
    fn drop(&mut self) {
        self.console.warn(&self.remark);
    }
}

impl Console {
    /// A line as it is, for who sits at the terminal.
    pub(crate) fn plain(&self, line: &str) {
        let line = format!("{line}\n");
        self.shown().aside(|| {
            if self.talk().write_all(line.as_bytes()).is_err() {
                // A pager that is gone covers the terminal no more.
                let _ = self.stderr().write_all(line.as_bytes());
            }
        });
    }

    /// What was done; not said with `--quiet`.
    pub(crate) fn note(&self, line: &str) {
        match self.form() {
            _ if self.is_quiet() => {}
            Form::Text => self.plain(line),
            Form::Json => self.json(&Line::Note(Said { message: line })),
        }
    }

    /// A command that helps.
    pub(crate) fn hint(&self, command: &str) {
        let command = self.whereabouts().in_hint(command);
        match self.form() {
            Form::Text => self.plain(&format!("{} {command}", self.paint(CYAN, "hint:"))),
            Form::Json => self.json(&Line::Hint(Said { message: &command })),
        }
    }

    /// Something that did not stop the command and should be known.
    pub(crate) fn warning(&self, word: impl Into<Cow<'static, str>>, fact: impl Into<String>) -> Warning<'_> {
        let remark = Remark { word: word.into(), fact: fact.into(), ..Remark::default() };
        Warning { console: self, remark }
    }

    /// Why the command ends, unless it has nothing to say.
    pub(crate) fn fail(&self, failure: &Failure) {
        if !failure.is_closed_pipe() {
            self.error(failure.remark(), failure.exit_code());
        }
    }

    fn error(&self, remark: &Remark, exit: u8) {
        match self.form() {
            Form::Text => self.text(RED, "error", remark),
            Form::Json => self.json(&Line::Error(RemarkJson::new(remark, Some(exit), self.whereabouts()))),
        }
    }

    /// Something that did not stop the command and should be known.
    pub(crate) fn warn(&self, remark: &Remark) {
        match self.form() {
            Form::Text => self.text(YELLOW, "warning", remark),
            Form::Json => self.json(&Line::Warning(RemarkJson::new(remark, None, self.whereabouts()))),
        }
    }

    fn text(&self, colour: &str, kind: &str, remark: &Remark) {
        let columns = self.stderr().columns();
        let head = format!("{kind}[{}]", remark.word);
        let fact = format!("{head}: {}", printable(&remark.fact));
        self.plain(&folded(&fact, columns).replacen(&head, &self.paint(colour, &head), 1));
        for cause in &remark.causes {
            self.plain(&folded(&format!("  {}", printable(cause)), columns));
        }
        for hint in &remark.hints {
            self.hint(&printable(hint));
        }
    }

    fn json(&self, line: &Line<'_>) {
        let text = serde_json::to_string(line).expect("words and numbers are JSON");
        self.plain(&if self.stderr().is_terminal() { harmless_json(text) } else { text });
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.is_colourful() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}
