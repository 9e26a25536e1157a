//! Keeps keys out of files that nobody thinks of: dumps of a process's memory.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Keeps the memory of this process out of core dumps, and on Linux from other
/// processes of the same user: a debugger cannot attach any more, and files of
/// `/proc` that show memory or environment are root's. The command does this when
/// it starts. A library does not do it to the program that it is part of, so call
/// it early in `main` if a dump of your program must not hold keys.
///
/// It is for the whole process, and for all that runs until its end. Programs that
/// are started from it can be debugged, but make no core dumps.
///
/// ```
/// thingdb::forbid_dumps()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the system refuses; what could be done is done.
pub fn forbid_dumps() -> io::Result<()> {
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(limited?)
}
