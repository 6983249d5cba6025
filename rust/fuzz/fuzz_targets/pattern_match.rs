//! Generated rules over generated documents: no panic, every question has the same answer, asking less never matches
//! less, and rules keep their meaning among others: a rule alone is the oracle of the index and of layers of changes.
//!
//! The input is read as a few patterns and a document from a small vocabulary, so that they meet; every byte of it makes
//! some of both.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value as Json, json};
use waypost_core::json::Options;
use waypost_core::pattern::{Pattern, Value};
use waypost_core::table::Matcher;

const KEYS: [&str; 6] = ["a", "b", "c", "a.b", "é", ""];
const TEXTS: [&str; 12] =
    ["", "a", "ab", "AB", "ba", "*", "a*b", "\\*", "10.0.0.7", "10.0.0.0/8", "::1", "k\u{212a}"];
const NUMBERS: [&str; 8] = ["0", "-0.0", "1", "10e-1", "2", "1e99", "9007199254740993", "-1.5"];
const NAMES: [&str; 9] = [
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "cidr",
    "regex",
    "exists",
];

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    if input.ratio(1, 8)? {
        return Ok(input.arbitrary::<&str>()?.chars().take(12).collect());
    }
    Ok((*input.choose(&TEXTS)?).to_owned())
}

fn key(input: &mut Unstructured<'_>) -> Result<String> {
    if input.ratio(1, 32)? { text(input) } else { Ok((*input.choose(&KEYS)?).to_owned()) }
}

fn number(input: &mut Unstructured<'_>) -> Result<Json> {
    Ok(serde_json::from_str(input.choose(&NUMBERS)?).unwrap())
}

fn scalar(input: &mut Unstructured<'_>) -> Result<Json> {
    Ok(match input.int_in_range(0..=5)? {
        0 => Json::Null,
        1 => Json::Bool(bool::arbitrary(input)?),
        2 | 3 => number(input)?,
        _ => Json::String(text(input)?),
    })
}

fn document(input: &mut Unstructured<'_>, depth: usize) -> Result<Json> {
    let choice = if depth == 0 { 0 } else { input.int_in_range(0..=3)? };
    Ok(match choice {
        0 => scalar(input)?,
        1 => Json::Array(
            (0..input.int_in_range(0..=3)?).map(|_| document(input, depth - 1)).collect::<Result<_>>()?,
        ),
        _ => object(input, depth - 1)?,
    })
}

fn object(input: &mut Unstructured<'_>, depth: usize) -> Result<Json> {
    let mut map = Map::new();
    for _ in 0..input.int_in_range(0..=4)? {
        map.insert(key(input)?, document(input, depth)?);
    }
    Ok(Json::Object(map))
}

/// A predicate, mostly a valid one.
fn predicate(input: &mut Unstructured<'_>) -> Result<Json> {
    if input.ratio(2, 5)? {
        return scalar(input);
    }
    let name = *input.choose(&NAMES)?;
    let operand = match name {
        _ if input.ratio(1, 24)? => document(input, 2)?,
        "exists" => Json::Bool(bool::arbitrary(input)?),
        "cidr" => json!(*input.choose(&["10.0.0.0/8", "::/0", "0.0.0.0/0", "10.0.0.7/32"])?),
        "numeric" if bool::arbitrary(input)? => {
            json!([*input.choose(&["=", "<", "<=", ">", ">="])?, number(input)?])
        }
        "numeric" => json!([
            *input.choose(&[">", ">="])?,
            number(input)?,
            *input.choose(&["<", "<="])?,
            number(input)?
        ]),
        "anything-but" => match input.int_in_range(0..=2)? {
            0 => scalar(input)?,
            1 => Json::Array((0..=input.int_in_range(0..=2)?).map(|_| scalar(input)).collect::<Result<_>>()?),
            _ => json!({ *input.choose(&NAMES[..4])?: [text(input)?, text(input)?] }),
        },
        "prefix" | "suffix" if bool::arbitrary(input)? => json!({"equals-ignore-case": text(input)?}),
        _ => Json::String(text(input)?),
    };
    Ok(json!({ name: operand }))
}

fn pattern(input: &mut Unstructured<'_>, depth: usize) -> Result<Json> {
    let mut map = Map::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let inner = if depth > 0 && bool::arbitrary(input)? {
            pattern(input, depth - 1)?
        } else {
            Json::Array((0..=input.int_in_range(0..=2)?).map(|_| predicate(input)).collect::<Result<_>>()?)
        };
        map.insert(key(input)?, inner);
    }
    if depth > 0 && input.ratio(1, 3)? {
        let branches =
            (0..=input.int_in_range(0..=2)?).map(|_| pattern(input, depth - 1)).collect::<Result<_>>()?;
        map.insert("$or".to_owned(), Json::Array(branches));
    }
    Ok(Json::Object(map))
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), value(v))).collect()),
    }
}

/// The pattern of a tree; `None` where it is none, which it must say and say where.
fn parse(tree: &Json) -> Option<Pattern> {
    match Matcher::parse(&value(tree)) {
        Ok(pattern) => Some(pattern),
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(
                problems.iter().all(|problem| !problem.message.is_empty() && !problem.to_string().is_empty())
            );
            None
        }
    }
}

fn matches(pattern: &Pattern, body: &[u8]) -> bool {
    !Matcher::new([pattern], Options::default()).matches(body).unwrap().is_empty()
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    // More than a list that is evaluated as it is: the index parts them.
    let trees =
        (0..=input.int_in_range(0..=15)?).map(|_| pattern(input, 3)).collect::<Result<Vec<Json>>>()?;
    let document = if input.ratio(1, 32)? { document(input, 4)? } else { object(input, 4)? };
    let body = document.to_string().into_bytes();
    let rules: Vec<(&Json, Pattern)> = trees.iter().filter_map(|tree| Some((tree, parse(tree)?))).collect();

    let matcher = Matcher::new(rules.iter().map(|(_, pattern)| pattern), Options::default());
    let found = matcher.matches(&body).unwrap();
    assert_eq!(matcher.first(&body).unwrap(), found.first().copied());
    // A matcher to which they were given one by one, the last first.
    let mut changed = Matcher::new([], Options::default());
    for (number, (_, pattern)) in rules.iter().enumerate().rev() {
        changed = changed.with(number, Some(pattern));
    }
    assert_eq!(changed.matches(&body).unwrap(), found);
    assert_eq!(changed.flattened().0.matches(&body).unwrap(), found);
    assert_eq!(matcher.cost().rules, rules.len());
    let verdicts = matcher.explain(&body).unwrap();
    assert_eq!(verdicts.len(), rules.len());
    for ((rank, verdict), (tree, pattern)) in verdicts.iter().zip(&rules) {
        let matched = found.contains(rank);
        assert_eq!(verdict.matched, matched, "{tree} on {document}: {verdict:?}");
        assert!(!verdict.reason.is_empty() && verdict.reason.len() < 8192);
        assert!(verdict.matched != verdict.path.is_some(), "{tree} on {document}: {verdict:?}");
        assert_eq!(matches(pattern, &body), matched, "{tree} alone on {document}");
        if !matched {
            continue;
        }
        for name in tree.as_object().unwrap().keys() {
            let mut less = (*tree).clone();
            less.as_object_mut().unwrap().remove(name);
            let less = parse(&less).expect("what is left of a pattern is one");
            assert!(matches(&less, &body), "{tree} on {document}, not without {name}");
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Too little input makes empty choices, which are answers too.
    let _ = run(&mut Unstructured::new(data));
});
