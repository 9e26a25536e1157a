//! How far long work is, and whether it is still wanted.

use crate::error::{Error, Result};

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

/// Asked from time to time whether the work is still wanted, in the caller's
/// thread.
pub(crate) type Wanted<'a> = Option<&'a dyn Fn() -> bool>;

/// Goes on, unless the work is not wanted any more.
pub(crate) fn go_on(is_wanted: Wanted<'_>) -> Result<()> {
    match is_wanted {
        Some(is_wanted) if !is_wanted() => Err(Error::Cancelled),
        _ => Ok(()),
    }
}

/// Calls the report, if there is one.
pub(crate) fn tell(report: &mut Report<'_>, done: u64, total: u64, bytes: u64) {
    if let Some(report) = report {
        report(Progress { done, total, bytes });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use crate::{Error, ExportOptions, KdfChoice, Options, Passphrase, VerifyOptions};

    #[test]
    fn what_is_not_wanted_any_more_ends_there() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().kdf(KdfChoice::weakest());
        let db = options.create(dir.path().join("db"), &Passphrase::new("correct horse battery")).unwrap();
        for n in 0..300 {
            db.put("a", &n.to_string()).unwrap();
        }
        let asked = Cell::new(0);
        let is_wanted = |often: u32| {
            let asked = &asked;
            asked.set(0);
            move || asked.replace(asked.get() + 1) < often
        };
        let verify = |thing: Option<&str>, is_wanted: &dyn Fn() -> bool| {
            let options = VerifyOptions::new().while_wanted(is_wanted);
            db.verify(match thing {
                Some(thing) => options.thing(thing),
                None => options,
            })
        };
        assert!(matches!(verify(None, &is_wanted(0)), Err(Error::Cancelled)));
        assert!(matches!(verify(Some("a"), &is_wanted(10)), Err(Error::Cancelled)));
        assert_eq!(asked.get(), 11, "nothing is looked at afterwards");
        // Nothing is written, and it notices all the same.
        let nothing = ExportOptions::new().prefix("b").bare(true);
        let mut out = Vec::new();
        assert!(matches!(db.export(nothing.while_wanted(&is_wanted(10)), &mut out), Err(Error::Cancelled)));
        assert_eq!((asked.get(), out.len()), (11, 0));
        assert!(verify(None, &is_wanted(u32::MAX)).unwrap().is_ok());
        assert!(asked.get() > 0);
    }
}
