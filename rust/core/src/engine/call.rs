//! Internal calls: messages that Waypost begins itself, on behalf of another message.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::course_time::whole_milliseconds;
use super::intake::{Intake, Request};
use super::snapshot::{Plan, Snapshot};
use super::trace;
use crate::dialect::{Dialect, Kind, entry};
use crate::http1::Fields;
use crate::table::Envelope;

/// The purpose of an internal call, as the access log and the metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A copy of a message for a second cluster.
    Mirror,
    /// A step towards the message's answer.
    Step,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 2] = [Self::Mirror, Self::Step];

    /// The purpose's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Step => "step",
        }
    }

    /// The purpose with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// The request of an internal call that does not repeat its parent's request.
#[derive(Clone, Copy, Debug)]
pub struct OwnRequest {
    /// The dialect of the body. The request goes to the default path of that dialect.
    pub dialect: Dialect,
    /// The kind of the request.
    pub kind: Kind,
    /// Whether the response should be streamed.
    pub stream: bool,
}

impl Snapshot {
    /// The message of an internal call to one cluster. It has its parent's identity, trace, id and priority, and the parent's
    /// remaining deadline. `None` if there is no such cluster, or if it cannot take the request.
    #[must_use]
    pub fn child(
        &self,
        parent: &Intake,
        plan: &Plan,
        cluster: &str,
        purpose: Purpose,
        request: Option<OwnRequest>,
        remaining: Option<Duration>,
    ) -> Option<(Arc<Intake>, Plan)> {
        let position = self.clusters().iter().position(|found| found.name == cluster)?;
        let mut intake = Intake { purpose: Some(purpose), ..parent.clone() };
        let mut envelope =
            Envelope { deadline_ms: remaining.map(whole_milliseconds), ..plan.envelope.clone() };
        let mut idempotent = plan.idempotent;
        // A request of its own has a body of its own.
        let answers = plan.answers.clone().filter(|_| request.is_none());
        if let Some(OwnRequest { dialect, kind, stream }) = request {
            let mut headers = Fields::default();
            headers.push(b"content-type", b"application/json");
            if intake.trace.is_some() {
                for name in [trace::PARENT, trace::STATE] {
                    parent.request.fields(name).for_each(|value| headers.push(name.as_bytes(), value));
                }
            }
            intake.request = Request {
                method: "POST".into(),
                target: dialect.default_path().to_owned(),
                headers,
                ..intake.request
            };
            (intake.dialect, intake.kind) = (dialect, Some(kind));
            intake.format = entry(dialect.default_path()).and_then(|entry| entry.path.format);
            (intake.buffered, intake.json, intake.framed) = (true, true, true);
            (envelope.kind, envelope.stream) = (Some(kind), stream);
            idempotent = kind.idempotent();
        }
        let speaks = self.clusters().get(position)?.speaks;
        if !intake.dialect.joins(envelope.kind, intake.format, speaks) {
            return None;
        }
        let clusters: SmallVec<[usize; 4]> = SmallVec::from_slice(&[position]);
        let plan = Plan {
            rank: plan.rank,
            envelope,
            id: plan.id.clone(),
            idempotent,
            clusters,
            mirror: None,
            answers,
        };
        Some((Arc::new(intake), plan))
    }
}
