//! `thingdb checkpoint`: signs the state of the ledger.

mod cosigned;
mod kept;
mod publish;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thingdb::{Db, SignedCheckpoint};

use crate::cli::context::Context;
use crate::cli::remote::RemoteArgs;
use crate::console::Access;
use crate::console::output::Format;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::source::Source;
use crate::text::{counted, printable};
use crate::timestamp::token::Token;
use crate::view::when;

/// Arguments of `thingdb checkpoint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb checkpoint -o /media/usb/things.checkpoint
  thingdb checkpoint --publish /srv/www/ledger      static files for clients of transparency logs
  thingdb checkpoint | mail -s checkpoint auditor@example.org

Who is a witness (thingdb witness add) is asked for a cosignature, and what
witnesses and peers have said of this state of the ledger stands in the note.
Exit code 6 if a witness does not answer; the note is written all the same.

Keep it where whoever can change the database cannot: then thingdb verify
--checkpoint FILE notices even that the whole directory was set back.
A file with a checkpoint that this ledger does not go on from stays as it is:
exit code 4. With --url and --card the signature is checked against the card.
It prints a C2SP signed note; with --format json an object.")]
pub(crate) struct Args {
    /// Write the note to a file, - for stdout; an older note of this ledger there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write the ledger as static files (c2sp.org/tlog-tiles), of the entries the ids only; what is
    /// there already stays as it is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "output"])]
    publish: Option<PathBuf>,

    /// Ask no witness
    #[arg(long)]
    no_witnesses: bool,

    /// Where it is read.
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The members of the JSON.
#[derive(Serialize)]
struct CheckpointJson {
    origin: String,
    size: u64,
    root: String,
    note: String,
    /// Who has cosigned it, as far as this node knows them.
    cosigned: Vec<CosignedJson>,
    /// What time-stamp authorities have said of it. Nobody looked who they are.
    timestamps: Vec<StampedJson>,
}

#[derive(Serialize)]
struct CosignedJson {
    by: String,
    time: String,
}

#[derive(Serialize)]
struct StampedJson {
    not_later_than: String,
    authority: String,
}

/// Signs and prints the checkpoint.
pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let Some(dir) = &args.publish {
        publish::refuse_other(&context.console, context.database(), dir)?;
    }
    let (source, way) = context.source_for_now(&args.remote)?;
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    // Before anything is signed: a ledger that was set back must not sign twice.
    let replaced = |path: &Path, access| kept::may_be_replaced(&context.console, path, access, &*source);
    output.map_or(Ok(None), |path| replaced(path, Access::Read))?;
    let published = args.publish.as_deref().map(|dir| dir.join("checkpoint"));
    let published = published.map_or(Ok(None), |path| replaced(&path, Access::Regular))?;
    let (checkpoint, silent) = match source {
        Source::Here(db) => {
            let note = db.checkpoint()?;
            let witnesses = if args.no_witnesses { Vec::new() } else { db.witnesses()? };
            let (db, asked, silent) = cosigned::ask(context, db, way, &note, &witnesses)?;
            let told = (kept_of(&db, &asked)?, silent);
            if let Some(dir) = &args.publish {
                publish::write(context, &db, dir, published.as_ref(), &told.0.note)?;
            }
            context.close(db);
            told
        }
        there @ Source::There(_) => (CheckpointJson::new(&there.checkpoint()?, &[]), 0),
    };
    if let Some(path) = output {
        context.console.write_file(path, checkpoint.note.as_bytes())?;
        context.console.note(&format!(
            "checkpoint of {} in {}",
            counted(checkpoint.size, "entry", "entries"),
            path.display()
        ));
        for stamp in &checkpoint.timestamps {
            let authority = printable(&stamp.authority);
            context.console.note(&format!("it was there by {}, claims {authority}", stamp.not_later_than));
        }
    }
    match context.output.chosen() {
        Some(Format::Json | Format::Ndjson) => context.output.object(&checkpoint)?,
        _ if output.is_some() || args.publish.is_some() => {}
        _ => context.output.bytes(checkpoint.note.as_bytes())?,
    }
    match silent {
        0 => Ok(()),
        count => {
            let fact = format!("{} did not cosign", counted(count, "witness", "witnesses"));
            Err(Failure::new(Exit::Partly, "not-cosigned", fact)
                .hint("the checkpoint stands; thingdb witness ls, and run it again later"))
        }
    }
}

/// What is kept of a checkpoint, with what was said of it now.
fn kept_of(db: &Db, asked: &SignedCheckpoint) -> Outcome<CheckpointJson> {
    // A database that takes nothing has nothing to keep.
    let kept = if db.is_writable() { Some(db.keep_cosignatures(asked)?) } else { None };
    let json = match kept {
        Some(kept) => CheckpointJson::new(&kept.checkpoint, &kept.by),
        None => CheckpointJson::new(asked, &[]),
    };
    Ok(CheckpointJson { timestamps: timestamps(db, asked)?, ..json })
}

/// What is kept of time-stamp authorities that stamped this note.
fn timestamps(db: &Db, note: &SignedCheckpoint) -> Outcome<Vec<StampedJson>> {
    let imprint = note.imprint(&db.node_key()).map_err(thingdb::Error::from)?;
    let of = |kept: &thingdb::Timestamped| kept.checkpoint.text() == note.text();
    let tokens = db.timestamps()?.into_iter().filter(of).filter_map(|kept| Token::of(&kept.token, &imprint).ok());
    let stamped =
        |token: Token| StampedJson { not_later_than: token.not_later_than.to_string(), authority: token.authority };
    Ok(tokens.map(stamped).collect())
}

impl CheckpointJson {
    fn new(note: &SignedCheckpoint, by: &[(String, u64)]) -> Self {
        let time = |seconds| when::of_seconds(seconds).to_string();

        let claimed = note.claimed();
        Self {
            origin: claimed.origin.to_string(),
            size: claimed.size,
            root: claimed.root.to_string(),
            note: note.as_str().to_owned(),
            cosigned: by.iter().map(|(by, at)| CosignedJson { by: by.clone(), time: time(*at) }).collect(),
            timestamps: Vec::new(),
        }
    }
}
