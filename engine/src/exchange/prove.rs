//! Proof files: what a stranger needs to believe some entries of a thing.

use std::collections::HashSet;
use std::io::Write;

use thingdb_format::fields::{self, FieldName};
use thingdb_format::heads::{HeadsProof, Place};
use thingdb_format::proof::{
    Earlier, MAX_EARLIER, MAX_ENTRIES, MAX_RECEIPTS, MAX_TIMESTAMPS, ProofEncoder, ProofErasures, ProofHeader,
    ProofTimestamp, Subject,
};
use thingdb_format::{
    EncryptionKey, Entry, EntryId, Envelope, Kek, KekPacket, SignedCheckpoint, ThingId, envelope, line, merkle, payload,
};

use crate::access::card;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::progress::{self, Progress};
use crate::replica::timestamps::{Timestamped, Timestamps};
use crate::replica::witnesses::Witnesses;
use crate::store::postings::{self, Posting};
use crate::store::{Located, Paths, Store};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Which entries of a thing are proven, and what of them is shown.
///
/// ```
/// use thingdb::ProveOptions;
/// let options = ProveOptions::new().seqs(3, 9).withhold_seq(5);
/// # let _ = options;
/// ```
#[derive(Default)]
pub struct ProveOptions<'a> {
    seqs: Option<(u64, u64)>,
    ids: HashSet<EntryId>,
    withheld_seqs: HashSet<u64>,
    withheld_ids: HashSet<EntryId>,
    stubs_only: bool,
    absent: bool,
    to: Option<EncryptionKey>,
    fields: Vec<FieldName>,
    kept: Vec<SignedCheckpoint>,
    progress: progress::Report<'a>,
    is_wanted: progress::Wanted<'a>,
}

impl<'a> ProveOptions<'a> {
    /// The whole history, and all content that this node can open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the entries with these seqs, the first and the last among them.
    #[must_use]
    pub const fn seqs(mut self, from: u64, to: u64) -> Self {
        self.seqs = Some((from, to));
        self
    }

    /// Only this entry, and others that are named so. That others are missing
    /// says nothing then. If it was erased, the record that says so goes along.
    #[must_use]
    pub fn entry(mut self, id: EntryId) -> Self {
        self.ids.insert(id);
        self
    }

    /// Does not show the content of the entries with this seq.
    #[must_use]
    pub fn withhold_seq(mut self, seq: u64) -> Self {
        self.withheld_seqs.insert(seq);
        self
    }

    /// Does not show the content of this entry.
    #[must_use]
    pub fn withhold(mut self, id: EntryId) -> Self {
        self.withheld_ids.insert(id);
        self
    }

    /// Shows no content at all.
    #[must_use]
    pub const fn stubs_only(mut self, only: bool) -> Self {
        self.stubs_only = only;
        self
    }

    /// Shows that there is no such thing. If there is one, that is an error.
    #[must_use]
    pub const fn absent(mut self, absent: bool) -> Self {
        self.absent = absent;
        self
    }

    /// Shows content to the owner of this key only. Others see that it is there. Erasure
    /// records are for everybody, as always.
    #[must_use]
    pub const fn to(mut self, key: EncryptionKey) -> Self {
        self.to = Some(key);
        self
    }

    /// Shows these fields only, where an entry has them and was written so that they can be
    /// shown ([`Draft::fields_provable`](crate::Draft::fields_provable)): of a JSON pointer
    /// the value, or all values in it. Of all other entries only the header is given, but
    /// that erasure records are for everybody, as always. Nothing is shown to one reader
    /// only then.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = FieldName>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// Shows that the ledger grew out of a checkpoint of this node that somebody
    /// kept. At most sixteen.
    #[must_use]
    pub fn kept(mut self, note: SignedCheckpoint) -> Self {
        self.kept.push(note);
        self
    }

    /// Is told of progress now and then.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Asks now and then whether the file is still wanted; if not, ends with
    /// [`Error::Cancelled`].
    #[must_use]
    pub fn while_wanted(mut self, is_wanted: &'a dyn Fn() -> bool) -> Self {
        self.is_wanted = Some(is_wanted);
        self
    }

    fn is_withheld(&self, seq: u64, id: &EntryId) -> bool {
        self.stubs_only || self.withheld_seqs.contains(&seq) || self.withheld_ids.contains(id)
    }

    fn subject(&self, thing: ThingId) -> Subject {
        match (self.ids.is_empty(), self.seqs) {
            _ if self.absent => Subject::Absent { thing },
            (false, _) => Subject::Entries { thing },
            (true, Some((from, to))) => Subject::Range { thing, from, to },
            (true, None) => Subject::History { thing },
        }
    }
}

impl std::fmt::Debug for ProveOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProveOptions").field("seqs", &self.seqs).finish_non_exhaustive()
    }
}

/// What a proof file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProveSummary {
    /// Entries.
    pub entries: u64,
    /// Entries whose content is shown, or sealed to the reader.
    pub shown: u64,
    /// Entries of which some fields are shown.
    pub partly_shown: u64,
    /// Entries of which only the header is given, and a record in the file shows that they
    /// were erased.
    pub erased: u64,
    /// Other entries of which only the header is given.
    pub withheld: u64,
    /// Of these, entries whose content is here, and that were written so that no single
    /// fields of them can be shown.
    pub without_fields: u64,
    /// Entries whose content this node cannot open itself: their payload goes
    /// along as it is.
    pub undecryptable: u64,
    /// Whether the file shows that nothing newer was left out, or that there is no
    /// such thing. Not so only where the index is damaged.
    pub is_complete: bool,
    /// The state of the ledger.
    pub checkpoint: SignedCheckpoint,
    /// Bytes.
    pub bytes: u64,
}

/// Writes a proof file: entries of a thing with their places in this node's ledger.
pub(crate) fn prove(
    node: &Node,
    thing: &str,
    mut options: ProveOptions<'_>,
    mut out: impl Write,
) -> Result<ProveSummary> {
    let thing = ThingId::new(thing)?;
    let (mut checkpoint, heads) = heads_of(node, &thing, options.absent)?;
    let size = checkpoint.claimed().size;
    let postings = if options.absent { Vec::new() } else { to_prove(&node.store, &thing, &options, size)? };
    // A slip of the pen must not show what was to be withheld.
    let is_there = |seq: &u64| postings.iter().any(|posting| posting.seq == *seq);
    if !options.withheld_seqs.iter().all(is_there) {
        let problem = "names a seq of which no entry goes into the file";
        return Err(thingdb_format::Error::Malformed { what: "what is withheld", problem }.into());
    }
    let count = postings.len() as u64;
    let tree = node.store.tree();
    let view = tree.view(&*node.store.storage, &node.store.rows);
    let mut earlier = Vec::new();
    let stamped = Timestamps(node).of(postings.iter().map(|posting| posting.position))?;
    for note in earlier_of(node, std::mem::take(&mut options.kept), &stamped, &mut checkpoint)? {
        let claimed = note.claimed();
        if claimed.size > size || view.root_at(claimed.size)? != claimed.root {
            let detail =
                format!("the ledger of {size} entries did not grow out of the kept checkpoint of {}", claimed.size);
            return Err(Error::RolledBack { detail });
        }
        let proof = merkle::consistency_proof(&view, claimed.size, size)?;
        earlier.push(Earlier { checkpoint: note, proof });
    }
    let header = ProofHeader {
        subject: options.subject(thing.clone()),
        card: card::card(&node.store.keyring(), &node.store.keys.logs())?,
        checkpoint: checkpoint.clone(),
        earlier,
        heads,
    };
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 4096);
    let mut encoder = ProofEncoder::new(&header, &mut buffer);
    for timestamp in timestamps_of(node, &header, stamped)? {
        encoder.timestamp(&timestamp, &mut buffer);
    }
    let sealer = options.to.as_ref().map(|key| Sealer::new(node, key)).transpose()?;
    let mut summary = ProveSummary {
        entries: count,
        shown: 0,
        partly_shown: 0,
        erased: 0,
        withheld: 0,
        without_fields: 0,
        undecryptable: 0,
        is_complete: header.heads.is_some(),
        checkpoint,
        bytes: 0,
    };
    let (mut paths, mut erasures) = (Paths::default(), ProofErasures::new(&header.card));
    // What nodes answered to the records that are shown.
    let mut receipts = Vec::new();
    for (posting, done) in postings.iter().zip(1..) {
        progress::go_on(options.is_wanted)?;
        let located = node.store.located(posting)?;
        let (place, id) = (located.position, located.id);
        let signature = node.store.signature(&located, &mut paths)?;
        let is_withheld = options.is_withheld(located.header.seq, &id);
        let is_shown_record = !is_withheld && node.store.is_erasure(located.position)?;
        let record = if is_shown_record { node.store.readable_erasure(&located)? } else { None };
        let payload = if is_withheld { None } else { node.store.payload(&located)? };
        let (mut shown, mut partly, mut envelopes) = (None, None, Vec::new());
        match (&payload, node.store.cek(&located)) {
            (None, _) => {
                summary.withheld += 1;
                erasures.stub(id, &located.header);
            }
            (Some(_), None) if !options.fields.is_empty() => {
                summary.withheld += 1;
                erasures.stub(id, &located.header);
            }
            (Some(_), None) => summary.undecryptable += 1,
            (Some(sealed), Some(cek)) if !options.fields.is_empty() && record.is_none() => {
                let header = &located.header;
                let body = payload::open(header, &cek, sealed).map_err(|problem| located.damaged(problem))?;
                partly = fields::show(header.suite, &cek, &body, &options.fields)?;
                summary.without_fields += u64::from(!body.has_provable_fields());
                match &partly {
                    Some(_) => summary.partly_shown += 1,
                    None => {
                        summary.withheld += 1;
                        erasures.stub(id, header);
                    }
                }
            }
            (Some(_), Some(cek)) => {
                summary.shown += 1;
                match sealer.as_ref().filter(|_| record.is_none()) {
                    Some(sealer) => envelopes.push(sealer.envelope(&id, &cek)?),
                    None => shown = Some(cek),
                }
            }
        }
        if let Some(record) = &record {
            erasures.record(id, &located.header, record);
            receipts.extend(node.store.receipts_of(place)?);
        }
        let is_here = shown.is_some() || options.fields.is_empty();
        let entry = Entry { header: located.header, signature, payload: payload.filter(|_| is_here), envelopes };
        match partly {
            Some(fields) => {
                let start = buffer.len();
                encoder.partly(&view, place, fields, entry, &mut buffer)?;
                check_line(buffer.len() - start)?;
            }
            None => encoder.entry(&view, place, shown, entry, &mut buffer)?,
        }
        if buffer.len() >= BUFFER_BYTES {
            write(&mut out, &mut buffer, &mut summary.bytes)?;
            progress::tell(&mut options.progress, done, count, summary.bytes);
        }
    }
    if !options.fields.is_empty() && summary.partly_shown == 0 {
        return Err(Error::NoFieldsToProve { thing, without: summary.without_fields });
    }
    receipts.truncate(MAX_RECEIPTS);
    receipts.iter().for_each(|receipt| encoder.receipt(receipt, &mut buffer));
    summary.erased = erasures.erased().len() as u64;
    summary.withheld -= summary.erased;
    encoder.end(&view, &mut buffer)?;
    write(&mut out, &mut buffer, &mut summary.bytes)?;
    out.flush().map_err(Error::written)?;
    progress::tell(&mut options.progress, count, count, summary.bytes);
    Ok(summary)
}

/// Refuses a line that no reader would take: fields with their hashes are longer than the
/// payload that they are of.
fn check_line(bytes: usize) -> Result<()> {
    let most = line::MAX_LINE_BYTES as u64;
    if bytes as u64 > most {
        let field = "the length of a line with these fields";
        return Err(thingdb_format::Error::OutOfRange { field, found: bytes as u64, least: 0, most }.into());
    }
    Ok(())
}

/// The state of the ledger, and what its heads note says of the thing. Where the index
/// is damaged, nobody can say what the heads are; what is left is proven all the same.
fn heads_of(node: &Node, thing: &ThingId, absent: bool) -> Result<(SignedCheckpoint, Option<HeadsProof>)> {
    match node.heads_of(thing) {
        Ok((_, HeadsProof { place: Place::Thing { count: entries, .. }, .. })) if absent => {
            Err(Error::NotAbsent { thing: thing.clone(), entries })
        }
        // A file that names so many heads could not be read.
        Ok((checkpoint, HeadsProof { place: Place::Thing { heads, .. }, .. })) if heads.len() as u64 > MAX_ENTRIES => {
            Ok((checkpoint, None))
        }
        // What is not there is told of where the entries are looked for.
        Ok((checkpoint, proof)) => Ok((checkpoint, Some(proof))),
        Err(problem) if problem.is_damaged() && !absent => Ok((node.checkpoint()?, None)),
        Err(problem) => Err(problem),
    }
}

/// The earlier checkpoints that a file shows: those that somebody kept, those that are
/// timestamped, then those that others have cosigned, the newest first. The newest
/// state of the ledger takes its cosignatures with it.
fn earlier_of(
    node: &Node,
    kept: Vec<SignedCheckpoint>,
    stamped: &[Timestamped],
    newest: &mut SignedCheckpoint,
) -> Result<Vec<SignedCheckpoint>> {
    let mut notes = kept;
    for note in &notes {
        note.verify(&node.node_key())?;
    }
    for note in stamped.iter().map(|stamped| &stamped.checkpoint) {
        if note.text() != newest.text() && !notes.iter().any(|known| known.text() == note.text()) {
            notes.push(note.clone());
        }
    }
    for cosigned in Witnesses(node).cosigned()?.into_iter().rev() {
        let note = cosigned.checkpoint;
        if note.text() == newest.text() {
            *newest = note;
        } else if let Some(known) = notes.iter_mut().find(|known| known.text() == note.text()) {
            *known = note;
        } else {
            notes.push(note);
        }
    }
    notes.truncate(MAX_EARLIER);
    Ok(notes)
}

/// The timestamps of the checkpoints that a file shows.
fn timestamps_of(node: &Node, header: &ProofHeader, stamped: Vec<Timestamped>) -> Result<Vec<ProofTimestamp>> {
    let earlier = header.earlier.iter().map(|earlier| &earlier.checkpoint);
    let notes: Vec<&str> = std::iter::once(&header.checkpoint).chain(earlier).map(SignedCheckpoint::text).collect();
    let is_shown = |stamped: &Timestamped| notes.contains(&stamped.checkpoint.text());
    let timestamp = |stamped: Timestamped| {
        let imprint = stamped.checkpoint.imprint(&node.node_key())?;
        Ok(ProofTimestamp { imprint, token: stamped.token })
    };
    stamped.into_iter().filter(is_shown).take(MAX_TIMESTAMPS).map(timestamp).collect()
}

/// The entries that are wanted, in ledger order.
fn to_prove(store: &Store, thing: &ThingId, options: &ProveOptions<'_>, size: u64) -> Result<Vec<Posting>> {
    let tag = store.tag(thing);
    let no_thing = || Error::NothingToProve { thing: thing.clone() };
    let state = store.state(&tag)?.ok_or_else(no_thing)?;
    let mut found = Vec::new();
    if options.ids.is_empty() {
        let (from, to) = options.seqs.unwrap_or((1, u64::MAX));
        let to = to.min(state.last_seq());
        for chunk in postings::chunks(from.min(to), to) {
            let postings = store.chunk(&tag, &state, chunk)?;
            let wanted = |posting: &&Posting| posting.seq >= from && posting.seq <= to && posting.position < size;
            found.extend(postings.iter().filter(wanted).copied());
            if found.len() as u64 > MAX_ENTRIES {
                return Err(Error::TooManyToProve { most: MAX_ENTRIES });
            }
        }
    } else {
        for id in &options.ids {
            let located = store.find(&tag, &state, id, None)?.filter(|located| located.position < size);
            let located = located.ok_or_else(no_thing)?;
            // Without the record nobody could tell that the entry was erased.
            if let Some(by) = store.erased_by(located.position)?.filter(|by| by.position < size) {
                let record = store.located_at(by.position)?;
                if !options.is_withheld(record.header.seq, &record.id) {
                    found.push(posting(&record));
                }
            }
            found.push(posting(&located));
        }
    }
    if found.is_empty() {
        return Err(no_thing());
    }
    found.sort_unstable_by_key(|posting| posting.position);
    found.dedup_by_key(|posting| posting.position);
    Ok(found)
}

fn posting(located: &Located) -> Posting {
    let Located { position, slot, id, .. } = located;
    Posting { seq: located.header.seq, position: *position, slot: *slot, id8: postings::id8(id) }
}

fn write(out: &mut impl Write, buffer: &mut Vec<u8>, bytes: &mut u64) -> Result<()> {
    out.write_all(buffer).map_err(Error::written)?;
    *bytes += buffer.len() as u64;
    buffer.clear();
    Ok(())
}

/// Seals what is shown to one reader, under a key that nothing else is sealed
/// under: whoever shows it on shows this file and no more.
struct Sealer {
    from: thingdb_format::Origin,
    kek: Kek,
    packet: KekPacket,
}

impl Sealer {
    fn new(node: &Node, to: &EncryptionKey) -> Result<Self> {
        let mut rng = rand::rng();
        let (from, kek) = (node.origin(), Kek::generate(&mut rng));
        let packet = KekPacket::seal_x25519(&kek, from, to, &mut rng)?;
        Ok(Self { from, kek, packet })
    }

    fn envelope(&self, id: &EntryId, cek: &thingdb_format::Cek) -> Result<Envelope> {
        let cek = envelope::seal_cek(&self.kek, id, cek);
        Ok(Envelope::new(self.from, cek, vec![self.packet.clone()])?)
    }
}
