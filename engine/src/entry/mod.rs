//! What callers write and read: a draft goes in, a record comes out; what comes from
//! elsewhere and is not taken gets a refusal.

pub(crate) mod draft;
pub(crate) mod json;
pub(crate) mod record;
pub(crate) mod refusal;
