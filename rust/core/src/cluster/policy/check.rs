//! What a policy may say.

use std::time::Duration;

use super::{Adaptive, Balance, Breaker, Concurrency, Health, Hedge, Policy, Queue, Rate, Retry, Timeout};
use crate::pattern::{Problem, Step};

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
            && (field.len() > 256 || field.split('.').any(str::is_empty))
        {
            let message = "names no field: write it as labels.session, at most 256 characters";
            found.add(["balance", "hash"], message.to_owned());
        }
        self.health.check(&mut found);
        self.breaker.check(&mut found);
        match &self.concurrency {
            Concurrency::Unlimited => (),
            Concurrency::Fixed(limit) => found.number(["concurrency"], *limit, 1, MOST),
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
        ] {
            found.length(["timeout", key], length, Duration::from_nanos(1));
        }
    }
}

impl Retry {
    fn check(&self, found: &mut Found) {
        found.number(["retry", "attempts"], self.attempts, 1, 16);
        for (index, status) in self.statuses.iter().enumerate() {
            if !(400..=599).contains(status) {
                let path = vec![key("retry"), key("statuses"), Step::Index(index)];
                found.at(path, format!("{status} is no status of a failure: 400 to 599"));
            } else if self.statuses.iter().take(index).any(|earlier| earlier == status) {
                let path = vec![key("retry"), key("statuses"), Step::Index(index)];
                found.at(path, format!("{status} is there twice"));
            }
        }
        found.number(["retry", "budget_percent"], self.budget_percent, 0, 1000);
        found.number(["retry", "budget_minimum"], self.budget_minimum, 0, MOST);
        found.length(["retry", "window"], self.window, Duration::from_secs(1));
        found.length(["retry", "backoff"], self.backoff, Duration::ZERO);
        found.length(["retry", "backoff_max"], self.backoff_max, Duration::ZERO);
        if self.backoff_max < self.backoff {
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
            found.number(path("jitter_percent"), check.jitter_percent, 0, 100);
        }
        found.number(["health", "panic_percent"], self.panic_percent, 0, 100);
        found.length(["health", "slow_start"], self.slow_start, Duration::ZERO);
        found.factor(["health", "aggression"], self.aggression, 0.1, 10.0);
        found.length(["health", "rest_max"], self.rest_max, Duration::ZERO);
    }
}

impl Breaker {
    fn check(&self, found: &mut Found) {
        found.number(["breaker", "consecutive"], self.consecutive, 0, MOST);
        found.number(["breaker", "failure_percent"], self.failure_percent, 0, 100);
        found.number(["breaker", "minimum"], self.minimum, 1, MOST);
        found.length(["breaker", "window"], self.window, Duration::from_millis(100));
        found.length(["breaker", "open"], self.open, Duration::from_millis(1));
        found.length(["breaker", "open_max"], self.open_max, Duration::from_millis(1));
        if self.open_max < self.open {
            found.add(["breaker", "open_max"], format!("less than breaker.open ({:?})", self.open));
        }
        found.number(["breaker", "jitter_percent"], self.jitter_percent, 0, 100);
        found.number(["breaker", "trials"], self.trials, 1, 1000);
    }
}

impl Adaptive {
    fn check(&self, found: &mut Found) {
        let path = |last| ["concurrency", "adaptive", last];
        found.number(path("min"), self.min, 1, MOST);
        found.number(path("max"), self.max, 1, MOST);
        if self.max < self.min {
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
            found.at(path("every"), format!("must be from 1ms to {LONGEST:?}, not {:?}", self.every));
        }
    }
}

impl Hedge {
    fn check(&self, found: &mut Found) {
        found.number(["hedge", "percentile"], self.percentile, 50, 99);
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

    fn number<const N: usize>(&mut self, path: [&str; N], number: u32, least: u32, most: u32) {
        if !(least..=most).contains(&number) {
            self.add(path, out_of_range(number, least, most));
        }
    }

    fn factor<const N: usize>(&mut self, path: [&str; N], factor: f64, least: f64, most: f64) {
        // Neither is no number.
        if !(least..=most).contains(&factor) {
            self.add(path, format!("must be from {least} to {most}, not {factor}"));
        }
    }

    fn length<const N: usize>(&mut self, path: [&str; N], length: Duration, least: Duration) {
        if !(least..=LONGEST).contains(&length) {
            let message = if length.is_zero() {
                "must be greater than zero".to_owned()
            } else {
                format!("must be from {least:?} to {LONGEST:?}, not {length:?}")
            };
            self.add(path, message);
        }
    }
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
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
                "timeout.total: must be from 1ns to 86400s, not 172800s",
                "retry.attempts: must be from 1 to 16, not 0",
                "retry.statuses[1]: 200 is no status of a failure: 400 to 599",
                "retry.statuses[2]: 503 is there twice",
                "retry.backoff_max: less than retry.backoff (1s)",
                "balance.hash: names no field: write it as labels.session, at most 256 characters",
                "health.check.path: must begin with `/` and hold no spaces or controls",
                "health.check.healthy: must be from 1 to 100, not 0",
                "health.panic_percent: must be from 0 to 100, not 101",
                "health.aggression: must be from 0.1 to 10, not NaN",
                "breaker.open_max: less than breaker.open (1s)",
                "breaker.trials: must be from 1 to 1000, not 0",
                "concurrency.adaptive.initial: must be from min to max: 4 to 1000",
                "concurrency.adaptive.tolerance: must be from 1 to 10, not 0.5",
                "queue.length: must be from 0 to 1000000, not 1000001",
                "queue.wait: must be greater than zero",
                "rate[1].messages: must be from 1 to 1000000, not 0",
                "rate[2].every: must be from 1ms to 86400s, not 172800s",
                "hedge.percentile: must be from 50 to 99, not 100",
            ]
        );
        let fixed = Policy { concurrency: Concurrency::Fixed(0), ..Policy::default() };
        assert_eq!(said(&fixed), ["concurrency: must be from 1 to 1000000, not 0"]);
    }
}
