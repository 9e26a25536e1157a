//! A server, as commands read it. What it answers is its word; but it is read
//! strictly, so that an answer that cannot be is told and not shown.

mod one_entry;
mod proof;

use std::cell::{Cell, RefCell};
use std::io::{BufReader, Read, Write};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thingdb::{EntryId, Hash, Head, NodeKey, SignedCheckpoint, Standing, StreamForm, ThingId, ThingInfo, Time};

use super::failure::failure;
use super::grown::Grown;
use super::pages::{Page, Pages};
use super::proving::{Proved, Proving};
use super::stream::{Asked, Broken, Passage};
use super::{Entries, Erasures, Exported, Forks, Found, Listing, Part, Reader, Things, Wanted, lost};
use crate::bytes::compress::{self, Compression};
use crate::client::address::Address;
use crate::client::fault::Fault;
use crate::client::pace::Pace;
use crate::client::question::Question;
use crate::client::refusal::Refusal;
use crate::client::{Client, Head as AnswerHead};
use crate::console::Console;
use crate::error::{Exit, Failure, Outcome};
use crate::foreign;
use crate::text::{is_unprintable, printable};
use crate::view::counts::Counts;
use crate::view::entry::Entry;
use crate::view::erasure::ErasureJson;
use crate::view::fork::ForkJson;
use crate::view::missing::MissingOfLedger;
use crate::view::one_form::OneForm;
use crate::view::told::Told;
use crate::view::{as_text, span};

/// How often a server that does not answer is tried.
const TRIES: u32 = 3;

/// The greatest page that a server gives.
const MAX_PAGE: usize = 1000;

/// Longest page that is read. A page ends after some 8 MiB of data, but not
/// between entries of one seq: two of the largest behind them, a third longer in
/// base64. Larger forks are read by their ids.
const MAX_PAGE_BYTES: usize = 56 << 20;

/// Forks in one page: each has at least two heads, and may have thousands.
const FORKS: usize = 100;

/// Longest page of things or forks.
const MAX_LISTING_BYTES: usize = 32 << 20;

/// Longest answer about the node.
const MAX_INFO_BYTES: usize = 1 << 20;

/// Longest answer with one entry.
const MAX_ENTRY_BYTES: usize = 32 << 20;

/// Most names that are alike.
const MAX_SIMILAR: usize = 3;

/// The media types of streams.
const NDJSON: &str = "application/x-ndjson";
const FRAMES: &str = crate::sync::stream::MEDIA_TYPE;

/// By what a server is known.
#[derive(Clone, Debug)]
pub(crate) enum Pin {
    /// The card of its node.
    Card {
        /// The certificate.
        tls: Hash,
        /// What signs its checkpoints.
        node: NodeKey,
    },
    /// Its certificate.
    Certificate(Hash),
    /// It is on this machine and has none.
    Loopback {
        /// What signs its checkpoints, if there is a card.
        node: Option<NodeKey>,
    },
}

/// A server that is read.
pub(crate) struct Server {
    client: RefCell<Client>,
    url: String,
    node: Option<NodeKey>,
    console: Console,
    /// It was said that the token is for a part only.
    has_remarked: Cell<bool>,
    /// The server has said that its ledger is not all that was written.
    has_lost: Cell<bool>,
}

/// A thing in a listing, as the server tells it.
#[derive(Deserialize)]
struct ToldThing {
    #[serde(with = "as_text")]
    thing: ThingId,
    entries: u64,
    heads: Vec<ToldHead>,
    /// A server of before does not tell.
    #[serde(default)]
    latest: Option<ToldHead>,
    #[serde(default)]
    erased: u64,
    retired: Option<bool>,
}

/// What a server says of itself, as far as it is wanted here.
#[derive(Deserialize)]
struct ToldInfo {
    entries: u64,
    /// A server of before does not tell.
    #[serde(default)]
    missing: Vec<MissingOfLedger>,
}

#[derive(Deserialize)]
struct ToldHead {
    #[serde(with = "as_text")]
    id: EntryId,
    seq: u64,
    #[serde(with = "as_text")]
    time: Time,
}

impl From<ToldThing> for ThingInfo {
    fn from(told: ToldThing) -> Self {
        let head = |head: ToldHead| Head { id: head.id, seq: head.seq, time: head.time };
        let heads: Vec<Head> = told.heads.into_iter().map(head).collect();
        let latest = told.latest.map(head).or_else(|| heads.first().copied());
        let (thing, entries, erased) = (told.thing, told.entries, Some(told.erased));
        Self { thing, entries, heads, latest, erased, retired: told.retired }
    }
}

impl Server {
    /// The server at an address. Nothing is asked yet.
    pub(crate) fn new(address: Address, token: &str, pin: Pin, console: &Console) -> Outcome<Self> {
        let url = address.to_string();
        let host = console.clone();
        let pace = Pace {
            rate: None,
            stall: std::time::Duration::from_secs(60),
            limit: None,
            is_cancelled: std::sync::Arc::new(move || host.is_interrupted()),
        };
        let (client, node) = match pin {
            Pin::Card { tls, node } => (Client::new(address, token, tls, pace, TRIES), Some(node)),
            Pin::Certificate(tls) => (Client::new(address, token, tls, pace, TRIES), None),
            Pin::Loopback { node } => (Client::on_loopback(address, token, pace, TRIES), node),
        };
        let client = client.map_err(|fault| failure(fault, &url))?;
        let (has_remarked, has_lost) = (Cell::new(false), Cell::new(false));
        Ok(Self { client: RefCell::new(client), url, node, console: console.clone(), has_remarked, has_lost })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks; nothing if there is no such thing.
    fn ask(&self, question: &Question<'_>) -> Outcome<Option<(AnswerHead, Vec<u8>)>> {
        match self.answer(question) {
            Err(Fault::Refused(refusal)) if is_missing(&refusal) => Ok(None),
            answered => answered.map(Some).map_err(|fault| failure(fault, &self.url)),
        }
    }

    /// Asks for what has to be there.
    fn must(&self, question: &Question<'_>) -> Outcome<(AnswerHead, Vec<u8>)> {
        self.answer(question).map_err(|fault| failure(fault, &self.url))
    }

    /// Asks, and remembers whether the ledger is all that was written.
    fn answer(&self, question: &Question<'_>) -> Result<(AnswerHead, Vec<u8>), Fault> {
        let answered = self.client.borrow_mut().whole(question);
        let has_lost = match &answered {
            Ok((head, _)) => head.has_lost(),
            Err(Fault::Refused(refusal)) => refusal.has_lost,
            Err(_) => false,
        };
        self.has_lost.set(self.has_lost.get() || has_lost);
        answered
    }

    pub(super) fn bad(&self, why: impl std::fmt::Display) -> Failure {
        failure(Fault::answer(why), &self.url)
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Outcome<T> {
        foreign::decode(bytes).map_err(|fault| self.bad(fault))
    }

    /// Says, once, that a token for a part of the things shows no more than
    /// that, where more was asked for.
    fn remark(&self, head: &AnswerHead, asked: &str) {
        let Some(things) = head.header("thingdb-things") else { return };
        let things = percent_decode_str(things).decode_utf8_lossy();
        if !asked.starts_with(&*things) && !self.has_remarked.replace(true) {
            let things = printable(&things);
            self.console.note(&format!("the token is for things that begin with {things}: all others were left out"));
        }
    }

    /// An entry of a thing, which has to be what was asked for.
    fn entry(&self, thing: &str, query: &str, fits: impl FnOnce(&Told) -> bool) -> Outcome<Option<Entry>> {
        let question = Question::get(format!("/things/{}?base64=true{query}", escaped(&known(thing)?)));
        let Some((_, bytes)) = self.ask(&question.at_most(MAX_ENTRY_BYTES))? else { return Ok(None) };
        let told = Told::parse(&bytes).map_err(|problem| self.bad(problem))?;
        if told.thing.as_str() != thing || !fits(&told) {
            return Err(self.bad("an entry that was not asked for"));
        }
        Ok(Some(Entry::Told(Box::new(told))))
    }

    /// A page of a history, and where the next one begins; nothing if there is
    /// no such thing.
    fn page(&self, thing: &str, part: &Part, cursor: Option<u64>) -> Outcome<Option<Page<Told, u64>>> {
        let Part { span, newest_first, most } = *part;
        let mut target = format!(
            "/things/{}/entries?base64=true&limit={}&newest_first={newest_first}",
            escaped(&known(thing)?),
            most.clamp(1, MAX_PAGE),
        );
        let number = |seq: Option<u64>| seq.map(|seq| seq.to_string());
        let seq = |seq: Option<u64>| seq.map(span::spelled);
        let time = |time: Option<Time>| time.map(|time| time.to_string());
        let members = [
            ("since", seq(span.first_seq).or_else(|| time(span.since))),
            ("until", seq(span.last_seq).or_else(|| time(span.until))),
            (cursor_name(newest_first), number(cursor)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", escaped(&value)));
            }
        }
        let Some((head, bytes)) = self.ask(&Question::get(target).at_most(MAX_PAGE_BYTES))? else { return Ok(None) };
        let page = Told::parse_list(&bytes).map_err(|problem| self.bad(problem))?;
        let next = next(&head, cursor_name(newest_first)).map(|text| text.parse());
        let next: Option<u64> = next.transpose().map_err(|problem| self.bad(problem))?;
        let is_in_span =
            |seq: u64| span.first_seq.is_none_or(|first| seq >= first) && span.last_seq.is_none_or(|last| seq <= last);
        let is_past = |seq: u64, mark: u64| if newest_first { seq < mark } else { seq > mark };
        let fits = |told: &Told| {
            told.thing.as_str() == thing
                && cursor.is_none_or(|mark| is_past(told.seq, mark))
                && next.is_none_or(|mark| !is_past(told.seq, mark))
                && is_in_span(told.seq)
                && span.has(|| told.dated())
        };
        let is_in_order = page.windows(2).all(|pair| match pair {
            [one, other] if newest_first => one.seq >= other.seq,
            [one, other] => one.seq <= other.seq,
            _ => true,
        });
        let goes_on = cursor.zip(next).is_none_or(|(cursor, next)| is_past(next, cursor));
        if !page.iter().all(fits) || !is_in_order || !goes_on || next.is_some_and(|next| !is_in_span(next)) {
            return Err(self.bad("entries that were not asked for"));
        }
        // Only times leave out what was looked at.
        if page.is_empty() && next.is_some() && span.since.is_none() && span.until.is_none() {
            return Err(self.bad("an empty page that is not the last"));
        }
        Ok(Some((page, next)))
    }

    fn thing_page(&self, listing: Listing<'_>, after: Option<&str>) -> Outcome<Page<ThingInfo, String>> {
        let mut target = format!("/things?limit={}", listing.most.clamp(1, MAX_PAGE));
        for (name, value) in [("prefix", Some(listing.prefix)), ("after", after)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                target.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        let (head, bytes) = self.must(&Question::get(target).at_most(MAX_LISTING_BYTES))?;
        self.remark(&head, listing.prefix);
        let page: Vec<ThingInfo> = self.read::<Vec<ToldThing>>(&bytes)?.into_iter().map(ThingInfo::from).collect();
        let mut before = after;
        for info in &page {
            let thing = info.thing.as_str();
            let erased = info.erased.unwrap_or(0);
            let is_one = !info.heads.is_empty() && info.entries >= info.heads.len() as u64 && info.entries >= erased;
            if !is_one || !thing.starts_with(listing.prefix) || before.is_some_and(|before| thing <= before) {
                return Err(self.bad("things that were not asked for"));
            }
            before = Some(thing);
        }
        let has_more = next(&head, "after").is_some();
        if has_more && page.is_empty() {
            return Err(self.bad("an empty page that is not the last"));
        }
        let last = page.last().filter(|_| has_more).map(|info| info.thing.to_string());
        Ok((page, last))
    }

    fn fork_page(&self, after: Option<&str>) -> Outcome<Page<ForkJson, String>> {
        let after_part = after.map(|after| format!("&after={}", escaped(after))).unwrap_or_default();
        let question = Question::get(format!("/forks?limit={FORKS}{after_part}")).at_most(MAX_LISTING_BYTES);
        let (head, bytes) = self.must(&question)?;
        self.remark(&head, "");
        let page: Vec<ForkJson> = self.read(&bytes)?;
        let mut before = after;
        for fork in &page {
            let thing = fork.thing.as_str();
            if !fork.is_one() || before.is_some_and(|before| thing <= before) {
                return Err(self.bad("forks that were not asked for"));
            }
            before = Some(thing);
        }
        let Some(next) = next(&head, "after") else { return Ok((page, None)) };
        let next = percent_decode_str(next).decode_utf8().map_err(|problem| self.bad(problem))?;
        let next = ThingId::new(&next).map_err(|problem| self.bad(problem))?.as_str().to_owned();
        // It is the last thing that was looked at, whether it has forked or not.
        let goes_on =
            after.is_none_or(|after| next.as_str() > after) && before.is_none_or(|last| next.as_str() >= last);
        if !goes_on {
            return Err(self.bad("pages that do not go on"));
        }
        Ok((page, Some(next)))
    }

    /// A page of erasure records, and the position from which the next one goes on;
    /// nothing if there is no such thing.
    fn erasure_page(&self, thing: Option<&str>, from: u64) -> Outcome<Option<Page<ErasureJson, u64>>> {
        let mut target = format!("/erasures?limit={MAX_PAGE}&from={from}");
        if let Some(thing) = thing {
            target.push_str(&format!("&thing={}", escaped(&known(thing)?)));
        }
        let Some((head, bytes)) = self.ask(&Question::get(target).at_most(MAX_LISTING_BYTES))? else {
            return Ok(None);
        };
        self.remark(&head, "");
        let page: Vec<ErasureJson> = self.read(&bytes)?;
        let is_asked = |erasure: &ErasureJson| thing.is_none_or(|thing| erasure.thing.as_str() == thing);
        if !page.iter().all(|erasure| erasure.is_one() && is_asked(erasure)) {
            return Err(self.bad("erasures that were not asked for"));
        }
        let Some(next) = next(&head, "from") else { return Ok(Some((page, None))) };
        let next: u64 = next.parse().map_err(|_| self.bad("a page that does not say where the next begins"))?;
        if next <= from {
            return Err(self.bad("pages that do not go on"));
        }
        Ok(Some((page, Some(next))))
    }

    fn stream(
        &self,
        question: &Question<'_>,
        wanted: &Wanted<'_>,
        form: StreamForm,
        passage: &mut Option<Passage<'_>>,
    ) -> Result<Exported, Stopped> {
        self.client.borrow_mut().stream(question, |head, source| {
            self.remark(head, wanted.prefix.unwrap_or_default());
            self.has_lost.set(self.has_lost.get() || head.has_lost());
            let position = head.header("thingdb-next-position").and_then(|text| text.parse().ok());
            let next_position = position.ok_or_else(|| Fault::answer("a stream without its next position"))?;
            let asked =
                Asked { since: wanted.since.unwrap_or(0), next_position, prefix: wanted.prefix.unwrap_or_default() };
            if next_position < asked.since {
                return Err(Fault::answer("a next position before the one that was asked for").into());
            }
            let source = unpacked(head, source)?;
            let passage = passage.take().ok_or_else(|| Fault::answer("a second stream"))?;
            let passed = passage.run(form, &asked, source).map_err(|broken| match broken {
                Broken::Source(problem) => Stopped::Fault(Fault::of_line(&problem)),
                Broken::Bad(why) => Fault::answer(format!("the stream is not what was asked for: {why}")).into(),
                Broken::Newer(why) => Fault::Newer(why).into(),
                Broken::Out(problem) => Stopped::Failure(Failure::output(&problem)),
            })?;
            let (lost, holes) = passed.holes.map_or_else(Default::default, |told| (told.lost, told.holes));
            Ok(Exported { entries: passed.entries, next_position, bytes: passed.bytes, lost, holes })
        })
    }
}

impl Reader for Server {
    fn lost(&self, listed: u64) -> Outcome<Option<Failure>> {
        if !self.has_lost.get() {
            return Ok(None);
        }
        let (_, bytes) = self.must(&Question::get("/info").at_most(MAX_INFO_BYTES))?;
        let told: ToldInfo = self.read(&bytes)?;
        Ok(lost::failure(&told.missing, listed, told.entries))
    }

    fn latest(&self, thing: &str) -> Outcome<Option<Entry>> {
        self.entry(thing, "", |_| true)
    }

    fn as_of(&self, thing: &str, time: Time) -> Outcome<Option<Entry>> {
        self.entry(thing, &format!("&at={}", escaped(&time.to_string())), |told| told.dated() <= time)
    }

    fn with_seq(&self, thing: &str, seq: u64) -> Outcome<Vec<Entry>> {
        let span = crate::view::span::Span { first_seq: Some(seq), last_seq: Some(seq), ..Default::default() };
        let part = Part { span, newest_first: false, most: usize::MAX };
        self.history(thing, part)?.map_or_else(|| Ok(Vec::new()), Iterator::collect)
    }

    fn with_id(&self, id: &EntryId) -> Outcome<Option<Entry>> {
        match self.find(&id.to_string())? {
            Found::Nothing => Ok(None),
            Found::One(entry) => Ok(Some(*entry)),
            Found::Several(_) => Err(self.bad("several entries with one id")),
        }
    }

    fn find(&self, digits: &str) -> Outcome<Found> {
        let question = Question::get(format!("/entries/{digits}?base64=true")).at_most(MAX_ENTRY_BYTES);
        let answered = self.client.borrow_mut().whole(&question);
        let bytes = match answered {
            Ok((_, bytes)) => bytes,
            Err(Fault::Refused(refusal)) if is_missing(&refusal) => return Ok(Found::Nothing),
            Err(Fault::Refused(refusal)) if refusal.code == "ambiguous" => {
                let ids: Result<Vec<EntryId>, _> = refusal.candidates.iter().map(|id| id.parse()).collect();
                return ids.map(Found::Several).map_err(|problem| self.bad(problem));
            }
            Err(fault) => return Err(failure(fault, &self.url)),
        };
        let told = Told::parse_whole(&bytes).map_err(|problem| self.bad(problem))?;
        if !told.id.to_string().starts_with(digits) {
            return Err(self.bad("an entry that was not asked for"));
        }
        Ok(Found::One(Box::new(Entry::Told(Box::new(told)))))
    }

    fn history(&self, thing: &str, part: Part) -> Outcome<Option<Entries<'_>>> {
        let Some(first) = self.page(thing, &part, None)? else { return Ok(None) };
        let thing = thing.to_owned();
        let fetch =
            move |cursor| self.page(&thing, &part, Some(cursor))?.ok_or_else(|| self.bad("a thing that went away"));
        let pages = Pages::new(first, fetch, |why| self.bad(why));
        let entry = |told: Outcome<Told>| told.map(|told| Entry::Told(Box::new(told)));
        Ok(Some(Box::new(pages.take(part.most).map(entry))))
    }

    fn things(&self, listing: Listing<'_>) -> Outcome<Things<'_>> {
        let (prefix, most) = (listing.prefix.to_owned(), listing.most);
        let first = self.thing_page(listing, listing.after)?;
        let fetch = move |after: String| {
            self.thing_page(Listing { prefix: &prefix, after: None, retired: true, erased: true, most }, Some(&after))
        };
        Ok(Box::new(Pages::new(first, fetch, |why| self.bad(why)).take(most)))
    }

    fn similar(&self, thing: &str) -> Outcome<Vec<String>> {
        let (_, bytes) = self.must(&Question::get(format!("/things?similar={}", escaped(thing))))?;
        let things: Vec<ToldThing> = self.read(&bytes)?;
        Ok(things.into_iter().take(MAX_SIMILAR).map(|told| told.thing.as_str().to_owned()).collect())
    }

    fn counts(&self) -> Outcome<Counts> {
        let (_, bytes) = self.must(&Question::get("/stats"))?;
        self.read(&bytes)
    }

    fn checkpoint(&self) -> Outcome<SignedCheckpoint> {
        let (_, bytes) = self.must(&Question::get("/checkpoint").header("accept", "text/plain"))?;
        let text = String::from_utf8(bytes).map_err(|problem| self.bad(problem))?;
        // Names of other signers may be anything, and a note is printed as it is.
        if text.chars().any(|c| c != '\n' && is_unprintable(c)) {
            return Err(self.bad("a checkpoint with characters that nobody can see"));
        }
        let note = SignedCheckpoint::parse(&text).map_err(|problem| self.bad(problem))?;
        if let Some(node) = &self.node {
            note.verify(node).map_err(|problem| {
                Failure::new(Exit::NotVerified, "not-verified", "the checkpoint is not signed by the node on the card")
                    .cause(problem.to_string())
            })?;
        }
        Ok(note)
    }

    fn contradicts(&self, kept: &SignedCheckpoint) -> Outcome<Option<String>> {
        if let Some(node) = &self.node
            && node.origin() == kept.claimed().origin
        {
            kept.verify(node).map_err(thingdb::Error::from)?;
        }
        let (now, kept) = (self.checkpoint()?, kept.claimed());
        let now = now.claimed();
        if now.origin != kept.origin {
            return Ok(Some(Standing::OtherNode { found: kept.origin }.to_string()));
        }
        if now.size < kept.size {
            return Ok(Some(Standing::Truncated { expected: kept.size, found: now.size }.to_string()));
        }
        let question = Question::get(format!("/checkpoint?since={}", kept.size)).header("accept", "application/json");
        let (_, bytes) = self.must(&question)?;
        let follows = self.read::<Grown>(&bytes)?.follows(kept).map_err(|problem| self.bad(problem))?;
        Ok((!follows).then(|| format!("its first {} entries are others than the checkpoint says", kept.size)))
    }

    fn forks(&self, thing: Option<&str>) -> Outcome<Forks<'_>> {
        if let Some(thing) = thing {
            let (_, bytes) = self.must(&Question::get(format!("/forks?thing={}", escaped(&known(thing)?))))?;
            let forks: Vec<ForkJson> = self.read(&bytes)?;
            if forks.len() > 1 || !forks.iter().all(|fork| fork.is_one() && fork.thing.as_str() == thing) {
                return Err(self.bad("a fork that was not asked for"));
            }
            return Ok(Box::new(forks.into_iter().map(Ok)));
        }
        let first = self.fork_page(None)?;
        let fetch = |after: String| self.fork_page(Some(&after));
        Ok(Box::new(Pages::new(first, fetch, |why| self.bad(why))))
    }

    fn erasures(&self, thing: Option<&str>) -> Outcome<Option<Erasures<'_>>> {
        let Some(first) = self.erasure_page(thing, 0)? else { return Ok(None) };
        let of = thing.map(str::to_owned);
        let fetch = move |from: u64| {
            let page = self.erasure_page(of.as_deref(), from)?;
            page.ok_or_else(|| self.bad("a thing that is there no longer"))
        };
        Ok(Some(Box::new(Pages::new(first, fetch, |why| self.bad(why)))))
    }

    fn export(
        &self,
        wanted: &Wanted<'_>,
        out: &mut dyn Write,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Outcome<Exported> {
        if wanted.archive.is_some() {
            return Err(Failure::usage("a server seals nothing to a passphrase")
                .hint("thingdb export --archive-passphrase-file FILE, where the database is"));
        }
        let form = if wanted.binary { StreamForm::Binary } else { StreamForm::Lines };
        let mut target = format!("/export?since={}", wanted.since.unwrap_or(0));
        for (name, value) in [("things", wanted.prefix), ("to", wanted.to)] {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        if wanted.only_addressed {
            target.push_str("&only_addressed=true");
        }
        target.push_str("&past_holes=true");
        let accept = if wanted.binary { FRAMES } else { NDJSON };
        let question = Question::get(target).header("accept", accept).header("accept-encoding", "zstd");
        // A file that is begun is taken away, and not left by a signal.
        let _patience = self.console.patience();
        let mut passage = Some(Passage::new(out, tell));
        loop {
            let stopped = match self.stream(&question, wanted, form, &mut passage) {
                Ok(exported) => return Ok(exported),
                Err(stopped) => stopped,
            };
            match stopped {
                // Nothing of it went out yet.
                Stopped::Fault(fault) if fault.is_passing() && passage.is_some() => {
                    self.client.borrow_mut().wait(fault).map_err(|fault| failure(fault, &self.url))?;
                }
                Stopped::Fault(fault) => return Err(failure(fault, &self.url)),
                Stopped::Failure(failure) => return Err(failure),
            }
        }
    }

    fn prove(&self, wanted: &Proving<'_>, out: &mut dyn Write, tell: &mut dyn FnMut(u64, u64, u64)) -> Outcome<Proved> {
        self.proof(wanted, out, tell)
    }

    fn prove_one(&self, thing: &str, id: &EntryId, form: OneForm) -> Outcome<Option<Vec<u8>>> {
        self.one_entry(thing, id, form)
    }
}

/// The body of an answer as it was before it was compressed.
fn unpacked<'a>(head: &AnswerHead, source: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, Fault> {
    let compression = match head.header("content-encoding") {
        None => Compression::None,
        Some("zstd") => Compression::Zstd,
        Some(other) => return Err(Fault::answer(format!("a stream compressed with {other:?}"))),
    };
    let source = compress::unpacked(compression, BufReader::with_capacity(64 << 10, source));
    source.map_err(|problem| Fault::of_line(&problem))
}

/// Why a stream stopped.
enum Stopped {
    Fault(Fault),
    Failure(Failure),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

const fn cursor_name(newest_first: bool) -> &'static str {
    if newest_first { "before_seq" } else { "after_seq" }
}

/// What a member of the query of the next page says. The page itself is asked
/// for in our own words.
fn next<'h>(head: &'h AnswerHead, name: &str) -> Option<&'h str> {
    let (target, relation) = head.header("link")?.strip_prefix('<')?.split_once('>')?;
    if relation.trim() != "; rel=\"next\"" {
        return None;
    }
    let (_, query) = target.split_once('?')?;
    query
        .split('&')
        .filter_map(|member| member.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// A thing that can be: what cannot is refused as a database here would.
fn known(thing: &str) -> Outcome<String> {
    Ok(ThingId::new(thing).map_err(thingdb::Error::from)?.as_str().to_owned())
}

/// Text as one part of a path, or a value of a query. Dots are escaped as well:
/// `..` means a step up to whoever passes a request on.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether a refusal says that what was asked for is not there; another 404 may
/// come from whoever answers under this address and is no server of ours.
fn is_missing(refusal: &Refusal) -> bool {
    refusal.status == 404 && refusal.code == "not-found"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_as_one_part_of_a_path() {
        assert_eq!(escaped(".."), "%2E%2E");
        assert_eq!(escaped("a/b c?d=e&f#é%"), "a%2Fb%20c%3Fd%3De%26f%23%C3%A9%25");
    }
}
