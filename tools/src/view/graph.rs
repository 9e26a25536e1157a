//! The history of a thing as a graph, newest first: which entry follows which.

use thingdb::EntryId;

/// The lines of descent that are open, one a column.
#[derive(Default)]
pub(crate) struct Graph {
    columns: Vec<EntryId>,
}

impl Graph {
    /// What stands before an entry, and the line after it where lines of
    /// descent part or meet.
    pub(crate) fn entry(&mut self, id: EntryId, prev: &[EntryId]) -> (String, Option<String>) {
        let at = self.columns.iter().position(|column| *column == id).unwrap_or_else(|| {
            self.columns.push(id);
            self.columns.len().saturating_sub(1)
        });
        let mark = |place| if place == at { "*" } else { "|" };
        let line = self.columns.iter().enumerate().map(|(place, _)| mark(place)).collect::<Vec<_>>().join(" ");
        self.columns.remove(at);
        let new: Vec<EntryId> = prev.iter().filter(|prev| !self.columns.contains(prev)).copied().collect();
        let opened = new.len();
        self.columns.splice(at..at, new);
        let bars = |count: usize| "| ".repeat(count);
        let after = match opened {
            // It goes on in a line that is open already.
            0 if !prev.is_empty() => Some(format!("{}/", bars(at).trim_end())),
            0 | 1 => None,
            more => Some(format!("{}|{}", bars(at), "\\ ".repeat(more.saturating_sub(1)).trim_end())),
        };
        (line, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EntryId {
        EntryId([n; 32])
    }

    #[test]
    fn a_fork_parts_and_meets_again() {
        let mut graph = Graph::default();
        let mut lines = Vec::new();
        for (n, prev) in [(5, vec![4]), (4, vec![2, 3]), (3, vec![1]), (2, vec![1]), (1, vec![])] {
            let prev: Vec<EntryId> = prev.into_iter().map(id).collect();
            let (line, after) = graph.entry(id(n), &prev);
            lines.push(line);
            lines.extend(after);
        }
        assert_eq!(lines, ["*", "*", "|\\", "| *", "* |", "/", "*"]);
    }

    #[test]
    fn heads_that_nobody_joined_stand_side_by_side() {
        let mut graph = Graph::default();
        assert_eq!(graph.entry(id(3), &[id(1)]).0, "*");
        assert_eq!(graph.entry(id(2), &[id(1)]), ("| *".to_owned(), Some("|/".to_owned())));
        assert_eq!(graph.entry(id(1), &[]).0, "*");
    }
}
