//! Finds routes that no message can reach, because an earlier route takes every message that they match.
//!
//! The search is cheap, with a few look-ups for each route. It finds an earlier route that matches every message, that has
//! the same pattern, or that tests only one or two fields of the later route, with at least the later route's alternatives.
//! Every reported route is unreachable; not every unreachable route is reported.

use hashbrown::{HashMap, HashSet};

use crate::pattern::{PatternKey, PredicateKey};
use crate::table::RouteTable;

/// The most alternatives, or pairs of alternatives, of an earlier route. Routes with more are ignored.
const MOST_KEYS: usize = 64;

/// The most earlier routes that are kept for one alternative or pair.
const MOST_ROUTES: usize = 4;

/// The most fields of a later route that are examined.
const MOST_FIELDS: usize = 8;

/// A field and one of its alternatives.
type Key<'k> = (&'k [Box<str>], &'k PredicateKey);

/// The fields of a pattern outside of `$or`: the path of each, and its alternatives in order.
type Shape<'k> = Vec<(&'k [Box<str>], &'k [PredicateKey])>;

/// The routes that are never reached, by the position in which they were written, each with a message.
pub(super) fn shadowed_routes(table: &RouteTable) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let keys: Vec<PatternKey<'_>> = table.patterns().map(|(_, pattern)| PatternKey::of(pattern)).collect();
    let mut same: HashSet<&PatternKey<'_>> = HashSet::new();
    let mut broader = Broader::default();
    let mut all: Option<&str> = None;
    for (((index, pattern), decision), key) in table.patterns().zip(table.decisions()).zip(&keys) {
        // Routes that do not test `path` never take requests to unlisted paths.
        let by_path = pattern.tests("path");
        let shape: Shape<'_> = key.fields().collect();
        if let Some(all) = all.filter(|_| !by_path) {
            found.push((
                index,
                format!("never reached: route `{all}` is tried earlier and matches every message"),
            ));
        } else if !same.insert(key) {
            found.push((index, "never reached: a route with the same pattern is tried earlier".to_owned()));
        } else if let Some(earlier) = broader.find(&shape, by_path) {
            let message = format!(
                "never reached: route `{earlier}` is tried earlier and matches every message that this route matches"
            );
            found.push((index, message));
        }
        if pattern.root.is_empty() {
            all = all.or(Some(&decision.route));
        } else if key.is_plain() {
            broader.add(shape, by_path, &decision.route);
        }
    }
    found
}

/// Earlier routes of one or two fields, by each of their alternatives.
#[derive(Default)]
struct Broader<'k> {
    routes: Vec<(Shape<'k>, bool, &'k str)>,
    by_one: HashMap<Key<'k>, Vec<usize>>,
    by_two: HashMap<(Key<'k>, Key<'k>), Vec<usize>>,
}

impl<'k> Broader<'k> {
    /// Adds a route that has exactly the fields of `shape`.
    fn add(&mut self, shape: Shape<'k>, by_path: bool, route: &'k str) {
        let number = self.routes.len();
        let insert = |numbers: &mut Vec<usize>| {
            if numbers.len() < MOST_ROUTES {
                numbers.push(number);
            }
        };
        match shape.as_slice() {
            [(path, tests)] if tests.len() <= MOST_KEYS => {
                for test in *tests {
                    insert(self.by_one.entry((*path, test)).or_default());
                }
            }
            [(path, tests), (other, others)] if tests.len() * others.len() <= MOST_KEYS => {
                for (test, with) in tests.iter().flat_map(|test| others.iter().map(move |with| (test, with)))
                {
                    let pair = ordered((*path, test), (*other, with));
                    insert(self.by_two.entry(pair).or_default());
                }
            }
            _ => return,
        }
        self.routes.push((shape, by_path, route));
    }

    /// A route that matches every message that a pattern of this shape matches.
    fn find(&self, shape: &Shape<'k>, by_path: bool) -> Option<&'k str> {
        // Such a route has all alternatives of a field, so any one of them leads to it.
        let keys: Vec<Key<'k>> = shape
            .iter()
            .take(MOST_FIELDS)
            .filter_map(|(path, tests)| Some((*path, tests.first()?)))
            .collect();
        let implied = |number: &&usize| {
            let Some((fields, their_path, _)) = self.routes.get(**number) else { return false };
            let holds = |(path, tests): &(&[Box<str>], &[PredicateKey])| {
                shape.iter().any(|(own, alternatives)| {
                    own == path && alternatives.iter().all(|test| tests.binary_search(test).is_ok())
                })
            };
            (*their_path || !by_path) && fields.iter().all(holds)
        };
        let one = keys.iter().filter_map(|key| self.by_one.get(key));
        let pairs = keys
            .iter()
            .enumerate()
            .flat_map(|(at, key)| keys.iter().skip(at + 1).map(move |with| (key, with)));
        let two = pairs.filter_map(|(key, with)| self.by_two.get(&ordered(*key, *with)));
        let number = one.chain(two).flatten().find(implied)?;
        self.routes.get(*number).map(|(_, _, route)| *route)
    }
}

fn ordered<'k>(one: Key<'k>, other: Key<'k>) -> (Key<'k>, Key<'k>) {
    if one <= other { (one, other) } else { (other, one) }
}
