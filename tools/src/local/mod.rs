//! Commands on a directory that a server holds.
//!
//! The server listens on a Unix socket in the directory. A command that finds
//! it there hands over its arguments, and as descriptors its stdin, stdout and
//! stderr; the server runs the very same code on the database that it has open
//! and answers with the exit code. Data never goes through the socket. Files
//! that arguments name are opened by the client, whose rights they need, and so
//! are passphrases read.
//!
//! ```text
//! client                                server
//!                             Greeting  version
//! Command  arguments, fds 0 1 2
//!                             Open      path            ┐ as often
//! Opened   fd                                           ┘ as need be
//!                             Done      exit code
//! ```

mod client;
mod listener;
mod message;
mod session;
mod socket;
mod wire;

pub(crate) use client::{Client, SERVER_GONE};
pub(crate) use listener::Listener;
pub(crate) use session::Run;
