//! `GET /things/{id}/proof?form=…`: that one entry stands in the ledger, for tools of
//! others.

use thingdb::EntryId;

use super::call::{Answer, Call, answer};
use super::encoding::{RECEIPT, TEXT};
use super::problem::Problem;
use super::query::Query;
use super::things::no_thing;
use crate::view::one_form::OneForm;

/// What goes with a form: one entry is shown, and nothing of its content.
const WITH_FORM: [&str; 2] = ["form", "entry"];

/// The form that is asked for; nothing for a proof file.
pub(super) fn form(query: &Query) -> Result<Option<OneForm>, Problem> {
    let Some(text) = query.text("form") else { return Ok(None) };
    let forms = [OneForm::TlogProof, OneForm::Receipt];
    let form = forms.into_iter().find(|form| form.as_str() == text);
    let form = form.ok_or_else(|| Problem::usage(format!("form is tlog-proof or cose, not {text:?}")))?;
    match query.names().find(|name| !WITH_FORM.contains(name)) {
        Some(name) => Err(Problem::usage(format!("with form only entry goes, and not {name}"))),
        None => Ok(Some(form)),
    }
}

/// Sends the proof of an entry of the thing.
pub(super) async fn prove(call: &Call, thing: String, form: OneForm, entries: &[EntryId]) -> Answer {
    let [id] = *entries else {
        return Err(Problem::usage("with form entry names one entry").hint("the whole id, once"));
    };
    call.run(move |db| {
        if db.heads(&thing)?.is_empty() {
            return Err(no_thing(&thing));
        }
        // A token for a prefix is not for the entries of other things.
        let missing = || Problem::not_found(format!("no entry {id} of this thing"));
        db.get_id(&id)?.filter(|record| record.thing() == thing).ok_or_else(missing)?;
        let proof = form.of(db, &id)?.ok_or_else(missing)?;
        Ok(match form {
            OneForm::TlogProof => answer(TEXT, proof),
            OneForm::Receipt => answer(RECEIPT, proof),
        })
    })
    .await
}
