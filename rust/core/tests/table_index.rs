//! The index against rules evaluated one at a time: a matcher of one rule has nothing to look up.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::json::Options;
use waypost_core::pattern::{Pattern, Value};
use waypost_core::table::Matcher;

fn convert(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::List(items.iter().map(convert).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), convert(v))).collect()),
    }
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[abB]{0,3}", 1 => Just("10.1.2.3".to_owned()), 1 => Just("10.9.0.1".to_owned()), 1 => "[aé*]{1,2}"]
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        5 => string().prop_map(Json::String),
        3 => (-3_i32..6).prop_map(|n| json!(n)),
        1 => (0_u8..9).prop_map(|n| json!(f64::from(n) / 2.0)),
        1 => Just(json!(null)),
        1 => any::<bool>().prop_map(|b| json!(b)),
    ]
}

fn predicate() -> impl Strategy<Value = Json> {
    let wildcard = "\\*?([ab]\\*?){1,3}";
    prop_oneof![
        12 => scalar(),
        2 => string().prop_map(|s| json!({"prefix": s})),
        2 => string().prop_map(|s| json!({"suffix": s})),
        1 => string().prop_map(|s| json!({"prefix": {"equals-ignore-case": s}})),
        1 => string().prop_map(|s| json!({"suffix": {"equals-ignore-case": s}})),
        2 => string().prop_map(|s| json!({"equals-ignore-case": s})),
        2 => wildcard.prop_map(|s| json!({"wildcard": s})),
        1 => prop::collection::vec(scalar(), 1..3).prop_map(|v| json!({"anything-but": v})),
        1 => "[ab]{1,2}".prop_map(|s| json!({"anything-but": {"prefix": s}})),
        2 => (-3_i32..5, 1_i32..4).prop_map(|(low, width)| json!({"numeric": [">=", low, "<", low + width]})),
        1 => (-3_i32..5).prop_map(|n| json!({"numeric": [">", n]})),
        1 => (-3_i32..5).prop_map(|n| json!({"numeric": ["=", n]})),
        1 => prop_oneof![Just("10.0.0.0/8"), Just("10.1.0.0/16"), Just("10.1.9.9/16"), Just("0.0.0.0/0"), Just("::/0")]
            .prop_map(|block| json!({"cidr": block})),
        1 => any::<bool>().prop_map(|b| json!({"exists": b})),
        1 => Just(json!({"regex": "a|b+"})),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = Json> {
    let leaf = prop::collection::vec(predicate(), 1..4).prop_map(Json::Array);
    let fields = prop::collection::btree_map(key(), leaf, 0..4);
    let flat = fields.prop_map(|map| Json::Object(map.into_iter().collect())).boxed();
    (
        flat.clone(),
        prop::option::weighted(0.3, prop::collection::vec(flat.clone(), 1..4)),
        prop::option::weighted(0.2, flat),
    )
        .prop_map(|(mut pattern, or, nested)| {
            let or: Vec<Json> = or.unwrap_or_default().into_iter().filter(|p| *p != json!({})).collect();
            if !or.is_empty() {
                pattern["$or"] = Json::Array(or);
            }
            if let Some(nested) = nested.filter(|p| *p != json!({})) {
                pattern["e"] = nested;
            }
            pattern
        })
}

fn document() -> impl Strategy<Value = Json> {
    let value = prop_oneof![6 => scalar(), 1 => prop::collection::vec(scalar(), 0..4).prop_map(Json::Array)];
    let flat = prop::collection::btree_map(key(), value, 0..5)
        .prop_map(|map| Json::Object(map.into_iter().collect()))
        .boxed();
    (flat.clone(), prop::collection::vec(flat, 0..3)).prop_map(|(mut document, nested)| {
        if !nested.is_empty() {
            document["e"] = Json::Array(nested);
        }
        document
    })
}

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
