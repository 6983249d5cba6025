//! What several tests need.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Tests.
#![allow(dead_code, unreachable_pub)] // Each test uses a part of it.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

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
        2 => "[*][abé]{1,3}[*]([ab]{1,2}[*])?".prop_map(|s| json!({"wildcard": s})),
        2 => prop::sample::select(vec!["a|b+", "a.*|b+", "(?i)ab.*", ".*b", "[ab]*", "(a|b)b?", "\\d.*", ".*(a|B)"])
            .prop_map(|s| json!({"regex": s})),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(str::to_owned)
}

/// A pattern of a few fields, so that many of them match many documents.
pub fn pattern() -> impl Strategy<Value = Json> {
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

/// A document of the same few fields.
pub fn document() -> impl Strategy<Value = Json> {
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
