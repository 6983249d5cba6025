//! The clusters of a snapshot in force. Each is bound to its state.

use std::sync::Arc;

use super::course::Course;
use super::fault::Fault;
use super::intake::Intake;
use super::snapshot::{EndpointAt, Plan, Snapshot};
use super::terms::{CallerNames, ClusterTry, Terms};
use crate::cluster::policy::Policy;
use crate::cluster::{Credential, Group, Instant, ORDINARY, Registry};

/// A snapshot's clusters in force.
#[derive(Debug)]
pub struct BoundClusters {
    groups: Vec<Arc<Group>>,
}

impl BoundClusters {
    /// The state of each cluster, by position.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter()
    }

    /// Tells the registry which endpoints have a name as their host that this process resolves: see [`Registry::watch`].
    pub fn watch<'a>(
        &self,
        registry: &mut Registry,
        names: impl IntoIterator<Item = (EndpointAt, &'a str)>,
        now: Instant,
    ) {
        let names = names.into_iter().map(|(at, host)| (at.cluster, at.endpoint, host));
        registry.watch(&self.groups, names, now);
    }
}

impl Snapshot {
    /// Brings the snapshot into force, for messages that are planned from now on. The registry keeps the state of its clusters
    /// and endpoints.
    #[must_use]
    pub fn join(&self, registry: &mut Registry, now: Instant) -> BoundClusters {
        let endpoints: Vec<Vec<(&str, u32)>> = (self.clusters().iter())
            .map(|cluster| cluster.endpoints.iter().map(|found| (found.url(), found.weight())).collect())
            .collect();
        let clusters = self.clusters().iter().zip(&endpoints);
        let clusters = clusters.map(|(cluster, endpoints)| {
            let passes_credential = cluster.credential == Credential::Pass;
            let policy = Policy { passes_credential, ..cluster.policy.clone() };
            (cluster.name.as_str(), endpoints.as_slice(), Arc::new(policy))
        });
        BoundClusters { groups: registry.apply(clusters, now).into_iter().map(Arc::new).collect() }
    }

    /// The course of a message's exchange. `body` is the one that the message was planned with, or an internal call's own.
    ///
    /// # Errors
    /// The route leads to no cluster.
    pub fn course(
        &self,
        bound: &BoundClusters,
        intake: &Intake,
        plan: &Plan,
        body: Option<&[u8]>,
        now: Instant,
    ) -> Result<Course, Fault> {
        if plan.clusters.is_empty() {
            let route = self.table.decision(plan.rank).map_or("", |decision| decision.route.as_str());
            return Err(Fault::nowhere(route));
        }
        let envelope = &plan.envelope;
        let mut metered = false;
        let tries = plan.clusters.iter().filter_map(|&position| {
            let group = Arc::clone(bound.groups.get(position)?);
            metered |= !group.policy().rate.is_empty();
            Some(ClusterTry { position, group, key: self.key(position, intake, plan, body) })
        });
        let mut course = Course::new(
            tries,
            Terms {
                began: now,
                deadline: envelope.deadline_ms.map(std::time::Duration::from_millis),
                priority: envelope.priority.unwrap_or(ORDINARY),
                idempotent: plan.idempotent,
                streamed: body.is_none() && intake.streams(),
                caller: None,
            },
        );
        if metered && intake.purpose.is_some() {
            course.charge(CallerNames { internal: true, ..CallerNames::default() });
        } else if metered {
            course.charge(CallerNames {
                tenant: envelope.tenant.clone(),
                agent: plan.answers.as_ref().and_then(|answers| answers.agent.clone()),
                key: intake.caller.as_ref().map(|caller| caller.name.clone()),
                internal: false,
            });
        }
        Ok(course)
    }
}
