//! What the tests share.

pub mod vector;
