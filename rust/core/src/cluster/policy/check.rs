//! What a policy may say. Paths and messages are those of a configuration.

use std::time::Duration;

use hashbrown::HashSet;

use super::{Adaptive, Balance, Breaker, Concurrency, Health, Hedge, Policy, Queue, Rate, Retry, Timeout};
use crate::pattern::{Problem, Step, Value};

/// The longest time that any key takes: a day.
const LONGEST: Duration = Duration::from_secs(86_400);
/// The most that any number of messages, attempts or keys may be.
const MOST: u32 = 1_000_000;

impl Policy {
    /// Everything wrong with it, with paths from the cluster.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        self.timeout.check(&mut found);
        self.retry.check(&mut found);
        if let Balance::Hash(field) = &self.balance
            && let Some(message) = no_value(field)
        {
            found.add(["balance", "hash"], message);
        }
        self.health.check(&mut found);
        self.breaker.check(&mut found);
        match &self.concurrency {
            Concurrency::Unlimited => (),
            Concurrency::Fixed(limit) => {
                found.number(["concurrency"], *limit, 1, MOST);
            }
            Concurrency::Adaptive(adaptive) => adaptive.check(&mut found),
        }
        self.queue.check(&mut found);
        if self.rate.len() > Policy::RATES {
            found.add(["rate"], format!("too many: at most {}", Policy::RATES));
        }
        for (index, rate) in self.rate.iter().enumerate() {
            rate.check(index, &mut found);
        }
        if let Some(hedge) = &self.hedge {
            hedge.check(&mut found);
        }
        found.0
    }

    /// Rules that `rate` may have.
    pub const RATES: usize = 8;
}

impl Timeout {
    fn check(&self, found: &mut Found) {
        for (key, length) in [
            ("connect", self.connect),
            ("first_byte", self.first_byte),
            ("idle", self.idle),
            ("total", self.total),
            ("stream_idle", self.stream_idle),
        ] {
            found.length(["timeout", key], length, Duration::from_millis(1));
        }
        if let Some(length) = self.stream_total {
            found.length(["timeout", "stream_total"], length, Duration::from_millis(1));
        }
    }
}

impl Retry {
    fn check(&self, found: &mut Found) {
        found.number(["retry", "attempts"], self.attempts, 1, 16);
        let mut seen = HashSet::new();
        for (index, status) in self.statuses.iter().enumerate() {
            if !(400..=599).contains(status) {
                let path = vec![key("retry"), key("statuses"), Step::Index(index)];
                found.at(path, format!("{status} is no status of a failure: 400 to 599"));
            } else if !seen.insert(status) {
                let path = vec![key("retry"), key("statuses"), Step::Index(index)];
                found.at(path, format!("{status} is there twice"));
            }
        }
        found.percentage(["retry", "budget"], self.budget_percent, 1000);
        found.number(["retry", "budget_minimum"], self.budget_minimum, 0, MOST);
        found.length(["retry", "window"], self.window, Duration::from_secs(1));
        found.length(["retry", "backoff"], self.backoff, Duration::ZERO);
        if found.length(["retry", "backoff_max"], self.backoff_max, Duration::ZERO)
            && self.backoff_max < self.backoff
        {
            found.add(["retry", "backoff_max"], format!("less than retry.backoff ({:?})", self.backoff));
        }
    }
}

impl Health {
    fn check(&self, found: &mut Found) {
        if let Some(check) = &self.check {
            let path = |last| ["health", "check", last];
            if !check.path.starts_with('/') || !check.path.bytes().all(|byte| byte.is_ascii_graphic()) {
                found.add(path("path"), "must begin with `/` and hold no spaces or controls".to_owned());
            } else if check.path.len() > 2048 {
                found.add(path("path"), "longer than 2048 bytes".to_owned());
            }
            found.length(path("interval"), check.interval, Duration::from_millis(100));
            found.length(path("timeout"), check.timeout, Duration::from_millis(1));
            found.number(path("healthy"), check.healthy, 1, 100);
            found.number(path("unhealthy"), check.unhealthy, 1, 100);
            found.percentage(path("jitter"), check.jitter_percent, 100);
        }
        found.percentage(["health", "panic"], self.panic_percent, 100);
        found.length(["health", "slow_start"], self.slow_start, Duration::ZERO);
        found.factor(["health", "aggression"], self.aggression, 0.1, 10.0);
        found.length(["health", "rest_max"], self.rest_max, Duration::ZERO);
    }
}

impl Breaker {
    fn check(&self, found: &mut Found) {
        found.number(["breaker", "consecutive"], self.consecutive, 0, MOST);
        found.percentage(["breaker", "failures"], self.failure_percent, 100);
        found.number(["breaker", "minimum"], self.minimum, 1, MOST);
        found.length(["breaker", "window"], self.window, Duration::from_millis(100));
        found.length(["breaker", "open"], self.open, Duration::from_millis(1));
        if found.length(["breaker", "open_max"], self.open_max, Duration::from_millis(1))
            && self.open_max < self.open
        {
            found.add(["breaker", "open_max"], format!("less than breaker.open ({:?})", self.open));
        }
        found.percentage(["breaker", "jitter"], self.jitter_percent, 100);
        found.number(["breaker", "trials"], self.trials, 1, 1000);
    }
}

impl Adaptive {
    fn check(&self, found: &mut Found) {
        let path = |last| ["concurrency", "adaptive", last];
        let min = found.number(path("min"), self.min, 1, MOST);
        let max = found.number(path("max"), self.max, 1, MOST);
        if !(min && max) {
            // Nothing can be said of how they go together.
        } else if self.max < self.min {
            found.add(path("max"), format!("less than concurrency.adaptive.min ({})", self.min));
        } else if !(self.min..=self.max).contains(&self.initial) {
            found.add(path("initial"), format!("must be from min to max: {} to {}", self.min, self.max));
        }
        found.factor(path("tolerance"), self.tolerance, 1.0, 10.0);
        found.length(path("window"), self.window, Duration::from_millis(10));
        found.length(path("remeasure"), self.remeasure, Duration::from_secs(1));
    }
}

impl Queue {
    fn check(&self, found: &mut Found) {
        found.number(["queue", "length"], self.length, 0, MOST);
        found.length(["queue", "wait"], self.wait, Duration::from_millis(1));
    }
}

impl Rate {
    fn check(&self, index: usize, found: &mut Found) {
        let path = |last| vec![key("rate"), Step::Index(index), key(last)];
        for (last, number) in [("messages", self.messages), ("burst", self.burst), ("keys", self.keys)] {
            if !(1..=MOST).contains(&number) {
                found.at(path(last), out_of_range(number, 1, MOST));
            }
        }
        if !(Duration::from_millis(1)..=LONGEST).contains(&self.every) {
            found.at(
                path("every"),
                format!("must be from 1ms to {}, not {}", shown(LONGEST), shown(self.every)),
            );
        }
    }
}

impl Hedge {
    fn check(&self, found: &mut Found) {
        if !(50..=99).contains(&self.percentile) {
            found.add(["hedge", "after"], format!("must be from p50 to p99, not p{}", self.percentile));
        }
        found.length(["hedge", "minimum"], self.minimum, Duration::ZERO);
        found.number(["hedge", "samples"], self.samples, 10, MOST);
    }
}

struct Found(Vec<Problem>);

impl Found {
    fn at(&mut self, path: Vec<Step>, message: String) {
        self.0.push(Problem { path, message });
    }

    fn add<const N: usize>(&mut self, path: [&str; N], message: String) {
        self.at(path.map(key).to_vec(), message);
    }

    /// Whether it is in range.
    fn number<const N: usize>(&mut self, path: [&str; N], number: u32, least: u32, most: u32) -> bool {
        let good = (least..=most).contains(&number);
        if !good {
            self.add(path, out_of_range(number, least, most));
        }
        good
    }

    fn percentage<const N: usize>(&mut self, path: [&str; N], percent: u32, most: u32) {
        if percent > most {
            self.add(path, format!("must be from 0% to {most}%, not {percent}%"));
        }
    }

    fn factor<const N: usize>(&mut self, path: [&str; N], factor: f64, least: f64, most: f64) {
        // Neither is no number.
        if !(least..=most).contains(&factor) {
            self.add(path, format!("must be from {least} to {most}, not {factor}"));
        }
    }

    /// Whether it is in range.
    fn length<const N: usize>(&mut self, path: [&str; N], length: Duration, least: Duration) -> bool {
        let good = (least..=LONGEST).contains(&length);
        if !good {
            let message = if length.is_zero() {
                "must be greater than zero".to_owned()
            } else {
                format!("must be from {} to {}, not {}", shown(least), shown(LONGEST), shown(length))
            };
            self.add(path, message);
        }
        good
    }
}

/// Why a field, written as `labels.session`, has no value that messages could be sorted by. It is one that patterns see.
fn no_value(field: &str) -> Option<String> {
    if field.len() > 256 || field.split('.').any(|name| matches!(name, "" | "$or")) {
        return Some("names no field: write one such as labels.session, at most 256 characters".to_owned());
    }
    let example = match field {
        "labels" => "labels.session",
        "headers" => "headers.x-session",
        "body" => "body.session",
        "client" => "client.address",
        "context" => "context.ref",
        _ => return not_seen(field),
    };
    Some(format!("`{field}` has several values: name one, such as {example}"))
}

/// Why patterns see no such field.
fn not_seen(field: &str) -> Option<String> {
    let exists = Value::Map(vec![("exists".to_owned(), Value::Bool(true))]);
    let mut pattern = Value::List(vec![exists]);
    for name in field.rsplit('.') {
        pattern = Value::Map(vec![(name.to_owned(), pattern)]);
    }
    let problems = crate::table::parse(&pattern).err()?;
    let first = field.split('.').next().unwrap_or(field);
    // What such a field would be in a pattern is written on one line here.
    let message = |problem: Problem| {
        problem.message.replace(&format!("body: {{{first}: …}}"), &format!("body.{field}"))
    };
    problems.into_iter().next().map(message)
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

/// A length as a configuration has it.
fn shown(length: Duration) -> String {
    let (seconds, part) = (length.as_secs(), length.subsec_nanos());
    if seconds > 0 && seconds.is_multiple_of(3600) && part == 0 {
        format!("{}h", seconds / 3600)
    } else {
        format!("{length:?}")
    }
}

fn out_of_range(number: u32, least: u32, most: u32) -> String {
    format!("must be from {least} to {most}, not {number}")
}

#[cfg(test)]
mod tests {
    use super::super::{Check, Per};
    use super::*;

    fn said(policy: &Policy) -> Vec<String> {
        policy.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_allowed() {
        let policy = Policy {
            health: Health { check: Some(Check::default()), ..Health::default() },
            concurrency: Concurrency::Adaptive(Adaptive::default()),
            hedge: Some(Hedge::default()),
            ..Policy::default()
        };
        assert_eq!(said(&policy), [""; 0]);
        assert_eq!(said(&Policy::default()), [""; 0]);
    }

    #[test]
    fn every_problem_is_found_at_its_place() {
        let second = Duration::from_secs(1);
        let rate = Rate { per: Per::Tenant, messages: 0, every: second, burst: 1, keys: 1 };
        let policy = Policy {
            timeout: Timeout { connect: Duration::ZERO, total: 2 * LONGEST, ..Timeout::default() },
            retry: Retry {
                attempts: 0,
                statuses: vec![503, 200, 503],
                backoff: second,
                backoff_max: Duration::ZERO,
                ..Retry::default()
            },
            balance: Balance::Hash("labels..x".to_owned()),
            health: Health {
                check: Some(Check { path: "health".to_owned(), healthy: 0, ..Check::default() }),
                panic_percent: 101,
                aggression: f64::NAN,
                ..Health::default()
            },
            breaker: Breaker { trials: 0, open: second, open_max: second / 2, ..Breaker::default() },
            concurrency: Concurrency::Adaptive(Adaptive {
                initial: 1,
                tolerance: 0.5,
                ..Adaptive::default()
            }),
            queue: Queue { length: MOST + 1, wait: Duration::ZERO },
            rate: vec![Rate { messages: 1, ..rate }, rate, Rate { messages: 1, every: 2 * LONGEST, ..rate }],
            hedge: Some(Hedge { percentile: 100, ..Hedge::default() }),
        };
        assert_eq!(
            said(&policy),
            [
                "timeout.connect: must be greater than zero",
                "timeout.total: must be from 1ms to 24h, not 48h",
                "retry.attempts: must be from 1 to 16, not 0",
                "retry.statuses[1]: 200 is no status of a failure: 400 to 599",
                "retry.statuses[2]: 503 is there twice",
                "retry.backoff_max: less than retry.backoff (1s)",
                "balance.hash: names no field: write one such as labels.session, at most 256 characters",
                "health.check.path: must begin with `/` and hold no spaces or controls",
                "health.check.healthy: must be from 1 to 100, not 0",
                "health.panic: must be from 0% to 100%, not 101%",
                "health.aggression: must be from 0.1 to 10, not NaN",
                "breaker.open_max: less than breaker.open (1s)",
                "breaker.trials: must be from 1 to 1000, not 0",
                "concurrency.adaptive.initial: must be from min to max: 4 to 1000",
                "concurrency.adaptive.tolerance: must be from 1 to 10, not 0.5",
                "queue.length: must be from 0 to 1000000, not 1000001",
                "queue.wait: must be greater than zero",
                "rate[1].messages: must be from 1 to 1000000, not 0",
                "rate[2].every: must be from 1ms to 24h, not 48h",
                "hedge.after: must be from p50 to p99, not p100",
            ]
        );
        let fixed = Policy { concurrency: Concurrency::Fixed(0), ..Policy::default() };
        assert_eq!(said(&fixed), ["concurrency: must be from 1 to 1000000, not 0"]);
    }

    #[test]
    fn messages_are_sorted_by_a_field_that_patterns_see() {
        let hashed = |field: &str| {
            let said = said(&Policy { balance: Balance::Hash(field.to_owned()), ..Policy::default() });
            said.first().map(|first| first.trim_start_matches("balance.hash: ").to_owned())
        };
        for field in [
            "tenant",
            "labels.session",
            "headers.x-session",
            "body.a.b",
            "client.address",
            "path",
            "context.ref",
        ] {
            assert_eq!(hashed(field), None, "{field}");
        }
        for (field, message) in [
            ("", "names no field: write one such as labels.session, at most 256 characters"),
            ("labels", "`labels` has several values: name one, such as labels.session"),
            ("headers.X-Session", "header names are matched in lower case: write `x-session`"),
            ("tenant.x", "`tenant` is a string and has no fields"),
        ] {
            assert_eq!(hashed(field).as_deref(), Some(message), "{field}");
        }
        let unknown = hashed("tennant.x").unwrap();
        assert!(unknown.starts_with("no message has a field `tennant`; did you mean `tenant`? Fields: id, "));
        assert!(unknown.ends_with("Other fields of the body are under `body`: body.tennant.x"), "{unknown}");
    }
}
