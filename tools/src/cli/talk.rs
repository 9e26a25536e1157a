//! What the command says to a person, always on stderr.
//!
//! A stderr that is closed or full is no reason to stop, so nothing here can
//! fail.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::Color;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

static QUIET: AtomicBool = AtomicBool::new(false);

/// Applies `--color`; without it `NO_COLOR`, `CLICOLOR_FORCE` and the terminal
/// decide.
pub(crate) fn choose_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// With `quiet`, only errors and warnings are said.
pub(crate) fn choose_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// A line as it is.
pub(crate) fn plain(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// What was done; not said with `--quiet`.
pub(crate) fn note(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        plain(line);
    }
}

/// The head of an error.
pub(crate) fn error(word: &str, fact: &str) {
    plain(&format!("{RED}error[{word}]{PLAIN}: {fact}"));
}

/// A line below an error or warning.
pub(crate) fn cause(line: &str) {
    plain(&format!("  {line}"));
}

/// Something that did not stop the command and should be known.
pub(crate) fn warning(word: &str, fact: &str) {
    plain(&format!("{YELLOW}warning[{word}]{PLAIN}: {fact}"));
}

/// A command that helps.
pub(crate) fn hint(command: &str) {
    plain(&format!("{CYAN}hint:{PLAIN} {command}"));
}
