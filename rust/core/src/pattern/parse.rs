//! Parses a [`Value`] into a [`Pattern`] and reports every problem at once.

use ipnet::IpNet;
use smol_str::SmolStr;

use super::predicate::{Exclusion, Predicate, Scalar, parse_address};
use super::range::{Bound, Range};
use super::{
    Conjunction, Decimal, Exclusions, Field, Folded, MAX_NESTING, Node, Pattern, Problem, Regex, Step, Value,
    Wildcard,
};
use crate::text::near::near;

/// The names of all predicates.
pub(crate) const PREDICATES: &str =
    "prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, cidr, exists, regex";
const NUMERIC: &str =
    "an operator and a number ([\">=\", 7]), or a lower and an upper bound ([\">\", 0, \"<=\", 5])";

/// Parses a pattern as far as possible and leaves out the parts with problems.
pub(super) fn parse(value: &Value) -> (Pattern, Vec<Problem>) {
    let mut parser = Parser { path: Vec::new(), keys: Vec::new(), problems: Vec::new(), unknown: 0 };
    let root = match value {
        Value::Map(entries) => parser.conjunction(entries, 0),
        other => {
            parser.mismatch("a pattern is a mapping of fields", other);
            Vec::new()
        }
    };
    (Pattern { root }, parser.problems)
}

struct Parser {
    /// Path of the current value in the source, for error messages.
    path: Vec<Step>,
    /// Path of the current field in documents: `path` without `$or` and list positions.
    keys: Vec<Box<str>>,
    problems: Vec<Problem>,
    /// Number of [`Value::Unknown`] met so far.
    unknown: usize,
}

impl Parser {
    fn problem(&mut self, message: impl Into<String>) {
        self.problems.push(Problem { path: self.path.clone(), message: message.into() });
    }

    /// Reports a value of the wrong kind. An unknown value is only counted.
    fn mismatch(&mut self, wanted: &str, value: &Value) {
        if matches!(value, Value::Unknown) {
            self.unknown += 1;
        } else {
            self.problem(format!("{wanted}, not {}", value.describe()));
        }
    }

    fn at<T>(&mut self, step: Step, parse: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let out = parse(self);
        self.path.pop();
        out
    }

    fn conjunction(&mut self, entries: &[(String, Value)], nesting: usize) -> Conjunction {
        if nesting > MAX_NESTING {
            self.problem(format!("nested more than {MAX_NESTING} levels deep"));
            return Vec::new();
        }
        let mut nodes = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            self.at(Step::Key(key.clone()), |parser| {
                if key == "$or" {
                    nodes.extend(parser.alternatives(value, nesting));
                } else {
                    parser.keys.push(key.as_str().into());
                    parser.field(key, value, nesting, &mut nodes);
                    parser.keys.pop();
                }
            });
        }
        nodes
    }

    fn alternatives(&mut self, value: &Value, nesting: usize) -> Option<Node> {
        let Value::List(items) = value else {
            self.mismatch("`$or` takes a list of patterns", value);
            return None;
        };
        if items.is_empty() {
            self.problem("an empty `$or` matches nothing: give it at least one pattern");
        }
        let mut branches = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.at(Step::Index(index), |parser| match item {
                Value::Map(entries) if entries.is_empty() => {
                    parser.problem(
                        "an empty pattern in `$or` matches everything: remove it, or the whole `$or`",
                    );
                }
                Value::Map(entries) => branches.push(parser.conjunction(entries, nesting + 1)),
                other => {
                    parser.mismatch("`$or` takes a list of patterns", other);
                    // An unknown branch may match anything.
                    branches.push(Vec::new());
                }
            });
        }
        Some(Node::Or(branches))
    }

    fn field(&mut self, key: &str, value: &Value, nesting: usize, nodes: &mut Vec<Node>) {
        match value {
            Value::Map(entries) if entries.is_empty() => {
                self.problem("an empty mapping tests nothing: name a field, or use [{exists: true}]");
            }
            Value::Map(entries) => {
                for (inner, operand) in entries {
                    if is_misplaced_predicate(inner, operand) {
                        self.at(Step::Key(inner.clone()), |parser| {
                            let list = Value::List(vec![operand.clone()]);
                            let field = if is_misplaced_predicate(inner, &list) {
                                String::new()
                            } else {
                                format!("; to test a field `{inner}` inside `{key}`, write {key}: {{{inner}: […]}}")
                            };
                            parser.problem(format!(
                                "a predicate belongs in a list: write {key}: [{{{inner}: …}}]{field}"
                            ));
                        });
                        return;
                    }
                }
                let inner = self.conjunction(entries, nesting + 1);
                nodes.extend(inner);
            }
            Value::List(items) if items.is_empty() => {
                self.problem("an empty list matches nothing: list at least one value or predicate");
            }
            Value::List(items) => {
                let unknown = self.unknown;
                let mut tests = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    tests.extend(self.at(Step::Index(index), |parser| parser.predicate(item)));
                }
                if self.unknown > unknown {
                    // An unknown alternative may match anything.
                    tests.extend([Predicate::Exists(true), Predicate::Exists(false)]);
                }
                nodes.push(self.leaf(tests));
            }
            Value::Unknown => self.unknown += 1,
            scalar => {
                let tests = self.predicate(scalar).into_iter().collect();
                nodes.push(self.leaf(tests));
            }
        }
    }

    fn leaf(&self, tests: Vec<Predicate>) -> Node {
        Node::Field(Field { path: self.keys.clone(), tests, at: self.path.clone() })
    }

    fn predicate(&mut self, value: &Value) -> Option<Predicate> {
        match value {
            Value::Map(entries) => {
                let [(name, operand)] = entries.as_slice() else {
                    self.problem(format!(
                        "a predicate has exactly one key, this one has {}; allowed: {PREDICATES}",
                        entries.len()
                    ));
                    for (name, operand) in entries {
                        self.at(Step::Key(name.clone()), |parser| parser.operator(name, operand));
                    }
                    return None;
                };
                self.at(Step::Key(name.clone()), |parser| parser.operator(name, operand))
            }
            Value::List(_) => {
                self.problem("a list inside a list of alternatives: put all values into one list");
                None
            }
            scalar => self.scalar(scalar).map(Predicate::Equals),
        }
    }

    fn operator(&mut self, name: &str, operand: &Value) -> Option<Predicate> {
        match name {
            "prefix" => self.affix(name, operand, Predicate::Prefix, Predicate::PrefixIgnoreCase),
            "suffix" => self.affix(name, operand, Predicate::Suffix, Predicate::SuffixIgnoreCase),
            "equals-ignore-case" => {
                self.string(name, operand).map(|s| Predicate::EqualsIgnoreCase(Folded::new(s)))
            }
            "wildcard" => self.wildcard(operand).map(Predicate::Wildcard),
            "anything-but" => self.anything_but(operand),
            "numeric" => self.numeric(operand),
            "cidr" => self.cidr(operand),
            "regex" => self.regex(operand),
            "exists" => {
                if let Value::Bool(wanted) = operand {
                    return Some(Predicate::Exists(*wanted));
                }
                self.mismatch("`exists` takes true or false", operand);
                None
            }
            other => {
                let hint = near(other, PREDICATES.split(", "));
                let allowed =
                    hint.map_or("allowed".to_owned(), |near| format!("did you mean `{near}`? Allowed"));
                self.problem(format!("unknown predicate `{other}`; {allowed}: {PREDICATES}"));
                None
            }
        }
    }

    fn string<'v>(&mut self, name: &str, operand: &'v Value) -> Option<&'v str> {
        if let Value::String(text) = operand {
            return Some(text);
        }
        if let Value::List(_) = operand {
            self.problem(format!(
                "`{name}` takes a string, not a list: write one predicate for each, [{{{name}: …}}, {{{name}: …}}]"
            ));
        } else {
            self.mismatch(&format!("`{name}` takes a string"), operand);
        }
        None
    }

    fn affix(
        &mut self,
        name: &str,
        operand: &Value,
        exact: impl FnOnce(SmolStr) -> Predicate,
        folded: impl FnOnce(Folded) -> Predicate,
    ) -> Option<Predicate> {
        if let Value::Map(entries) = operand {
            if let [(key, inner)] = entries.as_slice()
                && key == "equals-ignore-case"
            {
                return self.at(Step::Key(key.clone()), |parser| {
                    parser.string(key, inner).map(|text| folded(Folded::new(text)))
                });
            }
            self.problem(format!("`{name}` takes a string or {{equals-ignore-case: string}}"));
            return None;
        }
        self.string(name, operand).map(|text| exact(text.into()))
    }

    fn wildcard(&mut self, operand: &Value) -> Option<Wildcard> {
        let text = self.string("wildcard", operand)?;
        match Wildcard::parse(text) {
            Ok(wildcard) => Some(wildcard),
            Err(message) => {
                self.problem(message);
                None
            }
        }
    }

    fn scalar(&mut self, value: &Value) -> Option<Scalar> {
        match value {
            Value::Null => Some(Scalar::Null),
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::String(text) => Some(Scalar::String(text.as_str().into())),
            Value::Number(text) => {
                self.number(text).map(|number| Scalar::Number(Box::new((number, text.as_str().into()))))
            }
            other => {
                self.mismatch("expected a string, a number, a boolean or null", other);
                None
            }
        }
    }

    fn number(&mut self, text: &str) -> Option<Decimal> {
        match Decimal::parse(text) {
            Some(number) if number.in_range() => Some(number),
            Some(_) => {
                self.problem(format!("the exponent of {text} is beyond ±{}", super::decimal::MAX_EXPONENT));
                None
            }
            None => {
                self.problem(format!("{text} is not a number that JSON can hold"));
                None
            }
        }
    }

    fn anything_but(&mut self, operand: &Value) -> Option<Predicate> {
        let exclusions = match operand {
            Value::Map(entries) => {
                let allowed = "prefix, suffix, equals-ignore-case, wildcard";
                let [(name, inner)] = entries.as_slice() else {
                    self.problem(format!("`anything-but` takes values, or exactly one of {allowed}"));
                    return None;
                };
                self.at(Step::Key(name.clone()), |parser| {
                    if !allowed.split(", ").any(|key| key == name) {
                        parser.problem(format!(
                            "unknown predicate `{name}` in `anything-but`; allowed: {allowed}"
                        ));
                        return None;
                    }
                    parser.each(inner, |parser, item| parser.exclusion(name, item))
                })?
            }
            other => self.each(other, |parser, item| parser.scalar(item).map(Exclusion::Equals))?,
        };
        Some(Predicate::AnythingBut(Exclusions::new(exclusions)))
    }

    /// Parses one operand or a list of them; `None` if any is wrong.
    fn each<T>(
        &mut self,
        value: &Value,
        mut parse: impl FnMut(&mut Self, &Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = value else { return parse(self, value).map(|item| vec![item]) };
        if items.is_empty() {
            self.problem("an empty list in `anything-but` excludes nothing: list at least one value, or use {exists: true}");
            return None;
        }
        let parsed: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.at(Step::Index(index), |parser| parse(parser, item)))
            .collect();
        parsed.into_iter().collect()
    }

    fn exclusion(&mut self, name: &str, operand: &Value) -> Option<Exclusion> {
        if name == "wildcard" {
            return self.wildcard(operand).map(Exclusion::Wildcard);
        }
        let text = self.string(name, operand)?;
        match name {
            "equals-ignore-case" => Some(Exclusion::EqualsIgnoreCase(Folded::new(text))),
            _ if text.is_empty() => {
                self.problem(format!("an empty {name} in `anything-but` excludes every string"));
                None
            }
            "prefix" => Some(Exclusion::Prefix(text.into())),
            _ => Some(Exclusion::Suffix(text.into())),
        }
    }

    fn numeric(&mut self, operand: &Value) -> Option<Predicate> {
        let Value::List(items) = operand else {
            self.mismatch(&format!("`numeric` takes {NUMERIC}"), operand);
            return None;
        };
        let (first, second) = match items.as_slice() {
            [op, n] => (self.bound(0, op, n)?, None),
            [op, n, op2, n2] => {
                let (first, second) = (self.bound(0, op, n), self.bound(2, op2, n2));
                (first?, Some(second?))
            }
            _ => {
                self.problem(format!("`numeric` takes {NUMERIC}"));
                return None;
            }
        };
        let range = match (first, second) {
            ((Op::Equals, bound), None) => Range::new(Some(bound.clone()), Some(bound)),
            ((Op::Above, bound), None) => Range::new(Some(bound), None),
            ((Op::Below, bound), None) => Range::new(None, Some(bound)),
            ((Op::Above, bottom), Some((Op::Below, top))) => {
                if bottom.at >= top.at {
                    self.problem(format!("the lower bound {bottom} must be less than the upper bound {top}"));
                    return None;
                }
                Range::new(Some(bottom), Some(top))
            }
            _ => {
                self.problem("the first of two bounds must be `>` or `>=`, the second `<` or `<=`");
                return None;
            }
        };
        Some(Predicate::Numeric(range))
    }

    fn bound(&mut self, index: usize, op: &Value, number: &Value) -> Option<(Op, Bound)> {
        let op = self.at(Step::Index(index), |parser| {
            let found = match op {
                Value::String(text) => Op::parse(text),
                _ => None,
            };
            match op {
                Value::Unknown => parser.unknown += 1,
                _ if found.is_none() => {
                    parser.problem("expected an operator: one of \"=\", \"<\", \"<=\", \">\", \">=\"");
                }
                _ => {}
            }
            found
        });
        let bound = self.at(Step::Index(index + 1), |parser| match number {
            Value::Number(text) => parser.number(text).map(|at| (at, text)),
            other => {
                parser.mismatch("expected a number", other);
                None
            }
        });
        let ((op, inclusive), (at, text)) = (op?, bound?);
        Some((op, Bound::new(at, inclusive, text)))
    }

    fn cidr(&mut self, operand: &Value) -> Option<Predicate> {
        let text = self.string("cidr", operand)?;
        let block = text.split_once('/').and_then(|(address, length)| {
            let digits = !length.is_empty()
                && length.bytes().all(|b| b.is_ascii_digit())
                && (length == "0" || !length.starts_with('0'));
            let length: u8 = if digits { length.parse().ok()? } else { return None };
            IpNet::new(parse_address(address)?, length).ok()
        });
        if block.is_none() {
            self.problem(format!(
                "`{text}` is not an address block: write an IPv4 or IPv6 address, a slash and a prefix length \
                 (10.0.0.0/8, 2001:db8::/32; /32 or /128 for one address)"
            ));
        }
        block.map(Predicate::Cidr)
    }

    fn regex(&mut self, operand: &Value) -> Option<Predicate> {
        let source = self.string("regex", operand)?;
        match Regex::compile(source) {
            Ok(pattern) => Some(Predicate::Regex(Box::new(pattern))),
            Err(message) => {
                self.problem(format!("this regular expression cannot be used: {message}"));
                None
            }
        }
    }
}

/// Recognises `model: {prefix: llama}`, which was meant as `model: [{prefix: llama}]`.
fn is_misplaced_predicate(key: &str, operand: &Value) -> bool {
    let is_operator = |value: &Value| matches!(value, Value::String(text) if Op::parse(text).is_some());
    let has_key = |entries: &[(String, Value)], wanted: &[&str]| matches!(entries, [(key, _)] if wanted.contains(&key.as_str()));
    match (key, operand) {
        ("numeric", Value::List(items)) => items.first().is_some_and(is_operator),
        ("anything-but", Value::List(_)) => true,
        ("anything-but", Value::Map(entries)) => {
            has_key(entries, &["prefix", "suffix", "equals-ignore-case", "wildcard"])
        }
        ("prefix" | "suffix", Value::Map(entries)) => has_key(entries, &["equals-ignore-case"]),
        (_, Value::List(_) | Value::Map(_)) => false,
        (key, _) => PREDICATES.split(", ").any(|name| name == key),
    }
}

#[derive(Clone, Copy)]
enum Op {
    Equals,
    Above,
    Below,
}

impl Op {
    fn parse(text: &str) -> Option<(Self, bool)> {
        match text {
            "=" => Some((Self::Equals, true)),
            ">" => Some((Self::Above, false)),
            ">=" => Some((Self::Above, true)),
            "<" => Some((Self::Below, false)),
            "<=" => Some((Self::Below, true)),
            _ => None,
        }
    }
}
