//! Plain routes.
//!
//! The complete reader gives the same routes: scalars in a pattern become lists of one.

use super::tree::Tree;
use crate::pattern::{PREDICATES, Value};
use crate::table::RouteSpec;

/// The longest name.
const NAME: usize = 128;

/// The plain route that a value describes.
pub(super) fn route(tree: Tree) -> Option<RouteSpec> {
    let Tree::Map(entries) = tree else { return None };
    let mut route = RouteSpec::default();
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("name", value) => route.name = name(value)?,
            ("match", Tree::Map(entries)) => route.pattern = fields(entries)?,
            ("to", value) => route.to = Some(name(value)?),
            ("fallback", Tree::List(names)) => {
                route.fallback = names.into_iter().map(name).collect::<Option<_>>()?;
            }
            ("precedence", Tree::Integer(text)) => {
                route.precedence = text.parse::<i32>().ok()?.into();
            }
            _ => return None,
        }
    }
    // The complete reader has something to say of a cluster that comes twice.
    let mut clusters: Vec<&String> = route.to.iter().chain(&route.fallback).collect();
    clusters.sort_unstable();
    let differ = clusters.windows(2).all(|pair| pair.first() != pair.last());
    (!route.name.is_empty() && route.to.is_some() && differ).then_some(route)
}

fn name(tree: Tree) -> Option<String> {
    let Tree::Text(text) = tree else { return None };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ((1..=NAME).contains(&text.len()) && text.bytes().all(fits)).then_some(text)
}

/// A mapping of fields: a pattern, or the fields below a field.
fn fields(entries: Vec<(String, Tree)>) -> Option<Value> {
    let mut out = Vec::with_capacity(entries.len());
    for (key, tree) in entries {
        // It may have been meant as a predicate.
        if PREDICATES.split(", ").any(|name| name == key) {
            return None;
        }
        let value = match tree {
            Tree::Map(entries) => fields(entries)?,
            Tree::List(items) if key == "$or" => {
                let branch = |item| if let Tree::Map(entries) = item { fields(entries) } else { None };
                Value::List(items.into_iter().map(branch).collect::<Option<_>>()?)
            }
            Tree::List(items) => Value::List(items.into_iter().map(alternative).collect::<Option<_>>()?),
            scalar => Value::List(vec![alternative(scalar)?]),
        };
        out.push((key, value));
    }
    Some(Value::Map(out))
}

/// One alternative of a field. A literal with a star may have been meant as a wildcard, of which the complete reader warns.
fn alternative(tree: Tree) -> Option<Value> {
    if matches!(&tree, Tree::Text(text) if text.contains('*')) { None } else { value(tree) }
}

/// A value in an alternative.
fn value(tree: Tree) -> Option<Value> {
    Some(match tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(value),
        Tree::Integer(text) => Value::Number(text),
        Tree::Text(text) if text.contains("${") => return None,
        Tree::Text(text) => Value::String(text),
        Tree::List(items) => Value::List(items.into_iter().map(value).collect::<Option<_>>()?),
        Tree::Map(entries) => {
            let entry = |(key, tree)| Some((key, value(tree)?));
            Value::Map(entries.into_iter().map(entry).collect::<Option<_>>()?)
        }
        Tree::Other => return None,
    })
}
