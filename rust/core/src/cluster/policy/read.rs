//! A policy from what a configuration says, all or only a part of which is known.

use serde::Deserialize as _;
use serde::de::Error as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error;

use super::{Adaptive, Concurrency, Policy, Rate};
use crate::pattern::Value;

impl Policy {
    /// The policy of a cluster with these keys. A key that is left out, or `null`, has its default. Times are in seconds,
    /// percentages and percentiles whole numbers; other keys of the cluster are ignored.
    ///
    /// In a partial configuration, [`Value::Unknown`] stands for what is not known. It becomes something in which no
    /// problem is found, nor in what is known beside it.
    ///
    /// # Errors
    ///
    /// Where the shape is wrong. Bounds are for [`problems`](Self::problems).
    pub fn read(cluster: &Value) -> Result<Self, Error> {
        let mut known = known(cluster);
        if let Value::Map(keys) = &mut known {
            for (key, value) in keys.iter_mut() {
                *value = match (key.as_str(), std::mem::replace(value, Value::Null)) {
                    ("retry", Value::String(word)) if word == "off" => mapping([("attempts", "1")]),
                    ("breaker", Value::String(word)) if word == "off" => {
                        mapping([("consecutive", "0"), ("failures", "0")])
                    }
                    ("concurrency", Value::String(word)) if word == "adaptive" => {
                        Value::Map(vec![(word, mapping([]))])
                    }
                    (_, value) => value,
                };
            }
            // Of what these say, nothing is known.
            keys.retain(|(key, value)| {
                !(matches!(key.as_str(), "balance" | "concurrency") && *value == mapping([]))
            });
        }
        let mut policy = Self::deserialize(known.into_deserializer())?;
        policy.follow(cluster)?;
        Ok(policy)
    }

    /// Sets what follows from other keys.
    fn follow(&mut self, cluster: &Value) -> Result<(), Error> {
        let retry = Keys(cluster.get("retry"));
        retry.order("backoff", &mut self.retry.backoff, "backoff_max", &mut self.retry.backoff_max);
        let breaker = Keys(cluster.get("breaker"));
        breaker.order("open", &mut self.breaker.open, "open_max", &mut self.breaker.open_max);
        if let Concurrency::Adaptive(adaptive) = &mut self.concurrency {
            let keys = cluster.get("concurrency").and_then(|concurrency| concurrency.get("adaptive"));
            adaptive.follow(&Keys(keys));
        }
        if let Some(Value::List(rates)) = cluster.get("rate") {
            for (rate, keys) in self.rate.iter_mut().zip(rates) {
                rate.follow(keys)?;
            }
        }
        Ok(())
    }
}

impl Adaptive {
    fn follow(&mut self, keys: &Keys<'_>) {
        if keys.known("initial") {
            keys.order("min", &mut self.min, "initial", &mut self.initial);
            keys.order("initial", &mut self.initial, "max", &mut self.max);
        } else {
            keys.order("min", &mut self.min, "max", &mut self.max);
            self.initial = self.initial.max(self.min).min(self.max);
        }
    }
}

impl Rate {
    fn follow(&mut self, keys: &Value) -> Result<(), Error> {
        if matches!(keys, Value::Unknown) {
            return Ok(());
        }
        let missing = ["per", "messages", "every"].into_iter().find(|key| keys.get(key).is_none());
        if let Some(key) = missing {
            return Err(Error::missing_field(key));
        }
        if !Keys(Some(keys)).known("burst") {
            // A number that is wrong is one problem: where the burst follows from it, none of the burst.
            self.burst = self.messages.max(1);
        }
        Ok(())
    }
}

/// A mapping as it was written, if it was.
struct Keys<'a>(Option<&'a Value>);

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.and_then(|keys| keys.get(key))
    }

    fn known(&self, key: &str) -> bool {
        !matches!(self.get(key), None | Some(Value::Null | Value::Unknown))
    }

    /// Of two that are in order, what is not known does not break it.
    fn order<T: Copy + Ord>(&self, low: &str, least: &mut T, high: &str, most: &mut T) {
        if matches!(self.get(low), Some(Value::Unknown)) {
            *least = (*least).min(*most);
        }
        if matches!(self.get(high), Some(Value::Unknown)) {
            *most = (*most).max(*least);
        }
    }
}

/// What has no default: in a list, what is not known has a place all the same, so that the others have theirs.
fn known(value: &Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let there = pairs.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Unknown));
            let read = |(key, value): &(String, Value)| match value {
                Value::List(items) if key == "statuses" => (key.clone(), statuses(items)),
                value => (key.clone(), known(value)),
            };
            Value::Map(there.map(read).collect())
        }
        Value::List(items) => Value::List(items.iter().map(known).collect()),
        Value::Unknown => mapping([]),
        other => other.clone(),
    }
}

fn statuses(items: &[Value]) -> Value {
    let number = |status: u16| Value::Number(status.to_string());
    let mut spare = (400..=599).map(number).filter(|status| !items.contains(status));
    let known = |item: &Value| if *item == Value::Unknown { spare.next() } else { Some(item.clone()) };
    Value::List(items.iter().filter_map(known).collect())
}

fn mapping<const N: usize>(numbers: [(&str, &str); N]) -> Value {
    let number = |(key, number): (&str, &str)| (key.to_owned(), Value::Number(number.to_owned()));
    Value::Map(numbers.map(number).into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Balance, Breaker, Check, Health, Hedge, Per, Retry, Timeout};
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
        Value::Map(pairs.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn read<const N: usize>(pairs: [(&str, Value); N]) -> Policy {
        Policy::read(&map(pairs)).unwrap()
    }

    #[test]
    fn what_is_left_out_or_null_has_its_default() {
        assert_eq!(read([]), Policy::default());
        let null = map([("connect", Value::Null), ("idle", number("1.5"))]);
        let policy = read([("speaks", text("openai")), ("hedge", Value::Null), ("timeout", null)]);
        let timeout = Timeout { idle: Duration::from_millis(1500), ..Timeout::default() };
        assert_eq!(policy, Policy { timeout, ..Policy::default() });
        assert_eq!(read([("hedge", map([]))]).hedge, Some(Hedge::default()));
        let health = map([("check", map([("path", text("/up"))]))]);
        let check = Some(Check { path: "/up".to_owned(), ..Check::default() });
        assert_eq!(read([("health", health)]).health, Health { check, ..Health::default() });
    }

    #[test]
    fn words_stand_for_mappings() {
        let policy = read([("retry", text("off")), ("breaker", text("off"))]);
        assert_eq!(policy.retry, Retry::off());
        assert_eq!(policy.breaker, Breaker { consecutive: 0, failure_percent: 0, ..Breaker::default() });
        for (written, balance) in [
            (text("least_load"), Balance::LeastLoad),
            (text("weighted"), Balance::Weighted),
            (text("round_robin"), Balance::RoundRobin),
            (map([("hash", text("tenant"))]), Balance::Hash("tenant".to_owned())),
        ] {
            assert_eq!(read([("balance", written)]).balance, balance);
        }
        for (written, concurrency) in [
            (text("unlimited"), Concurrency::Unlimited),
            (number("7"), Concurrency::Fixed(7)),
            (text("adaptive"), Concurrency::Adaptive(Adaptive::default())),
            (
                map([("adaptive", map([("max", number("10"))]))]),
                Concurrency::Adaptive(Adaptive { max: 10, initial: 10, ..Adaptive::default() }),
            ),
        ] {
            assert_eq!(read([("concurrency", written)]).concurrency, concurrency);
        }
    }

    #[test]
    fn the_burst_of_a_rate_is_its_messages() {
        let rate = |messages: &str, burst| {
            let (per, every) = (("per", text("agent")), ("every", number("60")));
            let rate = map([per, ("messages", number(messages)), every, ("burst", burst)]);
            read([("rate", Value::List(vec![rate]))]).rate
        };
        let expected =
            Rate { per: Per::Agent, messages: 7, every: Duration::from_secs(60), burst: 7, keys: Rate::KEYS };
        assert_eq!(rate("7", Value::Null), [expected]);
        assert_eq!(rate("7", number("9")), [Rate { burst: 9, ..expected }]);
        assert_eq!(rate("0", Value::Null), [Rate { messages: 0, burst: 1, ..expected }]);
    }

    #[test]
    fn a_wrong_shape_is_an_error_that_names_it() {
        let error = |value: Value| Policy::read(&value).unwrap_err().to_string();
        for (written, said) in [
            (map([("timeout", map([("conect", number("1"))]))]), "unknown field `conect`"),
            (map([("timeout", map([("connect", number("-1"))]))]), "negative"),
            (map([("queue", map([("length", number("1.5"))]))]), "expected u32"),
            (map([("queue", map([("length", number("-1"))]))]), "expected u32"),
            (map([("queue", number("1"))]), "expected struct Queue"),
            (map([("balance", text("best"))]), "unknown variant `best`"),
            (map([("rate", Value::List(vec![map([("per", text("key"))])]))]), "missing field `messages`"),
        ] {
            let error = error(written);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_makes_no_problem() {
        let unknown = || Value::Unknown;
        let adaptive = |keys| map([("concurrency", map([("adaptive", keys)]))]);
        let per =
            map([("per", unknown()), ("messages", unknown()), ("every", unknown()), ("burst", number("5"))]);
        for written in [
            map([("retry", map([("backoff", unknown()), ("backoff_max", number("0.001"))]))]),
            map([("retry", map([("backoff", number("90")), ("backoff_max", unknown())]))]),
            map([("retry", map([("statuses", Value::List(vec![unknown(), number("400"), unknown()]))]))]),
            map([("retry", map([("statuses", Value::List(vec![unknown()]))]))]),
            map([("breaker", map([("open", unknown()), ("open_max", number("0.001"))]))]),
            map([("breaker", map([("open", number("90")), ("open_max", unknown())]))]),
            adaptive(map([("min", unknown()), ("max", number("1"))])),
            adaptive(map([("min", number("2000")), ("max", unknown())])),
            adaptive(map([("min", number("2000")), ("max", number("3000")), ("initial", unknown())])),
            adaptive(map([("min", unknown()), ("initial", number("1"))])),
            adaptive(map([("max", unknown()), ("initial", number("2000"))])),
            adaptive(unknown()),
            map([("balance", map([("hash", unknown())]))]),
            map([("health", map([("check", map([("path", unknown())]))]))]),
            map([("rate", Value::List(vec![per, unknown()]))]),
            map([("rate", unknown()), ("hedge", unknown()), ("queue", unknown()), ("timeout", unknown())]),
        ] {
            let policy = Policy::read(&written).unwrap();
            assert_eq!(policy.problems(), [], "{written:?}");
        }
    }

    #[test]
    fn what_is_not_known_has_a_place_in_a_list() {
        let statuses = Value::List(vec![Value::Unknown, number("400"), number("70"), number("400")]);
        let rate = map([("per", text("key")), ("messages", number("0")), ("every", number("1"))]);
        let rates = Value::List(vec![Value::Unknown, rate]);
        let policy = read([("retry", map([("statuses", statuses)])), ("rate", rates)]);
        let said: Vec<_> = policy.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "retry.statuses[2]: 70 is no status of a failure: 400 to 599",
                "retry.statuses[3]: 400 is there twice",
                "rate[1].messages: must be from 1 to 1000000, not 0",
            ]
        );
    }
}
