//! What the outcome of an attempt teaches about its endpoint, and what its message may do next.
//!
//! [`Lesson::of`] is the only place that decides this. `docs/clusters/outcomes.md` shows the same table to users, with the
//! reason of each cell; a test compares the two.
//!
//! Two rules stand behind the cells:
//!
//! - An answer that a caller can choose must not harm other callers: it opens no breaker, is no sample of latency, and
//!   rests no endpoint. It counts only where endpoints are compared with each other, because a caller's messages reach all of
//!   them alike.
//! - With the callers' own credential (`credential: pass`), the statuses 401, 403 and 429 concern the caller alone, who is
//!   told at once.

use super::failure::{Failure, Outcome};

/// What an outcome teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// What the breaker counts.
    pub breaker: Verdict,
    /// What the moving average of latency takes, and with it the cluster's percentiles and adaptive limit.
    pub latency: Sample,
    /// Whether a `Retry-After` keeps the endpoint out.
    pub rest: bool,
    /// What the success rate counts, by which `least_load` compares endpoints.
    pub balance: Verdict,
    /// Whether an adaptive limit falls.
    pub overload: bool,
    /// Whether another attempt may follow.
    pub again: Again,
}

/// What an outcome says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint did well.
    Well,
    /// The endpoint did badly.
    Badly,
    /// The endpoint did badly, unless it answered another message well meanwhile.
    BadlyIfSilent,
    /// Nothing.
    Nothing,
}

/// What an outcome says of an endpoint's latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The time to the first byte is a sample.
    Time,
    /// The latency is at least the time that passed.
    Bound,
    /// Nothing.
    Nothing,
}

/// Whether another attempt may follow, as far as the outcome goes; see [`retry::next`](super::choice::retry::next) for the
/// other conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Never: the outcome is the answer.
    Never,
    /// If `retry.statuses` names the status.
    Listed,
    /// If `retry.after_timeout` is set.
    AfterTimeout,
    /// Yes.
    Yes,
    /// At the same endpoint over a new connection, free of charge.
    Afresh,
}

impl Lesson {
    /// An outcome that teaches nothing, and after which nothing follows.
    const NOTHING: Self = Self {
        breaker: Verdict::Nothing,
        latency: Sample::Nothing,
        rest: false,
        balance: Verdict::Nothing,
        overload: false,
        again: Again::Never,
    };

    /// A status that may be the message's fault: of endpoints that get the same messages, those with more of them are worse.
    const MESSAGE: Self = Self { balance: Verdict::Badly, again: Again::Listed, ..Self::NOTHING };

    /// A failure of the endpoint.
    const FAILURE: Self = Self { breaker: Verdict::Badly, ..Self::MESSAGE };

    /// What an outcome teaches. `passed`: the endpoint got the caller's own credential.
    #[must_use]
    pub fn of(outcome: Outcome, passed: bool) -> Self {
        match outcome {
            Outcome::Success => Self {
                breaker: Verdict::Well,
                latency: Sample::Time,
                balance: Verdict::Well,
                ..Self::NOTHING
            },
            Outcome::Cancelled => Self { latency: Sample::Bound, ..Self::NOTHING },
            Outcome::Failure(failure) => match failure {
                Failure::Connect | Failure::Reset | Failure::Protocol => {
                    Self { again: Again::Yes, ..Self::FAILURE }
                }
                Failure::Stale => Self { again: Again::Afresh, ..Self::NOTHING },
                Failure::Timeout => Self {
                    breaker: Verdict::BadlyIfSilent,
                    latency: Sample::Bound,
                    overload: true,
                    again: Again::AfterTimeout,
                    ..Self::FAILURE
                },
                // The check has judged the endpoint already.
                Failure::Unfit => Self {
                    latency: Sample::Bound,
                    balance: Verdict::Badly,
                    again: Again::Yes,
                    ..Self::NOTHING
                },
                Failure::Status(401 | 403 | 429) if passed => Self::NOTHING,
                Failure::Status(429) => Self { rest: true, overload: true, ..Self::MESSAGE },
                Failure::Status(503 | 504 | 529) => Self { rest: true, overload: true, ..Self::FAILURE },
                // Of a gateway in front of the endpoint: 520 to 527 are Cloudflare's.
                Failure::Status(502 | 520..=527) => Self { rest: true, ..Self::FAILURE },
                // Any other 5xx counts as a 500 (RFC 9110, section 15).
                Failure::Status(_) => Self::MESSAGE,
            },
        }
    }
}
