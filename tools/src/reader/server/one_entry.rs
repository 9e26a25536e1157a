//! The proof of one entry on its way from a server, for tools of others. It is checked
//! with the key on the card of the node, as those tools will check it.

use thingdb::format::{TlogProof, receipt, tlog_proof};
use thingdb::{EntryId, NodeKey};

use super::{Question, Server, escaped, known};
use crate::error::{Exit, Failure, Outcome};
use crate::text::is_unprintable;
use crate::view::one_form::OneForm;

impl Server {
    /// Asks for the proof of an entry.
    pub(super) fn one_entry(&self, thing: &str, id: &EntryId, form: OneForm) -> Outcome<Option<Vec<u8>>> {
        let Some(node) = &self.node else {
            return Err(Failure::usage("such a proof is checked with the card of the node, before it is kept")
                .hint("--card FILE, with what thingdb card prints at the other side"));
        };
        let target = format!("/things/{}/proof?entry={id}&form={}", escaped(&known(thing)?), form.as_str());
        let most = match form {
            OneForm::TlogProof => tlog_proof::MAX_BYTES,
            OneForm::Receipt => receipt::MAX_BYTES,
        };
        let Some((_, proof)) = self.ask(&Question::get(target).at_most(most))? else { return Ok(None) };
        let checked = match form {
            OneForm::TlogProof => self.check_tlog_proof(&proof, id, node)?,
            OneForm::Receipt => receipt::verify(&proof, id, node),
        };
        checked.map_err(|problem| {
            let fact = format!("the proof that {} sends does not hold", self.url);
            Failure::new(Exit::NotVerified, "not-verified", fact)
                .cause(problem.to_string())
                .cause("the file is not kept")
        })?;
        Ok(Some(proof))
    }

    fn check_tlog_proof(
        &self,
        proof: &[u8],
        id: &EntryId,
        node: &NodeKey,
    ) -> Outcome<Result<(), thingdb::format::Error>> {
        let text = std::str::from_utf8(proof).map_err(|problem| self.bad(problem))?;
        // Names of other signers may be anything, and a note is printed as it is.
        if text.chars().any(|c| c != '\n' && is_unprintable(c)) {
            return Err(self.bad("a proof with characters that nobody can see"));
        }
        Ok(TlogProof::parse(text).and_then(|proof| proof.verify(id, node).map(drop)))
    }
}
