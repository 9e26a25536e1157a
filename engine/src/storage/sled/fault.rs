//! What sled's errors and panics mean to us.

use std::io;
use std::path::Path;

use super::super::StorageError;

/// What an error of sled means to us.
pub(super) fn convert(error: sled::Error, store: &Path) -> StorageError {
    let corrupt = |detail: String| StorageError::Corrupt { path: store.to_path_buf(), detail };
    match error {
        // The only place where sled's message has to be read: it gives the
        // lock no kind of its own.
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            StorageError::Locked { path: store.to_path_buf() }
        }
        // A file that ends too early or has gone is damage, not a failing disk.
        sled::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound
            ) =>
        {
            corrupt(format!("sled reports: {error}"))
        }
        sled::Error::Io(error) => io_error("use", store)(error),
        sled::Error::Corruption { at: Some(at), .. } => corrupt(format!("a checksum does not match at {at}")),
        sled::Error::Corruption { at: None, .. } => corrupt("a checksum does not match".into()),
        sled::Error::Unsupported(why) | sled::Error::ReportableBug(why) => corrupt(why),
        sled::Error::CollectionNotFound(_) => corrupt("the default tree is missing".into()),
    }
}

/// What a panic of sled means to us. It takes some errors of the system for
/// impossible: they pass, and say nothing of what is stored.
pub(super) fn of_panic(panic: &(dyn std::any::Any + Send), store: &Path) -> StorageError {
    let text = panic_text(panic);
    match os_error(&text) {
        Some(error) => io_error("use", store)(error),
        None => StorageError::Corrupt { path: store.to_path_buf(), detail: text },
    }
}

/// The error of the system that a panic was about: `Os { code: 28, kind: ..., .. }`.
fn os_error(text: &str) -> Option<io::Error> {
    let (_, rest) = text.split_once("Os { code: ")?;
    let (code, _) = rest.split_once(',')?;
    code.parse().ok().map(io::Error::from_raw_os_error)
}

/// An error with its cause, in one line, for a text that outlives it.
pub(in crate::storage) fn describe(error: &StorageError) -> String {
    match error {
        StorageError::Io { source, .. } => format!("{error}: {source}"),
        StorageError::ReadOnly { reason } => reason.clone(),
        StorageError::SyncFailed { cause } => cause.clone(),
        other => other.to_string(),
    }
}

/// What stands before an error that sled takes for impossible.
const UNWRAPPED: &str = "called `Result::unwrap()` on an `Err` value: ";

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    match text {
        // Some of sled's panics print a whole tree.
        Some(text) => text.strip_prefix(UNWRAPPED).unwrap_or(text).chars().take(200).collect(),
        None => "sled panicked".into(),
    }
}

pub(in crate::storage) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_no_damage_when_sled_panics_with_it() {
        let of = |error: io::Error| {
            let text = format!("{UNWRAPPED}{:?}", sled::Error::Io(error));
            let panic = std::panic::catch_unwind(|| panic!("{text}")).unwrap_err();
            of_panic(&*panic, Path::new("store"))
        };
        let full = of(io::Error::from_raw_os_error(28));
        assert!(
            matches!(&full, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
            "{full}"
        );
        let other = of(io::Error::other("a checksum"));
        assert!(matches!(other, StorageError::Corrupt { .. }), "{other}");
    }
}
