//! One compiled configuration.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::asked::{Answers, Questions};
use super::checks::{
    credentials, join_route, linear, per_value, policies, positions, route_path, statuses, unknown_clusters,
    unused,
};
use super::id::{Ids, header_safe};
use super::intake::{Intake, Rejection, Request, path_of};
use super::origin::Trusted;
use super::shadowed::shadowed_routes;
use super::warnings::{Concern, Warnings};
use super::{join, upstream_head};
use crate::auth::keys::{Admin, Caller, Denied};
use crate::auth::{Identities, Presented, UnixTime};
use crate::cluster::{AddressKey, Cluster, Place};
use crate::dialect::{self, Entry, Kind};
use crate::http1::{self, Announced, BodyLength};
use crate::json::Options;
use crate::pattern::{Problem, Step};
use crate::table::{
    Action, Asked, Decision, Envelope, Explanation, Header, Message, MessageError, NoRoute, RouteSpec,
    RouteTable, parse,
};

/// The input of [`Snapshot::compile`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Routes as written.
    pub routes: Vec<RouteSpec>,
    /// Clusters, with unique names.
    pub clusters: Vec<Cluster>,
    /// API keys.
    pub identities: Identities,
    /// Trusted proxies.
    pub trusted: Trusted,
    /// Names of the listener, and of sites whose pages may send messages, in lower case.
    pub hosts: Vec<String>,
    /// Limits of messages.
    pub limits: Limits,
}

/// Limits of messages.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of a request's target and header fields.
    pub header: usize,
    /// Options for reading JSON.
    pub json: Options,
}

/// Compiled routes and clusters. A snapshot is immutable and has no state; a reload makes another one.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub table: Arc<RouteTable>,
    clusters: Vec<Cluster>,
    /// The positions of each decision's clusters, by rank, in the order in which they are tried.
    decided: Vec<Vec<usize>>,
    identities: Identities,
    trusted: Trusted,
    hosts: Vec<String>,
    pub(super) limits: Limits,
    pub(super) questions: Questions,
    /// Valid but probably unintended parts of the configuration, the first of each kind.
    pub warnings: Vec<Problem>,
}

/// An endpoint of a snapshot, by positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointAt {
    /// Position of the cluster.
    pub cluster: usize,
    /// Position of the endpoint in the cluster.
    pub endpoint: usize,
    /// The address, where the endpoint's addresses are endpoints of their own.
    pub address: Option<AddressKey>,
}

impl EndpointAt {
    /// A place in a cluster of the snapshot, by the cluster's position.
    #[must_use]
    pub fn new(cluster: usize, place: Place) -> Self {
        Self { cluster, endpoint: place.endpoint, address: place.address }
    }

    /// The place in its cluster.
    #[must_use]
    pub fn place(self) -> Place {
        Place { endpoint: self.endpoint, address: self.address }
    }
}

/// A decided message.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rank of the route that takes the message.
    pub rank: usize,
    /// The message's envelope.
    pub envelope: Envelope,
    /// The message's id.
    pub id: String,
    /// Whether the message may be sent again although it may have been executed already.
    pub idempotent: bool,
    /// Positions of the clusters that the message may go to, in order.
    pub clusters: SmallVec<[usize; 4]>,
    /// Position of the cluster that gets a copy of the message.
    pub mirror: Option<usize>,
    /// What the clusters of its route, and of its mirror, ask of it.
    pub(super) answers: Option<Box<Answers>>,
}

impl Plan {
    /// The id, encoded for a header field.
    #[must_use]
    pub fn request_id(&self) -> Cow<'_, str> {
        header_safe(&self.id)
    }

    /// Whether a response without an event, where events were announced, is no answer: a model always has one.
    #[must_use]
    pub fn needs_event(&self) -> bool {
        self.envelope.kind == Some(Kind::Model)
    }
}

/// Why a message has no plan.
#[derive(Clone, Debug)]
pub enum NoPlan {
    /// The message is malformed, or contradicts the caller's identity.
    Message(MessageError),
    /// No route takes the message.
    Route {
        /// The message's id.
        id: String,
        /// Details for the error.
        none: NoRoute,
    },
    /// A route takes the message, but none of its clusters can get it.
    Unjoinable {
        /// The message's id.
        id: String,
        /// The error's message, which names the route and the clusters.
        message: String,
    },
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Every problem in the configuration, with paths from its root.
    pub fn compile(config: Config) -> Result<Self, Vec<Problem>> {
        let names = positions(&config);
        let mut problems = unknown_clusters(&config, &names);
        let (questions, asked) = Questions::of(&config.clusters);
        let Ok(table) = RouteTable::compile_asking(&config.routes, config.limits.json, &asked) else {
            // This parses the patterns again, but only for a wrong configuration.
            problems.extend(Self::problems(&config));
            return Err(problems);
        };
        problems.extend(credentials(&config));
        problems.extend(policies(&config));
        let mut warnings = Warnings::default();
        warnings.extend(Concern::Unused, unused(&config));
        let shadowed = shadowed_routes(&table).into_iter().map(|(index, message)| Problem {
            path: route_path(index, vec![Step::Key("match".into())]),
            message,
        });
        warnings.extend(Concern::Shadowed, shadowed);
        for (index, pattern) in table.patterns() {
            join_route(&config, &names, index, pattern, &mut problems, &mut warnings);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let cost = table.cost();
        warnings.extend(Concern::Linear, linear(&table, &cost));
        warnings.extend(Concern::PerValue, per_value(&table, &cost));
        warnings.extend(Concern::Statuses, statuses(&config));
        let warnings = warnings.told();
        let position = |name: &String| names.get(name.as_str()).copied();
        let decided = |decision: &Decision| -> Vec<usize> {
            decision.cluster.iter().chain(&decision.fallback).filter_map(position).collect()
        };
        let decided = table.decisions().iter().map(decided).collect();
        drop(names);
        let Config { clusters, identities, trusted, hosts, limits, .. } = config;
        let table = Arc::new(table);
        Ok(Self { table, clusters, decided, identities, trusted, hosts, limits, questions, warnings })
    }

    /// Every problem in a configuration of which parts are unknown. Patterns may contain [`Value::Unknown`]. Names of unknown
    /// clusters are not reported.
    ///
    /// [`Value::Unknown`]: crate::pattern::Value::Unknown
    #[must_use]
    pub fn problems(config: &Config) -> Vec<Problem> {
        let names = positions(config);
        let mut problems = credentials(config);
        problems.extend(policies(config));
        for (index, spec) in config.routes.iter().enumerate() {
            match parse(&spec.pattern) {
                Ok(pattern) => {
                    join_route(config, &names, index, &pattern, &mut problems, &mut Warnings::default());
                }
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

    /// Positions of the clusters of a decision, in the order in which they are tried.
    pub(super) fn clusters_of(&self, rank: usize) -> &[usize] {
        self.decided.get(rank).map_or(&[], Vec::as_slice)
    }

    /// Checks a request's head, at a wall-clock time: the proof of its caller may have expired.
    ///
    /// # Errors
    /// The head suffices to reject the request.
    pub fn accept(&self, mut request: Request, now: UnixTime, ids: &Ids) -> Result<Intake, Rejection> {
        let entry = dialect::entry(path_of(&request.target));
        self.accept_read(&mut request, entry, None, now, ids)
    }

    /// Like [`Snapshot::accept`]; for the parameters see [`Intake::accept`].
    pub(super) fn accept_read(
        &self,
        request: &mut Request,
        entry: Option<Entry>,
        announced: Option<Announced>,
        now: UnixTime,
        ids: &Ids,
    ) -> Result<Intake, Rejection> {
        let identify = |request: &Request| self.identities.identify(&request.presented(), now);
        Intake::accept(request, entry, announced, self.limits.header, &self.trusted, identify, ids)
    }

    /// Like [`Snapshot::accept`], for a given caller, whatever the request presents.
    ///
    /// # Errors
    /// Those of [`Snapshot::accept`].
    pub fn accept_of(
        &self,
        mut request: Request,
        caller: Arc<Caller>,
        ids: &Ids,
    ) -> Result<Intake, Rejection> {
        let entry = dialect::entry(path_of(&request.target));
        let identify = |_: &Request| Ok(Some(caller));
        Intake::accept(&mut request, entry, None, self.limits.header, &self.trusted, identify, ids)
    }

    /// Whether callers have to prove who they are.
    pub(super) fn has_identities(&self) -> bool {
        !self.identities.is_empty()
    }

    /// Whether a name is one of `listen.hosts`. IPv6 addresses may be in brackets.
    pub(super) fn admits_host(&self, name: &str) -> bool {
        let name = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(name);
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    /// The caller whose key or certificate has this name.
    #[must_use]
    pub fn caller(&self, name: &str) -> Option<Arc<Caller>> {
        self.identities.named(name).cloned()
    }

    /// Checks that a request that presents this proof may use this much of administration.
    ///
    /// # Errors
    /// Where its caller may not.
    pub fn admit(&self, presented: &Presented<'_>, wanted: Admin, now: UnixTime) -> Result<(), Denied> {
        self.identities.admit(presented, wanted, now)
    }

    /// Why each route does or does not match, judged as by [`Snapshot::plan`].
    ///
    /// # Errors
    /// Those of [`RouteTable::explain`].
    pub fn explain(&self, intake: &Intake, body: Option<&[u8]>) -> Result<Explanation, MessageError> {
        self.table.explain(&message(intake, &intake.headers(), body))
    }

    /// Decides a message. `body` is `None` if there is none, or if it is not to be read.
    ///
    /// # Errors
    /// The message is malformed, or no route takes it.
    pub fn plan(&self, intake: &Intake, body: Option<&[u8]>) -> Result<Plan, NoPlan> {
        let headers = intake.headers();
        let ask = |rank, asked: Asked<'_>| {
            let clusters = self.clusters_of(rank).iter().copied();
            if self.questions.is_empty() {
                None
            } else {
                self.questions.answer(clusters.chain(self.mirror_of(rank)), &asked)
            }
        };
        let (decided, answers) =
            self.table.decide_asking(&message(intake, &headers, body), ask).map_err(NoPlan::Message)?;
        let envelope = decided.envelope;
        let id = envelope.id.clone().unwrap_or_else(|| intake.id.clone());
        let rank = match decided.decision {
            Ok(rank) => rank,
            Err(none) => return Err(NoPlan::Route { id, none }),
        };
        let mut clusters = SmallVec::new();
        let mut passed_over = Vec::new();
        for &position in self.clusters_of(rank) {
            let Some(cluster) = self.clusters.get(position) else { continue };
            if !intake.dialect.joins(envelope.kind, intake.format, cluster.speaks) {
                passed_over.push(format!("`{}` speaks {}", cluster.name, cluster.speaks));
                continue;
            }
            clusters.push(position);
        }
        if clusters.is_empty() && !passed_over.is_empty() {
            let route = self.table.decision(rank).map_or("", |decision| decision.route.as_str());
            let sort = join::describe(&[(intake.dialect, envelope.kind)]);
            let clusters = passed_over.join(", ");
            let message =
                format!("route `{route}` takes this message, but {sort} cannot be sent on: {clusters}");
            return Err(NoPlan::Unjoinable { id, message });
        }
        let idempotent = envelope.kind.map_or_else(|| intake.is_repeatable(), Kind::idempotent);
        let mirror = self.mirror(rank, intake, &envelope, &id);
        Ok(Plan { rank, envelope, id, idempotent, clusters, mirror, answers: answers.flatten() })
    }

    /// The request head for one attempt, including the empty line; `None` if the snapshot has no such endpoint.
    ///
    /// # Errors
    /// A header field of the client cannot be forwarded, because of its framing or its bytes.
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
        let token_proves = intake.caller.is_some() && self.identities.judges_tokens();
        upstream_head::write(intake, plan, cluster, endpoint, body, remaining_ms, token_proves).map(Some)
    }

    /// The position of the cluster that gets a copy of a message, if one does.
    fn mirror(&self, rank: usize, intake: &Intake, envelope: &Envelope, id: &str) -> Option<usize> {
        let mirror = self.table.decision(rank)?.mirror.as_ref()?;
        let position = self.mirror_of(rank)?;
        let speaks = self.clusters.get(position)?.speaks;
        (mirror.takes(id) && intake.dialect.joins(envelope.kind, intake.format, speaks)).then_some(position)
    }

    /// The cluster that gets copies of a route's messages.
    fn mirror_of(&self, rank: usize) -> Option<usize> {
        let mirror = self.table.decision(rank)?.mirror.as_ref()?;
        self.clusters.iter().position(|cluster| cluster.name == mirror.to)
    }

    /// The name of a message's action: `reply`, `forward`, or `translate` if some cluster that it may go to speaks another
    /// dialect.
    #[must_use]
    pub fn action(&self, intake: &Intake, plan: &Plan) -> &'static str {
        match self.table.decision(plan.rank).map(|decision| &decision.action) {
            // An internal call goes to its cluster, whatever its parent's route does.
            Some(action @ Action::Reply(_)) if intake.purpose.is_none() => action.name(),
            _ if self.forwards(intake, plan) => "forward",
            _ => "translate",
        }
    }

    /// Whether a message needs no translation for any endpoint that it may go to.
    #[must_use]
    pub fn forwards(&self, intake: &Intake, plan: &Plan) -> bool {
        !plan.clusters.iter().any(|cluster| self.translates(intake, *cluster))
    }

    /// Whether a message must be translated for the cluster at a position.
    #[must_use]
    pub fn translates(&self, intake: &Intake, cluster: usize) -> bool {
        self.clusters.get(cluster).is_some_and(|c| c.speaks != intake.dialect)
    }
}

/// The parts of a request that a decision may depend on.
pub(super) fn message<'a>(
    intake: &'a Intake,
    headers: &'a [Header<'a>],
    body: Option<&'a [u8]>,
) -> Message<'a> {
    Message {
        dialect: intake.dialect,
        kind: intake.kind,
        method: &intake.request.method,
        path: intake.path(),
        headers,
        client: intake.origin.client.as_deref(),
        identity: intake.caller.as_ref().map(|caller| &caller.identity),
        // A missing body is an error if JSON is required; otherwise an empty body counts as none.
        body: if intake.json { body.or(Some(b"")) } else { body.filter(|body| !body.is_empty()) },
    }
}
