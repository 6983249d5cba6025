//! What a cluster's configuration says about how it is used: types, defaults and what is allowed.
//!
//! Each struct is one key of a cluster. A default is what suits a cluster of model servers that nobody has looked at
//! yet: it protects, and never refuses what would have worked. What needs to be known about the endpoints (how much
//! they take at a time, what may be asked twice) is off until it is said.

mod check;

use std::time::Duration;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A cluster's policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// How long to wait.
    pub timeout: Timeout,
    /// When to try again.
    pub retry: Retry,
    /// Which endpoint to try.
    pub balance: Balance,
    /// Which endpoints are fit.
    pub health: Health,
    /// When to leave an endpoint alone because of how attempts at it end.
    pub breaker: Breaker,
    /// How many messages at a time.
    pub concurrency: Concurrency,
    /// How many wait when those are too many.
    pub queue: Queue,
    /// How many messages over time. All rules hold together.
    pub rate: Vec<Rate>,
    /// When to ask a second endpoint before the first has answered; `None`: never.
    pub hedge: Option<Hedge>,
}

/// `timeout`: how long to wait for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// Until a connection stands, TLS included. Default 2 s: twice the time after which TCP repeats a lost SYN.
    pub connect: Duration,
    /// From the request's last byte to the response's first. Default 120 s: what a long prompt takes on a slow model.
    pub first_byte: Duration,
    /// Between two reads of a response. Default 60 s.
    pub idle: Duration,
    /// For a whole exchange, all its attempts together. Default 600 s, as the OpenAI clients wait. A stream that has
    /// begun has `stream_total` instead.
    pub total: Duration,
    /// Between two reads of a stream (`text/event-stream`). Default 300 s: subscriptions and reasoning models are silent
    /// for minutes.
    pub stream_idle: Duration,
    /// For a whole exchange whose response is a stream. Default: as long as the stream flows.
    pub stream_total: Option<Duration>,
}

impl Default for Timeout {
    fn default() -> Self {
        Self {
            connect: seconds(2),
            first_byte: seconds(120),
            idle: seconds(60),
            total: seconds(600),
            stream_idle: seconds(300),
            stream_total: None,
        }
    }
}

/// `retry`: when to try again within the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts of one exchange in the cluster, the first included. 1: none again. Default 3: if a third of the
    /// endpoints fail, 1 message of 27 finds no good one.
    pub attempts: u32,
    /// Statuses after which another attempt may be made. Default 429, 502, 503, 504: those that speak of the moment
    /// rather than of the message, which a 500 may do.
    pub statuses: Vec<u16>,
    /// Retries in per cent of the messages of the last [`window`](Self::window). Default 20, as Finagle's: in an outage
    /// of everything the endpoints get 1.2 times the messages, not 3 times.
    pub budget_percent: u32,
    /// Retries each second that are allowed besides, so that few messages can be retried too. Default 10.
    pub budget_minimum: u32,
    /// What "the last" means for the budget. Default 10 s.
    pub window: Duration,
    /// The pause before the first retry is random between zero and this; each further retry doubles it. Default 25 ms:
    /// less than a model takes, more than a connection does.
    pub backoff: Duration,
    /// The most that doubling leads to. Default 1 s.
    pub backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            statuses: vec![429, 502, 503, 504],
            budget_percent: 20,
            budget_minimum: 10,
            window: seconds(10),
            backoff: Duration::from_millis(25),
            backoff_max: seconds(1),
        }
    }
}

impl Retry {
    /// `retry: off`: one attempt.
    #[must_use]
    pub fn off() -> Self {
        Self { attempts: 1, ..Self::default() }
    }
}

/// `balance`: which endpoint to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// `least_load`: of two drawn at random by weight, the one with less latency × attempts in flight. The default: it
    /// finds slow and busy endpoints by itself, and several processes do not all run to the same one.
    #[default]
    LeastLoad,
    /// `weighted`: at random by weight.
    Weighted,
    /// `round_robin`: in turns by weight, spread evenly.
    RoundRobin,
    /// `hash: <field>`: messages with the same value of this field to the same endpoint. A message without it goes by
    /// least load.
    Hash(String),
}

/// `health`: which endpoints are fit for messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Ask each endpoint from time to time; `None`: judge by messages only. Off by default: what is there to ask?
    pub check: Option<Check>,
    /// When fewer than this per cent of the endpoints are fit, all of them are used. Default 50, as Envoy's: the rest
    /// could not carry the load, and so much failing at once is more likely a fault of the checks or of the network.
    pub panic_percent: u32,
    /// How long an endpoint that became fit again (or is new) takes to reach its whole share. Default 10 s: caches and
    /// connections have to be built. Zero: none.
    pub slow_start: Duration,
    /// 1: the share grows evenly; greater: fast, then slowly; less: slowly, then fast. Default 1.
    pub aggression: f64,
    /// The longest that a `Retry-After` keeps an endpoint out. Default 30 s: it bounds what one wrong header can do.
    pub rest_max: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: None,
            panic_percent: 50,
            slow_start: seconds(10),
            aggression: 1.0,
            rest_max: seconds(30),
        }
    }
}

/// `health.check`: asking an endpoint how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What to GET, from the root of the endpoint's host; a status of 200 to 299 is good. Default `/health`.
    pub path: String,
    /// From one answer to the next question, made longer by up to [`jitter_percent`](Self::jitter_percent). Default 5 s.
    pub interval: Duration,
    /// How long an answer may take. Default 2 s.
    pub timeout: Duration,
    /// Good answers in a row after which an endpoint is fit again. Default 2.
    pub healthy: u32,
    /// Bad answers in a row after which it is not. Default 3: one lost packet is no illness.
    pub unhealthy: u32,
    /// So that many proxies do not ask at the same moment. Default 20.
    pub jitter_percent: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            path: "/health".to_owned(),
            interval: seconds(5),
            timeout: seconds(2),
            healthy: 2,
            unhealthy: 3,
            jitter_percent: 20,
        }
    }
}

/// `breaker`: when to leave an endpoint alone because of how attempts at it end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it; 0: that is not looked at. Default 5.
    pub consecutive: u32,
    /// Failures in per cent of the attempts in the [`window`](Self::window) that open it; 0: that is not looked at.
    /// Default 50.
    pub failure_percent: u32,
    /// Attempts that the window must hold before the share means anything. Default 20.
    pub minimum: u32,
    /// What the share is taken over. Default 10 s.
    pub window: Duration,
    /// How long it stays open the first time; twice as long each time that it opens again soon. Default 5 s.
    pub open: Duration,
    /// The most that doubling leads to. Default 60 s.
    pub open_max: Duration,
    /// Open times are made longer by up to this per cent. Default 20.
    pub jitter_percent: u32,
    /// When it was open: attempts that are let through, and that all must succeed to close it. Default 3.
    pub trials: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive: 5,
            failure_percent: 50,
            minimum: 20,
            window: seconds(10),
            open: seconds(5),
            open_max: seconds(60),
            jitter_percent: 20,
            trials: 3,
        }
    }
}

impl Breaker {
    /// `breaker: off`: nothing opens it.
    #[must_use]
    pub fn off() -> Self {
        Self { consecutive: 0, failure_percent: 0, ..Self::default() }
    }
}

/// `concurrency`: how many messages at a time a cluster gets: of several workers, each has a part of what is fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Concurrency {
    /// Any number. The default: nobody but the operator knows what the endpoints take.
    #[default]
    Unlimited,
    /// So many.
    Fixed(u32),
    /// As many as the endpoints answer without making each other wait.
    Adaptive(Adaptive),
}

/// `concurrency: {adaptive: …}`: see [`Gradient`](super::Gradient) for how the limit is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Never fewer. Default 4.
    pub min: u32,
    /// Never more. Default 1000.
    pub max: u32,
    /// At first. Default 20, or what of `min` and `max` is nearest to that.
    pub initial: u32,
    /// How much latency may exceed that of endpoints at ease before the limit falls, as a factor. Default 1.5.
    pub tolerance: f64,
    /// What latency is averaged over. Default 1 s.
    pub window: Duration,
    /// How often the limit is divided by three for a window, to see latency at ease, where it was never at ease meanwhile.
    /// Default 30 s.
    pub remeasure: Duration,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { min: 4, max: 1000, initial: 20, tolerance: 1.5, window: seconds(1), remeasure: seconds(30) }
    }
}

/// `queue`: how many messages wait when `concurrency` is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// So many; 0: none, a message that finds no room is refused. Default 128.
    pub length: u32,
    /// So long at most, whatever their own deadlines. Default 10 s: later answers mostly find the client gone.
    pub wait: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 128, wait: seconds(10) }
    }
}

/// `rate`: how many messages over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Whose messages are counted together.
    pub per: Per,
    /// So many …
    pub messages: u32,
    /// … in this time.
    pub every: Duration,
    /// So many at once, after a pause. The same as `messages` where nothing else is said.
    pub burst: u32,
    /// Of how many tenants, agents or keys the account is kept. Default [`Rate::KEYS`].
    pub keys: u32,
}

impl Rate {
    /// Accounts kept: at 34 bytes each, 2 MiB. See [`Meter`](super::Meter) for what a smaller number would mean.
    pub const KEYS: u32 = 65_536;
}

/// Whose messages a rate counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// All of the cluster's.
    Cluster,
    /// Those of one tenant.
    Tenant,
    /// Those of one agent.
    Agent,
    /// Those that came with one API key.
    Key,
}

/// `hedge`: a second attempt, elsewhere, while the first has not been answered. For idempotent messages, and paid from
/// the retry budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// After the time within which this per cent of the attempts are answered. Default 95: it adds at most about 5 % to
    /// the load, and mends what is slower than that.
    pub percentile: u32,
    /// Never sooner. Default 5 ms.
    pub minimum: Duration,
    /// Attempts that must have been seen before anything is known. Default 100: of fewer, a 95th percentile is the
    /// luck of five.
    pub samples: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { percentile: 95, minimum: Duration::from_millis(5), samples: 100 }
    }
}
