//! Every link of a document to another one, or to a heading, leads somewhere.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A link: where it stands, and what it names.
#[derive(Debug)]
struct Link {
    line: usize,
    target: String,
}

/// The anchors of the headings of a document, as its readers make them: lower case,
/// without punctuation, a hyphen for each space, and a number where there are several.
fn anchors(text: &str) -> HashSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut found = HashSet::new();
    for heading in prose(text).filter_map(|(_, line)| line.strip_prefix('#')) {
        let heading = heading.trim_start_matches('#').trim();
        let kept = |c: char| (c.is_alphanumeric() || c == '-' || c == '_' || c == ' ').then_some(c);
        let name: String = heading.chars().filter_map(kept).collect::<String>().to_lowercase().replace(' ', "-");
        let count = counts.entry(name.clone()).or_default();
        found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    found
}

/// The lines that are no code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ")
    })
}

fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, prose) in prose(text) {
        for part in prose.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else { continue };
            found.push(Link { line, target: target.to_owned() });
        }
    }
    found
}

/// A path without steps up.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = plain(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let of = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let documents = of(&root).into_iter().chain(of(&root.join("docs")));
    let documents: Vec<PathBuf> =
        documents.filter(|path| path.extension().is_some_and(|end| end == "md")).map(|path| plain(&path)).collect();
    let texts: BTreeMap<PathBuf, String> =
        documents.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let (mut count, mut lost) = (0, Vec::new());
    for (path, text) in &texts {
        for Link { line, target } in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = target.split_once('#').map_or((&*target, None), |(file, anchor)| (file, Some(anchor)));
            let named = if file.is_empty() { path.clone() } else { plain(&path.parent().unwrap().join(file)) };
            let leads = match (anchor, texts.get(&named)) {
                (Some(anchor), Some(text)) => anchors(text).contains(anchor),
                (Some(_), None) => false,
                (None, _) => named.exists(),
            };
            if !leads {
                lost.push(format!("{}:{line}: {target}", path.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(lost.is_empty(), "links that lead nowhere:\n{}", lost.join("\n"));
    assert!(count > 100, "{count} links are not all");
}
