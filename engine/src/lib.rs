//! x

#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod storage;
