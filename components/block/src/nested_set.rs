//! The nested set of a trace: numbers that turn "is a descendant of" into a comparison of intervals.
//!
//! One counter walks depth-first from each root, in span order: `left` on the way down, `right` on the way up. A root's
//! parent is -1, a child's is its parent's left. 0 means unknown: no root above, no parent found, or more than two
//! spans with one id somewhere in the trace, which leaves the whole trace unnumbered.
//!
//! Two spans may share an id (a Zipkin client and its server): a server span's parent is then the client, any other
//! span's the server; without a span of that kind there is no parent.

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const NONE: u32 = u32::MAX;

/// What is known of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: u64,
    /// 0 for a root.
    pub(crate) parent_id: u64,
    pub(crate) kind: i32,
}

/// A span's place in the nested set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) parent: i32,
    pub(crate) left: i32,
    pub(crate) right: i32,
}

/// Numbers traces one after the other; keeps its buffers between them.
#[derive(Debug, Default)]
pub(crate) struct NestedSet {
    by_id: Vec<(u64, u32)>,
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    /// Spans on the way from the root to the span at hand.
    path: Vec<u32>,
}

impl NestedSet {
    /// Appends the place of each span of a trace to `places`.
    pub(crate) fn number(&mut self, nodes: &[Node], places: &mut Vec<Place>) {
        let start = places.len();
        places.resize(start + nodes.len(), Place::default());
        let places = &mut places[start..];

        self.by_id.clear();
        self.by_id.extend(nodes.iter().zip(0..).map(|(node, at)| (node.id, at)));
        self.by_id.sort_unstable();
        if self.by_id.windows(3).any(|three| three[0].0 == three[2].0) {
            return;
        }
        self.link_children(nodes);

        let mut counter = 0;
        for (root, _) in (0..).zip(nodes).filter(|(_, node)| node.parent_id == 0) {
            self.walk(root, places, &mut counter);
        }
    }

    fn link_children(&mut self, nodes: &[Node]) {
        self.first_child.clear();
        self.first_child.resize(nodes.len(), NONE);
        self.next_sibling.clear();
        self.next_sibling.resize(nodes.len(), NONE);
        // Backwards, so that each list of children is in span order.
        for child in (0..u32::try_from(nodes.len()).unwrap_or(NONE)).rev() {
            let node = &nodes[child as usize];
            if node.parent_id == 0 {
                continue;
            }
            if let Some(parent) = self.parent_of(node, nodes) {
                self.next_sibling[child as usize] = self.first_child[parent as usize];
                self.first_child[parent as usize] = child;
            }
        }
    }

    fn parent_of(&self, child: &Node, nodes: &[Node]) -> Option<u32> {
        let first = self.by_id.partition_point(|&(id, _)| id < child.parent_id);
        let twins = self.by_id[first..].iter().take(2).take_while(|(id, _)| *id == child.parent_id);
        let wanted = if child.kind == SERVER { CLIENT } else { SERVER };
        let mut twins = twins.map(|&(_, at)| at);
        match (twins.next(), twins.next()) {
            (Some(only), None) => Some(only),
            (Some(one), Some(other)) => {
                [one, other].into_iter().find(|&at| nodes[at as usize].kind == wanted)
            }
            (None, _) => None,
        }
    }

    fn walk(&mut self, root: u32, places: &mut [Place], counter: &mut i32) {
        self.enter(root, -1, places, counter);
        while let Some(&span) = self.path.last() {
            let child = self.first_child[span as usize];
            if child == NONE {
                *counter += 1;
                places[span as usize].right = *counter;
                self.path.pop();
            } else {
                // Each child is taken once, so its list can be used up.
                self.first_child[span as usize] = self.next_sibling[child as usize];
                self.enter(child, places[span as usize].left, places, counter);
            }
        }
    }

    fn enter(&mut self, span: u32, parent: i32, places: &mut [Place], counter: &mut i32) {
        *counter += 1;
        let place = &mut places[span as usize];
        place.parent = parent;
        place.left = *counter;
        self.path.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(nodes: &[(u64, u64, i32)]) -> Vec<(i32, i32, i32)> {
        let nodes: Vec<Node> =
            nodes.iter().map(|&(id, parent_id, kind)| Node { id, parent_id, kind }).collect();
        let mut places = Vec::new();
        NestedSet::default().number(&nodes, &mut places);
        places.iter().map(|p| (p.parent, p.left, p.right)).collect()
    }

    #[test]
    fn children_lie_inside_their_parents() {
        let got = number(&[(1, 0, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1)]);

        assert_eq!(got, [(-1, 1, 8), (1, 2, 5), (1, 6, 7), (2, 3, 4)]);
    }

    #[test]
    fn several_roots_share_the_counter() {
        assert_eq!(number(&[(1, 0, 1), (2, 0, 1)]), [(-1, 1, 2), (-1, 3, 4)]);
    }

    #[test]
    fn orphans_and_loops_stay_unnumbered() {
        let got = number(&[(1, 0, 1), (2, 9, 1), (3, 2, 1), (4, 4, 1), (5, 6, 1), (6, 5, 1)]);

        assert_eq!(got[0], (-1, 1, 2));
        assert!(got[1..].iter().all(|&p| p == (0, 0, 0)));
    }

    #[test]
    fn children_of_twins_choose_by_kind() {
        // A client and a server with id 2; a server child belongs to the client, an internal one to the server.
        let got = number(&[(1, 0, 1), (2, 1, CLIENT), (2, 1, SERVER), (3, 2, SERVER), (4, 2, 1)]);

        assert_eq!(got, [(-1, 1, 10), (1, 2, 5), (1, 6, 9), (2, 3, 4), (6, 7, 8)]);
        // Without a twin of the wanted kind there is no parent.
        let got = number(&[(2, 0, CLIENT), (2, 0, CLIENT), (4, 2, 1)]);
        assert_eq!(got, [(-1, 1, 2), (-1, 3, 4), (0, 0, 0)]);
    }

    #[test]
    fn three_spans_with_one_id_leave_the_trace_unnumbered() {
        assert_eq!(number(&[(1, 0, 1), (2, 1, 1), (2, 1, 2), (2, 1, 3)]), [(0, 0, 0); 4]);
    }

    #[test]
    fn a_chain_of_many_spans_needs_no_stack() {
        let chain: Vec<(u64, u64, i32)> = (1..=100_000).map(|n| (n, n - 1, 1)).collect();

        let got = number(&chain);

        assert_eq!((got[0], got[99_999]), ((-1, 1, 200_000), (99_999, 100_000, 100_001)));
    }
}
