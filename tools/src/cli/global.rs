//! The options of every command, and those of several.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::console::Color;
use crate::console::output::Format;
use crate::console::passphrase::PassphraseArgs;
use crate::console::progress::Progress;

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The directory of the database
    #[arg(short, long, global = true, value_name = "DIR", env = "THINGDB_DIR", hide_env_values = true)]
    pub(crate) db: Option<PathBuf>,

    /// An argument named it, and not the environment.
    #[arg(skip)]
    pub(crate) is_db_named: bool,

    /// Write nothing in the directory, also beside a server that holds it
    ///
    /// The database is read from its journal, as it was when the command began. Commands that write
    /// are refused.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) read_only: bool,

    /// How data is written; a table on a terminal, ndjson in a pipe
    ///
    /// json is one document, ndjson one object a line, raw only the data. THINGDB_FORMAT sets the
    /// default.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    pub(crate) format: Option<Format>,

    /// Short for --format json
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Only errors and warnings on stderr
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto, hide_short_help = true)]
    pub(crate) color: Color,

    /// How to show the progress of long work on stderr
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t = Progress::Auto, hide_short_help = true)]
    pub(crate) progress: Progress,

    /// How long to wait for another process that has the database open
    #[arg(long, global = true, value_name = "SECONDS", env = "THINGDB_WAIT", hide_env_values = true,
          value_parser = wait, default_value = "10", hide_short_help = true)]
    pub(crate) wait: Duration,

    /// Do not show long output in a pager
    ///
    /// log, ls, show, diff, get, forks and help use THINGDB_PAGER, or PAGER, or less, where stdout is a
    /// terminal.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_pager: bool,

    /// Show tables in full: whole ids, and nothing fitted to the terminal
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) wide: bool,

    /// Never ask anything; fail instead
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_input: bool,

    /// Where the passphrase comes from.
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

impl Global {
    /// The format that an option asks for.
    pub(crate) fn chosen(&self) -> Option<Format> {
        if self.json { Some(Format::Json) } else { self.format }
    }
}

/// From no time at all to a day.
fn wait(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("0 to 86400 seconds are allowed".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Writes without waiting for the disk, an option of the writing commands.
#[derive(Debug, Args)]
pub(crate) struct Speed {
    /// Do not wait until the disk has it; a power cut may take the last half second
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) relaxed: bool,
}

impl Speed {
    /// The engine's word for it.
    pub(crate) const fn durability(&self) -> thingdb::Durability {
        if self.relaxed { thingdb::Durability::Relaxed } else { thingdb::Durability::Durable }
    }
}
