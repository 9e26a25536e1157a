//! `GET /stats`: what is stored, in numbers.

use super::call::{Answer, Call, json};
use crate::view::counts::Counts;

/// Counts. Numbers about everything are not for who may see a part.
pub(crate) async fn stats(call: Call) -> Answer {
    call.for_everything()?;
    call.run(|db| json(&Counts::new(db)?)).await
}
