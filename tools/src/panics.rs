//! What is printed of a panic.
//!
//! sled panics on files that are not as it left them, and when it cannot write
//! while it is closed. The engine catches that and makes an error of it, which
//! says more than the line that the standard library prints. The hook belongs to
//! the whole process, so this is for the command to do and not for the engine.

use std::panic::{self, PanicHookInfo};
use std::path::{Component, Path};

/// From now on panics of sled are not printed; all others are.
pub(crate) fn silence_sled() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !is_of_sled(panic) {
            print(panic);
        }
    }));
}

/// Whether a panic comes from sled, which the engine has caught.
pub(crate) fn is_of_sled(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|place| is_source_of_sled(place.file()))
}

/// The file is below `sled-VERSION/src` of a registry, as the compiler names it.
fn is_source_of_sled(file: &str) -> bool {
    let names: Vec<_> =
        Path::new(file).components().map(Component::as_os_str).filter_map(|name| name.to_str()).collect();
    names.windows(2).any(|pair| {
        let version = pair[0].strip_prefix("sled-");
        version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit())) && pair[1] == "src"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_sled_are_of_sled() {
        assert!(is_source_of_sled("/registry/src/index-1949/sled-0.34.7/src/pagecache/mod.rs"));
        assert!(is_source_of_sled("sled-0.34.7/src/tree.rs"));
        for file in [
            "engine/src/storage/sled/mod.rs",
            "tools/src/panics.rs",
            "/home/a/sled-dogs/src/main.rs",
            "/home/sled-0.34.7/thingdb/engine/src/db.rs",
            "/rustc/5980/library/core/src/option.rs",
            "",
        ] {
            assert!(!is_source_of_sled(file), "{file}");
        }
    }
}
