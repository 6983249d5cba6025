//! The evaluator against brute force: every `$or` expanded, every combination of values tried, as the semantics are
//! stated rather than as they are computed.

use crate::sample_messages::convert;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::json::Options;
use waypost_core::pattern::{Conjunction, Decimal, Field, Node, Pattern, Seen};
use waypost_core::table::Matcher;

struct Leaf {
    path: Vec<String>,
    value: Json,
    /// (array, position) of every array element on the way that is an object or an array.
    membership: Vec<(usize, usize)>,
}

fn flatten(
    value: &Json,
    path: &[String],
    membership: &[(usize, usize)],
    arrays: &mut usize,
    out: &mut Vec<Leaf>,
) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                let mut path = path.to_vec();
                path.push(key.clone());
                flatten(value, &path, membership, arrays, out);
            }
        }
        Json::Array(items) => {
            let array = *arrays;
            *arrays += 1;
            for (position, item) in items.iter().enumerate() {
                let mut inner = membership.to_vec();
                if item.is_object() || item.is_array() {
                    inner.push((array, position));
                }
                flatten(item, path, &inner, arrays, out);
            }
        }
        scalar => {
            out.push(Leaf { path: path.to_vec(), value: scalar.clone(), membership: membership.to_vec() });
        }
    }
}

fn expand(nodes: &Conjunction) -> Vec<Vec<&Field>> {
    let mut ways: Vec<Vec<&Field>> = vec![Vec::new()];
    for node in nodes {
        let alternatives = match node {
            Node::Field(field) => vec![vec![field]],
            Node::Or(branches) => branches.iter().flat_map(expand).collect(),
        };
        ways = ways
            .iter()
            .flat_map(|way| alternatives.iter().map(move |more| way.iter().chain(more).copied().collect()))
            .collect();
    }
    ways
}

fn satisfiable(fields: &[&Field], leaves: &[Leaf], chosen: &[(usize, usize)]) -> bool {
    let Some((field, rest)) = fields.split_first() else { return true };
    let here: Vec<&Leaf> = leaves
        .iter()
        .filter(|leaf| leaf.path.iter().map(String::as_str).eq(field.path.iter().map(|k| &**k)))
        .collect();
    if here.is_empty()
        && field.tests.iter().any(waypost_core::pattern::Predicate::wants_absence)
        && satisfiable(rest, leaves, chosen)
    {
        return true;
    }
    here.into_iter().any(|leaf| {
        let seen = match &leaf.value {
            Json::Null => Seen::Null,
            Json::Bool(b) => Seen::Bool(*b),
            Json::Number(n) => Seen::Number(Decimal::parse(&n.to_string()).unwrap()),
            Json::String(s) => Seen::String(s.as_str().into()),
            other => panic!("{other} is no scalar"),
        };
        let consistent =
            leaf.membership.iter().all(|(array, at)| chosen.iter().all(|(a, p)| a != array || p == at));
        if !consistent || !field.tests.iter().any(|test| test.matches(&seen)) {
            return false;
        }
        let chosen: Vec<_> = chosen.iter().chain(&leaf.membership).copied().collect();
        satisfiable(rest, leaves, &chosen)
    })
}

fn brute_force(pattern: &Pattern, document: &Json) -> bool {
    let mut leaves = Vec::new();
    if document.is_object() {
        flatten(document, &[], &[], &mut 0, &mut leaves);
    }
    expand(&pattern.root).iter().any(|fields| satisfiable(fields, &leaves, &[]))
}

/// The document with so many more values that what is found out about it is remembered.
pub(crate) fn widened(document: &Json) -> Json {
    let mut document = document.clone();
    if let Json::Object(map) = &mut document {
        map.insert("pad".to_owned(), json!([vec![0; 40], {"pad": vec!["x"; 40]}]));
    }
    document
}

/// A rule that asks for the values of [`widened`].
pub(crate) fn widening() -> Pattern {
    Matcher::parse(&convert(&json!({"pad": [{"numeric": ["<", 0]}]}))).unwrap()
}

fn matches(pattern: &Pattern, document: &Json) -> bool {
    let matcher = Matcher::new([pattern], Options::default());
    let text = document.to_string();
    let first = matcher.first(text.as_bytes()).unwrap() == Some(0);
    let (wide, rule) = (widened(document).to_string(), widening());
    for twice in [Matcher::new([pattern, &rule], Options::default()), matcher.with(1, Some(&rule))] {
        let found = twice.first(wide.as_bytes()).unwrap();
        assert_eq!(found == Some(0), first, "{pattern:?} on {wide}");
        assert_eq!(twice.matches(wide.as_bytes()).unwrap().first() == Some(&0), first);
    }
    let (_, verdict) = matcher.explain(text.as_bytes()).unwrap().remove(0);
    assert_eq!(verdict.matched, first, "explain agrees with first");
    assert!(!verdict.reason.is_empty());
    first
}

fn check(pattern: &Json, document: &Json, expected: bool) {
    let parsed = Matcher::parse(&convert(pattern)).unwrap();
    assert_eq!(matches(&parsed, document), expected, "{pattern} on {document}");
    assert_eq!(brute_force(&parsed, document), expected, "brute force: {pattern} on {document}");
}

#[test]
fn same_element() {
    let p = json!({"context": {"type": ["memory"], "rank": [1]}});
    check(&p, &json!({"context": [{"type": "memory", "rank": 1}]}), true);
    check(&p, &json!({"context": {"type": "memory", "rank": 1}}), true);
    check(&p, &json!({"context": [{"type": "memory"}, {"rank": 1}]}), false);
    check(&p, &json!({"context": [{"type": "memory", "rank": 2}, {"type": "document", "rank": 1}]}), false);
    check(&p, &json!({"context": [[{"type": "memory"}], [{"rank": 1}]]}), false);
    check(&p, &json!({"context": [[{"type": "x"}, {"type": "memory", "rank": 1}]]}), true);
    check(&p, &json!({"context": [{"type": ["x", "memory"], "rank": [0, 1]}]}), true);
}

#[test]
fn every_array_on_the_way_counts() {
    let p = json!({"a": {"b": {"x": [1], "y": [2]}, "z": [3]}});
    check(&p, &json!({"a": [{"b": [{"x": 1, "y": 2}], "z": 3}]}), true);
    check(&p, &json!({"a": [{"b": [{"x": 1}, {"y": 2}], "z": 3}]}), false);
    check(&p, &json!({"a": [{"b": [{"x": 1, "y": 2}]}, {"z": 3}]}), false);
}

#[test]
fn independent_arrays_and_scalars() {
    check(
        &json!({"a": {"x": [1]}, "b": {"x": [2]}}),
        &json!({"a": [{"x": 0}, {"x": 1}], "b": [{"x": 2}, {"x": 3}]}),
        true,
    );
    check(&json!({"$or": [{"a": ["x"]}, {"a": ["q"]}], "a": ["y"]}), &json!({"a": ["x", "y"]}), true);
    // Nested arrays are elements of the outer one.
    check(&json!({"$or": [{"a": ["x"]}], "a": ["y"]}), &json!({"a": [["x"], ["y"]]}), false);
    check(&json!({"$or": [{"a": ["x"]}], "a": ["y"]}), &json!({"a": [["x"], "y"]}), true);
}

#[test]
fn inside_or_too() {
    let p = json!({"c": {"t": ["m"], "$or": [{"r": [1]}, {"r": [2], "u": [true]}]}});
    check(&p, &json!({"c": [{"t": "m", "r": 1}]}), true);
    check(&p, &json!({"c": [{"t": "m"}, {"r": 1}]}), false);
    check(&p, &json!({"c": [{"t": "m", "r": 2}, {"u": true}]}), false);
    check(&p, &json!({"c": [{"t": "m", "r": 2, "u": true}]}), true);
    // What holds in an element still holds while an array inside of it is searched.
    let p = json!({"$or": [{"x": [1]}, {"c": {"t": ["m"], "r": {"u": [1]}}}]});
    check(&p, &json!({"c": [{"t": "m", "r": [{"u": 1}]}]}), true);
    check(&p, &json!({"c": [{"t": "m", "r": [{"u": [[1]]}]}]}), true);
    check(&p, &json!({"c": [{"t": "m"}, {"t": "d", "r": [{"u": 1}]}]}), false);
    let p = json!({"c": {"$or": [{"t": ["m"], "r": [1]}, {"t": ["d"], "r": [2]}]}});
    check(&p, &json!({"c": [{"t": "d", "r": [[1], [2]]}]}), true);
    check(&p, &json!({"c": [{"t": "d", "r": [[1]]}]}), false);
    // The same element must serve two `$or`s.
    let p =
        json!({"$or": [{"c": {"t": [1]}}, {"d": {"t": [1]}}], "e": {"$or": [{"x": [1]}]}, "c": {"u": [1]}});
    check(&p, &json!({"c": [{"t": 1}, {"u": 1}], "e": {"x": 1}}), false);
    check(&p, &json!({"c": [{"t": 1}, {"u": 1}], "d": [{"t": 1}], "e": {"x": 1}}), true);
}

#[test]
fn a_path_beside_or_and_inside_it_must_hold_twice() {
    let p = json!({"a": [{"prefix": "x"}], "$or": [{"a": [{"suffix": "y"}]}, {"b": [1]}]});
    check(&p, &json!({"a": "xy"}), true);
    check(&p, &json!({"a": "x"}), false);
    check(&p, &json!({"a": "zy"}), false);
    check(&p, &json!({"a": "x", "b": 1}), true);
}

#[test]
fn exists_looks_at_scalars_of_the_whole_document() {
    let absent = json!({"a": [{"exists": false}]});
    for document in [
        json!({}),
        json!({"b": 1}),
        json!({"a": {}}),
        json!({"a": []}),
        json!({"a": {"b": 1}}),
        json!({"a": [{"b": 1}]}),
        json!({"a": [[]]}),
    ] {
        check(&absent, &document, true);
        check(&json!({"a": [{"exists": true}]}), &document, false);
    }
    for document in
        [json!({"a": null}), json!({"a": ""}), json!({"a": [1]}), json!({"a": [[0]]}), json!({"a": [{}, 1]})]
    {
        check(&absent, &document, false);
        check(&json!({"a": [{"exists": true}]}), &document, true);
    }
    check(
        &json!({"c": {"t": ["m"], "r": [{"exists": false}]}}),
        &json!({"c": [{"t": "m"}, {"t": "d", "r": 1}]}),
        false,
    );
    check(
        &json!({"c": {"t": ["m"], "r": [{"exists": false}]}}),
        &json!({"c": [{"t": "m"}, {"t": "d"}]}),
        true,
    );
    check(&json!({"a": [{"exists": false}, "x"]}), &json!({"a": "x"}), true);
    check(&json!({"a": [{"exists": false}, "x"]}), &json!({"a": "y"}), false);
}

#[test]
fn anything_but_needs_a_scalar_that_differs() {
    let p = json!({"a": [{"anything-but": ["x"]}]});
    for (document, expected) in [
        (json!({}), false),
        (json!({"a": {}}), false),
        (json!({"a": []}), false),
        (json!({"a": {"b": "y"}}), false),
        (json!({"a": "x"}), false),
        (json!({"a": ["x"]}), false),
        (json!({"a": ["x", "y"]}), true),
        (json!({"a": null}), true),
        (json!({"a": 1}), true),
    ] {
        check(&p, &document, expected);
    }
}

#[test]
fn keys_are_never_joined_and_escapes_are_resolved() {
    let dotted = Matcher::parse(&convert(&json!({"a.b": [1]}))).unwrap();
    assert!(!matches(&dotted, &json!({"a": {"b": 1}})) && matches(&dotted, &json!({"a.b": 1})));
    let matcher =
        Matcher::new([&Matcher::parse(&convert(&json!({"a": ["é\n"]}))).unwrap()], Options::default());
    assert_eq!(matcher.first(br#"{"\u0061": "\u00e9\n"}"#).unwrap(), Some(0));
}

#[test]
fn what_is_no_object_has_no_fields() {
    for document in [json!([{"a": 1}]), json!("a"), json!(1), json!(null)] {
        check(&json!({"a": [1]}), &document, false);
        check(&json!({"a": [{"exists": false}]}), &document, true);
        check(&json!({}), &document, true);
    }
}

#[test]
fn entangled_ors_are_refused_and_large_arrays_stay_cheap() {
    let or = json!([{"c": {"x": [1]}}, {"c": {"y": [1]}}, {"d": {"x": [1]}}, {"d": {"y": [1]}}]);
    let mut pattern = json!({"c": {"z": [1]}});
    // Branches of branches: 4^6 ways.
    let mut inner = or.clone();
    for _ in 0..5 {
        inner = json!((0..4).map(|i| json!({"c": {"k": [i]}, "$or": inner})).collect::<Vec<_>>());
    }
    pattern["$or"] = inner;
    let problem = Matcher::parse(&convert(&pattern)).unwrap_err().remove(0);
    assert!(problem.message.contains("combinations"), "{problem}");

    // Below one key they are asked of each element by itself, however many there are.
    let branches = |key: &str| json!([{key: {"x": [1]}}, {key: {"x": [2]}}, {key: {"y": [1]}}]);
    let many: serde_json::Map<String, Json> = ["a", "b", "d", "e", "f", "g"]
        .iter()
        .map(|key| ((*key).to_owned(), json!({"$or": branches(key)})))
        .collect();
    let document = json!({"c": [{"a": 1}, {
        "a": {"a": {"x": 1}}, "b": [{"b": {"x": 2}}], "d": {"d": [{"y": 0}, {"y": 1}]},
        "e": {"e": {"x": 1}}, "f": {"f": {"x": 1}}, "g": {"g": {"x": 1}},
    }]});
    check(&json!({ "c": many }), &document, true);

    let elements: Vec<Json> =
        (0..10_000).map(|i| json!({"type": "memory", "rank": i, "tags": [{"k": i}]})).collect();
    let document = json!({"context": elements});
    // What tells the elements apart comes first, because the other solution tries all in their order.
    check(&json!({"context": {"rank": [9999], "tags": {"k": [9999]}, "type": ["memory"]}}), &document, true);
    check(&json!({"context": {"rank": [9998], "tags": {"k": [9999]}, "type": ["memory"]}}), &document, false);
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![Just(json!(1)), Just(json!(2)), Just(json!("x")), Just(json!(null))]
}

fn document() -> impl Strategy<Value = Json> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    let inner = scalar().prop_recursive(4, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    });
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..4)
        .prop_map(|m| Json::Object(m.into_iter().collect()))
}

fn pattern() -> impl Strategy<Value = Json> {
    let test = prop_oneof![
        4 => scalar(),
        1 => Just(json!({"exists": true})),
        1 => Just(json!({"exists": false})),
        1 => Just(json!({"anything-but": [1]})),
        1 => Just(json!({"numeric": ["<", 2]})),
    ];
    let leaf = prop::collection::vec(test, 1..3).prop_map(Json::Array);
    leaf.prop_recursive(3, 24, 3, |inner| {
        let key = prop_oneof![Just("a"), Just("b"), Just("c")];
        let fields = prop::collection::btree_map(key.prop_map(str::to_owned), inner, 1..4);
        let object = fields.prop_map(|map| Json::Object(map.into_iter().collect()));
        (object.clone(), prop::option::of(prop::collection::vec(object, 1..3))).prop_map(
            |(mut object, or)| {
                if let Some(or) = or {
                    object["$or"] = Json::Array(or);
                }
                object
            },
        )
    })
    .prop_filter("a pattern is an object", Json::is_object)
}

/// A value, or arrays of it.
fn few(inner: impl Strategy<Value = Json> + Clone + 'static) -> impl Strategy<Value = Json> + Clone {
    let list = |inner: BoxedStrategy<Json>| prop::collection::vec(inner, 1..4).prop_map(Json::Array).boxed();
    let one = inner.boxed();
    let many = list(one.clone());
    prop_oneof![2 => one.clone(), 4 => many.clone(), 1 => list(prop_oneof![one, many].boxed())].boxed()
}

/// Elements in elements, all of the same few fields, so that what a rule asks is often there but rarely in one place.
fn entangled_document() -> impl Strategy<Value = Json> {
    let number = prop_oneof![Just(json!(1)), Just(json!(2))];
    let leaf = (few(number.clone()), few(number.clone())).prop_map(|(x, y)| json!({"x": x, "y": y}));
    let inner = (few(leaf.clone()), few(leaf), few(number.clone()))
        .prop_map(|(b, c, x)| json!({"b": b, "c": c, "x": x}));
    (few(inner), few(number)).prop_map(|(a, x)| json!({"a": a, "x": x}))
}

fn entangled_pattern() -> impl Strategy<Value = Json> {
    let path = prop_oneof![
        Just(&["x"][..]),
        Just(&["a", "x"][..]),
        Just(&["a", "b", "x"][..]),
        Just(&["a", "b", "y"][..]),
        Just(&["a", "c", "x"][..]),
        Just(&["a", "c", "y"][..]),
    ];
    let field = (path, prop_oneof![Just(json!([1])), Just(json!([2]))]);
    let branch = prop::collection::vec(field, 1..4).prop_map(|fields| {
        let mut branch = json!({});
        for (path, tests) in fields {
            *path.iter().fold(&mut branch, |inner, key| &mut inner[*key]) = tests;
        }
        branch
    });
    (prop::option::of(branch.clone()), prop::collection::vec(branch, 1..4)).prop_map(|(beside, branches)| {
        let mut pattern = beside.unwrap_or_else(|| json!({}));
        pattern["$or"] = Json::Array(branches);
        pattern
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn agrees_with_brute_force(pattern in pattern(), document in document()) {
        let Ok(parsed) = Matcher::parse(&convert(&pattern)) else { return Ok(()) };
        prop_assert_eq!(matches(&parsed, &document), brute_force(&parsed, &document), "{} on {}", pattern, document);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn entangled_branches_agree_with_brute_force(pattern in entangled_pattern(), document in entangled_document()) {
        let Ok(parsed) = Matcher::parse(&convert(&pattern)) else { return Ok(()) };
        prop_assert_eq!(matches(&parsed, &document), brute_force(&parsed, &document), "{} on {}", pattern, document);
    }
}
