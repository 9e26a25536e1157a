//! `thingdb passwd`: another passphrase for the same keys.

use std::path::PathBuf;

use serde::Serialize;

use thingdb::{Db, Passphrase, SlotKind};

use crate::cli::context::{CHANGED, Context};
use crate::console::question::{Purpose, Question};
use crate::error::Outcome;

/// Arguments of `thingdb passwd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb passwd
  thingdb passwd --passphrase-file old --new-passphrase-file new
  thingdb passwd --recovery-key-file key       when the passphrase is lost

Only the keyring is written anew; no entry is touched. Who has a copy of the
old keyring and the old passphrase can still open that copy.")]
pub(crate) struct Args {
    /// Read the new passphrase from a file
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    new_passphrase_file: Option<PathBuf>,

    /// Read the new passphrase from an open file descriptor
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
}

#[derive(Serialize)]
struct Changed {
    db: String,
    changed: bool,
}

/// Changes the passphrase.
pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let dir = context.dir()?;
    let db = context.open()?;
    let new = context.ask(&Question {
        purpose: Purpose::Replace,
        file: args.new_passphrase_file,
        descriptor: args.new_passphrase_fd,
        what: dir.to_owned(),
    })?;
    replace(&db, &new)?;
    context.close(db);
    context.did(CHANGED);
    let dir = dir.display().to_string();
    if context.output.is_json() {
        return context.output.object(&Changed { db: dir, changed: true });
    }
    context.output.line(&format!("{dir} has a new passphrase"))
}

/// Opened with a passphrase, that one is replaced. Opened with the recovery
/// key, nobody knows which one was lost: the new one replaces them all.
fn replace(db: &Db, new: &Passphrase) -> thingdb::Result<()> {
    let slots = db.key_slots();
    if slots.iter().any(|slot| slot.opened && matches!(slot.kind, SlotKind::Passphrase { .. })) {
        return db.change_passphrase(new);
    }
    db.add_passphrase(new)?;
    let lost = slots.iter().filter(|slot| matches!(slot.kind, SlotKind::Passphrase { .. }));
    lost.map(|slot| slot.id).try_for_each(|slot| db.remove_key_slot(slot))
}
