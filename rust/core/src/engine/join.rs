//! Which messages can be sent to which clusters, and which messages a route may take.

use super::intake::METHODS;
use crate::dialect::{Attribute, Dialect, Kind, LISTED, Source, entry};
use crate::pattern::{Conjunction, Field, Node, Pattern, Predicate, Scalar, Seen};

/// A sort of message: its dialect and its kind.
type Sort = (Dialect, Option<Kind>);

/// Whether a message can be sent to a cluster that speaks `speaks`: in its own dialect unchanged, and an envelope of kind
/// `model` translated to the OpenAI API.
pub(super) fn joins(dialect: Dialect, kind: Option<Kind>, speaks: Dialect) -> bool {
    dialect == speaks
        || (dialect == Dialect::Envelope && kind == Some(Kind::Model) && speaks == Dialect::OpenAi)
}

/// Whether a message must be translated for a cluster that it can be sent to.
pub(super) fn translates(dialect: Dialect, speaks: Dialect) -> bool {
    dialect != speaks
}

/// Every sort of message that a listener accepts, with the start lines of its requests. A head without a path stands for all
/// unlisted paths.
fn sorts() -> impl Iterator<Item = (Sort, Vec<Head>)> {
    let heads =
        |path, methods: &'static [&'static str]| methods.iter().map(move |&method| Head { path, method });
    let listed = |path: &'static str| heads(Some(path), entry(path).map_or(&[][..], |entry| entry.methods));
    let envelopes =
        Kind::ALL.map(|kind| ((Dialect::Envelope, Some(kind)), listed("/v1/envelopes").collect()));
    let models = LISTED.into_iter().filter(|path| entry(path).is_some_and(|entry| entry.kind.is_some()));
    let models = ((Dialect::OpenAi, Some(Kind::Model)), models.flat_map(listed).collect());
    let others = ((Dialect::OpenAi, None), heads(None, METHODS).collect());
    envelopes.into_iter().chain([models, others])
}

/// The parts of a request's start line that patterns see.
#[derive(Clone, Copy)]
struct Head {
    path: Option<&'static str>,
    method: &'static str,
}

/// The sorts of message that a pattern may match, judged by its `kind`, `dialect`, `path` and `method`: first those that can be
/// sent to a cluster that speaks `speaks`, then those that cannot.
pub(super) fn split(pattern: &Pattern, speaks: Dialect) -> (Vec<Sort>, Vec<Sort>) {
    // Requests to unlisted paths only go to routes that test the path.
    let by_path = pattern.tests("path");
    let reached = |(_, kind): &Sort| kind.is_some() || by_path;
    let matches = |(sort, heads): &(Sort, Vec<Head>)| {
        reached(sort) && heads.iter().any(|head| all(&pattern.root, *sort, *head))
    };
    let matching = sorts().filter(matches).map(|(sort, _)| sort);
    matching.partition(|(dialect, kind)| joins(*dialect, *kind, speaks))
}

/// Describes sorts in words, such as `envelopes of kind query, tool and OpenAI requests`.
pub(super) fn describe(sorts: &[Sort]) -> String {
    let kinds = sorts.iter().filter(|(dialect, _)| *dialect == Dialect::Envelope);
    let kinds: Vec<&str> = kinds.filter_map(|(_, kind)| kind.map(Kind::name)).collect();
    let mut parts = Vec::new();
    if !kinds.is_empty() {
        parts.push(format!("envelopes of kind {}", kinds.join(", ")));
    }
    if sorts.iter().any(|(dialect, _)| *dialect == Dialect::OpenAi) {
        parts.push("OpenAI requests".to_owned());
    }
    parts.join(" and ")
}

fn all(nodes: &Conjunction, sort: Sort, head: Head) -> bool {
    nodes.iter().all(|node| match node {
        Node::Field(field) => may_hold(field, sort, head),
        Node::Or(branches) => branches.iter().any(|branch| all(branch, sort, head)),
    })
}

fn may_hold(field: &Field, (dialect, kind): Sort, head: Head) -> bool {
    let Some((name, inner)) = field.path.split_first() else { return true };
    let absent = |attribute: Attribute| attribute.source(dialect) == Source::Absent;
    // Neither the body nor the headers of such a message can carry this attribute.
    if name.as_ref() != "kind" && Attribute::parse(name).is_some_and(absent) {
        return field.tests.iter().any(Predicate::wants_absence);
    }
    if !inner.is_empty() {
        return true;
    }
    let holds = |text: &str| field.tests.iter().any(|test| test.matches(&Seen::String(text.into())));
    match &**name {
        "dialect" => holds(dialect.name()),
        "kind" => match kind {
            Some(kind) => holds(kind.name()),
            None => field.tests.iter().any(Predicate::wants_absence),
        },
        "method" => holds(head.method),
        "path" => match head.path {
            Some(path) => holds(path),
            // The path is unlisted. Only an equality with a listed path can be ruled out.
            None => field.tests.iter().any(|test| match test {
                Predicate::Equals(Scalar::String(path)) => {
                    entry(path).is_some_and(|entry| entry.dialect == dialect && entry.kind.is_none())
                }
                _ => true,
            }),
        },
        _ => true,
    }
}
