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

#[test]
fn values_of_every_length_are_found_and_told_apart() {
    let value = |length: usize, last: char| format!("{}{last}", "x".repeat(length));
    let wanted: Vec<String> = (0..70).flat_map(|length| ['a', 'b'].map(|last| value(length, last))).collect();
    let rules: Vec<Pattern> =
        wanted.iter().map(|value| Matcher::parse(&convert(&json!({"k": [value]}))).unwrap()).collect();
    let matcher = Matcher::new(&rules, Options::default());
    let first = |value: &str| matcher.first(json!({"k": value}).to_string().as_bytes()).unwrap();
    for (rank, value) in wanted.iter().enumerate() {
        assert_eq!(first(value), Some(rank));
    }
    assert!(
        (0..72).all(|length| first(&value(length, 'c')).is_none() && first(&"x".repeat(length)).is_none())
    );
}

#[test]
fn a_literal_before_or_behind_a_star_is_all_that_is_asked() {
    let patterns = ["ab*", "*ab", "ab", "a*b", "*"].map(|wildcard| json!({"k": [{"wildcard": wildcard}]}));
    // Many others, so that they are found by what they begin and end with.
    let others =
        (0..50).map(|i| json!({"k": [{"wildcard": format!("{i}*{i}")}, {"prefix": format!("{i}x")}]}));
    let patterns: Vec<Json> = patterns.into_iter().chain(others).collect();
    let rules: Vec<Pattern> = patterns.iter().map(|p| Matcher::parse(&convert(p)).unwrap()).collect();
    let matcher = Matcher::new(&rules, Options::default());
    let found = |value: &str| matcher.matches(json!({"k": value}).to_string().as_bytes()).unwrap();
    assert_eq!(found("ab"), [0, 1, 2, 3, 4]);
    assert_eq!(found("abc"), [0, 4]);
    assert_eq!(found("cab"), [1, 4]);
    assert_eq!(found("a"), [4]);
    assert_eq!(found("acb"), [3, 4]);
}
