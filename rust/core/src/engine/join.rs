//! Which messages can be sent to which clusters, and which messages a route may take.

use crate::dialect::{At, Attribute, Dialect, Entry, Kind, Kinds, PathSpec, Source, entry};
use crate::pattern::{Conjunction, Field, Node, Pattern, Predicate, Scalar, Seen};
use crate::translate::Format;

/// A sort of message: its dialect and its kind.
type Sort = (Dialect, Option<Kind>);

/// Every sort of message that a listener takes, by its format, with the heads that its requests have.
fn sorts() -> Vec<(Sort, Option<Format>, Vec<Head>)> {
    let mut sorts: Vec<(Sort, Option<Format>, Vec<Head>)> = Vec::new();
    for dialect in Dialect::ALL {
        for path in dialect.spec().paths {
            for requests in path.requests {
                let kinds = match requests.kinds {
                    Kinds::Path(kind) => &[Some(kind)],
                    Kinds::Body(kinds) => kinds,
                    Kinds::Nothing => &[None],
                };
                let heads = requests.methods.iter().map(|&method| Head { path, method });
                for kind in kinds {
                    let sort = (dialect, *kind);
                    match sorts.iter_mut().find(|(found, format, _)| (*found, *format) == (sort, path.format))
                    {
                        Some((.., found)) => found.extend(heads.clone()),
                        None => sorts.push((sort, path.format, heads.clone().collect())),
                    }
                }
            }
        }
    }
    sorts
}

/// The parts of a request's start line that patterns see.
#[derive(Clone, Copy)]
struct Head {
    path: &'static PathSpec,
    method: &'static str,
}

/// The sorts of message that a pattern may match, judged by its `kind`, `dialect`, `path` and `method`: first those that can be
/// sent to a cluster that speaks `speaks`, then those of which none can.
pub(super) fn split(pattern: &Pattern, speaks: Dialect) -> (Vec<Sort>, Vec<Sort>) {
    // Requests to unlisted paths only go to routes that test the path.
    let by_path = pattern.tests("path");
    let matches = |(sort, _, heads): &(Sort, Option<Format>, Vec<Head>)| {
        heads.iter().any(|head| (head.path.listed || by_path) && all(&pattern.root, *sort, *head))
    };
    let (mut fit, mut unfit): (Vec<Sort>, Vec<Sort>) = (Vec::new(), Vec::new());
    for (sort, format, _) in sorts().into_iter().filter(matches) {
        let (dialect, kind) = sort;
        let list = if dialect.joins(kind, format, speaks) { &mut fit } else { &mut unfit };
        if !list.contains(&sort) {
            list.push(sort);
        }
    }
    unfit.retain(|sort| !fit.contains(sort));
    (fit, unfit)
}

/// Describes sorts in words, such as `envelopes of kind query, tool and OpenAI requests`.
pub(super) fn describe(sorts: &[Sort]) -> String {
    let of = |dialect: Dialect| {
        let kinds: Vec<Option<Kind>> =
            sorts.iter().filter(|(of, _)| *of == dialect).map(|(_, kind)| *kind).collect();
        let many = dialect.spec().words.many;
        // Where the path says the kind, there is no need to.
        let told = matches!(dialect.spec().source(Attribute::Kind), Source::Body(_) | Source::Computed(_));
        let names: Vec<&str> = kinds.iter().flatten().filter(|_| told).map(|kind| kind.name()).collect();
        match (kinds.as_slice(), names.as_slice(), told && kinds.contains(&None)) {
            ([], ..) => None,
            (_, [], false) => Some(many.to_owned()),
            (_, [], true) => Some(format!("{many} of no kind")),
            (_, names, false) => Some(format!("{many} of kind {}", names.join(", "))),
            (_, names, true) => Some(format!("{many} of kind {} or none", names.join(", "))),
        }
    };
    Dialect::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join(" and ")
}

fn all(nodes: &Conjunction, sort: Sort, head: Head) -> bool {
    nodes.iter().all(|node| match node {
        Node::Field(field) => may_hold(field, sort, head),
        Node::Or(branches) => branches.iter().any(|branch| all(branch, sort, head)),
    })
}

fn may_hold(field: &Field, (dialect, kind): Sort, head: Head) -> bool {
    let Some((name, inner)) = field.path.split_first() else { return true };
    let absent = |attribute: Attribute| matches!(dialect.spec().source(attribute), Source::Absent);
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
        "path" => match head.path.at {
            At::Exactly(path) => holds(path),
            // A path that is none of the named ones.
            At::Below(begin) => field.tests.iter().any(|test| match test {
                Predicate::Equals(Scalar::String(path)) => {
                    entry(path) == Some(Entry { dialect, path: head.path })
                }
                Predicate::Prefix(text) => text.starts_with(begin) || begin.starts_with(&**text),
                _ => true,
            }),
        },
        _ => true,
    }
}
