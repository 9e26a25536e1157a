//! What the tests share.

pub mod acknowledged;
pub mod database;
pub mod rows;
pub mod stranger;
pub mod vector;
