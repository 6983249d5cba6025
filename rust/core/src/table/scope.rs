//! What a route's pattern may name: the envelope's attributes, and six reserved names for the rest of the message.

use super::ways::check;
use crate::dialect::{Attribute, Dialect, Kind, Type};
use crate::pattern::{Field, Pattern, Predicate, Problem, Scalar, Value};

const RESERVED: [&str; 6] = ["headers", "path", "method", "dialect", "client", "body"];

/// Parses a route's pattern and checks that each field can exist.
pub(crate) fn parse(value: &Value) -> Result<Pattern, Vec<Problem>> {
    let (pattern, mut problems) = Pattern::parse_partly(value);
    problems.extend(check(&pattern));
    for field in pattern.fields() {
        problems.extend(problem(field));
        problems.extend(values(field));
    }
    problems.dedup(); // A field that does not exist is one problem, however many it has inside.
    if problems.is_empty() { Ok(pattern) } else { Err(problems) }
}

fn problem(field: &Field) -> Option<Problem> {
    let (first, rest) = field.path.split_first()?;
    let message = match (&**first, rest) {
        ("body", _) | ("path" | "method" | "dialect", []) => return None,
        ("headers", [name]) => {
            let lower = name.to_ascii_lowercase();
            if **name == lower {
                return None;
            }
            format!("header names are matched in lower case: write `{lower}`")
        }
        ("headers", []) => "name a header: headers: {x-tier: [gold]}".to_owned(),
        ("headers", _) => "a header has no fields of its own".to_owned(),
        ("client", [address]) if &**address == "address" => return None,
        ("client", _) => {
            "`client` has one field, `address`: client: {address: [{cidr: 10.0.0.0/8}]}".to_owned()
        }
        (name @ ("path" | "method" | "dialect"), _) => format!("`{name}` is a string and has no fields"),
        (name, rest) => {
            let Some(attribute) = Attribute::parse(name) else { return Some(unknown(field, name)) };
            match attribute.type_of() {
                Type::Any | Type::References | Type::Object => return None,
                _ if rest.is_empty() => return None,
                other => format!("`{name}` is {} and has no fields", other.describe()),
            }
        }
    };
    Some(Problem { path: field.at.clone(), message })
}

fn unknown(field: &Field, name: &str) -> Problem {
    let known: Vec<&str> = Attribute::ALL.iter().map(|a| a.name()).chain(RESERVED).collect();
    let near = known.iter().copied().min_by_key(|known| distance(name, known));
    let hint = near.filter(|near| distance(name, near) <= 1 + name.len() / 4);
    let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let known = known.join(", ");
    Problem {
        path: field.at.iter().take(field.at.len().saturating_sub(field.path.len() - 1)).cloned().collect(),
        message: format!(
            "no message has a field `{name}`{hint} Fields: {known}. Other fields of the body are under `body`: \
             body: {{{name}: …}}"
        )
        .replacen("` Fields", "`. Fields", 1),
    }
}

/// Each value that the field can never have: a mistake, not a route that never matches.
fn values(field: &Field) -> Vec<Problem> {
    let [name] = field.path.as_slice() else { return Vec::new() };
    let unknown = |value: &Scalar, known: &[&str]| {
        let found = matches!(value, Scalar::String(text) if known.contains(&&**text));
        (!found).then(|| format!("{value} is no {name}; allowed: {}", known.join(", ")))
    };
    let message = |value: &Scalar| match (&**name, value) {
        ("kind", value) => unknown(value, &Kind::ALL.map(Kind::name)),
        ("dialect", value) => unknown(value, &Dialect::ALL.map(Dialect::name)),
        ("method", Scalar::String(text)) if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            Some(format!("methods are in upper case: write `{}`", text.to_ascii_uppercase()))
        }
        _ => None,
    };
    let values = field.tests.iter().filter_map(|test| match test {
        Predicate::Equals(value) => Some(value),
        _ => None,
    });
    values.filter_map(message).map(|message| Problem { path: field.at.clone(), message }).collect()
}

/// Edit distance (Levenshtein) of two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
