//! One compiled configuration.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::id::{Ids, header_safe};
use super::intake::{Intake, Refusal, Request};
use super::{join, upstream_head};
use crate::cluster::{Cluster, Credential, order};
use crate::dialect::Kind;
use crate::http1::{self, BodyLength};
use crate::json::Options;
use crate::pattern::{Conjunction, Node, Pattern, Problem, Step};
use crate::table::{Decision, Envelope, Message, MessageError, NoRoute, RouteSpec, RouteTable, parse};

/// What a snapshot is compiled from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Routes as written.
    pub routes: Vec<RouteSpec>,
    /// Clusters, names unique.
    pub clusters: Vec<Cluster>,
    /// Bounds on messages.
    pub limits: Limits,
}

/// Bounds on messages.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A request's target and header fields, in bytes.
    pub header: usize,
    /// What JSON is accepted.
    pub json: Options,
}

/// Routes and clusters, ready for messages. Immutable and without state: a reload makes another one.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub table: Arc<RouteTable>,
    clusters: Vec<Cluster>,
    /// By rank, the clusters of the decision, first to last.
    ways: Vec<Vec<usize>>,
    pub(super) limits: Limits,
    /// What is legal but probably not meant: where, and why.
    pub warnings: Vec<Problem>,
}

/// An endpoint of a snapshot: positions of its cluster and, in that, of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointAt {
    /// Position of the cluster.
    pub cluster: usize,
    /// Position of the endpoint in it.
    pub endpoint: usize,
}

/// One message's way.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rank of the route that takes it.
    pub rank: usize,
    /// What it says of itself.
    pub envelope: Envelope,
    /// The message's id.
    pub id: String,
    /// The id as a header field can carry it.
    pub request_id: String,
    /// Whether it may be sent again after it may have been executed.
    pub idempotent: bool,
    /// Whom to try, in order.
    pub endpoints: Vec<EndpointAt>,
}

/// Why a message gets no plan.
#[derive(Clone, Debug)]
pub enum NoPlan {
    /// It is not acceptable.
    Message(MessageError),
    /// No route takes it.
    Route {
        /// The message's id.
        id: String,
        /// What was seen of it.
        none: NoRoute,
    },
    /// A route takes it, to no cluster that speaks its language.
    Unjoinable {
        /// The message's id.
        id: String,
        /// Which route and clusters.
        message: String,
    },
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Every problem in it, with paths from the root of the configuration.
    pub fn compile(config: Config) -> Result<Self, Vec<Problem>> {
        let names = positions(&config);
        let mut problems = unknown_clusters(&config, &names);
        let Ok(table) = RouteTable::compile(&config.routes, config.limits.json) else {
            // The patterns are parsed once more, for which only a configuration that is wrong has to wait.
            problems.extend(Self::problems(&config));
            return Err(problems);
        };
        problems.extend(credentials(&config));
        let mut warnings = unreachable(&table);
        for (index, pattern) in table.patterns() {
            join_route(&config, &names, index, pattern, &mut problems, &mut warnings);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let position = |name: &String| names.get(name.as_str()).copied();
        let decided = |decision: &Decision| -> Vec<usize> {
            decision.cluster.iter().chain(&decision.fallback).filter_map(position).collect()
        };
        let ways = table.decisions().iter().map(decided).collect();
        drop(names);
        Ok(Self { table: Arc::new(table), clusters: config.clusters, ways, limits: config.limits, warnings })
    }

    /// Every problem in a configuration of which a part is not known: patterns may hold [`Value::Unknown`], and
    /// routes may name clusters that are not there, of which nothing is said.
    ///
    /// [`Value::Unknown`]: crate::pattern::Value::Unknown
    #[must_use]
    pub fn problems(config: &Config) -> Vec<Problem> {
        let names = positions(config);
        let mut problems = credentials(config);
        for (index, spec) in config.routes.iter().enumerate() {
            match parse(&spec.pattern) {
                Ok(pattern) => join_route(config, &names, index, &pattern, &mut problems, &mut Vec::new()),
                Err(found) => problems.extend(found.into_iter().map(|problem| {
                    let within = [Step::Key("match".into())].into_iter().chain(problem.path).collect();
                    Problem { path: route_path(index, within), message: problem.message }
                })),
            }
        }
        problems
    }

    /// The clusters.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Looks at a request's head.
    ///
    /// # Errors
    /// Where it can be refused without reading on.
    pub fn accept(&self, request: Request, ids: &Ids) -> Result<Intake, Refusal> {
        Intake::accept(request, self.limits.header, || ids.id())
    }

    /// Decides where a message goes. `body` is `None` where there is none or where it is not to be read.
    ///
    /// # Errors
    /// Where the message is not acceptable, or no route takes it.
    pub fn plan(&self, intake: &Intake, body: Option<&[u8]>, ids: &Ids) -> Result<Plan, NoPlan> {
        let headers = intake.headers();
        // A body that is needed and is not there is no message; one that is not needed may be empty.
        let body = if intake.json { body.or(Some(b"")) } else { body.filter(|body| !body.is_empty()) };
        let message = Message {
            dialect: intake.dialect,
            kind: intake.kind,
            method: &intake.request.method,
            path: intake.path(),
            headers: &headers,
            client: intake.request.client.as_deref(),
            identity: None,
            body,
        };
        let decided = self.table.decide(&message).map_err(NoPlan::Message)?;
        let envelope = decided.envelope;
        let id = envelope.id.clone().unwrap_or_else(|| intake.id.clone());
        let rank = match decided.decision {
            Ok(rank) => rank,
            Err(none) => return Err(NoPlan::Route { id, none }),
        };
        let mut endpoints = Vec::new();
        let mut passed_over = Vec::new();
        for &position in self.ways.get(rank).map_or(&[][..], Vec::as_slice) {
            let Some(cluster) = self.clusters.get(position) else { continue };
            if !join::joins(intake.dialect, envelope.kind, cluster.speaks) {
                passed_over.push(format!("`{}` speaks {}", cluster.name, cluster.speaks));
                continue;
            }
            let weights: Vec<u32> = cluster.endpoints.iter().map(crate::cluster::Endpoint::weight).collect();
            let order = order(&weights, ids.number());
            endpoints.extend(order.into_iter().map(|endpoint| EndpointAt { cluster: position, endpoint }));
        }
        if endpoints.is_empty() && !passed_over.is_empty() {
            let route = self.table.decision(rank).map_or("", |decision| decision.route.as_str());
            let sort = join::describe(&[(intake.dialect, envelope.kind)]);
            let clusters = passed_over.join(", ");
            let message =
                format!("route `{route}` takes this message, but {sort} cannot be sent on: {clusters}");
            return Err(NoPlan::Unjoinable { id, message });
        }
        let safe_method =
            matches!(intake.request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
        let idempotent = envelope.kind.map_or(safe_method, Kind::idempotent);
        Ok(Plan { rank, request_id: header_safe(&id), id, idempotent, endpoints, envelope })
    }

    /// The head of one attempt, through its empty line; `None` where the snapshot has no such endpoint.
    ///
    /// # Errors
    /// Where the client's own fields cannot be sent on: framing, or bytes that no field may hold.
    pub fn head(
        &self,
        intake: &Intake,
        plan: &Plan,
        at: EndpointAt,
        body: BodyLength,
        remaining_ms: Option<u64>,
    ) -> Result<Option<Vec<u8>>, http1::Error> {
        let Some(cluster) = self.clusters.get(at.cluster) else { return Ok(None) };
        let Some(endpoint) = cluster.endpoints.get(at.endpoint) else { return Ok(None) };
        upstream_head::write(intake, plan, cluster, endpoint, body, remaining_ms).map(Some)
    }

    /// Whether a message needs no translation for any endpoint that it may go to.
    #[must_use]
    pub fn forwards(&self, intake: &Intake, plan: &Plan) -> bool {
        !plan.endpoints.iter().any(|at| self.translates(intake, *at))
    }

    /// Whether a message must be translated for an endpoint.
    #[must_use]
    pub fn translates(&self, intake: &Intake, at: EndpointAt) -> bool {
        self.clusters.get(at.cluster).is_some_and(|c| join::translates(intake.dialect, c.speaks))
    }
}

/// The clusters' positions by name.
fn positions(config: &Config) -> HashMap<&str, usize> {
    config.clusters.iter().map(|cluster| cluster.name.as_str()).zip(0..).collect()
}

fn unknown_clusters(config: &Config, names: &HashMap<&str, usize>) -> Vec<Problem> {
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

/// Credentials that cannot be sent as they are configured.
fn credentials(config: &Config) -> Vec<Problem> {
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

/// Whether what a route takes can be sent to the clusters that it names.
fn join_route(
    config: &Config,
    names: &HashMap<&str, usize>,
    index: usize,
    pattern: &Pattern,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    let Some(spec) = config.routes.get(index) else { return };
    for (at, name) in named(spec) {
        let Some(cluster) = names.get(name).and_then(|at| config.clusters.get(*at)) else { continue };
        let (fit, unfit) = join::split(pattern, cluster.speaks);
        if unfit.is_empty() {
            if fit.is_empty() && at.len() == 1 {
                let message = "no message can match: none that is taken in has such a kind, dialect and path";
                let path = route_path(index, vec![Step::Key("match".into())]);
                warnings.push(Problem { path, message: message.to_owned() });
            }
            continue;
        }
        let unfit = join::describe(&unfit);
        let speaks = format!("cluster `{name}` speaks {}", cluster.speaks);
        if fit.is_empty() {
            let message = format!("{speaks}: {unfit} cannot be sent to it");
            problems.push(Problem { path: route_path(index, at), message });
        } else {
            let then = if at.len() == 1 {
                "Those go to its `fallback`, or are refused"
            } else {
                "Those pass it over"
            };
            let message = format!(
                "this route also matches {unfit}, which cannot be sent on: {speaks}. {then}; narrow `match` by kind or \
                 dialect"
            );
            warnings.push(Problem { path: route_path(index, at), message });
        }
    }
}

/// The clusters that a route names, each with its place in the route.
fn named(spec: &RouteSpec) -> impl Iterator<Item = (Vec<Step>, &str)> {
    let to = spec.to.iter().map(|name| (vec![Step::Key("to".into())], name.as_str()));
    let fallback = spec.fallback.iter().enumerate();
    let place = |index| vec![Step::Key("fallback".into()), Step::Index(index)];
    to.chain(fallback.map(move |(index, name)| (place(index), name.as_str())))
}

fn route_path(index: usize, rest: Vec<Step>) -> Vec<Step> {
    [Step::Key("routes".into()), Step::Index(index)].into_iter().chain(rest).collect()
}

/// Routes that come after one that matches everything they match.
fn unreachable(table: &RouteTable) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut all: Option<&str> = None;
    for ((index, pattern), decision) in table.patterns().zip(table.decisions()) {
        let warn = |message| Problem { path: route_path(index, vec![Step::Key("match".into())]), message };
        if let Some(all) = all {
            warnings.push(warn(format!("never reached: route `{all}`, tried before, matches every message")));
        } else if !seen.insert(canonical(&pattern.root)) {
            warnings.push(warn("never reached: a route tried before has the same pattern".to_owned()));
        }
        if pattern.root.is_empty() && all.is_none() {
            all = Some(&decision.route);
        }
    }
    warnings
}

/// A text that equal patterns share.
fn canonical(nodes: &Conjunction) -> String {
    let mut parts: Vec<String> = nodes
        .iter()
        .map(|node| match node {
            Node::Field(field) => {
                let mut tests: Vec<String> = field.tests.iter().map(|test| format!("{test:?}")).collect();
                tests.sort_unstable();
                format!("{:?}{tests:?}", field.path)
            }
            Node::Or(branches) => format!("or{:?}", branches.iter().map(canonical).collect::<Vec<_>>()),
        })
        .collect();
    parts.sort_unstable();
    parts.join("&")
}
