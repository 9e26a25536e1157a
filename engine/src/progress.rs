//! How far long work is.

/// How far a verification, export or import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Entries, or lines of a stream, that are done.
    pub done: u64,
    /// How many there are; 0 if that is not known.
    pub total: u64,
    /// Bytes of the stream that were read or written.
    pub bytes: u64,
}

/// Told of progress from time to time, in the caller's thread.
pub(crate) type Report<'a> = Option<&'a mut dyn FnMut(Progress)>;

/// Calls the report, if there is one.
pub(crate) fn tell(report: &mut Report<'_>, done: u64, total: u64, bytes: u64) {
    if let Some(report) = report {
        report(Progress { done, total, bytes });
    }
}
