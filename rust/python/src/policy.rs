//! Converts clusters' policies from and to mappings with the keys of a configuration. Times are in seconds, percentages
//! and percentiles are integers.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyEllipsis, PyList, PyString};
use waypost_core::cluster::policy::{
    Adaptive, Balance, Breaker, Check, Concurrency, Health, Hedge, Per, Policy, Queue, Rate, Retry, Timeout,
};

use crate::route_table::item;

const PER: [(&str, Per); 4] =
    [("cluster", Per::Cluster), ("tenant", Per::Tenant), ("agent", Per::Agent), ("key", Per::Key)];

/// Reads the policy of a cluster whose shape was checked. A key that is missing or `None` has its default.
///
/// In a partial configuration, an ellipsis stands for an unknown value. It becomes a value that causes no problem
/// together with the known ones.
pub(crate) fn read(cluster: &Bound<'_, PyDict>) -> PyResult<Policy> {
    let cluster = Keys(Some(cluster.clone()));
    let rate = match cluster.get("rate")? {
        None => Vec::new(),
        Some(rates) => rates.try_iter()?.map(|rate| read_rate(&rate?)).collect::<PyResult<_>>()?,
    };
    Ok(Policy {
        timeout: read_timeout(&cluster.within("timeout")?)?,
        retry: if cluster.says("retry", "off")? {
            Retry::off()
        } else {
            read_retry(&cluster.within("retry")?)?
        },
        balance: read_balance(&cluster)?,
        health: read_health(&cluster.within("health")?)?,
        breaker: if cluster.says("breaker", "off")? {
            Breaker::off()
        } else {
            read_breaker(&cluster.within("breaker")?)?
        },
        concurrency: read_concurrency(&cluster)?,
        queue: read_queue(&cluster.within("queue")?)?,
        rate,
        hedge: match cluster.get("hedge")? {
            None => None,
            Some(_) => Some(read_hedge(&cluster.within("hedge")?)?),
        },
    })
}

/// A mapping; `None` if it is missing or unknown.
struct Keys<'py>(Option<Bound<'py, PyDict>>);

impl<'py> Keys<'py> {
    /// The value of a key, if it is known.
    fn get(&self, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(dict) = &self.0 else { return Ok(None) };
        Ok(dict.get_item(key)?.filter(|value| !value.is_none() && !value.is_instance_of::<PyEllipsis>()))
    }

    /// The mapping of a key, if it is one.
    fn within(&self, key: &str) -> PyResult<Self> {
        Ok(Self(self.get(key)?.and_then(|value| value.cast_into().ok())))
    }

    fn says(&self, key: &str, word: &str) -> PyResult<bool> {
        Ok(self.get(key)?.is_some_and(|value| value.cast::<PyString>().is_ok_and(|text| text == word)))
    }

    /// Whether the value of a key is unknown.
    fn unknown(&self, key: &str) -> PyResult<bool> {
        let Some(dict) = &self.0 else { return Ok(false) };
        Ok(dict.get_item(key)?.is_some_and(|value| value.is_instance_of::<PyEllipsis>()))
    }

    fn number<T>(&self, key: &str, into: &mut T) -> PyResult<()>
    where
        for<'a> T: FromPyObject<'a, 'py, Error = PyErr>,
    {
        if let Some(value) = self.get(key)? {
            *into = value.extract()?;
        }
        Ok(())
    }

    fn seconds(&self, key: &str, into: &mut Duration) -> PyResult<()> {
        if let Some(value) = self.get(key)? {
            *into = duration(&value)?;
        }
        Ok(())
    }

    /// Adjusts unknown ones of two values so that the first is at most the second.
    fn ordered<T: Copy + Ord>(
        &self,
        (lower_key, lower): (&str, &mut T),
        (upper_key, upper): (&str, &mut T),
    ) -> PyResult<()> {
        if self.unknown(lower_key)? {
            *lower = (*lower).min(*upper);
        }
        if self.unknown(upper_key)? {
            *upper = (*upper).max(*lower);
        }
        Ok(())
    }
}

fn duration(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value.extract()?).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn read_timeout(keys: &Keys<'_>) -> PyResult<Timeout> {
    let mut out = Timeout::default();
    keys.seconds("connect", &mut out.connect)?;
    keys.seconds("first_byte", &mut out.first_byte)?;
    keys.seconds("idle", &mut out.idle)?;
    keys.seconds("total", &mut out.total)?;
    keys.seconds("stream_idle", &mut out.stream_idle)?;
    out.stream_total = keys.get("stream_total")?.as_ref().map(duration).transpose()?;
    Ok(out)
}

fn read_retry(keys: &Keys<'_>) -> PyResult<Retry> {
    let mut out = Retry::default();
    keys.number("attempts", &mut out.attempts)?;
    if let Some(statuses) = keys.get("statuses")? {
        out.statuses = read_statuses(&statuses)?;
    }
    keys.number("budget", &mut out.budget_percent)?;
    keys.number("budget_minimum", &mut out.budget_minimum)?;
    keys.seconds("window", &mut out.window)?;
    keys.seconds("backoff", &mut out.backoff)?;
    keys.seconds("backoff_max", &mut out.backoff_max)?;
    keys.ordered(("backoff", &mut out.backoff), ("backoff_max", &mut out.backoff_max))?;
    Ok(out)
}

fn read_statuses(statuses: &Bound<'_, PyAny>) -> PyResult<Vec<u16>> {
    let known = |status: Bound<'_, PyAny>| -> PyResult<Option<u16>> {
        if status.is_instance_of::<PyEllipsis>() { Ok(None) } else { status.extract().map(Some) }
    };
    let read = statuses.try_iter()?.map(|status| known(status?)).collect::<PyResult<Vec<_>>>()?;
    // Unknown statuses keep their positions, so that problems name the right positions of the others.
    let mut spare = (400..=599).filter(|status| !read.contains(&Some(*status)));
    Ok(read.iter().filter_map(|status| status.or_else(|| spare.next())).collect())
}

fn read_balance(cluster: &Keys<'_>) -> PyResult<Balance> {
    let Some(balance) = cluster.get("balance")? else { return Ok(Balance::default()) };
    if let Ok(mapping) = balance.cast::<PyDict>() {
        let hash = Keys(Some(mapping.clone())).get("hash")?;
        return hash.map_or(Ok(Balance::default()), |field| Ok(Balance::Hash(field.extract()?)));
    }
    let word: String = balance.extract()?;
    match word.as_str() {
        "least_load" => Ok(Balance::LeastLoad),
        "weighted" => Ok(Balance::Weighted),
        "round_robin" => Ok(Balance::RoundRobin),
        _ => Err(PyValueError::new_err(format!("there is no balance {word:?}"))),
    }
}

fn read_health(keys: &Keys<'_>) -> PyResult<Health> {
    let mut out = Health::default();
    if keys.get("check")?.is_some() {
        let check = keys.within("check")?;
        let found = out.check.insert(Check::default());
        check.number("path", &mut found.path)?;
        check.seconds("interval", &mut found.interval)?;
        check.seconds("timeout", &mut found.timeout)?;
        check.number("healthy", &mut found.healthy)?;
        check.number("unhealthy", &mut found.unhealthy)?;
        check.number("jitter", &mut found.jitter_percent)?;
    }
    keys.number("panic", &mut out.panic_percent)?;
    keys.seconds("slow_start", &mut out.slow_start)?;
    keys.number("aggression", &mut out.aggression)?;
    keys.seconds("rest_max", &mut out.rest_max)?;
    Ok(out)
}

fn read_breaker(keys: &Keys<'_>) -> PyResult<Breaker> {
    let mut out = Breaker::default();
    keys.number("consecutive", &mut out.consecutive)?;
    keys.number("failures", &mut out.failure_percent)?;
    keys.number("minimum", &mut out.minimum)?;
    keys.seconds("window", &mut out.window)?;
    keys.seconds("open", &mut out.open)?;
    keys.seconds("open_max", &mut out.open_max)?;
    keys.ordered(("open", &mut out.open), ("open_max", &mut out.open_max))?;
    keys.number("jitter", &mut out.jitter_percent)?;
    keys.number("trials", &mut out.trials)?;
    Ok(out)
}

fn read_concurrency(cluster: &Keys<'_>) -> PyResult<Concurrency> {
    let Some(concurrency) = cluster.get("concurrency")? else { return Ok(Concurrency::default()) };
    if concurrency.cast::<PyDict>().is_ok() {
        let keys = cluster.within("concurrency")?.within("adaptive")?;
        return read_adaptive(&keys).map(Concurrency::Adaptive);
    }
    if cluster.says("concurrency", "adaptive")? {
        return Ok(Concurrency::Adaptive(Adaptive::default()));
    }
    if cluster.says("concurrency", "unlimited")? {
        return Ok(Concurrency::Unlimited);
    }
    Ok(Concurrency::Fixed(concurrency.extract()?))
}

fn read_adaptive(keys: &Keys<'_>) -> PyResult<Adaptive> {
    let mut out = Adaptive::default();
    keys.number("min", &mut out.min)?;
    keys.number("max", &mut out.max)?;
    keys.number("initial", &mut out.initial)?;
    if keys.get("initial")?.is_some() {
        keys.ordered(("min", &mut out.min), ("initial", &mut out.initial))?;
        keys.ordered(("initial", &mut out.initial), ("max", &mut out.max))?;
    } else {
        keys.ordered(("min", &mut out.min), ("max", &mut out.max))?;
        out.initial = out.initial.max(out.min).min(out.max);
    }
    keys.number("tolerance", &mut out.tolerance)?;
    keys.seconds("window", &mut out.window)?;
    keys.seconds("remeasure", &mut out.remeasure)?;
    Ok(out)
}

fn read_queue(keys: &Keys<'_>) -> PyResult<Queue> {
    let mut out = Queue::default();
    keys.number("length", &mut out.length)?;
    keys.seconds("wait", &mut out.wait)?;
    Ok(out)
}

fn read_rate(rate: &Bound<'_, PyAny>) -> PyResult<Rate> {
    // An unknown rate keeps its position, so that problems name the right positions of the others.
    let mut out =
        Rate { per: Per::Cluster, messages: 1, every: Duration::from_secs(1), burst: 1, keys: Rate::KEYS };
    let Ok(rate) = rate.cast::<PyDict>() else { return Ok(out) };
    for required in ["per", "messages", "every"] {
        item(rate, required)?;
    }
    let keys = Keys(Some(rate.clone()));
    if let Some(per) = keys.get("per")? {
        let per: String = per.extract()?;
        let known = PER.into_iter().find(|(name, _)| *name == per);
        out.per = known.ok_or_else(|| PyValueError::new_err(format!("there is no per {per:?}")))?.1;
    }
    keys.number("messages", &mut out.messages)?;
    // The burst defaults to `messages`, but a wrong number should be one problem, not two.
    out.burst = out.messages.max(1);
    keys.seconds("every", &mut out.every)?;
    keys.number("burst", &mut out.burst)?;
    keys.number("keys", &mut out.keys)?;
    Ok(out)
}

fn read_hedge(keys: &Keys<'_>) -> PyResult<Hedge> {
    let mut out = Hedge::default();
    keys.number("after", &mut out.percentile)?;
    keys.seconds("minimum", &mut out.minimum)?;
    keys.number("samples", &mut out.samples)?;
    Ok(out)
}

/// Converts a policy to a mapping that `read` accepts.
pub(crate) fn view<'py>(py: Python<'py>, policy: &Policy) -> PyResult<Bound<'py, PyDict>> {
    let Policy { timeout, retry, balance, health, breaker, concurrency, queue, rate, hedge } = policy;
    let out = PyDict::new(py);
    let times = [
        ("connect", timeout.connect),
        ("first_byte", timeout.first_byte),
        ("idle", timeout.idle),
        ("total", timeout.total),
        ("stream_idle", timeout.stream_idle),
    ];
    let times = mapping(py, [], times)?;
    times.set_item("stream_total", timeout.stream_total.map(|length| length.as_secs_f64()))?;
    out.set_item("timeout", times)?;
    let numbers = [
        ("attempts", retry.attempts),
        ("budget", retry.budget_percent),
        ("budget_minimum", retry.budget_minimum),
    ];
    let times = [("window", retry.window), ("backoff", retry.backoff), ("backoff_max", retry.backoff_max)];
    let retried = mapping(py, numbers, times)?;
    retried.set_item("statuses", &retry.statuses)?;
    out.set_item("retry", retried)?;
    match balance {
        Balance::LeastLoad => out.set_item("balance", "least_load")?,
        Balance::Weighted => out.set_item("balance", "weighted")?,
        Balance::RoundRobin => out.set_item("balance", "round_robin")?,
        Balance::Hash(field) => {
            let hash = PyDict::new(py);
            hash.set_item("hash", field)?;
            out.set_item("balance", hash)?;
        }
    }
    out.set_item("health", health_view(py, health)?)?;
    let numbers = [
        ("consecutive", breaker.consecutive),
        ("failures", breaker.failure_percent),
        ("minimum", breaker.minimum),
        ("jitter", breaker.jitter_percent),
        ("trials", breaker.trials),
    ];
    let times = [("window", breaker.window), ("open", breaker.open), ("open_max", breaker.open_max)];
    out.set_item("breaker", mapping(py, numbers, times)?)?;
    match concurrency {
        Concurrency::Unlimited => out.set_item("concurrency", "unlimited")?,
        Concurrency::Fixed(limit) => out.set_item("concurrency", limit)?,
        Concurrency::Adaptive(adaptive) => out.set_item("concurrency", adaptive_view(py, adaptive)?)?,
    }
    let waiting = mapping(py, [("length", queue.length)], [("wait", queue.wait)])?;
    out.set_item("queue", waiting)?;
    let rates = PyList::empty(py);
    for rate in rate {
        rates.append(rate_view(py, rate)?)?;
    }
    out.set_item("rate", rates)?;
    let hedge = hedge.map(|hedge| {
        let numbers = [("after", hedge.percentile), ("samples", hedge.samples)];
        mapping(py, numbers, [("minimum", hedge.minimum)])
    });
    out.set_item("hedge", hedge.transpose()?)?;
    Ok(out)
}

pub(crate) fn rate_view<'py>(py: Python<'py>, rate: &Rate) -> PyResult<Bound<'py, PyDict>> {
    let Rate { per, messages, every, burst, keys } = rate;
    let numbers = [("messages", *messages), ("burst", *burst), ("keys", *keys)];
    let out = mapping(py, numbers, [("every", *every)])?;
    let name = PER.into_iter().find(|(_, known)| known == per).map(|(name, _)| name);
    out.set_item("per", name)?;
    Ok(out)
}

fn health_view<'py>(py: Python<'py>, health: &Health) -> PyResult<Bound<'py, PyDict>> {
    let check = health.check.as_ref().map(|check| {
        let numbers =
            [("healthy", check.healthy), ("unhealthy", check.unhealthy), ("jitter", check.jitter_percent)];
        let out = mapping(py, numbers, [("interval", check.interval), ("timeout", check.timeout)])?;
        out.set_item("path", &check.path)?;
        PyResult::Ok(out)
    });
    let times = [("slow_start", health.slow_start), ("rest_max", health.rest_max)];
    let out = mapping(py, [("panic", health.panic_percent)], times)?;
    out.set_item("check", check.transpose()?)?;
    out.set_item("aggression", health.aggression)?;
    Ok(out)
}

fn adaptive_view<'py>(py: Python<'py>, adaptive: &Adaptive) -> PyResult<Bound<'py, PyDict>> {
    let numbers = [("min", adaptive.min), ("max", adaptive.max), ("initial", adaptive.initial)];
    let times = [("window", adaptive.window), ("remeasure", adaptive.remeasure)];
    let inner = mapping(py, numbers, times)?;
    inner.set_item("tolerance", adaptive.tolerance)?;
    let out = PyDict::new(py);
    out.set_item("adaptive", inner)?;
    Ok(out)
}

fn mapping<'py, const N: usize, const M: usize>(
    py: Python<'py>,
    numbers: [(&str, u32); N],
    times: [(&str, Duration); M],
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for (key, number) in numbers {
        out.set_item(key, number)?;
    }
    for (key, time) in times {
        out.set_item(key, time.as_secs_f64())?;
    }
    Ok(out)
}
