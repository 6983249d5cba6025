//! Checks of a configuration's routes and clusters: problems, and warnings about what is valid but probably unintended.

use hashbrown::{HashMap, HashSet};

use super::snapshot::Config;
use super::warnings::{Concern, Warnings};
use super::{join, upstream_head};
use crate::cluster::{Cluster, Credential};
use crate::pattern::{Pattern, Problem, Step};
use crate::table::{Cost, Linear, RouteSpec, RouteTable};

/// The positions of clusters by name.
pub(super) fn positions(config: &Config) -> HashMap<&str, usize> {
    config.clusters.iter().map(|cluster| cluster.name.as_str()).zip(0..).collect()
}

pub(super) fn unknown_clusters(config: &Config, names: &HashMap<&str, usize>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, spec) in config.routes.iter().enumerate() {
        for (at, name) in named(spec) {
            if !names.contains_key(name) {
                let mut known: Vec<&str> = names.keys().copied().collect();
                known.sort_unstable();
                let message = format!("unknown cluster `{name}`; known: {}", known.join(", "));
                problems.push(Problem { path: route_path(index, at), message });
            }
        }
    }
    problems
}

/// Problems of the clusters' policies.
pub(super) fn policies(config: &Config) -> Vec<Problem> {
    let of = |cluster: &Cluster| {
        let within = ["clusters", &cluster.name].map(|key| Step::Key(key.to_owned()));
        cluster.policy.problems().into_iter().map(move |problem| Problem {
            path: within.iter().cloned().chain(problem.path).collect(),
            message: problem.message,
        })
    };
    config.clusters.iter().flat_map(of).collect()
}

/// Problems of credentials that cannot be sent as configured.
pub(super) fn credentials(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for cluster in &config.clusters {
        if let Credential::Header { name, .. } = &cluster.credential
            && !upstream_head::may_carry_credential(name)
        {
            let path =
                ["clusters", &cluster.name, "credential", "header"].map(|key| Step::Key(key.to_owned()));
            let message = format!(
                "`{name}` cannot carry a credential: it frames or describes the message itself; use another field \
                 (authorization, x-api-key, …)"
            );
            problems.push(Problem { path: path.to_vec(), message });
        }
    }
    problems
}

/// Warns if there are no routes, and of clusters that no route names.
pub(super) fn unused(config: &Config) -> Vec<Problem> {
    if config.routes.is_empty() {
        let message = "there are no routes, so every message is refused".to_owned();
        return vec![Problem { path: vec![Step::Key("routes".into())], message }];
    }
    let used: HashSet<&str> = config.routes.iter().flat_map(named).map(|(_, name)| name).collect();
    let unused = config.clusters.iter().filter(|cluster| !used.contains(cluster.name.as_str()));
    let warn = |cluster: &Cluster| Problem {
        path: vec![Step::Key("clusters".into()), Step::Key(cluster.name.clone())],
        message: "no route names this cluster".to_owned(),
    };
    unused.map(warn).collect()
}

/// Warns of statuses that a policy retries in vain: with the callers' own credential, they concern the caller alone.
pub(super) fn statuses(config: &Config) -> Vec<Problem> {
    let passing = config.clusters.iter().filter(|cluster| cluster.credential == Credential::Pass);
    let warn = |cluster: &Cluster| {
        let found = cluster.policy.retry.statuses.iter().find(|status| matches!(status, 401 | 403))?;
        let path = ["clusters", &cluster.name, "retry", "statuses"].map(|key| Step::Key(key.to_owned()));
        let message = format!(
            "with `credential: pass`, a {found} concerns the caller's own key and is answered at once, never retried"
        );
        Some(Problem { path: path.to_vec(), message })
    };
    passing.filter_map(warn).collect()
}

/// Warns of routes that are tried one by one for some messages.
pub(super) fn linear(table: &RouteTable, cost: &Cost) -> Vec<Problem> {
    let warn = |group: &Linear| {
        let message = format!(
            "{} are tried one by one where {}: the index cannot look up their other conditions. \
             Give each route its own value, prefix or range, or merge the routes by listing their values",
            shown(table, &group.rules),
            group.when,
        );
        at_first(table, group, message)
    };
    cost.linear.iter().map(warn).collect()
}

/// Warns of routes with conditions that are compared with each value of an array.
pub(super) fn per_value(table: &RouteTable, cost: &Cost) -> Vec<Problem> {
    let warn = |group: &Linear| {
        let message = format!(
            "the conditions of {} are compared with {}, one by one: a message with many values there takes long, and is refused \
             (`too_costly`) if it takes too long. Test a field beside them that tells the routes apart by a value or a prefix",
            shown(table, &group.rules),
            group.when,
        );
        at_first(table, group, message)
    };
    // Those that are tried one by one for some messages are warned of already.
    let is_known = |group: &&Linear| {
        cost.linear
            .iter()
            .any(|linear| group.rules.iter().all(|rank| linear.rules.binary_search(rank).is_ok()))
    };
    cost.per_value.iter().filter(|group| !is_known(group)).map(warn).collect()
}

/// A problem at the first route of a group.
fn at_first(table: &RouteTable, group: &Linear, message: String) -> Problem {
    let index = group.rules.first().and_then(|rank| table.position(*rank)).unwrap_or_default();
    Problem { path: route_path(index, vec![Step::Key("match".into())]), message }
}

/// The number of some routes, and the names of the first of them.
fn shown(table: &RouteTable, ranks: &[usize]) -> String {
    const NAMED: usize = 3;
    let name = |rank: &usize| Some(format!("`{}`", table.decision(*rank)?.route));
    let names: Vec<String> = ranks.iter().take(NAMED).filter_map(name).collect();
    let more = match ranks.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let routes = if ranks.len() == 1 { "route" } else { "routes" };
    format!("{} {routes} ({}{more})", ranks.len(), names.join(", "))
}

/// Checks that the messages of a route can be sent to the clusters that it names.
pub(super) fn join_route(
    config: &Config,
    names: &HashMap<&str, usize>,
    index: usize,
    pattern: &Pattern,
    problems: &mut Vec<Problem>,
    warnings: &mut Warnings,
) {
    let Some(spec) = config.routes.get(index) else { return };
    for (at, name) in named(spec) {
        let Some(cluster) = names.get(name).and_then(|at| config.clusters.get(*at)) else { continue };
        let (fit, unfit) = join::split(pattern, cluster.speaks);
        if unfit.is_empty() {
            if fit.is_empty() && at.len() == 1 {
                warnings.add(Concern::Impossible, || Problem {
                    path: route_path(index, vec![Step::Key("match".into())]),
                    message:
                        "no message can match: no accepted request has this kind, dialect, path and method"
                            .to_owned(),
                });
            }
            continue;
        }
        let speaks = || format!("cluster `{name}` speaks {}", cluster.speaks);
        if fit.is_empty() {
            let (speaks, unfit) = (speaks(), join::describe(&unfit));
            let message = format!("{speaks}: {unfit} cannot be sent to it");
            problems.push(Problem { path: route_path(index, at), message });
        } else {
            warnings.add(Concern::Unjoinable, || {
                let then = match at.as_slice() {
                    [_] => "Such messages go to the `fallback` of this route, or are refused",
                    [Step::Key(key), _] if key == "mirror" => "Such messages are not copied",
                    _ => "Such messages skip this cluster",
                };
                let (speaks, unfit) = (speaks(), join::describe(&unfit));
                let message = format!(
                    "this route also matches {unfit}, which cannot be sent on: {speaks}. {then}; narrow `match` by \
                     kind or dialect"
                );
                Problem { path: route_path(index, at), message }
            });
        }
    }
}

/// The clusters that a route names, each with its path in the route.
fn named(spec: &RouteSpec) -> impl Iterator<Item = (Vec<Step>, &str)> {
    let to = spec.to.iter().map(|name| (vec![Step::Key("to".into())], name.as_str()));
    let fallback = spec.fallback.iter().enumerate();
    let place = |index| vec![Step::Key("fallback".into()), Step::Index(index)];
    let mirror = spec
        .mirror
        .iter()
        .map(|mirror| (vec![Step::Key("mirror".into()), Step::Key("to".into())], mirror.to.as_str()));
    to.chain(fallback.map(move |(index, name)| (place(index), name.as_str()))).chain(mirror)
}

pub(super) fn route_path(index: usize, within: Vec<Step>) -> Vec<Step> {
    [Step::Key("routes".into()), Step::Index(index)].into_iter().chain(within).collect()
}
