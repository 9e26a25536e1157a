use super::*;

/// Things by number; what stands for one is the key of another.
fn leaf(n: u64, round: u64) -> Leaf {
    let thing = ThingId::new(&format!("thing-{n}")).unwrap();
    Leaf { key: heads::key(&thing), value: heads::value(&thing, round, &[]) }
}

/// The pages by themselves, without a store.
#[derive(Default)]
struct Pages(std::collections::HashMap<Vec<u8>, Page>);

impl Pages {
    fn update(&mut self, level: usize, leaves: &[Leaf], is_new: bool) -> Hash {
        let row = schema::heads_page(level, &leaves[0].key);
        let known = if is_new { None } else { self.0.get(&row).map(|page| page.to_bytes()) };
        let mut page = known.map_or_else(Page::default, |bytes| Page::from_bytes(&bytes).unwrap());
        let all = page.take_in(level, leaves);
        let is_split = all.is_some();
        let below = all.unwrap_or_else(|| leaves.to_vec());
        if let Page::Inner(children) = &mut page {
            for some in below.chunk_by(|a, b| page::nibble(&a.key, level) == page::nibble(&b.key, level)) {
                let at = page::nibble(&some[0].key, level);
                children[at] = self.update(level + 1, some, is_split || children[at] == empty());
            }
        }
        let node = page.node(level);
        self.0.insert(row, page);
        node
    }
}

#[test]
fn pages_give_the_root_of_the_definition_however_things_come() {
    for (things, slice) in [(1, 1), (24, 24), (25, 25), (25, 1), (600, 7), (1000, 1000)] {
        let mut pages = Pages::default();
        let mut root = empty();
        // Twice: what is there gets another value.
        for round in 1..=2 {
            let all: Vec<u64> = (0..things).collect();
            for some in all.chunks(slice) {
                let mut leaves: Vec<Leaf> = some.iter().map(|n| leaf(*n, round)).collect();
                leaves.sort_unstable();
                root = pages.update(0, &leaves, root == empty());
            }
            let mut expected: Vec<(Hash, Hash)> = (0..things)
                .map(|n| leaf(n, round))
                .map(|leaf| (leaf.key, heads::leaf(&leaf.key, &leaf.value)))
                .collect();
            expected.sort_unstable();
            assert_eq!(root, heads::subtree(&expected, 0), "{things} by {slice}");
        }
        assert!(pages.0.values().all(|page| page.to_bytes().len() < 2000));
    }
}

#[test]
fn names_that_begin_alike_stand_together_in_one_page() {
    let common: Vec<Leaf> = (0..60_u8)
        .map(|n| {
            let mut key = Hash([0xab; 32]);
            key.0[5] = n;
            Leaf { key, value: Hash([n; 32]) }
        })
        .collect();
    let mut pages = Pages::default();
    let root = pages.update(0, &common, true);
    let expected: Vec<_> = common.iter().map(|leaf| (leaf.key, heads::leaf(&leaf.key, &leaf.value))).collect();
    assert_eq!(root, heads::subtree(&expected, 0));
    assert_eq!(pages.0.len(), 11);
}

#[test]
fn a_page_has_one_layout() {
    let leaves = Page::Leaves(vec![leaf(1, 1), leaf(2, 1)]);
    let inner = Page::Inner(Box::new([Hash([1; 32]); 16]));
    for bytes in [leaves.to_bytes(), inner.to_bytes()] {
        assert_eq!(Page::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        assert!(Page::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Page::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_none());
    }
    assert!(Page::from_bytes(&[2]).is_none());
    assert!(Page::from_bytes(&[]).is_none());
}
