//! No set of rules and no document makes matching suddenly slow. The tests count steps of work, not time.

use serde_json::{Value as Json, json};

use super::error::MatchError;
use super::matcher::Matcher;
use super::work;
use crate::json::Options;
use crate::pattern::Pattern;
use crate::pattern::tests::convert;

fn matcher(rules: impl IntoIterator<Item = Json>) -> Matcher {
    let rules: Vec<Pattern> =
        rules.into_iter().map(|rule| Matcher::parse(&convert(&rule)).unwrap()).collect();
    Matcher::new(&rules, Options::default())
}

/// The steps that `first` and `matches` take together, and the matching rules.
fn steps(matcher: &Matcher, document: &Json) -> (usize, Vec<usize>) {
    let text = document.to_string();
    let (steps, (first, all)) =
        work::count(|| (matcher.first(text.as_bytes()).unwrap(), matcher.matches(text.as_bytes()).unwrap()));
    assert_eq!(first, all.first().copied());
    (steps, all)
}

fn chat(i: usize) -> Json {
    let tenant = format!("tenant-{}", i / 8);
    match i % 8 {
        0..4 => json!({"kind": ["chat"], "tenant": [tenant], "priority": [{"numeric": [">=", i % 10]}]}),
        4 => json!({"kind": ["chat"], "agent": [{"prefix": format!("agent-{i}-")}]}),
        5 => json!({"kind": ["chat"], "task": [{"wildcard": format!("*-task-{i}-*")}]}),
        6 => {
            json!({"kind": ["chat"], "address": [{"cidr": format!("10.{}.{}.0/24", i / 256 % 256, i % 256)}]})
        }
        _ => json!({"tenant": [tenant], "model": [{"anything-but": ["small"]}]}),
    }
}

fn asking(subject: usize) -> Json {
    json!({
        "kind": "chat", "tenant": format!("tenant-{subject}"), "priority": 7, "agent": format!("agent-{subject}-1"),
        "task": format!("a-task-{subject}-b"), "address": "10.0.6.9", "model": "large",
    })
}

#[test]
fn a_hundred_times_the_rules_are_no_more_work() {
    let (few, many) = (matcher((0..200).map(chat)), matcher((0..20_000).map(chat)));
    for subject in [1, 6, 9, 22, 10_000_000] {
        let (of_few, _) = steps(&few, &asking(subject));
        let (of_many, _) = steps(&many, &asking(subject));
        assert!(of_many <= of_few * 3 / 2 + 20, "{subject}: {of_few} steps, then {of_many}");
    }
    assert!(many.cost().linear.is_empty(), "{:?}", many.cost());
}

#[test]
fn overlapping_wildcards_are_as_many_steps_as_wildcards_that_may_match() {
    let pieces = ["alpha", "beta", "gamma", "delta"];
    let twenty = matcher((0..20).map(|i| {
        let [a, b, c] = [i, i + 1, i + 2].map(|at| pieces[at % 4]);
        json!({"text": [{"wildcard": format!("*{a}*{b}*{i}*{c}*")}]})
    }));
    let (work, found) = steps(&twenty, &json!({"text": "alpha beta gamma delta ".repeat(40) + "7 alpha"}));
    assert!(work < 200, "{work}");
    assert!(found.is_empty());

    let thousand = matcher((0..1_000).map(|i| json!({"text": [{"wildcard": format!("*x{i}y*z*")}]})));
    let (work, found) = steps(&thousand, &json!({"text": "x7y, x77y and x777y, ".repeat(100) + "z"}));
    assert_eq!(found, [7, 77, 777]);
    assert!(work < 100, "{work}");
    assert!(thousand.cost().linear.is_empty());
}

#[test]
fn an_array_of_ten_thousand_objects_is_walked_once() {
    let rule = json!({"items": {"type": ["memory"], "rank": [1], "owner": {"name": [{"prefix": "a"}]}}});
    let matcher = matcher([rule]);
    let document = |count: usize| -> Json {
        // The type in one element and the rank in the next: no element has both.
        let item = |i: usize| {
            let kind = if i.is_multiple_of(2) { "memory" } else { "other" };
            json!({"type": kind, "rank": i % 2, "owner": [{"name": "ada"}, {"name": "bob"}]})
        };
        json!({"items": (0..count).map(item).collect::<Vec<Json>>()})
    };
    let (small, _) = steps(&matcher, &document(1_000));
    let (large, found) = steps(&matcher, &document(10_000));
    assert!(found.is_empty());
    assert!(large <= small * 11, "{small} steps for 1,000, {large} for 10,000");
    assert!(large < 10_000 * 40, "{large}");
}

#[test]
fn rules_that_are_each_found_by_an_element_do_not_each_walk_the_array() {
    let work_of = |count: usize| {
        let rule = |i| json!({"context": {"type": ["memory"], "ref": [{"prefix": format!("mem://{i}/")}]}});
        let matcher = matcher((0..count).map(rule));
        let mut elements: Vec<Json> =
            (0..count).map(|i| json!({"type": "document", "ref": format!("mem://{i}/1")})).collect();
        // Each test holds in some element, but no element satisfies two.
        elements.push(json!({"type": "memory", "ref": "elsewhere"}));
        let (work, found) = steps(&matcher, &json!({"context": elements}));
        assert!(found.is_empty());
        work
    };
    let (small, large) = (work_of(300), work_of(3_000));
    assert!(large <= small * 11, "{small} steps for 300, {large} for 3,000");
}

#[test]
fn ten_thousand_alternatives_are_one_look_up() {
    let many: Vec<Json> = (0..10_000).map(|i| json!(format!("v{i}"))).collect();
    let set = matcher([json!({"a": many}), json!({"b": [1], "a": many})]);
    for (value, expected) in [("v9999", vec![0]), ("w", vec![])] {
        let (work, found) = steps(&set, &json!({"a": value, "b": 2}));
        assert_eq!(found, expected);
        assert!(work < 60, "{work}");
    }
    // The same holds for a document with many values.
    let values: Vec<Json> = (0..5_000).map(|i| json!(format!("w{i}"))).collect();
    let (work, found) = steps(&set, &json!({"a": values, "b": 1}));
    assert!(found.is_empty());
    assert!(work < 5_000 * 8, "{work}");
}

#[test]
fn keys_of_64_kilobytes_are_keys() {
    let long = |last: char| format!("{}{last}", "k".repeat(64 << 10));
    let set = matcher([json!({long('a'): [1]}), json!({long('b'): {long('c'): [2]}})]);
    let (work, found) = steps(&set, &json!({long('a'): 0, long('b'): {long('c'): 2}, long('d'): 1}));
    assert_eq!(found, [1]);
    assert!(work < 40, "{work}");
}

#[test]
fn rules_that_only_say_no_are_tried_until_one_matches() {
    let set =
        matcher((0..10_000).map(|i| json!({"tenant": [{"anything-but": [format!("t{i}"), "blocked"]}]})));
    let document = json!({"tenant": "t0"}).to_string();
    let (work, first) = work::count(|| set.first(document.as_bytes()).unwrap());
    assert_eq!(first, Some(1));
    assert!(work < 40, "{work}");
    // A message that no rule takes is tried against all of them, so `cost` names them.
    let linear = set.cost().linear;
    assert_eq!(
        linear.iter().map(|linear| (linear.when.as_str(), linear.rules.len())).collect::<Vec<_>>(),
        [("tenant is any value", 10_000)]
    );
}

#[test]
fn what_nothing_tells_apart_is_named() {
    let same = (0..1_000).map(|_| json!({"kind": ["chat"], "n": [{"exists": false}]}));
    let regexes = (0..200).map(|i| json!({"text": [{"regex": format!(".*[a-z]{{{}}}.*", i + 1)}]}));
    let ranges = (0..300).map(|i| json!({"size": [{"numeric": [">", i]}]}));
    let cost = matcher(same.chain(regexes).chain(ranges)).cost();
    let named: Vec<(&str, usize)> =
        cost.linear.iter().map(|linear| (linear.when.as_str(), linear.rules.len())).collect();
    assert_eq!(named, [("kind is \"chat\"", 1_000), ("size is a number", 300), ("text is a string", 200)]);
    assert_eq!((cost.rules, cost.linear[0].rules[999], cost.linear[2].rules[0]), (1_500, 999, 1_000));
}

#[test]
fn branches_of_an_or_are_not_multiplied() {
    let branch = |field: &str, i: usize| json!({field: [format!("{field}{i}")]});
    let or = |field: &str| json!({"$or": (0..200).map(|i| branch(field, i)).collect::<Vec<Json>>()});
    let nested: Vec<Json> = ["p", "q", "r", "s"].map(or).into();
    let rules = (0..500).map(|i| json!({"tenant": [i], "$or": nested}));
    let set = matcher(rules.chain([json!({"x": or("p"), "y": or("q")})]));
    let (work, found) = steps(&set, &json!({"tenant": 77, "r": "r199", "x": {"p": "p3"}, "y": {"q": "no"}}));
    assert_eq!(found, [77]);
    assert!(work < 4_000, "{work}");
}

/// Rules that each ask for an element with one of 50 pairs of values.
fn pairs(rules: usize) -> Matcher {
    let pair = |x: usize, y: usize| json!({"items": {"x": [x], "y": [y]}});
    matcher((0..rules).map(|x| json!({"$or": (0..50).map(|y| pair(x, y)).collect::<Vec<Json>>()})))
}

#[test]
fn branches_are_compared_where_their_tests_come_near() {
    let set = pairs(100);
    let document = |count: usize| {
        let ones = (0..count).map(|i| json!({"x": i % 100}));
        json!({"items": ones.chain((0..count).map(|i| json!({"y": i % 50}))).collect::<Vec<Json>>()})
    };
    let (small, _) = steps(&set, &document(1_000));
    let (large, found) = steps(&set, &document(10_000));
    assert!(found.is_empty());
    assert!(large <= small * 11, "{small} steps for 1,000, {large} for 10,000");
    // Both calls look at each branch's elements with the rarer value: a hundred, in five thousand branches.
    assert!(large < 2 * 5_000 * 100 * 8, "{large}");
}

#[test]
fn looking_at_branches_is_work() {
    // Each branch comes near in half of the elements.
    let values: Vec<usize> = (0..50).collect();
    let item =
        |i: usize| if i.is_multiple_of(2) { json!({"x": [0, 1, 2], "z": 0}) } else { json!({"y": values}) };
    let document = json!({"items": (0..20_000).map(item).collect::<Vec<Json>>()}).to_string();
    let rule = |x: usize| {
        let branch = |y: usize| json!({"items": {"x": [x % 3], "y": [y]}});
        json!({"$or": (0..50).map(branch).collect::<Vec<Json>>(), "tenant": [{"anything-but": ["a"]}]})
    };
    let set = matcher((0..100).map(rule));
    let (taken, result) = work::count(|| set.first(document.replacen('{', "{\"tenant\":0,", 1).as_bytes()));
    assert!(matches!(result, Err(MatchError::TooCostly)), "{result:?}");
    assert!(taken < 25_000_000, "{taken}");
}

/// Checks that ten times the rules and ten times the values are about ten times the steps, and that no rule matches.
fn grows_evenly(what: &str, rule: impl Fn(usize) -> Json, document: impl Fn(usize) -> Json) {
    let work_of = |count: usize| {
        let (work, found) = steps(&matcher((0..count).map(&rule)), &document(count));
        assert!(found.is_empty(), "{what}: {found:?}");
        work
    };
    let (small, large) = (work_of(200), work_of(2_000));
    assert!(large <= small * 13, "{what}: {small} steps for 200, {large} for 2,000");
    assert!(large <= 2_000 * 400, "{what}: {large}");
}

/// Elements each of which satisfies the first test of one rule and the second of another.
fn shifted(count: usize, first: &str, second: &str, value: impl Fn(usize) -> [Json; 2]) -> Json {
    let element = |i: usize| {
        let ([one, _], [_, other]) = (value(i), value((i + 7) % count));
        json!({first: one, second: other})
    };
    (0..count).map(element).collect()
}

#[test]
fn tests_that_hold_in_different_elements_are_compared_where_they_come_near() {
    let name = |i: usize| json!(format!("k{i}/"));
    grows_evenly(
        "strings",
        |i| json!({"items": {"kind": [name(i)], "owner": [name(i)]}}),
        |count| json!({"items": shifted(count, "kind", "owner", |i| [name(i), name(i)])}),
    );
    grows_evenly(
        "numbers",
        |i| json!({"items": {"kind": [i], "owner": [i]}}),
        |count| json!({"items": shifted(count, "kind", "owner", |i| [json!(i), json!(i)])}),
    );
    grows_evenly(
        "alternatives",
        |i| json!({"items": {"kind": [name(i), i], "owner": [name(i), i]}}),
        |count| json!({"items": shifted(count, "kind", "owner", |i| [name(i), name(i)])}),
    );
    for (what, test) in [
        ("prefixes", json!([{"prefix": "?"}])),
        ("suffixes", json!([{"suffix": "?"}])),
        ("wildcards", json!([{"wildcard": "*?*"}])),
        ("any case", json!([{"equals-ignore-case": "?"}])),
        ("regexes", json!([{"regex": "?"}])),
    ] {
        let test = |i: usize| -> Json {
            serde_json::from_str(&test.to_string().replace('?', &format!("k{i}/"))).unwrap()
        };
        grows_evenly(
            what,
            |i| json!({"items": {"kind": [name(i)], "owner": test(i)}}),
            |count| json!({"items": shifted(count, "kind", "owner", |i| [name(i), name(i)])}),
        );
    }
    grows_evenly(
        "ranges",
        |i| json!({"items": {"kind": [name(i)], "size": [{"numeric": ["=", i]}]}}),
        |count| json!({"items": shifted(count, "kind", "size", |i| [name(i), json!(i)])}),
    );
    grows_evenly(
        "arrays in one element",
        |i| json!({"all": {"items": {"kind": [name(i)], "owner": [{"prefix": format!("k{i}/")}]}}}),
        |count| json!({"all": [{"items": shifted(count, "kind", "owner", |i| [name(i), name(i)])}]}),
    );
    grows_evenly(
        "an element inside another",
        |i| json!({"all": {"kind": [name(i)], "items": {"owner": [{"prefix": format!("k{i}/")}]}}}),
        |count| {
            let shifted = shifted(count, "kind", "owner", |i| [name(i), name(i)]);
            let nested = |item: &Json| json!({"kind": item["kind"], "items": [{"owner": item["owner"]}, {}]});
            json!({"all": shifted.as_array().unwrap().iter().map(nested).collect::<Vec<Json>>()})
        },
    );
    grows_evenly(
        "the field is missing where the other test holds",
        |i| json!({"items": {"kind": [name(i)], "owner": [{"prefix": format!("k{i}/")}]}}),
        |count| {
            let apart = (0..count).flat_map(|i| [json!({"kind": name(i)}), json!({"owner": name(i)})]);
            json!({"items": apart.collect::<Vec<Json>>()})
        },
    );
}

#[test]
fn what_many_rules_ask_of_many_values_is_found_out_once() {
    let tags = |count: usize| (0..count).map(|i| json!(format!("tag-{i}"))).collect::<Vec<Json>>();
    for (what, test) in [
        ("prefix", json!({"prefix": "x"})),
        ("wildcard", json!({"wildcard": "*x*"})),
        ("anything but", json!({"anything-but": {"prefix": "tag"}})),
    ] {
        grows_evenly(
            what,
            |i| json!({"tenant": [i], "tags": [test]}),
            |count| json!({"tenant": (0..count).collect::<Vec<usize>>(), "tags": tags(count)}),
        );
    }
    grows_evenly(
        "absence",
        |i| json!({"tenant": [i], "tags": [{"exists": false}]}),
        |count| json!({"tenant": (0..count).collect::<Vec<usize>>(), "tags": tags(count)}),
    );
}

#[test]
fn nodes_of_the_index_are_not_multiplied_by_guards() {
    // Each kind has rules for six tenants, each tenant has rules for six kinds. No rule joins even and odd ones; a message has
    // all even kinds and all odd tenants.
    let kinds = |count: usize| count / 6 * 2;
    grows_evenly(
        "nodes",
        |i| json!({"kind": [i / 6], "tenant": [(i / 6 + i % 6 * 34) % 66 + i / 6 / 66 * 66]}),
        |count| {
            let of = |rest: usize| (0..kinds(count)).filter(|n| n % 2 == rest).collect::<Vec<usize>>();
            json!({"kind": of(0), "tenant": of(1)})
        },
    );
}

#[test]
fn excluded_values_are_one_look_up() {
    let values = |count: usize| (0..count).map(|i| json!(format!("v{i}"))).collect::<Vec<Json>>();
    let set = matcher([json!({"a": [{"anything-but": values(50_000)}]})]);
    let document = json!({"a": values(50_000)}).to_string();
    assert_eq!(set.first(document.as_bytes()), Ok(None));
    assert_eq!(set.first(br#"{"a": ["v1", "w"]}"#), Ok(Some(0)));
}

#[test]
fn a_message_that_takes_too_many_steps_is_refused() {
    let rule = |i: usize| json!({"items": {"x": [{"numeric": [">", i]}], "y": [{"numeric": ["<", i]}]}});
    let set = matcher((0..100).map(rule));
    let items = |count: usize| {
        let item = |i: usize| json!({"x": i % 100, "y": i % 100});
        json!({"items": (0..count).map(item).collect::<Vec<Json>>()}).to_string()
    };
    let compared: Vec<(String, usize)> =
        set.cost().per_value.into_iter().map(|group| (group.when, group.rules.len())).collect();
    assert_eq!(
        compared,
        [("each value of items.x".to_owned(), 100), ("each value of items.y".to_owned(), 100)]
    );
    let apart = matcher((0..100).map(|i| json!({"x": [{"numeric": [">", i]}]})));
    assert!(apart.cost().per_value.is_empty());
    assert_eq!(set.first(items(1_000).as_bytes()), Ok(None));
    let large = items(30_000);
    for (what, (work, refused)) in [
        ("first", work::count(|| set.first(large.as_bytes()).err())),
        ("matches", work::count(|| set.matches(large.as_bytes()).err())),
        ("explain", work::count(|| set.explain(large.as_bytes()).err())),
        ("explain one", work::count(|| set.explain_one(large.as_bytes(), 0).err())),
    ] {
        assert_eq!(refused, Some(MatchError::TooCostly), "{what}");
        assert!(work < 20_000_000, "{what}: {work}");
    }
    // The workspace is as good as before.
    assert_eq!(set.first(br#"{"items": [{"x": 2, "y": 0}]}"#), Ok(Some(1)));

    let ors = matcher((0..300).map(|i| {
        json!({"items": {"x": [{"numeric": [">", i]}], "$or": [{"y": [{"numeric": ["<", i]}]}, {"z": [i]}]}})
    }));
    assert_eq!(ors.first(large.as_bytes()), Err(MatchError::TooCostly));
}

#[test]
fn a_long_text_and_a_large_expression_are_not_multiplied() {
    // Each of these states is new, and finding it takes time for the whole expression.
    let rules = (0..4).map(|i| json!({"text": [{"regex": format!(".*a[ab]{{{}}}c", 400 + i)}]}));
    let set = matcher(rules);
    let mut random = 1_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if random >> 40 & 1 == 0 { 'a' } else { 'b' }
    };
    let text: String = (0..200_000).map(|_| letter()).collect();
    assert_eq!(set.first(json!({"text": text}).to_string().as_bytes()), Err(MatchError::TooCostly));
    assert_eq!(set.first(json!({"text": "ab".repeat(100)}).to_string().as_bytes()), Ok(None));
}
