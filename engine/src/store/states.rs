//! The states of all things, as far as they can be read.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::Store;
use super::holes;
use super::schema::{self, Tag};
use super::state::{self, State};
use crate::error::Result;

/// Calls `act` for each state, in rows or not yet. One that does not open is
/// given as the text that says so.
pub(crate) fn each(
    store: &Store,
    mut act: impl FnMut(Option<&Tag>, std::result::Result<&State, String>) -> Result<()>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for (tag, state) in store.index.unwritten_states() {
        act(Some(&tag), Ok(&state))?;
        seen.insert(tag);
    }
    holes::each_row(&*store.storage, &schema::states(), |row| {
        let (key, sealed) = match row {
            Ok(row) => row,
            Err(problem) => {
                let detail = format!("states of things are missing: {}", holes::unreadable(&problem));
                return act(None, Err(detail)).map(ControlFlow::Continue);
            }
        };
        let Some(tag) = schema::tag_of_state(&key) else {
            let detail = "a row among the states of things is none".to_owned();
            return act(None, Err(detail)).map(ControlFlow::Continue);
        };
        if seen.contains(&tag) {
            return Ok(ControlFlow::Continue(()));
        }
        // Memory may be ahead of the row that was just read.
        let state = match store.state(&tag) {
            Ok(Some(state)) => Ok(state),
            Ok(None) => state::open_state(&*store.storage, &store.rows, &tag, &sealed).map(std::sync::Arc::new),
            Err(problem) => Err(problem),
        };
        match state {
            Ok(state) => act(Some(&tag), Ok(&state))?,
            Err(problem) if holes::is_of_a_place(&problem) => act(Some(&tag), Err(problem.to_string()))?,
            Err(problem) => return Err(problem),
        }
        Ok(ControlFlow::Continue(()))
    })
}
