//! The end of the demo: content is erased here and at a partner, who confirms it, and a
//! stranger checks that from one file.

use std::path::PathBuf;

use serde::Serialize;
use thingdb::format::audit::Memos;
use thingdb::format::proof::{ProofCheck, ProofReport, examine};
use thingdb::{
    Audience, Card, Content, Db, Erase, ExportOptions, ImportOptions, KdfChoice, Options, Passphrase, ProveOptions,
};

use crate::error::Outcome;
use crate::text::counted;
use crate::view::id;

const PERSON: &str = "person-7";

/// The name of the partner, at this node.
const PARTNER: &str = "partner";

/// What came of the erasure.
#[derive(Serialize)]
pub(super) struct Erasure {
    /// Nothing opens the content here, nor at the partner, and nothing brings it back.
    pub(super) gone: bool,
    /// The partner has confirmed it.
    confirmed: bool,
    /// A stranger sees what was erased, by which record, and who confirmed it.
    proven: bool,
}

impl Erasure {
    pub(super) const fn is_ok(&self) -> bool {
        self.gone && self.confirmed && self.proven
    }
}

/// Where it is played.
pub(super) trait Stage {
    /// Tells what comes next.
    fn step(&mut self, title: &str) -> Outcome;
    fn say(&mut self, line: &str) -> Outcome;
    fn dir(&self, name: &str) -> PathBuf;
    fn passphrase(&self) -> Passphrase;
}

pub(super) fn erase(stage: &mut impl Stage) -> Outcome<Erasure> {
    stage.step("A partner gets the data of a person, sealed to it")?;
    let db = Db::open(stage.dir("things"), &stage.passphrase())?;
    let options = Options::new().actor("bob").kdf(KdfChoice::weakest());
    let partner = options.create(stage.dir(PARTNER), &stage.passphrase())?;
    db.add_peer(PARTNER, &partner.card()?)?;
    partner.add_peer("things", &db.card()?)?;
    db.set_audience(Audience { default: vec![PARTNER.to_owned()], prefixes: Vec::new() })?;
    for data in [r#"{"name":"Ada"}"#, r#"{"name":"Ada Lovelace"}"#] {
        db.put(PERSON, data)?;
    }
    let old = export(&db)?;
    partner.import(ImportOptions::new(), &old[..])?;
    stage.say(&format!("   at the partner: {}", contents(&partner)?.join(", ")))?;

    stage.step("The person asks for it, and alice erases: the record is signed, the content goes")?;
    let plan = db.plan_erasure(&Erase::new(PERSON, "asked for by the person").basis("gdpr-17"))?;
    for text in plan.texts() {
        stage.say(&format!("   {}…", text.chars().take(60).collect::<String>()))?;
    }
    let erased = db.erase(&plan)?;
    stage.say(&format!("   here: {}", contents(&db)?.join(", ")))?;

    stage.step("The partner takes the record in, erases, and answers with a receipt")?;
    partner.import(ImportOptions::new(), &export(&db)?[..])?;
    stage.say(&format!("   at the partner: {}", contents(&partner)?.join(", ")))?;
    let answers = partner.receipts_since(&db.origin(), 0, "")?;
    db.take_receipts(&answers.receipts)?;
    let mut confirmed = false;
    for record in db.erasures(Some(PERSON))? {
        for answer in record?.receipts.iter().filter(|answer| !answer.is_own) {
            let said = answer.said();
            let name = answer.name.as_deref().unwrap_or("?");
            stage.say(&format!("   {name} has signed: erased {} of {}", said.count, said.of))?;
            confirmed |= name == PARTNER && said.is_complete();
        }
    }
    // An export of before brings nothing back, here or there.
    for node in [&db, &partner] {
        node.import(ImportOptions::new(), &old[..])?;
    }
    let expected = ["erased", "erased", "open"];
    let gone = contents(&db)? == expected && contents(&partner)? == expected;
    stage.say(&format!("   after an export of before was imported again: {}", contents(&partner)?.join(", ")))?;

    stage.step("A stranger with one file and the two cards, no network, no key of ours")?;
    let mut file = Vec::new();
    db.prove(PERSON, ProveOptions::new(), &mut file)?;
    let report = check(&file, &[db.card()?, partner.card()?]);
    let record = erased.records.first().map(|record| record.id);
    let is_named = report.erased_by.len() == 2 && report.erased_by.values().all(|by| Some(*by) == record);
    let by: Vec<_> = report.receipts.iter().filter(|one| one.receipt.said().is_complete()).collect();
    let has_partner = by.iter().any(|one| one.receipt.said().node == partner.node_key() && one.name.is_some());
    let proven = report.is_good() && is_named && has_partner;
    let word = if report.is_good() { "ok" } else { "NOT ok" };
    stage.say(&format!(
        "   {word}: {} in the history, {} erased by the record {}, signed as erased by {}",
        counted(report.entries, "entry", "entries"),
        report.erased,
        record.map(|id| id::short(&id)).unwrap_or_default(),
        counted(by.len() as u64, "node", "nodes")
    ))?;
    stage.say(if proven { "   => shown" } else { "   => NOT SHOWN" })?;
    db.close()?;
    partner.close()?;
    Ok(Erasure { gone, confirmed, proven })
}

fn export(db: &Db) -> thingdb::Result<Vec<u8>> {
    let mut stream = Vec::new();
    db.export(ExportOptions::new().prefix(PERSON), &mut stream)?;
    Ok(stream)
}

/// What a node has of the content of each entry, in a word.
fn contents(db: &Db) -> thingdb::Result<Vec<&'static str>> {
    let word = |record: thingdb::Result<thingdb::Record>| {
        Ok(match record?.content() {
            Content::Open(_) => "open",
            Content::Erased { .. } => "erased",
            _ => "not here",
        })
    };
    db.history(PERSON)?.map(word).collect()
}

fn check(file: &[u8], cards: &[Card]) -> ProofReport {
    let (mut check, mut memos) = (ProofCheck::new(), Memos::default());
    for card in cards {
        check = check.trust(card);
    }
    for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let _entry = check.take(examine(line, number, &mut memos));
    }
    check.finish()
}
