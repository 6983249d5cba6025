//! What a reload keeps of what is known of a cluster.

use std::sync::Arc;

use crate::clusters::{MS, SECOND, THREE, at, attempt_at, break_down, conditions, join, used, view};
use waypost_core::cluster::policy::{Balance, Concurrency, Per, Policy, Queue, Rate};
use waypost_core::cluster::{Caller, Condition, Entry, Failure, Outcome, Registry, Turn};

#[test]
fn a_reload_keeps_what_stays_and_forgets_what_nobody_uses() {
    let mut registry = Registry::new(1);
    let urls = |registry: &Registry| {
        let endpoints = registry.view(at(0)).into_iter().flat_map(|cluster| cluster.endpoints);
        endpoints.map(|e| (e.url, e.weight, e.consecutive_failures)).collect::<Vec<_>>()
    };
    let by_weight = Policy { balance: Balance::Weighted, ..Policy::default() };
    let old = join(&mut registry, &THREE[..2], &by_weight, at(0));
    break_down(&old, 0, at(0));
    let under_way = attempt_at(&old, 0, at(0));
    break_down(&old, 1, at(0));

    let new = join(&mut registry, &[("http://b", 3), ("http://c", 1)], &Policy::default(), at(0));
    let all =
        [("http://a".into(), None, 5), ("http://b".into(), Some(3), 5), ("http://c".into(), Some(1), 0)];
    assert_eq!(urls(&registry), all);
    assert!(matches!(conditions(&registry, at(0))[1], Condition::Open(_)), "known from before");
    assert_eq!(conditions(&registry, at(0))[2], Condition::Starting(100), "new among old ones");
    // An exchange of the old snapshot still finds its way.
    assert_eq!(used(&old, false, at(0)), [0, 1]);
    old.finish(under_way, Outcome::Success, at(5));
    drop(old);
    assert_eq!(urls(&registry), all[1..]);

    // A slot that is used again is not the endpoint that had it.
    let only = join(&mut registry, &THREE[..1], &Policy::default(), at(0));
    let late = attempt_at(&only, 0, at(0));
    drop(only);
    let other = join(&mut registry, &[("http://d", 1)], &Policy::default(), at(0));
    other.finish(late, Outcome::Failure(Failure::Reset), at(0));
    assert!(view(&registry, at(0)).endpoints.iter().all(|e| e.counts.broken == 0));
    drop(other);
    let newer = join(&mut registry, &THREE, &Policy::default(), at(0));
    drop(new);
    assert_eq!(view(&registry, at(0)).endpoints[0].consecutive_failures, 0);
    drop(newer);
    assert!(registry.view(at(0)).is_empty());
    let _fresh = join(&mut registry, &THREE, &Policy::default(), at(0));
    assert_eq!(conditions(&registry, at(0)), [Condition::Fit; 3]);
}

#[test]
fn reloads_without_end_take_no_more_room() {
    let mut registry = Registry::new(1);
    let mut group = join(&mut registry, &THREE, &Policy::default(), at(0));
    for n in 0..1000 {
        let url = format!("http://h{n}");
        let mut next = registry.apply(
            [
                ("c", &[("http://a", 1), (url.as_str(), 1)][..], Arc::default()),
                (&format!("c{n}"), &THREE[..1], Arc::default()),
            ],
            at(n),
        );
        group = next.remove(0);
        let views = registry.view(at(n));
        assert_eq!((views.len(), views[0].endpoints.len()), (2, 2));
    }
    assert_eq!(group.name(), "c");
}

#[test]
fn limits_are_those_of_the_newest_snapshot_and_who_waits_goes_on_waiting() {
    let limited = |limit| Policy {
        concurrency: Concurrency::Fixed(limit),
        queue: Queue { length: 10, wait: SECOND, ..Queue::default() },
        ..Policy::default()
    };
    let mut registry = Registry::new(1);
    let old = join(&mut registry, &THREE, &limited(1), at(0));
    let Entry::Admitted(permit) = old.enter(5, None, at(0)) else { panic!() };
    let Entry::Waits { ticket, .. } = old.enter(5, None, at(0)) else { panic!() };
    assert_eq!(old.turn(at(0)), None);
    let new = join(&mut registry, &THREE, &limited(2), at(0));
    let Some(Turn::Admitted(whose, second)) = new.turn(at(0)) else { panic!() };
    assert_eq!(whose, ticket);
    let Entry::Waits { ticket, .. } = new.enter(5, None, at(0)) else { panic!() };
    assert!(old.cancel(ticket) && !new.cancel(ticket));
    old.leave(permit, at(10));
    old.leave(second, at(10));
    assert_eq!(view(&registry, at(10)).in_flight, 0);
}

#[test]
fn a_reload_does_not_forgive_what_was_spent() {
    let rate = |messages| Rate { per: Per::Tenant, messages, every: SECOND, burst: 1, keys: 10 };
    let policy = |messages| Policy { rate: vec![rate(messages)], ..Policy::default() };
    let mut registry = Registry::new(1);
    let caller = Caller { tenant: Some("acme"), ..Caller::default() };
    let first = join(&mut registry, &THREE, &policy(1), at(0));
    assert_eq!(first.spend(&caller, at(0)), Ok(()));
    let second = join(&mut registry, &THREE, &policy(1), at(0));
    let exceeded = second.spend(&caller, at(250)).unwrap_err();
    assert_eq!((exceeded.rate, exceeded.retry_after), (rate(1), 750 * MS));
    let third = join(&mut registry, &THREE, &policy(2), at(0));
    assert_eq!(third.spend(&caller, at(250)), Ok(()), "another rate begins anew");
    drop(third);
    assert!(second.spend(&caller, at(300)).is_err(), "the one before is in force again, and remembers");
    assert!(first.spend(&caller, at(1000)).is_ok());
    assert_eq!(view(&registry, at(250)).totals.rate_limited, 2);
}
