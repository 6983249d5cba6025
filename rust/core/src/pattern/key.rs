//! Canonical keys: predicates and patterns that ask the same have equal ones, as far as their form shows it.

use ipnet::IpNet;
use smol_str::SmolStr;

use super::{Conjunction, Decimal, Exclusion, Node, Pattern, Predicate, Scalar};

/// What a [`Predicate`] asks, however it was written: `7` and `7.0`, two cases of what is compared without regard to case,
/// and exclusions in any order are one.
///
/// Predicates with equal keys match the same values. The other way round does not hold: two regular expressions, say, have
/// equal keys only where they are written alike.
///
/// ```
/// use waypost_core::pattern::{Pattern, PredicateKey, Value};
/// let keys = |values: [Value; 2]| {
///     let fields = Value::Map(vec![("f".into(), Value::List(values.into()))]);
///     let pattern = Pattern::parse(&fields).unwrap();
///     let tests = pattern.fields().next().unwrap().tests.clone();
///     tests.iter().map(PredicateKey::of).collect::<Vec<_>>()
/// };
/// let [seven, same] = &keys([Value::Number("7".into()), Value::Number("70e-1".into())])[..] else { panic!() };
/// assert_eq!(seven, same);
/// let [seven, text] = &keys([Value::Number("7".into()), Value::String("7".into())])[..] else { panic!() };
/// assert_ne!(seven, text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateKey(Asks);

/// What a [`Pattern`] asks, whatever the order of its fields and alternatives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternKey<'p>(Set<NodeKey<'p>>);

/// Each once, in order.
type Set<T> = Box<[T]>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum NodeKey<'p> {
    Field(&'p [Box<str>], Set<PredicateKey>),
    Or(Set<PatternKey<'p>>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Asks {
    Null,
    Bool(bool),
    Number(Box<Decimal>),
    String(SmolStr),
    Prefix(SmolStr),
    Suffix(SmolStr),
    /// Case foldings, here and below.
    EqualsIgnoreCase(SmolStr),
    PrefixIgnoreCase(SmolStr),
    SuffixIgnoreCase(SmolStr),
    /// The literals between which there is anything, at least three.
    Wildcard(Box<[SmolStr]>),
    AnythingBut(Set<PredicateKey>),
    /// The lower and the upper end, and whether each is in the range.
    Numeric(Box<[Option<(Decimal, bool)>; 2]>),
    /// Without the bits behind the prefix.
    Cidr(IpNet),
    Regex(Box<str>),
    Exists(bool),
}

impl PredicateKey {
    /// Of a predicate.
    #[must_use]
    pub fn of(predicate: &Predicate) -> Self {
        Self(match predicate {
            Predicate::Equals(scalar) => Asks::of_scalar(scalar),
            Predicate::Prefix(text) => Asks::Prefix(text.clone()),
            Predicate::Suffix(text) => Asks::Suffix(text.clone()),
            Predicate::EqualsIgnoreCase(folded) => Asks::EqualsIgnoreCase(folded.folded()),
            Predicate::PrefixIgnoreCase(folded) => Asks::PrefixIgnoreCase(folded.folded()),
            Predicate::SuffixIgnoreCase(folded) => Asks::SuffixIgnoreCase(folded.folded()),
            Predicate::Wildcard(wildcard) => Asks::of_pieces(wildcard.literals()),
            Predicate::AnythingBut(exclusions) => {
                Asks::AnythingBut(set(exclusions.iter().map(|exclusion| Self(Asks::of_exclusion(exclusion)))))
            }
            Predicate::Numeric(range) => {
                Asks::Numeric(Box::new(range.ends().map(|end| end.map(|bound| (bound.at, bound.inclusive)))))
            }
            Predicate::Cidr(block) => Asks::Cidr(block.trunc()),
            Predicate::Regex(pattern) => Asks::Regex(pattern.source.clone()),
            Predicate::Exists(wanted) => Asks::Exists(*wanted),
        })
    }
}

impl Asks {
    fn of_scalar(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Number(number) => Self::Number(Box::new(number.0.clone())),
            Scalar::String(text) => Self::String(text.clone()),
        }
    }

    fn of_exclusion(exclusion: &Exclusion) -> Self {
        match exclusion {
            Exclusion::Equals(scalar) => Self::of_scalar(scalar),
            Exclusion::Prefix(text) => Self::Prefix(text.clone()),
            Exclusion::Suffix(text) => Self::Suffix(text.clone()),
            Exclusion::EqualsIgnoreCase(folded) => Self::EqualsIgnoreCase(folded.folded()),
            Exclusion::Wildcard(wildcard) => Self::of_pieces(wildcard.literals()),
        }
    }

    /// Of a wildcard with these literals before, between and behind its stars. One with a single literal is simpler.
    fn of_pieces(pieces: impl Iterator<Item = SmolStr>) -> Self {
        let pieces: Vec<SmolStr> = pieces.collect();
        match pieces.as_slice() {
            [text] => Self::String(text.clone()),
            [head, tail] if tail.is_empty() => Self::Prefix(head.clone()),
            [head, tail] if head.is_empty() => Self::Suffix(tail.clone()),
            _ => Self::Wildcard(pieces.into()),
        }
    }
}

impl<'p> PatternKey<'p> {
    /// Of a pattern.
    #[must_use]
    pub fn of(pattern: &'p Pattern) -> Self {
        Self::of_nodes(&pattern.root)
    }

    fn of_nodes(nodes: &'p Conjunction) -> Self {
        let node = |node: &'p Node| match node {
            Node::Field(field) => NodeKey::Field(&field.path, set(field.tests.iter().map(PredicateKey::of))),
            Node::Or(branches) => NodeKey::Or(set(branches.iter().map(Self::of_nodes))),
        };
        Self(set(nodes.iter().map(node)))
    }

    /// Whether there is nothing outside of `$or`s but fields.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|node| matches!(node, NodeKey::Field(..)))
    }

    /// The fields outside of `$or`s: the path of each, and the keys of its alternatives, each once and in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'p [Box<str>], &[PredicateKey])> {
        self.0.iter().filter_map(|node| match node {
            NodeKey::Field(path, tests) => Some((*path, &**tests)),
            NodeKey::Or(_) => None,
        })
    }
}

fn set<T: Ord>(items: impl Iterator<Item = T>) -> Set<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::Seen;
    use super::super::tests::convert;
    use super::*;

    fn parse(predicate: &Json) -> Predicate {
        let pattern = Pattern::parse(&convert(&json!({"f": [predicate]}))).unwrap();
        pattern.fields().next().unwrap().tests[0].clone()
    }

    fn key(predicate: &Json) -> PredicateKey {
        PredicateKey::of(&parse(predicate))
    }

    fn raw(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_asks_the_same_has_the_same_key() {
        for (one, other) in [
            ("7", "7.0"),
            ("7", "70e-1"),
            ("0", "-0.0"),
            (r#"{"numeric": [">=", 1, "<", 2]}"#, r#"{"numeric": [">=", 1.0, "<", 20e-1]}"#),
            (r#"{"equals-ignore-case": "LLaMA"}"#, r#"{"equals-ignore-case": "llama"}"#),
            (r#"{"prefix": {"equals-ignore-case": "A"}}"#, r#"{"prefix": {"equals-ignore-case": "a"}}"#),
            (r#"{"suffix": {"equals-ignore-case": "É"}}"#, r#"{"suffix": {"equals-ignore-case": "é"}}"#),
            (r#"{"wildcard": "a*"}"#, r#"{"prefix": "a"}"#),
            (r#"{"wildcard": "*a"}"#, r#"{"suffix": "a"}"#),
            (r#"{"wildcard": "a\\*"}"#, r#""a*""#),
            (r#"{"wildcard": "*\\\\*"}"#, r#"{"wildcard": "*\\\\*"}"#),
            (r#"{"anything-but": ["a", 7]}"#, r#"{"anything-but": [7.0, "a", "a"]}"#),
            (r#"{"cidr": "10.1.9.9/16"}"#, r#"{"cidr": "10.1.0.0/16"}"#),
            (r#"{"regex": "a|b"}"#, r#"{"regex": "a|b"}"#),
        ] {
            assert_eq!(key(&raw(one)), key(&raw(other)), "{one} {other}");
        }
    }

    #[test]
    fn what_asks_something_else_has_another_key() {
        let all = [
            "null",
            "true",
            "false",
            "7",
            "-7",
            r#""7""#,
            r#""a""#,
            r#""A""#,
            r#"{"prefix": "a"}"#,
            r#"{"suffix": "a"}"#,
            r#"{"equals-ignore-case": "a"}"#,
            r#"{"prefix": {"equals-ignore-case": "a"}}"#,
            r#"{"suffix": {"equals-ignore-case": "a"}}"#,
            r#"{"wildcard": "a*b"}"#,
            r#"{"wildcard": "*a*"}"#,
            r#"{"anything-but": "a"}"#,
            r#"{"anything-but": ["a", "b"]}"#,
            r#"{"anything-but": {"prefix": "a"}}"#,
            r#"{"anything-but": {"wildcard": "a*b"}}"#,
            r#"{"numeric": [">", 7]}"#,
            r#"{"numeric": [">=", 7]}"#,
            r#"{"numeric": ["<", 7]}"#,
            r#"{"numeric": ["<=", 7]}"#,
            r#"{"cidr": "10.0.0.0/8"}"#,
            r#"{"cidr": "10.0.0.0/9"}"#,
            r#"{"regex": "a"}"#,
            r#"{"exists": true}"#,
            r#"{"exists": false}"#,
        ];
        let keys: BTreeSet<PredicateKey> = all.iter().map(|text| key(&raw(text))).collect();
        assert_eq!(keys.len(), all.len());
    }

    fn text() -> impl Strategy<Value = String> {
        "[abAé*]{0,3}"
    }

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            4 => text().prop_map(Json::String),
            3 => prop::sample::select(vec!["0", "-0", "1", "1.0", "10e-1", "2", "-1"]).prop_map(raw),
            1 => prop::sample::select(vec!["null", "true", "false", "\"10.1.0.1\"", "\"10.2.0.1\""]).prop_map(raw),
        ]
    }

    fn predicate() -> impl Strategy<Value = Json> {
        let wildcard = "([abA]|\\\\\\*){0,2}\\*?[ab]{0,2}";
        prop_oneof![
            4 => scalar(),
            1 => text().prop_map(|text| json!({"prefix": text})),
            1 => text().prop_map(|text| json!({"suffix": text})),
            1 => text().prop_map(|text| json!({"equals-ignore-case": text})),
            1 => text().prop_map(|text| json!({"prefix": {"equals-ignore-case": text}})),
            1 => text().prop_map(|text| json!({"suffix": {"equals-ignore-case": text}})),
            3 => wildcard.prop_map(|text| json!({"wildcard": text})),
            2 => prop::collection::vec(scalar(), 1..3).prop_map(|list| json!({"anything-but": list})),
            1 => wildcard.prop_map(|text| json!({"anything-but": {"wildcard": text}})),
            2 => (prop::sample::select(vec!["<", "<=", ">", ">=", "="]), prop::sample::select(vec!["1", "1.0", "2"]))
                .prop_map(|(sign, number)| json!({"numeric": [sign, raw(number)]})),
            1 => prop::sample::select(vec!["10.1.0.0/16", "10.1.9.9/16", "10.0.0.0/8"])
                .prop_map(|block| json!({"cidr": block})),
            1 => prop::sample::select(vec!["a", "a|b", "(a|b)"]).prop_map(|regex| json!({"regex": regex})),
            1 => any::<bool>().prop_map(|wanted| json!({"exists": wanted})),
        ]
    }

    fn parsed() -> impl Strategy<Value = Predicate> {
        predicate().prop_filter_map("not every predicate is allowed", |predicate| {
            let pattern = Pattern::parse(&convert(&json!({"f": [predicate]}))).ok()?;
            Some(pattern.fields().next()?.tests.first()?.clone())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn equal_keys_match_the_same(
            predicates in prop::collection::vec(parsed(), 2..20),
            seen in prop::collection::vec(scalar(), 1..20),
        ) {
            let seen: Vec<Seen<'_>> = seen.iter().map(|scalar| match scalar {
                Json::Null => Seen::Null,
                Json::Bool(value) => Seen::Bool(*value),
                Json::Number(number) => Seen::Number(Decimal::parse(&number.to_string()).unwrap()),
                other => Seen::String(other.as_str().unwrap().into()),
            }).collect();
            for one in &predicates {
                let key = PredicateKey::of(one);
                prop_assert_eq!(&key, &PredicateKey::of(&one.clone()));
                for other in &predicates {
                    if one == other {
                        prop_assert_eq!(&key, &PredicateKey::of(other));
                    }
                    if key == PredicateKey::of(other) {
                        prop_assert_eq!(one.wants_absence(), other.wants_absence());
                        for value in &seen {
                            prop_assert_eq!(one.matches(value), other.matches(value), "{} {} {:?}", one, other, value);
                        }
                    }
                }
            }
        }

        #[test]
        fn the_order_of_a_pattern_is_nothing_to_its_key(
            fields in prop::collection::btree_map("[a-d]", prop::collection::vec(predicate(), 1..4), 0..4),
            or in prop::collection::vec(("[a-d]", predicate()), 0..3),
        ) {
            let pattern = |backwards: bool| {
                let mut fields: Vec<(String, Json)> = fields.iter().map(|(name, tests)| {
                    let mut tests = tests.clone();
                    if backwards { tests.reverse(); }
                    (name.clone(), Json::Array(tests))
                }).collect();
                let mut branches: Vec<Json> = or.iter().map(|(name, test)| json!({name: [test]})).collect();
                if backwards { fields.reverse(); branches.reverse(); }
                if !branches.is_empty() { fields.push(("$or".to_owned(), Json::Array(branches))); }
                let value = super::super::Value::Map(fields.iter().map(|(name, tests)| (name.clone(), convert(tests))).collect());
                Pattern::parse(&value).ok()
            };
            let patterns = [pattern(false), pattern(true)];
            let [forwards, backwards] = patterns.each_ref().map(|pattern| pattern.as_ref().map(PatternKey::of));
            prop_assert_eq!(forwards, backwards);
        }
    }

    #[test]
    fn patterns_of_other_fields_or_branches_have_other_keys() {
        let all = [
            "{}",
            r#"{"a": ["x"]}"#,
            r#"{"b": ["x"]}"#,
            r#"{"a": ["x", "y"]}"#,
            r#"{"a": ["x"], "b": ["x"]}"#,
            r#"{"a": {"b": ["x"]}}"#,
            r#"{"a.b": ["x"]}"#,
            r#"{"$or": [{"a": ["x"]}, {"b": ["x"]}]}"#,
            r#"{"$or": [{"a": ["x"], "b": ["x"]}]}"#,
        ];
        let patterns = all.map(|text| Pattern::parse(&convert(&raw(text))).unwrap());
        let keys: BTreeSet<PatternKey<'_>> = patterns.iter().map(PatternKey::of).collect();
        assert_eq!(keys.len(), all.len());
    }
}
