//! The rooms of a crate: its files in an order from top to bottom. A file uses
//! what is in its own room and in those below it, and no two files use each
//! other.
//!
//! Arrows are read from the paths that the code names: `crate::…`, `super::…`,
//! and the modules below a `mod.rs`. Comments, strings and test modules do not
//! count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The files of a crate, each with the files that it uses.
pub(crate) struct House {
    arrows: BTreeMap<String, BTreeSet<String>>,
}

impl House {
    /// Reads the sources below `source`.
    pub(crate) fn read(source: &Path) -> Self {
        let texts: BTreeMap<String, String> = super::sources(source)
            .iter()
            .map(|path| {
                let name = path.strip_prefix(source).expect("it lies below").to_str().expect("names are plain");
                (name.to_owned(), super::code(&super::read(path)))
            })
            .collect();
        Self::of(&texts)
    }

    /// The files with these names and texts, which have no comments and strings.
    fn of(texts: &BTreeMap<String, String>) -> Self {
        let modules: BTreeMap<Vec<String>, &String> = texts.keys().map(|file| (module(file), file)).collect();
        let file_of = |path: &[String]| {
            (0..=path.len()).rev().find_map(|len| modules.get(&path[..len]).map(|file| (*file).clone()))
        };
        let uses = |(file, text): (&String, &String)| {
            let known = |path: &[String]| modules.contains_key(path);
            let mut used: BTreeSet<String> =
                Code::paths(text, &module(file), &known).iter().filter_map(|path| file_of(path)).collect();
            used.remove(file);
            (file.clone(), used)
        };
        Self { arrows: texts.iter().map(uses).collect() }
    }

    /// Each file with each that it uses.
    pub(crate) fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arrows.iter().flat_map(|(file, used)| used.iter().map(move |used| (file.as_str(), used.as_str())))
    }

    /// Every file lies in one of the `rooms`, and uses none above its own. A room
    /// is a file or a folder; a file lies in the one that says most of its path.
    pub(crate) fn points_down(&self, rooms: &[&str]) {
        let is_in = |file: &str, room: &str| {
            file.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let floor = |file: &str| {
            let around = rooms.iter().enumerate().filter(|(_, room)| is_in(file, room));
            around.max_by_key(|(_, room)| room.len()).map(|(floor, _)| floor)
        };
        let lost: Vec<&String> = self.arrows.keys().filter(|file| floor(file).is_none()).collect();
        assert!(lost.is_empty(), "in no room: {lost:?}");
        for (number, room) in rooms.iter().enumerate() {
            assert!(self.arrows.keys().any(|file| floor(file) == Some(number)), "nothing lies in {room}");
        }
        let up: Vec<String> = self
            .arrows()
            .filter(|(file, used)| floor(used) < floor(file))
            .map(|(file, used)| format!("{file} uses {used}, which lies above it"))
            .collect();
        assert!(up.is_empty(), "{}", up.join("\n"));
    }

    /// No file uses one that uses it, by whatever way.
    pub(crate) fn has_no_circle(&self) {
        let mut left = self.arrows.clone();
        // Whoever uses nothing that is left is in no circle.
        while let Some(free) = left.iter().find(|(_, used)| used.iter().all(|file| !left.contains_key(file))) {
            let free = free.0.clone();
            left.remove(&free);
        }
        // And neither is whoever nobody uses that is left.
        while let Some(free) = left.keys().find(|file| !left.values().any(|used| used.contains(*file))).cloned() {
            left.remove(&free);
        }
        let told: Vec<String> = left
            .iter()
            .map(|(file, used)| {
                let used: Vec<&str> = used.iter().map(String::as_str).filter(|file| left.contains_key(*file)).collect();
                format!("{file} uses {}", used.join(", "))
            })
            .collect();
        assert!(told.is_empty(), "files that use each other:\n{}", told.join("\n"));
    }
}

/// The path of the module that a file holds.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "main" | "lib") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Code as it is gone through.
struct Code<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

impl<'a> Code<'a> {
    /// The modules and items that the code of the module `own` names, by their
    /// paths from the root of the crate.
    fn paths(text: &'a str, own: &[String], known: &dyn Fn(&[String]) -> bool) -> Vec<Vec<String>> {
        let mut code = Code { tokens: tokens(text), at: 0 };
        let mut module = own.to_vec();
        // Modules that are written out in the file, and the braces around them.
        let (mut depth, mut inner) = (0_usize, Vec::new());
        let mut found = Vec::new();
        while let Some(token) = code.take() {
            match token {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inner.last() == Some(&depth) {
                        inner.pop();
                        module.pop();
                    }
                }
                "mod" if code.peek(1) == Some("{") => {
                    let is_of_tests = code.tokens[..code.at - 1].ends_with(&["[", "cfg", "(", "test", ")", "]"]);
                    let name = code.take().unwrap_or_default();
                    if is_of_tests {
                        code.skip_block();
                    } else {
                        inner.push(depth);
                        module.push(name.to_owned());
                    }
                }
                // `use<'a>` says what a type captures.
                "use" if code.peek(0) != Some("<") => {
                    let mut trees = Vec::new();
                    code.tree(&[], &mut trees);
                    found.extend(trees.into_iter().filter_map(|path| absolute(&path, &module, known)));
                }
                word if is_word(word) && code.peek(0) == Some("::") => {
                    let mut path = vec![word];
                    while code.peek(0) == Some("::") && code.peek(1).is_some_and(is_word) {
                        code.take();
                        path.extend(code.take());
                    }
                    found.extend(absolute(&path, &module, known));
                }
                _ => {}
            }
        }
        found
    }

    fn take(&mut self) -> Option<&'a str> {
        let token = self.peek(0)?;
        self.at += 1;
        Some(token)
    }

    fn peek(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).copied()
    }

    /// The paths of one tree of a `use`.
    fn tree(&mut self, before: &[&'a str], found: &mut Vec<Vec<&'a str>>) {
        let mut path = before.to_vec();
        while let Some(token) = self.peek(0) {
            match token {
                "{" => {
                    self.at += 1;
                    while self.peek(0).is_some_and(|token| token != "}") {
                        self.tree(&path, found);
                        if self.peek(0) == Some(",") {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "," | "}" | ";" => break,
                "as" => self.at += 2,
                "::" | "*" => self.at += 1,
                word => {
                    path.push(word);
                    self.at += 1;
                }
            }
        }
        found.push(path);
    }

    fn skip_block(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.take() {
            match token {
                "{" => depth += 1,
                "}" if depth <= 1 => return,
                "}" => depth -= 1,
                _ => {}
            }
        }
    }
}

/// A path from the root of the crate; nothing if it leads out of the crate.
fn absolute(path: &[&str], module: &[String], known: &dyn Fn(&[String]) -> bool) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    match *first {
        "crate" => Some(owned(rest)),
        "self" => Some([module, &owned(rest)].concat()),
        "super" => {
            let ups = path.iter().take_while(|name| **name == "super").count();
            let above = module.get(..module.len().checked_sub(ups)?)?;
            Some([above, &owned(&path[ups..])].concat())
        }
        _ => {
            let below = [module, &owned(path)].concat();
            known(&below[..=module.len()]).then_some(below)
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            _ if rest.starts_with("::") => 2,
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(files: &[(&str, &str)]) -> House {
        House::of(&files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    fn sample() -> House {
        house(&[
            ("lib.rs", "mod a; mod b; pub use b::c::C;"),
            ("a.rs", "use std::fs; use crate::{b::{self, c::C as D}, x::Y}; mod list { use super::super::b; }"),
            ("b/mod.rs", "mod c; fn f() -> impl Fn() -> c::C + use<> { let c = c::C; || { c; } }"),
            ("b/c.rs", "pub struct C; #[cfg(test)] mod tests { use crate::a; }"),
        ])
    }

    #[test]
    fn arrows_are_read_from_the_code() {
        let sample = sample();
        let arrows: Vec<_> = sample.arrows().collect();
        // What is no module lies in the root.
        let wanted = [
            ("a.rs", "b/c.rs"),
            ("a.rs", "b/mod.rs"),
            ("a.rs", "lib.rs"),
            ("b/mod.rs", "b/c.rs"),
            ("lib.rs", "b/c.rs"),
        ];
        assert_eq!(arrows, wanted);
    }

    #[test]
    fn an_arrow_that_points_up_is_named() {
        sample().points_down(&["a.rs", "lib.rs", "b"]);
        let up = std::panic::catch_unwind(|| sample().points_down(&["b", "a.rs", "lib.rs"])).unwrap_err();
        assert!(up.downcast_ref::<String>().unwrap().contains("a.rs uses b/c.rs, which lies above it"), "{up:?}");
        assert!(std::panic::catch_unwind(|| sample().points_down(&["lib.rs", "a.rs"])).is_err());
        assert!(std::panic::catch_unwind(|| sample().points_down(&["a.rs", "lib.rs", "b", "d"])).is_err());
    }

    #[test]
    fn circles_are_named() {
        sample().has_no_circle();
        let circle = house(&[
            ("x.rs", "use crate::y;"),
            ("y.rs", "fn f() { crate::z::g() }"),
            ("z.rs", "use super::x;"),
            ("w.rs", "use crate::x;"),
        ]);
        let told = std::panic::catch_unwind(|| circle.has_no_circle()).unwrap_err();
        let told = told.downcast_ref::<String>().unwrap();
        assert!(told.contains("x.rs uses y.rs\ny.rs uses z.rs\nz.rs uses x.rs") && !told.contains("w.rs"), "{told}");
    }
}
