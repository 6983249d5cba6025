//! The clusters of a snapshot in force: each with its state, and with what of a message it goes by.

use std::sync::Arc;

use super::course::{Course, Leg, Names, Terms};
use super::fault::Fault;
use super::field::Field;
use super::intake::Intake;
use super::snapshot::{Plan, Snapshot};
use crate::cluster::policy::Balance;
use crate::cluster::{Group, Instant, ORDINARY, Registry};
use crate::hash::hash;

/// A snapshot's clusters in force.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
    agent: Option<Field>,
}

#[derive(Debug)]
struct Lane {
    group: Arc<Group>,
    /// What its endpoints are chosen by.
    key: Option<Field>,
}

impl Lanes {
    /// The state of each cluster, by position.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.lanes.iter().map(|lane| &lane.group)
    }
}

impl Snapshot {
    /// Comes into force: for messages that are planned from now on. What `registry` knows of its clusters and endpoints
    /// stays.
    #[must_use]
    pub fn join(&self, registry: &mut Registry, now: Instant) -> Lanes {
        let endpoints: Vec<Vec<(&str, u32)>> = (self.clusters().iter())
            .map(|cluster| cluster.endpoints.iter().map(|found| (found.url(), found.weight())).collect())
            .collect();
        let clusters = self.clusters().iter().zip(&endpoints);
        let clusters = clusters.map(|(cluster, endpoints)| {
            (cluster.name.as_str(), endpoints.as_slice(), Arc::new(cluster.policy.clone()))
        });
        let groups = registry.apply(clusters, now);
        let lane = |group: Group| {
            let key = match &group.policy().balance {
                Balance::Hash(field) => Field::parse(field),
                Balance::LeastLoad | Balance::Weighted | Balance::RoundRobin => None,
            };
            Lane { group: Arc::new(group), key }
        };
        Lanes { lanes: groups.into_iter().map(lane).collect(), agent: Field::parse("agent") }
    }

    /// The course of a message's exchange. `body` as it was planned with.
    ///
    /// # Errors
    /// Where its route leads to no cluster.
    pub fn course(
        &self,
        lanes: &Lanes,
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
        let legs = plan.clusters.iter().filter_map(|&cluster| {
            let lane = lanes.lanes.get(cluster)?;
            metered |= !lane.group.policy().rate.is_empty();
            let key = lane.key.as_ref().and_then(value).map(|text| hash(text.as_bytes()));
            Some(Leg { cluster, group: Arc::clone(&lane.group), key })
        });
        let mut course = Course::new(
            legs,
            Terms {
                began: now,
                deadline: envelope.deadline_ms.map(std::time::Duration::from_millis),
                priority: envelope.priority.unwrap_or(ORDINARY),
                idempotent: plan.idempotent,
                caller: None,
            },
        );
        if metered {
            course.charge(Names {
                tenant: envelope.tenant.clone(),
                agent: lanes.agent.as_ref().and_then(value).map(std::borrow::Cow::into_owned),
                key: intake.caller.as_ref().map(|caller| caller.name.clone()),
            });
        }
        Ok(course)
    }
}
