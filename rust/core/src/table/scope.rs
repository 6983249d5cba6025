//! The fields that a route's pattern may test: the envelope's attributes, and six reserved names for other parts of the
//! message.

use hashbrown::HashSet;
use ipnet::IpNet;

use super::message::read::{MAX_DEADLINE_MS, MAX_ID};
use super::or_limit;
use crate::dialect::{Attribute, Dialect, Kind, OWN_HEADERS, Type, own_headers};
use crate::pattern::{Decimal, Field, Pattern, Predicate, Problem, Scalar, Seen, Value};
use crate::text::near::near;

const RESERVED: [&str; 6] = ["headers", "path", "method", "dialect", "client", "body"];

/// Parses a route's pattern, and checks that each field can exist and each predicate can hold.
pub(crate) fn parse(value: &Value) -> Result<Pattern, Vec<Problem>> {
    let (pattern, mut problems) = Pattern::parse_partly(value);
    problems.extend(or_limit::check(&pattern));
    for field in pattern.fields() {
        match problem(field) {
            Some(problem) => problems.push(problem),
            None => problems.extend(values(field)),
        }
    }
    // Report an unknown field once, however many fields are inside it, and a repeated value once.
    let mut reported = HashSet::new();
    problems.retain(|problem| reported.insert(problem.to_string()));
    if problems.is_empty() { Ok(pattern) } else { Err(problems) }
}

fn problem(field: &Field) -> Option<Problem> {
    let (first, inner) = field.path.split_first()?;
    let message = match (&**first, inner) {
        ("body", _) | ("path" | "method" | "dialect", []) => return None,
        ("headers", [name]) => {
            let lower = name.to_ascii_lowercase();
            if **name != lower {
                format!("header names are matched in lower case: write `{lower}`")
            } else if name.starts_with(OWN_HEADERS) && !own_headers().any(|(own, _)| own == &**name) {
                let known: Vec<&str> = own_headers().map(|(own, _)| own).collect();
                format!("no message has a header `{name}`; `{OWN_HEADERS}` headers: {}", known.join(", "))
            } else {
                return None;
            }
        }
        ("headers", []) => "name a header: headers: {x-tier: [gold]}".to_owned(),
        ("headers", _) => "a header is a string and has no fields".to_owned(),
        ("client", [address]) if &**address == "address" => return None,
        ("client", _) => {
            "`client` has one field, `address`: client: {address: [{cidr: 10.0.0.0/8}]}".to_owned()
        }
        (name @ ("path" | "method" | "dialect"), _) => format!("`{name}` is a string and has no fields"),
        (name, inner) => {
            let Some(attribute) = Attribute::parse(name) else { return Some(unknown(field, name)) };
            match attribute.type_of() {
                Type::Any | Type::References | Type::Object => return None,
                _ if inner.is_empty() => return None,
                other => format!("`{name}` is {} and has no fields", other.describe()),
            }
        }
    };
    Some(Problem { path: field.at.clone(), message })
}

fn unknown(field: &Field, name: &str) -> Problem {
    let known: Vec<&str> = Attribute::ALL.iter().map(|a| a.name()).chain(RESERVED).collect();
    let hint = near(name, known.iter().copied());
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

/// Whether the field at a path can have many values. Most attributes have one.
pub(crate) fn may_have_many(path: &[Box<str>]) -> bool {
    match path {
        [one] => matches!(&**one, "body" | "content"),
        [first, ..] => !matches!(&**first, "client" | "headers"),
        [] => false,
    }
}

/// Reports each predicate that the field can never satisfy. Such a predicate is a mistake, not a route that never matches.
fn values(field: &Field) -> Vec<Problem> {
    let Some((name, holds)) = Holds::of(field) else { return Vec::new() };
    let messages = field.tests.iter().filter_map(|test| holds.never(name, test));
    messages.map(|message| Problem { path: field.at.clone(), message }).collect()
}

/// The values that a field can hold, if known.
#[derive(Clone, Copy)]
enum Holds {
    Attribute(Type),
    Dialect,
    Method,
    Path,
    Address,
    String,
    StringOrNull,
}

impl Holds {
    /// A field's name in error messages and the values that it can hold; `None` if it can hold any value.
    fn of(field: &Field) -> Option<(&str, Self)> {
        let (first, inner) = field.path.split_first()?;
        Some(match (&**first, inner) {
            ("dialect", []) => (first, Self::Dialect),
            ("method", []) => (first, Self::Method),
            ("path", []) => (first, Self::Path),
            ("headers", [_]) => ("a header", Self::String),
            ("client", [inner]) => (inner, Self::Address),
            ("context", [inner]) if matches!(&**inner, "type" | "ref") => (inner, Self::StringOrNull),
            (name, []) => (first, Self::Attribute(Attribute::parse(name)?.type_of())),
            _ => return None,
        })
    }

    /// Why a predicate can never be satisfied; `None` if it can.
    fn never(self, name: &str, predicate: &Predicate) -> Option<String> {
        if let (Predicate::Equals(value), Some(known)) = (predicate, self.known()) {
            let found = matches!(value, Scalar::String(text) if known.contains(&&**text));
            return (!found).then(|| format!("{value} is not a {name}; allowed: {}", known.join(", ")));
        }
        if let (Predicate::Equals(Scalar::String(text)), Self::Method) = (predicate, self)
            && text.bytes().any(|byte| byte.is_ascii_lowercase())
        {
            return Some(format!("methods are in upper case: write `{}`", text.to_ascii_uppercase()));
        }
        if let (Predicate::Equals(Scalar::String(text)) | Predicate::Prefix(text), Self::Path) =
            (predicate, self)
            && !matches!(&**text, "" | "*")
            && (!text.starts_with('/') || text.contains(['?', '#']))
        {
            return Some(format!("{predicate} can never match: `path` begins with `/` and has no query"));
        }
        if let (Predicate::Equals(Scalar::String(text)), Self::Address) = (predicate, self)
            && text.parse::<IpNet>().is_ok()
        {
            return Some(format!(
                "{predicate} can never match: `address` is one address; write [{{cidr: {text}}}]"
            ));
        }
        if self.can_hold(predicate) {
            return None;
        }
        let name = if matches!(self, Self::String) && name.contains(' ') {
            name.to_owned()
        } else {
            format!("`{name}`")
        };
        Some(format!("{predicate} can never match: {name} is {}{}", self.describe(), self.instead(predicate)))
    }

    /// The only strings that the field can hold, if there are few.
    fn known(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Dialect => Some(Dialect::ALL.map(Dialect::name).to_vec()),
            Self::Attribute(Type::Kind) => Some(Kind::ALL.map(Kind::name).to_vec()),
            _ => None,
        }
    }

    fn can_hold(self, predicate: &Predicate) -> bool {
        let text = matches!(
            self,
            Self::Dialect
                | Self::Method
                | Self::Path
                | Self::Address
                | Self::String
                | Self::StringOrNull
                | Self::Attribute(Type::Id | Type::Kind | Type::String | Type::Any)
        );
        match (self, predicate) {
            (_, Predicate::AnythingBut(_) | Predicate::Exists(_))
            | (Self::Attribute(Type::Any), _)
            | (Self::StringOrNull, Predicate::Equals(Scalar::Null))
            | (Self::Attribute(Type::Milliseconds), Predicate::Numeric(_)) => true,
            (Self::Attribute(Type::Id), Predicate::Equals(Scalar::String(text))) => {
                (1..=MAX_ID).contains(&text.chars().count())
            }
            (Self::Attribute(Type::Boolean), Predicate::Equals(value)) => matches!(value, Scalar::Bool(_)),
            (Self::Attribute(Type::Priority), Predicate::Equals(_) | Predicate::Numeric(_)) => (0..=9)
                .any(|n| Decimal::parse(&n.to_string()).is_some_and(|n| predicate.matches(&Seen::Number(n)))),
            (Self::Attribute(Type::Milliseconds), Predicate::Equals(Scalar::Number(number))) => {
                number.0.to_u64().is_some_and(|ms| (1..=MAX_DEADLINE_MS).contains(&ms))
            }
            (_, Predicate::Equals(value)) => text && matches!(value, Scalar::String(_)),
            (_, Predicate::Numeric(_)) => false,
            _ => text,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Attribute(of) => of.describe(),
            Self::Dialect | Self::Method | Self::Path | Self::Address | Self::String | Self::StringOrNull => {
                "a string"
            }
        }
    }

    /// A suggestion to replace a predicate that can never be satisfied, after `; `; empty if there is none.
    fn instead(self, predicate: &Predicate) -> String {
        let Predicate::Equals(value) = predicate else {
            return String::new();
        };
        let unquoted = match value {
            Scalar::String(text) => match Decimal::parse(text) {
                Some(number) => Some(Scalar::Number(Box::new((number, text.clone())))),
                None => text.parse().ok().map(Scalar::Bool),
            },
            _ => None,
        };
        match (self, value) {
            (_, Scalar::Null) => "; to match messages without it, write {exists: false}".to_owned(),
            (Self::Attribute(Type::References), _) => "; test their fields: context: {type: […]}".to_owned(),
            (Self::Attribute(Type::Object), _) => "; test one label: labels: {NAME: […]}".to_owned(),
            _ => match unquoted {
                Some(plain) if self.can_hold(&Predicate::Equals(plain.clone())) => format!("; write {plain}"),
                // The number's text in the file is not known here, so it cannot be suggested.
                None if self.can_hold(&Predicate::Equals(Scalar::String("x".into())))
                    && !matches!(value, Scalar::String(_)) =>
                {
                    "; put it in quotes".to_owned()
                }
                _ => String::new(),
            },
        }
    }
}
