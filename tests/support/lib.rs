//! What the tests share.

pub mod acknowledged;
pub mod blocks;
pub mod checker;
pub mod database;
pub mod disk;
pub mod fields;
pub mod gone;
pub mod key_log;
pub mod prototype;
pub mod rows;
pub mod stranger;
pub mod vector;
pub mod world;

/// The program in the README is compiled as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
