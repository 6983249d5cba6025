//! The index against rules evaluated one at a time: a matcher of one rule has nothing to look up.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test.

mod common;
mod sent;

use common::{document, pattern};
use proptest::prelude::*;
use sent::convert;
use serde_json::{Value as Json, json};
use waypost_core::json::Options;
use waypost_core::pattern::Pattern;
use waypost_core::table::Matcher;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn finds_exactly_the_rules_that_match(
        patterns in prop::collection::vec(pattern(), 0..120),
        documents in prop::collection::vec(document(), 1..6),
    ) {
        let rules: Vec<Pattern> = patterns.iter().map(|p| Matcher::parse(&convert(p)).unwrap()).collect();
        let all = Matcher::new(&rules, Options::default());
        let single: Vec<Matcher> = rules.iter().map(|rule| Matcher::new([rule], Options::default())).collect();
        for document in &documents {
            let text = document.to_string();
            let expected: Vec<usize> =
                (0..rules.len()).filter(|&rank| single[rank].first(text.as_bytes()).unwrap().is_some()).collect();
            let found = all.matches(text.as_bytes()).unwrap();
            let wrong = (0..rules.len()).find(|rank| found.contains(rank) != expected.contains(rank));
            prop_assert!(wrong.is_none(), "{document}: {}", patterns[wrong.unwrap()]);
            prop_assert_eq!(all.first(text.as_bytes()).unwrap(), expected.first().copied(), "{}", document);
            let explained: Vec<usize> = all.explain(text.as_bytes()).unwrap().into_iter().filter(|(_, v)| v.matched).map(|(rank, _)| rank).collect();
            prop_assert_eq!(explained, expected);
        }
    }
}

#[test]
fn one_rule_with_ten_thousand_alternatives_and_ten_thousand_rules_of_one_value() {
    let many: Vec<Json> = (0..10_000).map(|i| json!(format!("v{i}"))).collect();
    let mut patterns = vec![json!({"a": many})];
    patterns.extend((0..10_000).map(|i| json!({"kind": ["model"], "b": [i], "c": [{"prefix": "x"}]})));
    let rules: Vec<Pattern> = patterns.iter().map(|p| Matcher::parse(&convert(p)).unwrap()).collect();
    let matcher = Matcher::new(&rules, Options::default());
    assert_eq!(matcher.first(br#"{"a": "v9999"}"#).unwrap(), Some(0));
    assert_eq!(matcher.first(br#"{"a": "w"}"#).unwrap(), None);
    assert_eq!(matcher.matches(br#"{"kind": "model", "b": 77, "c": "xy", "a": "v1"}"#).unwrap(), [0, 78]);
    assert_eq!(matcher.first(br#"{"kind": "model", "b": 77, "c": "y"}"#).unwrap(), None);
}
