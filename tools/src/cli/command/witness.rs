//! `thingdb witness`: who is asked to cosign this node's checkpoints.

use clap::Subcommand;
use serde::Serialize;
use thingdb::format::VerifierKey;
use thingdb::{Cosigned, Hash, Time, Witness};

use crate::cli::context::{CHANGED, Context};
use crate::console::output::Format;
use crate::error::{Failure, Outcome};
use crate::sync::witness::place;
use crate::text::{grouped, printable};
use crate::view::when;

/// What to do with witnesses.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  thingdb witness add hall-2 https://hall-2.example:5001/witness \"$(cat hall-2.vkey)\" --tls-fingerprint HEX
  thingdb witness add public https://witness.example VKEY
  thingdb witness ls                       who has cosigned which size of the ledger, and when
  thingdb checkpoint -o things.checkpoint  asks them, and writes what they say

A witness cosigns a checkpoint if the ledger has only grown since the last one
that it saw (c2sp.org/tlog-witness). Every thingdb serve is a witness for the
nodes that it knows, under /witness; thingdb card --vkey, there, prints its key.
Peers cosign each other's checkpoints in every exchange and are not added here.")]
pub(crate) enum Command {
    /// Ask a witness from now on
    Add {
        /// What it is called here
        name: String,
        /// Its submission prefix: https://HOST[:PORT][/PATH]
        url: String,
        /// The key under which it cosigns: name+id+key
        vkey: String,
        /// SHA-256 of its certificate, if the system does not trust it
        #[arg(long, value_name = "HEX")]
        tls_fingerprint: Option<String>,
    },
    /// List the witnesses and peers, and what they have cosigned
    Ls,
    /// Ask a witness no longer; what it has cosigned counts no more
    Rm {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Known {
    name: String,
    /// Absent for a peer.
    url: Option<String>,
    vkey: Option<String>,
    /// The newest checkpoint that it has cosigned.
    cosigned: Option<CosignedJson>,
}

#[derive(Clone, Serialize)]
struct CosignedJson {
    size: u64,
    time: String,
    #[serde(skip)]
    at: Time,
}

/// Runs one of the witness commands.
pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    let db = context.open()?;
    match command {
        Command::Add { name, url, vkey, tls_fingerprint } => {
            place(url).map_err(|problem| {
                Failure::usage(format!("the submission prefix is no URL: {problem}"))
                    .hint("https://HOST[:PORT][/PATH], without add-checkpoint")
            })?;
            let vkey: VerifierKey = key_of(vkey).parse().map_err(|problem| {
                Failure::usage(format!("that is no key of a witness: {problem}"))
                    .hint("at a node: thingdb card --vkey; other witnesses publish it")
            })?;
            let tls: Option<Hash> = match tls_fingerprint {
                Some(hex) => {
                    Some(hex.parse().map_err(|_| Failure::usage("a fingerprint has 64 lower-case hex digits"))?)
                }
                None => None,
            };
            let witness = Witness { name: name.clone(), url: url.clone(), vkey, tls };
            db.add_witness(witness.clone())?;
            context.close(db);
            context.did(CHANGED);
            show(context, &[known(&witness, &[])])
        }
        Command::Ls => {
            let cosigned = db.cosigned()?;
            let mut all: Vec<Known> = db.witnesses()?.iter().map(|witness| known(witness, &cosigned)).collect();
            let mut peers: Vec<&String> = cosigned.iter().flat_map(|it| &it.by).map(|(name, _)| name).collect();
            peers.sort();
            peers.dedup();
            for name in peers {
                if !all.iter().any(|known| known.name == *name) {
                    let cosigned = newest(&cosigned, name);
                    all.push(Known { name: name.clone(), url: None, vkey: None, cosigned });
                }
            }
            context.close(db);
            show(context, &all)
        }
        Command::Rm { name } => {
            let witness = db.remove_witness(name)?;
            context.close(db);
            context.did(CHANGED);
            show(context, &[known(&witness, &[])])
        }
    }
}

/// The key in what `card --vkey` prints, or in a text that is one.
fn key_of(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("witness ")).unwrap_or(text);
    line.split_whitespace().next_back().unwrap_or_default()
}

fn known(witness: &Witness, cosigned: &[Cosigned]) -> Known {
    Known {
        name: witness.name.clone(),
        url: Some(witness.url.clone()),
        vkey: Some(witness.vkey.to_string()),
        cosigned: newest(cosigned, &witness.name),
    }
}

fn newest(cosigned: &[Cosigned], name: &str) -> Option<CosignedJson> {
    cosigned.iter().rev().find_map(|it| {
        let (_, seconds) = it.by.iter().find(|(by, _)| by == name)?;
        let time = when::of_seconds(*seconds);
        Some(CosignedJson { size: it.checkpoint.claimed().size, time: time.to_string(), at: time })
    })
}

fn show(context: &Context, all: &[Known]) -> Outcome {
    match context.output.format() {
        Format::Json | Format::Ndjson => {
            let mut list = context.output.list();
            all.iter().try_for_each(|known| list.item(known))?;
            list.end()
        }
        Format::Raw => all.iter().try_for_each(|known| context.output.line(known.vkey.as_deref().unwrap_or_default())),
        Format::Table => {
            let header = ["name", "cosigned", "at (UTC)", "asked at"];
            let row = |known: &Known| {
                let size = known.cosigned.as_ref().map(|it| grouped(it.size)).unwrap_or_default();
                let time = known.cosigned.as_ref().map(|it| when::short(it.at)).unwrap_or_default();
                let url = known.url.as_deref().map_or_else(|| "a peer, in each exchange".into(), printable);
                [printable(&known.name).into_owned(), size, time, url.into_owned()]
            };
            context.output.line(&context.output.table(header, Some(3)).page(all.iter().map(row)))
        }
    }
}
