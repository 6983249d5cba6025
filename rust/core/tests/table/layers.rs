//! A matcher that was changed rule by rule against one that was made of the same rules at once.

use std::collections::BTreeMap;

use crate::documents::{document, pattern};
use crate::sample_messages::convert;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::json::Options;
use waypost_core::pattern::Pattern;
use waypost_core::table::Matcher;

fn parse(pattern: &Json) -> Pattern {
    Matcher::parse(&convert(pattern)).unwrap()
}

/// A handle that no other rule has.
fn handle(number: usize) -> usize {
    64 * (number + 1)
}

/// What both say of a document.
fn check(changed: &Matcher, rules: &BTreeMap<usize, Pattern>, document: &Json) {
    let numbers: Vec<usize> = rules.keys().copied().collect();
    assert_eq!((changed.numbers(), changed.len()), (numbers.clone(), rules.len()));
    let fresh = Matcher::new(rules.values(), Options::default());
    let text = document.to_string();
    let text = text.as_bytes();
    if let Some(found) = changed.first_with_handle(text).unwrap() {
        assert!(found.handle == 0 || found.handle == handle(found.number), "{found:?}");
    }
    let expected: Vec<usize> = fresh.matches(text).unwrap().into_iter().map(|rank| numbers[rank]).collect();
    assert_eq!(changed.matches(text).unwrap(), expected, "{document}");
    assert_eq!(changed.first(text).unwrap(), expected.first().copied(), "{document}");
    let explained = changed.explain(text).unwrap();
    let of_fresh = fresh.explain(text).unwrap();
    assert_eq!(explained.len(), of_fresh.len());
    for ((number, verdict), (rank, other)) in explained.iter().zip(&of_fresh) {
        // In which order alternatives are named may differ.
        assert_eq!((*number, verdict.matched, &verdict.path), (numbers[*rank], other.matched, &other.path));
        let one = changed.explain_one(text, *number).unwrap().unwrap();
        assert_eq!((one.matched, &one.reason), (verdict.matched, &verdict.reason));
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(usize, Json),
    Remove(usize),
    Flatten,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0_usize..90, pattern()).prop_map(|(number, pattern)| Change::Put(number, pattern)),
        4 => (0_usize..90).prop_map(Change::Remove),
        1 => Just(Change::Flatten),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn changes_are_as_good_as_making_it_anew(
        first in prop::collection::vec(pattern(), 0..40),
        changes in prop::collection::vec(change(), 0..160),
        documents in prop::collection::vec(document(), 1..4),
    ) {
        let mut rules: BTreeMap<usize, Pattern> = first.iter().map(parse).enumerate().collect();
        let mut matcher = Matcher::new(rules.values(), Options::default()).with_handles(handle);
        let before = matcher.clone();
        let original = rules.clone();
        for change in &changes {
            match change {
                Change::Put(number, pattern) => {
                    let pattern = parse(pattern);
                    matcher = matcher.with(*number, Some(&pattern));
                    rules.insert(*number, pattern);
                }
                Change::Remove(number) => {
                    matcher = matcher.with(*number, None);
                    rules.remove(number);
                }
                Change::Flatten => {
                    let (flat, numbers) = matcher.flattened();
                    prop_assert_eq!(&numbers, &rules.keys().copied().collect::<Vec<usize>>());
                    matcher = flat.with_handles(handle);
                    rules = rules.into_values().enumerate().collect();
                }
            }
        }
        for document in &documents {
            check(&matcher, &rules, document);
            check(&before, &original, document);
        }
    }
}

#[test]
fn what_one_look_up_finds_has_its_mark() {
    let tenant =
        |number: usize| parse(&json!({"tenant": [format!("t{number}")], "n": [{"numeric": [">", 1]}]}));
    let prefix = parse(&json!({"path": [{"prefix": "/a/"}]}));
    // Fewer are tried one by one.
    let rules: Vec<Pattern> = (0..40).map(tenant).chain([prefix]).collect();
    let matcher = Matcher::new(&rules, Options::default()).with_handles(handle);
    let found = |matcher: &Matcher, document: &Json| {
        matcher
            .first_with_handle(document.to_string().as_bytes())
            .unwrap()
            .map(|found| (found.number, found.handle))
    };
    let (one, path) = (json!({"tenant": "t1", "n": 2}), json!({"path": "/a/b"}));
    assert_eq!(found(&matcher, &one), Some((1, handle(1))));
    assert_eq!(found(&matcher, &path), Some((40, handle(40))));
    assert_eq!(found(&matcher, &json!({"tenant": "t1", "n": 1})), None);
    let changed = matcher.with(1, Some(&tenant(1))).with(0, None);
    assert_eq!((found(&changed, &one), found(&changed, &path)), (Some((1, 0)), Some((40, handle(40)))));
    let again = changed.clone().with_handles(|_| 7);
    assert_eq!(found(&again, &path), Some((40, handle(40))), "others have that layer too");
    assert_eq!(found(&changed.flattened().0.with_handles(handle), &one), Some((0, handle(0))));
}

#[test]
fn a_rule_that_is_gone_is_known_no_more() {
    let matcher = Matcher::new(&[parse(&json!({"a": [1]}))], Options::default());
    let changed = matcher.with(7, Some(&parse(&json!({"new": {"field": [1]}})))).with(0, None);
    assert!(matcher.has(0) && !matcher.has(7) && !changed.has(0) && changed.has(7));
    assert!(changed.explain_one(b"{}", 0).unwrap().is_none());
    assert_eq!(changed.first(br#"{"a": 1, "new": {"field": 1}}"#), Ok(Some(7)));
    assert!(changed.with(7, None).is_empty());
}

#[test]
fn many_changes_ask_to_be_made_one() {
    let rule = parse(&json!({"a": [1]}));
    let mut matcher = Matcher::new([], Options::default());
    let mut count = 0;
    while !matcher.is_overgrown() {
        matcher = matcher.with(count, Some(&rule));
        count += 1;
    }
    assert!((1_000..10_000).contains(&count), "{count}");
    let (flat, numbers) = matcher.flattened();
    assert!(!flat.is_overgrown() && numbers.len() == count && flat.len() == count);
    for number in 0..count {
        matcher = matcher.with(number, None);
    }
    assert!(matcher.is_empty() && matcher.is_overgrown());
}

#[test]
fn fields_of_rules_that_are_gone_ask_for_it_too() {
    let mut matcher = Matcher::new([], Options::default());
    let came = (0..).take_while(|number| {
        let field = format!("field-{number}");
        matcher = matcher.with(*number, Some(&parse(&json!({field: [1]})))).with(*number, None);
        !matcher.is_overgrown()
    });
    assert!((1_000..10_000).contains(&came.count()));
    assert!(matcher.is_empty());
    let (flat, _) = matcher.flattened();
    assert!(!flat.is_overgrown());
    // Known fields, as often as one likes.
    let mut one = flat;
    for _ in 0..5_000 {
        one = one.with(0, Some(&parse(&json!({"a": [1]})))).with(0, None);
    }
    assert!(!one.is_overgrown());
}
