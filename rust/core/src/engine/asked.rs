//! What clusters ask of a message beside its route: the value by which endpoints are chosen, and the agent whose messages
//! a rate counts. The route table reads both with everything else, in the one pass over the body.

use super::intake::Intake;
use super::snapshot::{Plan, Snapshot, message};
use crate::cluster::Cluster;
use crate::cluster::policy::{Balance, Per, Policy};
use crate::hash::hash;
use crate::table::Asked;

/// The fields that clusters ask for: positions in the fields that the route table is asked for.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// By position of the cluster; empty where no cluster asks for anything.
    clusters: Vec<Question>,
    /// The tenant, where a cluster asks for it.
    tenant: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Question {
    /// What endpoints are chosen by.
    key: Option<usize>,
    /// Whose messages a rate counts.
    agent: Option<usize>,
}

/// The answers for the clusters that a message may go to.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// Positions of clusters, each with the hash of the value that it asks for, where the message has one.
    keys: Vec<(usize, Option<u64>)>,
    /// The agent that sent the message, where a cluster asks.
    pub(super) agent: Option<String>,
}

impl Questions {
    /// What clusters ask for, and the fields of the questions.
    pub(super) fn of(clusters: &[Cluster]) -> (Self, Vec<Vec<Box<str>>>) {
        let mut fields: Vec<Vec<Box<str>>> = Vec::new();
        let mut position = |name: &str| {
            let path: Vec<Box<str>> = name.split('.').map(Box::from).collect();
            fields.iter().position(|known| *known == path).unwrap_or_else(|| {
                fields.push(path);
                fields.len() - 1
            })
        };
        let mut question = |policy: &Policy| Question {
            key: match &policy.balance {
                Balance::Hash(field) => Some(position(field)),
                Balance::LeastLoad | Balance::Weighted | Balance::RoundRobin => None,
            },
            agent: policy.rate.iter().any(|rate| rate.per == Per::Agent).then(|| position("agent")),
        };
        let clusters = clusters.iter().map(|cluster| question(&cluster.policy)).collect();
        if fields.is_empty() {
            return (Self::default(), fields);
        }
        let tenant = fields.iter().position(|path| matches!(&path[..], [name] if **name == *"tenant"));
        (Self { clusters, tenant }, fields)
    }

    /// Whether no cluster asks for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// Answers for clusters; `None` where none of them asks.
    pub(super) fn answer(
        &self,
        clusters: impl Iterator<Item = usize>,
        asked: &Asked<'_>,
    ) -> Option<Box<Answers>> {
        let mut answers: Option<Box<Answers>> = None;
        for cluster in clusters {
            let Some(question) = self.clusters.get(cluster) else { continue };
            if let Some(key) = question.key {
                let value = asked.value(key).map(|text| hash(text.as_bytes()));
                answers.get_or_insert_default().keys.push((cluster, value));
            }
            if let Some(agent) = question.agent {
                answers.get_or_insert_default().agent = asked.value(agent).map(str::to_owned);
            }
        }
        answers
    }
}

impl Snapshot {
    /// The hash of the value by which a cluster's endpoints are chosen for a message.
    ///
    /// The message of an internal call may have a body that nobody has read: `body` is read then. The tenant is its
    /// parent's.
    pub(super) fn key(
        &self,
        cluster: usize,
        intake: &Intake,
        plan: &Plan,
        body: Option<&[u8]>,
    ) -> Option<u64> {
        let question = self.questions.clusters.get(cluster)?.key?;
        let answers = plan.answers.as_deref().map_or(&[][..], |answers| &answers.keys);
        if let Some((_, key)) = answers.iter().find(|(asking, _)| *asking == cluster) {
            return *key;
        }
        if self.questions.tenant == Some(question) {
            return plan.envelope.tenant.as_ref().map(|tenant| hash(tenant.as_bytes()));
        }
        let value = |asked: Asked<'_>| asked.value(question).map(|text| hash(text.as_bytes()));
        self.table.ask(&message(intake, &intake.headers(), body), value).ok().flatten()
    }
}
