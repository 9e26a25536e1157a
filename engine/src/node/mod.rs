//! What every call works on.

pub(crate) mod standing;
