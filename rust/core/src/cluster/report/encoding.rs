//! Views as numbers, for other processes of the same build.

use std::time::Duration;

use super::view::{ClusterView, Condition, EndpointView};
use crate::cluster::admission::gate::ShedCounts;
use crate::cluster::slots::Counts;
use crate::cluster::state::Totals;
use crate::cluster::time::{Instant, nanos};

/// Views as numbers. Rates are left out: all processes share their accounts.
pub(crate) fn write(views: &[ClusterView]) -> Vec<u64> {
    let mut out = vec![views.len() as u64];
    for view in views {
        cluster(&mut out, view);
    }
    out
}

/// The views that were written; `None` where these are no such numbers.
pub(crate) fn read(numbers: &[u64]) -> Option<Vec<ClusterView>> {
    let mut numbers = Numbers(numbers);
    let count = numbers.next()?;
    (0..count).map(|_| numbers.cluster()).collect()
}

fn cluster(out: &mut Vec<u64>, view: &ClusterView) {
    let ClusterView {
        name,
        totals: Totals { messages, retries, hedges, rate_limited },
        in_flight,
        limit,
        waiting,
        wait,
        shed: ShedCounts { queue_full, deadline_too_short, displaced, expired },
        retries_left,
        latency,
        rates: _,
        endpoints,
    } = view;
    text(out, name);
    out.extend([messages, retries, hedges, rate_limited]);
    out.push(u64::from(*in_flight));
    optional(out, limit.map(u64::from));
    out.extend(waiting.map(u64::from));
    out.push(nanos(*wait));
    out.extend([queue_full, deadline_too_short, displaced, expired, retries_left]);
    for at in 0..3 {
        optional(out, latency.and_then(|latency| latency.get(at).copied()).map(nanos));
    }
    out.push(endpoints.len() as u64);
    for view in endpoints {
        endpoint(out, view);
    }
}

fn endpoint(out: &mut Vec<u64>, view: &EndpointView) {
    let EndpointView {
        url,
        address,
        weight,
        condition,
        conditions: _,
        consecutive_failures,
        check,
        in_flight,
        latency,
        counts: Counts { attempts, succeeded, unreachable, timed_out, broken, error_status, cancelled },
    } = view;
    text(out, url);
    text(out, address.as_deref().unwrap_or_default());
    optional(out, weight.map(u64::from));
    out.extend(match condition {
        Condition::Fit => [0, 0],
        Condition::Starting(share) => [1, u64::from(*share)],
        Condition::HalfOpen => [2, 0],
        Condition::Open(until) => [3, until.nanos()],
        Condition::CheckFails => [4, 0],
        Condition::Resting(until) => [5, until.nanos()],
        Condition::Draining => [6, 0],
    });
    out.push(u64::from(*consecutive_failures));
    optional(out, check.map(u64::from));
    out.push(u64::from(*in_flight));
    optional(out, latency.map(nanos));
    out.extend([attempts, succeeded, unreachable, timed_out, broken, error_status, cancelled]);
}

fn text(out: &mut Vec<u64>, text: &str) {
    out.push(text.len() as u64);
    for part in text.as_bytes().chunks(8) {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(part) {
            *to = *from;
        }
        out.push(u64::from_le_bytes(bytes));
    }
}

/// Nothing is one more than anything could be.
fn optional(out: &mut Vec<u64>, number: Option<u64>) {
    out.push(number.unwrap_or(u64::MAX));
}

struct Numbers<'a>(&'a [u64]);

#[allow(clippy::option_option)] // The outer one: there is no more. The inner one: nothing was said.
impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn small(&mut self) -> Option<u32> {
        self.next()?.try_into().ok()
    }

    fn length(&mut self) -> Option<Duration> {
        self.next().map(Duration::from_nanos)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.next()?).ok()?;
        let (words, rest) = self.0.split_at_checked(length.div_ceil(8))?;
        self.0 = rest;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(length);
        String::from_utf8(bytes).ok()
    }

    fn optional(&mut self) -> Option<Option<u64>> {
        self.next().map(|number| (number != u64::MAX).then_some(number))
    }

    fn optional_small(&mut self) -> Option<Option<u32>> {
        self.optional().map(|number| number.and_then(|number| number.try_into().ok()))
    }

    fn cluster(&mut self) -> Option<ClusterView> {
        Some(ClusterView {
            name: self.text()?,
            totals: Totals {
                messages: self.next()?,
                retries: self.next()?,
                hedges: self.next()?,
                rate_limited: self.next()?,
            },
            in_flight: self.small()?,
            limit: self.optional_small()?,
            waiting: {
                let mut waiting = [0; 10];
                for count in &mut waiting {
                    *count = self.small()?;
                }
                waiting
            },
            wait: self.length()?,
            shed: ShedCounts {
                queue_full: self.next()?,
                deadline_too_short: self.next()?,
                displaced: self.next()?,
                expired: self.next()?,
            },
            retries_left: self.next()?,
            latency: {
                let [a, b, c] = [self.optional()?, self.optional()?, self.optional()?];
                a.zip(b).zip(c).map(|((a, b), c)| [a, b, c].map(Duration::from_nanos))
            },
            rates: Vec::new(),
            endpoints: {
                let count = self.next()?;
                (0..count).map(|_| self.endpoint()).collect::<Option<_>>()?
            },
        })
    }

    fn endpoint(&mut self) -> Option<EndpointView> {
        Some(EndpointView {
            url: self.text()?,
            address: Some(self.text()?).filter(|address| !address.is_empty()),
            weight: self.optional_small()?,
            condition: match (self.next()?, self.next()?) {
                (0, _) => Condition::Fit,
                (1, share) => Condition::Starting(share.try_into().ok()?),
                (2, _) => Condition::HalfOpen,
                (3, until) => Condition::Open(Instant::from_nanos(until)),
                (4, _) => Condition::CheckFails,
                (5, until) => Condition::Resting(Instant::from_nanos(until)),
                (6, _) => Condition::Draining,
                _ => return None,
            },
            conditions: Vec::new(),
            consecutive_failures: self.small()?,
            check: self.optional()?.map(|check| check != 0),
            in_flight: self.small()?,
            latency: self.optional()?.map(Duration::from_nanos),
            counts: Counts {
                attempts: self.next()?,
                succeeded: self.next()?,
                unreachable: self.next()?,
                timed_out: self.next()?,
                broken: self.next()?,
                error_status: self.next()?,
                cancelled: self.next()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(numbers: &[u32], name: String) -> ClusterView {
        let mut numbers = numbers.iter().copied().cycle();
        let mut small = || numbers.next().unwrap();
        let endpoint = EndpointView {
            url: format!("http://{name}"),
            address: (!name.is_empty()).then(|| name.clone()),
            weight: small().is_multiple_of(2).then(&mut small),
            condition: [
                Condition::Fit,
                Condition::Starting(7),
                Condition::HalfOpen,
                Condition::Open(Instant::from_nanos(8)),
                Condition::CheckFails,
                Condition::Resting(Instant::from_nanos(9)),
                Condition::Draining,
            ][small() as usize % 7],
            conditions: Vec::new(),
            consecutive_failures: small(),
            check: [None, Some(true), Some(false)][small() as usize % 3],
            in_flight: small(),
            latency: small().is_multiple_of(2).then_some(Duration::from_nanos(3)),
            counts: Counts {
                attempts: u64::from(small()),
                cancelled: u64::from(small()),
                ..Counts::default()
            },
        };
        ClusterView {
            name,
            totals: Totals { messages: u64::from(small()), rate_limited: 4, ..Totals::default() },
            in_flight: small(),
            limit: small().is_multiple_of(2).then(&mut small),
            waiting: std::array::from_fn(|_| small()),
            wait: Duration::from_nanos(u64::from(small())),
            shed: ShedCounts { queue_full: u64::from(small()), expired: 2, ..ShedCounts::default() },
            retries_left: u64::from(small()),
            latency: small().is_multiple_of(2).then_some([1, 2, 3].map(Duration::from_millis)),
            rates: Vec::new(),
            endpoints: vec![endpoint.clone(), EndpointView { url: String::new(), ..endpoint }],
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec(any::<u32>(), 1..60), names in prop::collection::vec(".{0,20}", 0..4),
        ) {
            let views: Vec<ClusterView> = names.into_iter().map(|name| view(&numbers, name)).collect();
            let written = write(&views);
            prop_assert_eq!(read(&written), Some(views));
            for end in 0..written.len() {
                prop_assert_eq!(read(&written[..end]), None);
            }
        }

        #[test]
        fn nothing_else_is_harmful(numbers in prop::collection::vec(prop_oneof![0_u64..40, any::<u64>()], 0..200)) {
            let _ = read(&numbers);
        }
    }
}
