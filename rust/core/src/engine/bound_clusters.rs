//! The clusters of a snapshot in force. Each is bound to its state, and to the field for hash balancing.

use std::sync::Arc;

use super::course::Course;
use super::fault::Fault;
use super::field::Field;
use super::intake::Intake;
use super::snapshot::{Plan, Snapshot};
use super::terms::{CallerNames, ClusterTry, Terms};
use crate::cluster::policy::Balance;
use crate::cluster::{Group, Instant, ORDINARY, Registry};
use crate::hash::hash;

/// A snapshot's clusters in force.
#[derive(Debug)]
pub struct BoundClusters {
    clusters: Vec<BoundCluster>,
    agent: Option<Field>,
}

#[derive(Debug)]
struct BoundCluster {
    group: Arc<Group>,
    /// The field for hash balancing.
    key: Option<Field>,
}

impl BoundClusters {
    /// The state of each cluster, by position.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.clusters.iter().map(|bound_cluster| &bound_cluster.group)
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
            (cluster.name.as_str(), endpoints.as_slice(), Arc::new(cluster.policy.clone()))
        });
        let groups = registry.apply(clusters, now);
        let bind = |group: Group| {
            let key = match &group.policy().balance {
                Balance::Hash(field) => Field::parse(field),
                Balance::LeastLoad | Balance::Weighted | Balance::RoundRobin => None,
            };
            BoundCluster { group: Arc::new(group), key }
        };
        BoundClusters { clusters: groups.into_iter().map(bind).collect(), agent: Field::parse("agent") }
    }

    /// The course of a message's exchange. `body` is the one that the message was planned with.
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
        let value = |field: &Field| field.value(intake, envelope, body, self.limits.json);
        let mut metered = false;
        let tries = plan.clusters.iter().filter_map(|&cluster| {
            let bound_cluster = bound.clusters.get(cluster)?;
            metered |= !bound_cluster.group.policy().rate.is_empty();
            let key = bound_cluster.key.as_ref().and_then(value).map(|text| hash(text.as_bytes()));
            Some(ClusterTry { position: cluster, group: Arc::clone(&bound_cluster.group), key })
        });
        let mut course = Course::new(
            tries,
            Terms {
                began: now,
                deadline: envelope.deadline_ms.map(std::time::Duration::from_millis),
                priority: envelope.priority.unwrap_or(ORDINARY),
                idempotent: plan.idempotent,
                caller: None,
            },
        );
        if metered && intake.purpose.is_some() {
            course.charge(CallerNames { internal: true, ..CallerNames::default() });
        } else if metered {
            course.charge(CallerNames {
                tenant: envelope.tenant.clone(),
                agent: bound.agent.as_ref().and_then(value).map(std::borrow::Cow::into_owned),
                key: intake.caller.as_ref().map(|caller| caller.name.clone()),
                internal: false,
            });
        }
        Ok(course)
    }
}
