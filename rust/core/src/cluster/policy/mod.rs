//! What a cluster's configuration says about how it is used: types, defaults and what is allowed.
//!
//! Each struct is one key of a cluster, each field a key within it. A field has everything of its key: the description
//! that users read, the default and the bounds. Reading ([`Policy::read`]), checking ([`Policy::problems`]), the reference
//! and the schema follow from it ([`Section`]).
//!
//! A default is what suits a cluster of model servers that nobody has looked at yet: it protects, and never refuses what
//! would have worked. What needs to be known about the endpoints (how much they take at a time, what may be asked twice)
//! is off until it is said.

mod check;
mod keys;
mod read;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use keys::Section;
use keys::{
    Any, AtLeast, Count, Factor, MOST, Percent, Percentile, key_name, optional_seconds, seconds, sections,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A cluster's policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)] // Other keys are those of the cluster that are not its policy.
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
    /// Whether endpoints get the callers' own credentials (`credential: pass`), so that a limit on these is the caller's. Set
    /// by the snapshot.
    #[serde(skip)]
    pub passes_credential: bool,
}

sections! {
    /// `timeout`: how long to wait for an endpoint.
    pub struct Timeout("timeout"): Copy, Eq {
        /// Until a connection is established, TLS included.
        // Twice the time after which TCP repeats a lost SYN.
        connect: Duration as "seconds" = secs(2), AtLeast(1);
        /// From the request until the response begins.
        // What a long prompt takes on a slow model.
        first_byte: Duration as "seconds" = secs(120), AtLeast(1);
        /// Between two pieces of a response.
        idle: Duration as "seconds" = secs(60), AtLeast(1);
        /// From the first attempt until the response ends, attempts in a `fallback` included. The value of the cluster in
        /// use counts. A stream that has begun has `stream_total`.
        // As the OpenAI clients wait.
        total: Duration as "seconds" = secs(600), AtLeast(1);
        /// Between two pieces of a stream: a response of events, JSON lines, audio or video.
        // Subscriptions and reasoning models are silent for minutes.
        stream_idle: Duration as "seconds" = secs(300), AtLeast(1);
        /// Silence of a `text/event-stream` response after which the client gets a comment line, so that nothing on the way
        /// takes the connection for dead; 0s: never.
        // Common proxies give up after 60 s, some after 30 s.
        stream_comment: Duration as "seconds" = secs(15), AtLeast(0);
        /// From the first attempt until a stream ends. Without it, a stream has no such bound.
        stream_total: Option<Duration> as "optional_seconds" = None, AtLeast(1);
        /// How long a connection serves at most; up to a quarter less, at random. A message on it ends first.
        // A new host behind one address, a load balancer's or a proxy's, gets its share within that time.
        connection_age: Duration as "seconds" = secs(30), AtLeast(1);
        /// How long a connection without a message is kept for the next one, at most. An endpoint that sends
        /// `Keep-Alive: timeout=N` gets none that was idle for longer than four fifths of N seconds.
        // Common servers close after 5 s.
        connection_idle: Duration as "seconds" = secs(4), AtLeast(0);
    }

    /// `retry`: when to try again within the cluster.
    pub struct Retry("retry"): Eq {
        /// Attempts of one message in the cluster, the first included.
        // If a third of the endpoints fail, 1 message of 27 finds no good one.
        attempts: u32 = 3, Count(1, 16);
        /// Response statuses, from 400 to 599, after which another attempt may be made.
        // Those that speak of the moment rather than of the message, which a 500 may do. 529 is Anthropic's 503.
        statuses: Vec<u16> = vec![429, 502, 503, 504, 529], Any;
        /// Whether another attempt is made once `timeout.first_byte` has passed. By default none is: the endpoint may be at
        /// work on a long answer, which another attempt would begin a second time.
        after_timeout: bool = false, Any;
        /// Most retries, as a percentage of the messages within `window`.
        // As Finagle's: in an outage of everything the endpoints get 1.2 times the messages, not 3 times.
        budget_percent["budget"]: u32 = 20, Percent(1000);
        /// Retries per second that are allowed in addition to `budget`.
        // So that few messages can be retried, too.
        budget_minimum: u32 = 10, Count(0, MOST);
        /// Period over which the budget is computed.
        window: Duration as "seconds" = secs(10), AtLeast(1000);
        /// Upper bound of the random pause before the first retry. Each further retry doubles it.
        // Less than a model takes, more than a connection does.
        backoff: Duration as "seconds" = millis(25), AtLeast(0);
        /// Upper bound of that doubling.
        backoff_max: Duration as "seconds" = secs(1), AtLeast(0);
    }

    /// `health`: which endpoints are fit for messages.
    pub struct Health("health") {
        /// Active check of each endpoint: a path, or a mapping. Default: only the results of messages count.
        // What is there to ask?
        check: Option<Check> = None, Any;
        /// Share of fit endpoints below which all endpoints are used. All are used, too, once every fit endpoint has
        /// failed a message that can go nowhere else. With 0%, never.
        // As Envoy's: the rest could not carry the load, and so much failing at once is more likely a fault of the checks
        // or of the network.
        panic_percent["panic"]: u32 = 50, Percent(100);
        /// How long a new endpoint, or one that is fit again, takes to grow to its whole share; 0s gives it all at once.
        // Caches and connections have to be built.
        slow_start: Duration as "seconds" = secs(10), AtLeast(0);
        /// Shape of that growth. 1: even; more: fast, then slow; less: slow, then fast.
        aggression: f64 = 1.0, Factor(0.1, 10.0);
        /// Longest time for which a Retry-After keeps an endpoint out.
        // It bounds what one wrong header can do.
        rest_max: Duration as "seconds" = secs(30), AtLeast(0);
    }

    /// `health.check`: asking an endpoint how it is.
    pub struct Check("health.check"): Eq {
        /// Path to GET, from the root of the endpoint's host. Statuses 200 to 299 are good.
        path: String = "/health".to_owned(), Any;
        /// From one answer to the next check.
        interval: Duration as "seconds" = secs(5), AtLeast(100);
        /// How long an answer may take.
        timeout: Duration as "seconds" = secs(2), AtLeast(1);
        /// Good answers in a row after which an endpoint is fit again.
        healthy: u32 = 2, Count(1, 100);
        /// Bad answers in a row after which an endpoint is not fit.
        // One lost packet is no illness.
        unhealthy: u32 = 3, Count(1, 100);
        /// Most by which `interval` is extended at random, so that proxies do not check at the same time.
        jitter_percent["jitter"]: u32 = 20, Percent(100);
    }

    /// `breaker`: when to leave an endpoint alone because of how attempts at it end.
    pub struct Breaker("breaker"): Copy, Eq {
        /// Failures in a row that open the breaker; with 0, they do not.
        consecutive: u32 = 5, Count(0, MOST);
        /// Share of failures within `window` that opens the breaker; with 0%, it does not.
        failure_percent["failures"]: u32 = 50, Percent(100);
        /// Attempts within `window` before that share counts.
        minimum: u32 = 20, Count(1, MOST);
        /// Period over which the share is computed.
        window: Duration as "seconds" = secs(10), AtLeast(100);
        /// How long the breaker stays open; twice as long each time that it opens again soon.
        open: Duration as "seconds" = secs(5), AtLeast(1);
        /// Upper bound of that doubling.
        open_max: Duration as "seconds" = secs(60), AtLeast(1);
        /// Most by which open times are extended at random.
        jitter_percent["jitter"]: u32 = 20, Percent(100);
        /// Attempts that pass after the open time. All have to succeed to close the breaker.
        trials: u32 = 3, Count(1, 1000);
    }

    /// `concurrency: {adaptive: …}`: see [`Gradient`](super::Gradient) for how the limit is found.
    pub struct Adaptive("concurrency.adaptive"): Copy {
        /// Lower bound of the limit.
        min: u32 = 4, Count(1, MOST);
        /// Upper bound of the limit.
        max: u32 = 1000, Count(1, MOST);
        /// Limit at the start. Default: 20, or the nearest value from `min` to `max`.
        initial: u32 = 20, Any;
        /// Multiple of the unloaded latency above which the limit falls.
        tolerance: f64 = 1.5, Factor(1.0, 10.0);
        /// Period over which latency is averaged.
        window: Duration as "seconds" = secs(1), AtLeast(10);
        /// How often the limit is lowered for one window to measure the unloaded latency.
        // To a third, and only where latency was never that of endpoints at ease meanwhile.
        remeasure: Duration as "seconds" = secs(30), AtLeast(1000);
    }

    /// `queue`: how many messages wait when `concurrency` is reached.
    pub struct Queue("queue"): Copy, Eq {
        /// Most messages that wait; with 0, a message that finds no room is refused.
        length: u32 = 128, Count(0, MOST);
        /// Longest wait of one message, whatever its own deadline.
        // Later answers mostly find the client gone.
        wait: Duration as "seconds" = secs(10), AtLeast(1);
        /// Turns of others after which a priority whose messages wait counts as one more urgent, until it has a turn itself; a
        /// tenth of `wait` has the same effect. So messages of priority 5 have at least 1 of 17 turns beside any number of
        /// priority 9, and priority 0 has 1 of 37. With 0, the more urgent message is always first.
        // A small share: enough to get on, and little for the urgent.
        aging: u32 = 4, Count(0, 1000);
    }

    /// `rate`: how many messages over time. `per`, `messages` and `every` have to be written: their defaults stand for
    /// what is not known of a partial configuration.
    pub struct Rate("rate"): Copy, Eq {
        /// Which messages are counted together: those of one tenant, of one agent, of one key, or all of the cluster's.
        per: Per = Per::Cluster, Any;
        /// Messages that are allowed in each period.
        messages: u32 = 1, Count(1, MOST);
        /// Length of the period; at least 1ms.
        every: Duration as "seconds" = secs(1), AtLeast(1);
        /// Messages that are allowed at once after a pause. Default: as many as `messages`.
        burst: u32 = 1, Count(1, MOST);
        /// About how many tenants, agents or keys are tracked. Beyond that, and beyond some 240,000 of all rates
        /// together, the one that is closest to a full burst is evicted.
        keys: u32 = Rate::KEYS, Count(1, MOST);
    }

    /// `hedge`: a second attempt, elsewhere, while the first has not been answered. For idempotent messages, and paid from
    /// the retry budget.
    pub struct Hedge("hedge"): Copy, Eq {
        /// Percentile of the time to the first byte, after which the second attempt begins.
        // It adds at most about 5 % to the load, and mends what is slower than that.
        percentile["after"]: u32 = 95, Percentile(50, 99);
        /// Shortest time after which the second attempt begins.
        minimum: Duration as "seconds" = millis(5), AtLeast(0);
        /// Attempts that must have been measured before the percentile is used.
        // Of fewer than 100, a 95th percentile is the luck of five.
        samples: u32 = 100, Count(10, MOST);
    }
}

impl Retry {
    /// `retry: off`: one attempt. An attempt that finds its pooled connection closed does not count: see
    /// [`Failure::Stale`](super::Failure::Stale).
    #[must_use]
    pub fn off() -> Self {
        Self { attempts: 1, ..Self::default() }
    }
}

impl Rate {
    /// Accounts kept: at 34 bytes each, 2 MiB. See [`Meter`](super::Meter) for what a smaller number would mean.
    pub const KEYS: u32 = 65_536;
}

/// `balance`: which endpoint to try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// `concurrency`: how many messages at a time a cluster gets: of several workers, each has a part of what is fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// Any number. The default: nobody but the operator knows what the endpoints take.
    #[default]
    Unlimited,
    /// As many as the endpoints answer without making each other wait.
    Adaptive(Adaptive),
    /// So many.
    #[serde(untagged)]
    Fixed(u32),
}

/// Whose messages a rate counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
