//! What a policy may say. Paths and messages are those of a configuration.

use hashbrown::HashSet;

use super::keys::{Bounds as _, Count, MOST, Section};
use super::{Adaptive, Balance, Breaker, Check, Concurrency, Policy, Retry};
use crate::pattern::{Problem, Step, Value};

impl Policy {
    /// Rules that `rate` may have.
    pub const RATES: usize = 8;

    /// Everything wrong with it, with paths from the cluster.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        found.section(&self.timeout);
        found.section(&self.retry);
        self.retry.check(&mut found);
        if let Balance::Hash(field) = &self.balance
            && let Some(message) = no_value(field)
        {
            found.add("balance.hash", message);
        }
        if let Some(check) = &self.health.check {
            check.check(&mut found);
            found.section(check);
        }
        found.section(&self.health);
        found.section(&self.breaker);
        self.breaker.check(&mut found);
        match &self.concurrency {
            Concurrency::Unlimited => (),
            Concurrency::Fixed(limit) => {
                if let Some(message) = Count(1, MOST).problem(limit) {
                    found.add("concurrency", message);
                }
            }
            Concurrency::Adaptive(adaptive) => {
                found.section(adaptive);
                adaptive.check(&mut found);
            }
        }
        found.section(&self.queue);
        if self.rate.len() > Policy::RATES {
            found.add("rate", format!("too many: at most {}", Policy::RATES));
        }
        for (index, rate) in self.rate.iter().enumerate() {
            for (name, message) in rate.out_of_bounds() {
                found.0.push(Problem { path: vec![key("rate"), Step::Index(index), key(name)], message });
            }
        }
        if let Some(hedge) = &self.hedge {
            found.section(hedge);
        }
        found.0
    }
}

impl Retry {
    fn check(&self, found: &mut Found) {
        let mut seen = HashSet::new();
        for (index, status) in self.statuses.iter().enumerate() {
            let message = if !(400..=599).contains(status) {
                format!("{status} is no status of a failure: 400 to 599")
            } else if !seen.insert(status) {
                format!("{status} is there twice")
            } else {
                continue;
            };
            found.0.push(Problem { path: vec![key("retry"), key("statuses"), Step::Index(index)], message });
        }
        if self.backoff_max < self.backoff && !found.has("retry.backoff_max") {
            found.add("retry.backoff_max", format!("less than retry.backoff ({:?})", self.backoff));
        }
    }
}

impl Check {
    fn check(&self, found: &mut Found) {
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            found.add("health.check.path", "must begin with `/` and hold no spaces or controls".to_owned());
        } else if self.path.len() > 2048 {
            found.add("health.check.path", "longer than 2048 bytes".to_owned());
        }
    }
}

impl Breaker {
    fn check(&self, found: &mut Found) {
        if self.open_max < self.open && !found.has("breaker.open_max") {
            found.add("breaker.open_max", format!("less than breaker.open ({:?})", self.open));
        }
    }
}

impl Adaptive {
    fn check(&self, found: &mut Found) {
        if found.has("concurrency.adaptive.min") || found.has("concurrency.adaptive.max") {
            return; // Nothing can be said of how they go together.
        }
        if self.max < self.min {
            let message = format!("less than concurrency.adaptive.min ({})", self.min);
            found.add("concurrency.adaptive.max", message);
        } else if !(self.min..=self.max).contains(&self.initial) {
            let message = format!("must be from min to max: {} to {}", self.min, self.max);
            found.add("concurrency.adaptive.initial", message);
        }
    }
}

/// Problems, by path from the cluster. A path as text has dots between its keys.
struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, path: &str, message: String) {
        self.0.push(Problem { path: steps(path).collect(), message });
    }

    fn has(&self, path: &str) -> bool {
        self.0.iter().any(|problem| problem.path.iter().cloned().eq(steps(path)))
    }

    /// What is out of bounds.
    fn section<T: Section>(&mut self, section: &T) {
        for (name, message) in section.out_of_bounds() {
            self.0.push(Problem { path: steps(T::PATH).chain([key(name)]).collect(), message });
        }
    }
}

fn steps(path: &str) -> impl Iterator<Item = Step> {
    path.split('.').map(key)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::keys::LONGEST;
    use super::super::{Health, Hedge, Per, Queue, Rate, Timeout};
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
            queue: Queue { length: MOST + 1, wait: Duration::ZERO, aging: 1001 },
            rate: vec![Rate { messages: 1, ..rate }, rate, Rate { messages: 1, every: 2 * LONGEST, ..rate }],
            hedge: Some(Hedge { percentile: 100, ..Hedge::default() }),
            passes_credential: false,
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
                "breaker.trials: must be from 1 to 1000, not 0",
                "breaker.open_max: less than breaker.open (1s)",
                "concurrency.adaptive.tolerance: must be from 1 to 10, not 0.5",
                "concurrency.adaptive.initial: must be from min to max: 4 to 1000",
                "queue.length: must be from 0 to 1000000, not 1000001",
                "queue.wait: must be greater than zero",
                "queue.aging: must be from 0 to 1000, not 1001",
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
