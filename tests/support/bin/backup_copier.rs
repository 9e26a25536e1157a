//! Backs a database up, or restores a backup, until it is done or killed:
//! `backup_copier DIR DEST`, `backup_copier restore SRC DIR`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let done = match &args[..] {
        [word, src, dir] if word.as_os_str() == "restore" => thingdb::restore(src, dir, None).map(drop),
        [dir, dest] => thingdb::backup(dir, dest).map(drop),
        _ => panic!("what is to be copied where to?"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => panic!("{problem}"),
    }
}
