//! Items that a server gives page by page.

use std::vec;

use crate::error::{Failure, Outcome};

/// Most pages in a row in which nothing is: a server looks at 4096 entries or
/// 10 000 things for each, so these are millions.
const MAX_EMPTY: u32 = 2000;

/// Some items, and what to ask for the ones after them.
pub(super) type Page<T, C> = (Vec<T>, Option<C>);

/// All items, page after page.
pub(super) struct Pages<T, C, F, B> {
    ready: vec::IntoIter<T>,
    next: Option<C>,
    /// Pages in a row that had nothing.
    empty: u32,
    fetch: F,
    /// Makes a failure of what is wrong with the answers.
    bad: B,
}

impl<T, C, F: FnMut(C) -> Outcome<Page<T, C>>, B: Fn(String) -> Failure> Pages<T, C, F, B> {
    /// Begins with a page that is here; `fetch` gets the others. `bad` makes a
    /// failure of what is wrong with them.
    pub(super) fn new((first, next): Page<T, C>, fetch: F, bad: B) -> Self {
        Self { empty: u32::from(first.is_empty()), ready: first.into_iter(), next, fetch, bad }
    }
}

impl<T, C, F: FnMut(C) -> Outcome<Page<T, C>>, B: Fn(String) -> Failure> Iterator for Pages<T, C, F, B> {
    type Item = Outcome<T>;

    fn next(&mut self) -> Option<Outcome<T>> {
        loop {
            if let Some(item) = self.ready.next() {
                return Some(Ok(item));
            }
            let (page, next) = match (self.fetch)(self.next.take()?) {
                Ok(page) => page,
                Err(failure) => return Some(Err(failure)),
            };
            self.empty = if page.is_empty() { self.empty.saturating_add(1) } else { 0 };
            if self.empty > MAX_EMPTY {
                // An answer that has no end.
                return Some(Err((self.bad)(format!("more than {MAX_EMPTY} empty pages in a row"))));
            }
            (self.ready, self.next) = (page.into_iter(), next);
        }
    }
}
