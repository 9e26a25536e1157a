//! What the measurements share.

pub(crate) mod floor;
pub(crate) mod race;
pub(crate) mod sqlite;
pub(crate) mod work;
