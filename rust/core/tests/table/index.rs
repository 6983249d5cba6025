//! The index against rules evaluated one at a time: a matcher of one rule has nothing to look up.

use crate::consistency::{widened, widening};
use crate::documents::{document, pattern};
use crate::sample_messages::convert;
use proptest::prelude::*;
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
            prop_assert_eq!(explained, expected.clone());
            let wide = widened(document).to_string();
            let more: Vec<Pattern> = rules.iter().cloned().chain([widening()]).collect();
            let found = Matcher::new(&more, Options::default()).matches(wide.as_bytes()).unwrap();
            prop_assert_eq!(found, expected, "{}", wide);
        }
    }

    #[test]
    fn wildcards_match_by_whatever_literal_they_are_found(
        wildcards in prop::collection::vec(wildcard(), 10..80),
        texts in prop::collection::vec((any::<prop::sample::Index>(), "[ab]{0,3}", any::<bool>()), 1..20),
    ) {
        let rule = |wildcard: &String| Matcher::parse(&convert(&json!({"k": [{"wildcard": wildcard}]}))).unwrap();
        let rules: Vec<Pattern> = wildcards.iter().map(rule).collect();
        let all = Matcher::new(&rules, Options::default());
        let single: Vec<Matcher> = rules.iter().map(|rule| Matcher::new([rule], Options::default())).collect();
        for (index, filler, is_doubled) in texts {
            // Texts that some wildcard matches, or nearly.
            let mut text = index.get(&wildcards).replace("\\*", "+").replace('*', &filler).replace('+', "*");
            if is_doubled {
                text.push_str(&text.clone());
            }
            let document = json!({"k": text}).to_string();
            let expected: Vec<usize> =
                (0..rules.len()).filter(|&rank| single[rank].first(document.as_bytes()).unwrap().is_some()).collect();
            prop_assert_eq!(all.matches(document.as_bytes()).unwrap(), expected, "{} of {:?}", text, wildcards);
        }
    }
}

/// Short literals, which overlap; some longer than what is looked for of one, and escapes.
fn wildcard() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ab]{1,3}",
        1 => "[ab]{2}".prop_map(|end| format!("{}{end}", "ab".repeat(16))),
        1 => Just("a\\*".to_owned()),
    ];
    let ends = (any::<bool>(), any::<bool>());
    (prop::collection::vec(piece, 1..5), ends).prop_map(|(pieces, (start, end))| {
        let star = |is_there| if is_there { "*" } else { "" };
        format!("{}{}{}", star(start), pieces.join("*"), star(end))
    })
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
