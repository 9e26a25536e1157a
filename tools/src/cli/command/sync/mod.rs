//! `thingdb push`, `pull` and `sync`: two nodes bring each other up to date.

mod fault;
mod left;

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde::Serialize;
use thingdb::{Db, Peer};

use crate::cli::context::Context;
use crate::cli::input::quantity;
use crate::client::Client;
use crate::client::address::Address;
use crate::client::pace::Pace;
use crate::error::{Exit, Failure, Outcome};
use crate::reader::database::Database;
use crate::sync::news::News;
use crate::sync::remote::Remote;
use crate::sync::session::{Count, Plan, Session, Summary, Tick, Waiting, WaitingThere};
use crate::sync::wire::{MAX_REASONS, Tally};
use crate::text::{counted, grouped, printable, quoted_path};
use fault::{failure, unanswered};
use left::conclude;

/// The least time between two exchanges.
const MIN_PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `thingdb push`, `pull` and `sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  thingdb peer set hq --url https://hq.example:5001 --token-file hq.token
  thingdb sync hq
  thingdb sync hq --things plant-3/ --max-rate 1KiB/s
  thingdb sync hq --watch 30s
  thingdb push hq --dry-run

Only what the other side lacks goes over the line. A broken line is taken up
again, and nothing that arrived is sent twice; run again later, it goes on where
it ended. What the peer shows of its ledger is kept, and has to have grown out of
what it showed before.

Exit code 4 if a ledger was set back or shows two faces, 6 if entries were
refused or wait, here or there, for others that are not, 13 if the token is, 14
if the peer cannot be reached or is another.")]
pub(crate) struct Args {
    /// The peer
    peer: String,

    /// Only things whose name starts so
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    things: String,

    /// Bytes a second in each direction, at most: 1KiB/s, 20MB/s
    #[arg(long, value_name = "RATE", value_parser = quantity::rate)]
    max_rate: Option<u64>,

    /// Go on until interrupted, exchanging again every so often
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "30s", value_parser = quantity::time, conflicts_with = "dry_run")]
    watch: Option<Duration>,

    /// Only tell what would go over the line
    #[arg(long)]
    dry_run: bool,

    /// Exchange everything again, also entries of which one side has only the
    /// stub
    #[arg(long)]
    all: bool,

    /// How often a line that does not come back is tried before giving up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,

    /// When a line on which nothing moves is taken for broken
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = quantity::time)]
    stall: Duration,
}

impl Args {
    /// Whether it goes on until somebody wants it to end.
    pub(crate) const fn watches(&self) -> bool {
        self.watch.is_some()
    }
}

/// Which way entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the peer.
    Push,
    /// From the peer.
    Pull,
    /// First from the peer, then to it.
    Both,
}

/// The result, and the members of its JSON.
#[derive(Serialize)]
struct Told<'a> {
    peer: &'a str,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<TheWay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<TheWay>,
    #[serde(skip_serializing_if = "String::is_empty")]
    things: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_there: Option<WaitingThereJson>,
    #[serde(skip_serializing_if = "is_zero")]
    receipts: u64,
    peer_entries: u64,
    sent_bytes: u64,
    received_bytes: u64,
    reconnects: u64,
    seconds: f64,
}

/// Entries that wait here when the exchange has ended.
#[derive(Serialize)]
struct WaitingJson {
    entries: u64,
    /// Those for which they wait, the first hundred.
    waits_for: Vec<String>,
}

impl WaitingJson {
    fn new(waiting: &Waiting) -> Option<Self> {
        let waits_for = waiting.waits_for.iter().take(MAX_REASONS).map(ToString::to_string).collect();
        (waiting.entries > 0).then_some(Self { entries: waiting.entries, waits_for })
    }
}

/// What entries at the peer wait for when the exchange has ended.
#[derive(Serialize)]
struct WaitingThereJson {
    /// The first hundred, by the first halves of their ids.
    waits_for: Vec<String>,
}

impl WaitingThereJson {
    fn new(waiting: &WaitingThere) -> Option<Self> {
        let waits_for: Vec<String> = waiting.waits_for().take(MAX_REASONS).map(|id| HEXLOWER.encode(id)).collect();
        (!waits_for.is_empty()).then_some(Self { waits_for })
    }
}

#[derive(Serialize)]
struct TheWay {
    #[serde(flatten)]
    tally: Tally,
    #[serde(skip_serializing_if = "is_zero")]
    still_refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<Planned>,
}

#[derive(Serialize)]
struct Planned {
    entries: u64,
    bytes: u64,
    seconds: Option<u64>,
}

/// Exchanges once, or until interrupted.
pub(crate) fn run(context: &Context, way: Way, args: &Args) -> Outcome {
    let db = context.open()?;
    let peer = db.peer(&args.peer)?;
    let _patience = context.console.patience();
    let done = match args.watch {
        None => once(context, &db, &peer, way, args),
        Some(every) => watch(context, &db, &peer, way, args, every),
    };
    context.close(db);
    done
}

fn once(context: &Context, db: &Db, peer: &Peer, way: Way, args: &Args) -> Outcome {
    let remote = connect(db, peer, args, pace(context, args, None))?;
    let (done, _) = exchange(context, db, peer, way, args, remote, true);
    conclude(&done?, &peer.name)
}

/// Exchanges again and again. What passes is told and does not end it.
fn watch(context: &Context, db: &Database, peer: &Peer, way: Way, args: &Args, every: Duration) -> Outcome {
    // In a database that is open for this command alone nobody else writes.
    let news = db.shared().map(News::new).map(Arc::new);
    let wait_beyond = |offered| news.iter().for_each(|news| news.wait_beyond(offered));
    let pace = pace(context, args, news.clone());
    let mut remote = connect(db, peer, args, pace.clone())?;
    let mut first = true;
    let mut away = false;
    let mut told = [0; 4];
    loop {
        let (done, mut line) = exchange(context, db, peer, way, args, remote, first);
        first = false;
        let seen = done.as_ref().ok().map(|summary| (summary.peer_size, summary.peer_revision));
        let offered = done.as_ref().ok().and_then(|summary| summary.offered);
        // What is refused for a time goes when that has passed.
        let every = done.as_ref().ok().and_then(Summary::until_again).map_or(every, |time| time.min(every));
        if done.is_ok() {
            if away {
                context.console.note(&format!("{} is reached again", printable(&peer.name)));
            }
            away = false;
        }
        let concluded = done.and_then(|summary| {
            let left = [
                summary.pulled.refused(),
                summary.pushed.refused(),
                summary.waiting.entries,
                summary.waiting_there.missing(),
            ];
            // What was told is told again when it is more or less.
            if std::mem::replace(&mut told, left) == left { Ok(()) } else { conclude(&summary, &peer.name) }
        });
        match concluded {
            // Both pass: what is refused may be accepted later, and somebody makes room.
            Err(failure) if failure.exit() == Exit::Partly || failure.word() == "disk-full" => {
                context.console.warn(failure.remark());
            }
            Err(failure) if failure.exit() == Exit::Unreachable => {
                away = true;
                // It is run again without anybody's help.
                context.console.warning("sync", failure.whole()).say();
            }
            Err(failure) if failure.exit() == Exit::Interrupted => return ended(context),
            done => done?,
        }
        // What comes to the peer or to this node meanwhile goes on at once.
        let start = Instant::now();
        wait_beyond(offered);
        match seen.filter(|_| way != Way::Push && every >= Duration::from_secs(1)) {
            // A line that breaks is noticed by the next exchange.
            Some((size, revision)) => drop(line.wait_for_more(size, revision, every)),
            // It ends early when something comes, or somebody wants it to end.
            None => drop(pace.sleep(every)),
        }
        wait_beyond(None);
        let pause = MIN_PAUSE.min(every).saturating_sub(start.elapsed());
        if pace.sleep(pause).is_err() || context.console.is_interrupted() {
            return ended(context);
        }
        remote = line;
    }
}

/// A watch was asked to end. When that is because the server of this node ends,
/// nobody wanted the watch to.
fn ended(context: &Context) -> Outcome {
    if context.console.is_server_ending() { Err(Failure::server_ends()) } else { Ok(()) }
}

/// One exchange, and the line that it used.
fn exchange(
    context: &Context,
    db: &Db,
    peer: &Peer,
    way: Way,
    args: &Args,
    remote: Remote,
    says_nothing_too: bool,
) -> (Outcome<Summary>, Remote) {
    let plan = Plan { pull: way != Way::Push, push: way != Way::Pull, all: args.all, dry_run: args.dry_run };
    let start = Instant::now();
    let traffic = remote.traffic().clone();
    let (sent, received, reconnects) = (traffic.sent(), traffic.received(), remote.client().reconnects());
    let mut meter = context.meter(if way == Way::Push { "sending" } else { "syncing" });
    let mut tick = |tick: Tick| meter.update(tick.done, tick.total, tick.bytes);
    let mut session = Session::new(db, peer, &args.things, plan, remote, &mut tick);
    let done = session.run();
    let remote = session.into_remote();
    let url = remote.client().address().to_string();
    let done = done.map_err(|fault| failure(fault, &peer.name, &url));
    note(db, peer, args, done.as_ref().err());
    let summary = match done {
        Ok(summary) => summary,
        Err(failure) => return (Err(failure), remote),
    };
    let (sent, received) = (traffic.sent() - sent, traffic.received() - received);
    meter.end(summary.pulled.tally.added + summary.pushed.tally.added, sent + received);
    let told = Told {
        peer: &peer.name,
        dry_run: args.dry_run,
        pulled: plan.pull.then(|| TheWay::new(&summary.pulled, args)),
        pushed: plan.push.then(|| TheWay::new(&summary.pushed, args)),
        things: summary.things.clone(),
        waiting: WaitingJson::new(&summary.waiting),
        waiting_there: WaitingThereJson::new(&summary.waiting_there),
        receipts: summary.receipts,
        peer_entries: summary.peer_entries,
        sent_bytes: sent,
        received_bytes: received,
        reconnects: remote.client().reconnects() - reconnects,
        seconds: (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    };
    if !args.dry_run {
        context.did("what was exchanged is stored");
    }
    let says = says_nothing_too || summary.pulled.is_something() || summary.pushed.is_something();
    let said = if says { say(context, &told) } else { Ok(()) };
    if said.is_ok() {
        context.told();
    }
    let ledgers = summary.contradicted.ledgers.iter();
    let ledgers = ledgers.map(|conflict| ("split-view", "another ledger", conflict.evidence.node, &conflict.file));
    let heads = summary.contradicted.heads.iter();
    let heads = heads.map(|conflict| ("split-heads", "other heads", conflict.evidence.node, &conflict.file));
    for (word, what, node, file) in ledgers.chain(heads) {
        let known = db.peers().ok().and_then(|all| all.into_iter().find(|it| it.origin() == node.origin()));
        let node = known.map_or_else(|| node.origin().to_string(), |peer| peer.name);
        let fact = format!("{} showed {} {what} than this node", printable(&node), printable(&peer.name));
        let hint = format!("thingdb verify-evidence {}", quoted_path(file));
        context.console.warning(word, fact).hint(hint).say();
    }
    if says_nothing_too {
        remark(context, peer, args, &summary);
    }
    (said.map(|()| summary), remote)
}

/// Keeps when an exchange ended, and how. One that somebody ended says nothing of
/// the peer.
fn note(db: &Db, peer: &Peer, args: &Args, failure: Option<&Failure>) {
    if args.dry_run || failure.is_some_and(|failure| failure.exit() == Exit::Interrupted) {
        return;
    }
    // Where nothing can be written there are greater sorrows, and they are told.
    drop(db.note_exchange(&peer.origin(), failure.map_or(Ok(()), |failure| Err(failure.word()))));
}

/// What a person should know of the token, and of what the peer can read.
fn remark(context: &Context, peer: &Peer, args: &Args, summary: &Summary) {
    let name = printable(&peer.name);
    if summary.things != args.things {
        let prefix = printable(&summary.things);
        context.console.note(&format!("the token is for things that begin with {prefix}: all others were left out"));
    }
    if summary.unreadable > 0 {
        let entries = counted(summary.unreadable, "entry that was sent is", "entries that were sent are");
        context.console.note(&format!("{entries} not sealed to {name}, which keeps what it cannot read"));
        context.console.hint(&format!("thingdb share THING --to {name}; for new entries: thingdb audience set {name}"));
    }
    if !summary.is_known {
        context.console.note(&format!("the token names no node, so {name} cannot notice when this ledger is set back"));
        context.console.hint(&format!(
            "at {name}, which has to have this node's card: thingdb token new --peer NAME --scope export,import"
        ));
    }
}

fn connect(db: &Db, peer: &Peer, args: &Args, pace: Pace) -> Outcome<Remote> {
    let name = printable(&peer.name);
    let set = format!("thingdb peer set {name} --url https://HOST:PORT --token-file FILE");
    let Some(known) = db.peer_address(&peer.name)? else {
        return Err(Failure::usage(format!("no URL is known for the peer {name}")).hint(set));
    };
    let address: Address = known
        .url
        .parse()
        .map_err(|problem: &str| Failure::usage(format!("the address of {name} is no URL: {problem}")).hint(set))?;
    let Some(pin) = known.tls.or(peer.card.tls) else {
        return Err(Failure::new(
            Exit::Unreachable,
            "no-certificate",
            format!("the card of {name} names no certificate, so nobody could say who answers"),
        )
        .hint(format!("get its new card: thingdb card, at {name}; then thingdb peer add {name} @FILE")));
    };
    Client::new(address, &known.token, pin, pace, args.tries)
        .map(Remote::new)
        .map_err(|fault| unanswered(fault, &peer.name, &known.url))
}

/// How the line is used, and when what waits on it ends: also when there is
/// news.
fn pace(context: &Context, args: &Args, news: Option<Arc<News>>) -> Pace {
    let console = context.console.clone();
    let is_cancelled = move || console.is_interrupted() || news.as_ref().is_some_and(|news| news.has_come());
    Pace { rate: args.max_rate, stall: args.stall, limit: None, is_cancelled: Arc::new(is_cancelled) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl TheWay {
    fn new(count: &Count, args: &Args) -> Self {
        let planned = args.dry_run.then(|| Planned {
            entries: count.planned,
            bytes: count.planned_bytes,
            seconds: args.max_rate.map(|rate| count.planned_bytes.div_ceil(rate.max(1))),
        });
        Self { tally: count.tally.clone(), still_refused: count.still_refused(), planned }
    }

    fn in_words(&self, verb: &str) -> String {
        if let Some(planned) = &self.planned {
            let time = planned.seconds.map_or_else(String::new, |seconds| format!(", {seconds} s at that rate"));
            let entries = counted(planned.entries, "entry", "entries");
            return format!("would be {verb}: {entries}, about {} bytes{time}", grouped(planned.bytes));
        }
        let Tally { added, known, completed, pending, refused, envelopes_dropped, .. } = self.tally;
        let mut line = format!("{verb} {}", counted(added, "entry", "entries"));
        let parts = [
            (completed, "completed"),
            (known, "there already"),
            (pending, "waiting for the entries before them"),
            (refused, "refused"),
            (self.still_refused, "still refused"),
            (envelopes_dropped, "envelopes dropped"),
        ];
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            line = format!("{line}, {} {what}", grouped(count));
        }
        line
    }
}

fn say(context: &Context, told: &Told<'_>) -> Outcome {
    if context.output.is_json() {
        return context.output.object(told);
    }
    let ways = [(&told.pulled, "fetched"), (&told.pushed, "sent")];
    for (way, verb) in ways {
        if let Some(way) = way {
            context.output.line(&way.in_words(verb))?;
        }
    }
    let (sent, received) = (grouped(told.sent_bytes), grouped(told.received_bytes));
    context.console.note(&format!("{sent} bytes out, {received} bytes in, {:.1} s", told.seconds));
    Ok(())
}
