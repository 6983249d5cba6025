//! Warnings about what is valid but probably unintended, so many of each kind that somebody can read them.

use std::fmt;

use crate::pattern::{Problem, Step};

/// How many warnings of one kind are told one by one.
const TOLD: usize = 20;

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Nothing leads to a cluster, or there are no routes.
    Unused,
    /// An earlier route takes all messages of a route.
    Shadowed,
    /// No message can match a route.
    Impossible,
    /// Some of a route's messages cannot be sent to a cluster.
    Unjoinable,
    /// Routes are tried one by one.
    Linear,
    /// Conditions are compared with each value of an array.
    PerValue,
    /// A status is retried in vain.
    Statuses,
}

/// The warnings of one configuration.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    told: Vec<Problem>,
    counts: Vec<(Concern, usize)>,
}

/// What all of a kind have in common.
impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unused => "no route names a cluster",
            Self::Shadowed => "an earlier route takes all messages of a route",
            Self::Impossible => "no message can match a route",
            Self::Unjoinable => "a route also matches what cannot be sent on",
            Self::Linear => "routes are tried one by one",
            Self::PerValue => "conditions are compared with each value of an array",
            Self::Statuses => "a status is retried in vain",
        })
    }
}

impl Warnings {
    /// Takes what `warning` makes, which is not called for warnings that are only counted.
    pub(super) fn add(&mut self, concern: Concern, warning: impl FnOnce() -> Problem) {
        let count = if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == concern) {
            *count += 1;
            *count
        } else {
            self.counts.push((concern, 1));
            1
        };
        if count <= TOLD {
            self.told.push(warning());
        }
    }

    pub(super) fn extend(&mut self, concern: Concern, warnings: impl IntoIterator<Item = Problem>) {
        for warning in warnings {
            self.add(concern, || warning);
        }
    }

    /// All that are told, and a line for each kind of which there are more.
    pub(super) fn told(mut self) -> Vec<Problem> {
        for (concern, count) in self.counts {
            if let Some(more) = count.checked_sub(TOLD).filter(|more| *more > 0) {
                let path = vec![Step::Key("routes".into())];
                self.told
                    .push(Problem { path, message: format!("{more} more warnings of this kind: {concern}") });
            }
        }
        self.told
    }
}
