//! A cluster as an exchange uses it: which endpoint, and which not.

use std::time::Duration;

use crate::clusters::{MS, SECOND, THREE, at, attempt, attempt_at, break_down, conditions, join, used, view};
use proptest::prelude::*;
use waypost_core::cluster::choice::rendezvous::score;
use waypost_core::cluster::policy::{
    Adaptive, Balance, Breaker, Check, Concurrency, Health, Hedge, Policy, Retry,
};
use waypost_core::cluster::{
    Attempt, Condition, Failed, Failure, Next, NoEndpoint, Outcome, Place, Registry, Rng, Tried,
};
use waypost_core::hash::hash;

fn failed(failure: Failure, attempts: u32) -> Failed {
    Failed {
        failure,
        retry_after: None,
        idempotent: true,
        sent: true,
        replayable: true,
        delivered: false,
        attempts,
        fallback: false,
        deadline: None,
    }
}

proptest! {
    #[test]
    fn an_exchange_tries_each_endpoint_once(seed in any::<u64>(), way in 0_u8..4, count in 1_usize..9) {
        let balance = match way {
            0 => Balance::LeastLoad,
            1 => Balance::Weighted,
            2 => Balance::RoundRobin,
            _ => Balance::Hash("tenant".to_owned()),
        };
        let urls: Vec<String> = (0..count).map(|n| format!("http://h{n}")).collect();
        let endpoints: Vec<(&str, u32)> = urls.iter().zip(1..).map(|(url, weight)| (url.as_str(), weight)).collect();
        let group = join(&mut Registry::new(seed), &endpoints, &Policy { balance, ..Policy::default() }, at(0));
        let mut tried = Tried::new();
        let mut seen = Vec::new();
        for _ in 0..count {
            let attempt = group.attempt(&mut tried, Some(seed), false, at(0)).unwrap();
            prop_assert!(tried.contains(attempt.position()));
            seen.push(attempt.position());
            group.finish(attempt, Outcome::Cancelled, at(0));
        }
        prop_assert_eq!(group.attempt(&mut tried, Some(seed), false, at(0)).unwrap_err(), NoEndpoint::Tried);
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_recorded_adds_up(steps in prop::collection::vec((0_u8..8, 0_u32..3000), 1..200), seed in any::<u64>()) {
        let mut registry = Registry::new(seed);
        let group = join(&mut registry, &THREE, &Policy::default(), at(0));
        let (mut now, mut under_way, mut begun) = (0, Vec::new(), 0);
        for (step, pause) in steps {
            now += pause;
            match step {
                0..=2 => if let Ok(attempt) = group.attempt(&mut Tried::new(), None, false, at(now)) {
                    under_way.push(attempt);
                    begun += 1;
                },
                3 => if let Some(attempt) = under_way.first_mut() { group.responded(attempt, 200, at(now)) },
                _ if under_way.is_empty() => (),
                _ => {
                    let outcome = match step {
                        4 => Outcome::Success,
                        5 => Outcome::Cancelled,
                        6 => Outcome::Failure(Failure::Timeout),
                        _ => Outcome::Failure(Failure::Status(503)),
                    };
                    group.finish(under_way.remove(0), outcome, at(now));
                }
            }
            let endpoints = view(&registry, at(now)).endpoints;
            prop_assert_eq!(endpoints.iter().map(|e| e.counts.attempts).sum::<u64>(), begun);
            prop_assert_eq!(endpoints.iter().map(|e| e.in_flight as usize).sum::<usize>(), under_way.len());
        }
    }
}

#[test]
fn shares_of_keys_follow_weights_and_who_goes_takes_only_its_own() {
    let endpoints: Vec<(String, u32)> =
        (0..10).map(|n| (format!("http://10.0.0.{n}:9100"), 1 + n / 5)).collect();
    let of = |left_out: Option<usize>| -> Vec<usize> {
        let refs: Vec<(usize, (&str, u32))> = (endpoints.iter().enumerate())
            .filter(|(at, _)| Some(*at) != left_out)
            .map(|(at, (url, weight))| (at, (url.as_str(), *weight)))
            .collect();
        let plain: Vec<(&str, u32)> = refs.iter().map(|(_, endpoint)| *endpoint).collect();
        let policy = Policy { balance: Balance::Hash("labels.session".to_owned()), ..Policy::default() };
        // Another process: another seed.
        let group = join(&mut Registry::new(left_out.map_or(1, |at| at as u64)), &plain, &policy, at(0));
        (0..30_000)
            .map(|n: u32| {
                let key = hash(format!("session-{n}").as_bytes());
                let attempt = group.attempt(&mut Tried::new(), Some(key), false, at(0)).unwrap();
                let position = refs[attempt.position()].0;
                group.finish(attempt, Outcome::Cancelled, at(0));
                position
            })
            .collect()
    };
    let all = of(None);
    for (position, (_, weight)) in endpoints.iter().enumerate() {
        let share = all.iter().filter(|at| **at == position).count();
        assert!(share.abs_diff(2000 * *weight as usize) < 150, "{position}: {share}");
    }
    for gone in [0, 7] {
        let without = of(Some(gone));
        assert!(all.iter().zip(&without).all(|(before, after)| if *before == gone {
            *after != gone
        } else {
            before == after
        }));
        let heirs: std::collections::HashSet<&usize> =
            all.iter().zip(&without).filter(|(before, _)| **before == gone).map(|(_, after)| after).collect();
        assert_eq!(heirs.len(), 9, "its keys are shared by all others");
    }
}

/// Part of the contract between processes and versions: do not change.
#[test]
fn where_keys_belong_is_fixed() {
    let urls = ["http://a", "http://b", "http://c:9100/v1"].map(|url| hash(url.as_bytes()));
    let of = |key: &str| {
        let scores = urls.map(|url| score(hash(key.as_bytes()), url, 1));
        (0..3).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
    };
    assert_eq!(["", "x", "y", "z", "acme", "globex", "session-42", "ü"].map(of), [0, 1, 1, 1, 2, 2, 1, 0]);
    assert_eq!(score(1, 2, 3).to_bits(), 0x4036_cb0e_dc01_4ef7);
}

#[test]
fn a_key_whose_endpoint_is_out_comes_back_to_it() {
    let policy = Policy {
        balance: Balance::Hash("tenant".to_owned()),
        health: Health { slow_start: Duration::ZERO, ..Health::default() },
        ..Policy::default()
    };
    let group = join(&mut Registry::new(1), &THREE, &policy, at(0));
    let choose = |ms| {
        let attempt = group.attempt(&mut Tried::new(), Some(7), false, at(ms)).unwrap();
        let position = attempt.position();
        group.finish(attempt, Outcome::Success, at(ms));
        position
    };
    let home = choose(0);
    break_down(&group, home, at(0));
    let away = choose(1);
    assert_ne!(away, home);
    assert_eq!([choose(2), choose(3)], [away; 2]);
    assert_eq!(choose(7000), home);
    // Without a key it does not matter.
    assert!(used(&group, false, at(20_000)).len() > 1);
}

#[test]
fn when_most_are_unfit_all_are_used_unless_there_is_another_cluster() {
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE, &Policy::default(), at(0));
    break_down(&group, 0, at(0));
    assert_eq!(used(&group, false, at(0)), [1, 2], "two of three are enough");
    break_down(&group, 1, at(0));
    assert_eq!(used(&group, false, at(0)), [0, 1, 2]);
    assert_eq!(used(&group, true, at(0)), [2]);
    break_down(&group, 2, at(0));
    assert_eq!(used(&group, false, at(0)), [0, 1, 2]);
    assert_eq!(group.attempt(&mut Tried::new(), None, true, at(0)).unwrap_err(), NoEndpoint::Unfit);
    assert!(conditions(&registry, at(0)).iter().all(|c| matches!(c, Condition::Open(_))));
    assert_eq!(conditions(&registry, at(60_000)), [Condition::HalfOpen; 3]);
}

#[test]
fn who_asks_for_rest_gets_it_even_if_nobody_is_left() {
    let mut registry = Registry::new(1);
    let policy = Policy { balance: Balance::Weighted, ..Policy::default() };
    let group = join(&mut registry, &THREE, &policy, at(0));
    group.rest(0, 2 * SECOND, at(0));
    assert_eq!(used(&group, false, at(1999)), [1, 2]);
    assert_eq!(conditions(&registry, at(0))[0], Condition::Resting(at(2000)));
    assert_eq!(used(&group, false, at(2000)), [0, 1, 2]);
    break_down(&group, 1, at(2000));
    group.rest(0, SECOND, at(2000));
    assert_eq!(used(&group, false, at(2000)), [2], "who rests is not ill: most are well");
    for position in 0..3 {
        group.rest(position, (5 - u32::try_from(position).unwrap()) * SECOND, at(2000));
    }
    let none = group.attempt(&mut Tried::new(), None, false, at(2000)).unwrap_err();
    assert_eq!(none, NoEndpoint::Resting { until: at(5000) });
    // Nobody to go to but who rests: a retry waits as long as the endpoint said.
    let failed = Failed { retry_after: Some(5 * SECOND), ..failed(Failure::Status(429), 1) };
    let next = group.retry(&failed, &Tried::new(), at(2000));
    assert_eq!(next, Next::Retry { after: 5 * SECOND, elsewhere: false });
}

#[test]
fn active_checks_take_out_and_bring_back() {
    let policy = Policy {
        health: Health { check: Some(Check::default()), slow_start: Duration::ZERO, ..Health::default() },
        ..Policy::default()
    };
    let mut registry = Registry::new(1);
    let old = join(&mut registry, &THREE[..1], &policy, at(0));
    let group = join(&mut registry, &THREE, &policy, at(0));
    assert_eq!(old.next_check(), None, "only the newest snapshot checks");
    assert_eq!(group.due_checks(at(0)), []);
    // Every endpoint is asked once in each interval, with some spread.
    let (mut now, mut asked) = (at(0), [0; 3]);
    while let Some(due) = group.next_check().filter(|due| *due < at(60_000)) {
        assert!(due >= now);
        now = due;
        for Place { endpoint: position, .. } in group.due_checks(now) {
            asked[position] += 1;
            group.checked(position, position != 2 || now >= at(30_000), now);
            assert_eq!(
                used(&group, false, now).contains(&2),
                asked[2] == 0 || now >= at(30_000) && { conditions(&registry, now)[2] == Condition::Fit }
            );
        }
    }
    assert!(asked.iter().all(|count| (10..=12).contains(count)), "{asked:?}");
    assert_eq!(conditions(&registry, now), [Condition::Fit; 3]);
    drop(group);
    assert!(
        old.next_check().is_some(),
        "a snapshot that did not come into force leaves the one before in charge"
    );
}

#[test]
fn a_stale_connection_is_nobodys_fault() {
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE[..1], &Policy::default(), at(0));
    let mut tried = Tried::new();
    for _ in 0..20 {
        tried.clear();
        let stale = group.attempt(&mut tried, None, false, at(0)).unwrap();
        let position = stale.position();
        group.finish(stale, Outcome::Failure(Failure::Stale), at(0));
        let next = group.retry(&failed(Failure::Stale, 1), &tried, at(0));
        assert_eq!(next, Next::Retry { after: Duration::ZERO, elsewhere: false });
        let mut again = attempt_at(&group, position, at(0));
        group.responded(&mut again, 200, at(10));
        group.finish(again, Outcome::Success, at(10));
    }
    let endpoint = view(&registry, at(10)).endpoints.remove(0);
    assert_eq!(
        (endpoint.condition, endpoint.in_flight, endpoint.latency),
        (Condition::Fit, 0, Some(10 * MS))
    );
    assert_eq!((endpoint.counts.broken, endpoint.counts.succeeded), (20, 20));
}

#[test]
fn a_second_attempt_cuts_the_tail_within_the_budget() {
    let policy = Policy {
        balance: Balance::Weighted,
        hedge: Some(Hedge::default()),
        retry: Retry { budget_minimum: 0, ..Retry::default() },
        ..Policy::default()
    };
    let run = |percent: u32, latency: fn(&mut Rng) -> Duration| {
        let retry = Retry { budget_percent: percent, ..policy.retry.clone() };
        let policy = Policy { retry, ..policy.clone() };
        let mut registry = Registry::new(1);
        let group = join(&mut registry, &THREE, &policy, at(0));
        let mut rng = Rng::new(3);
        let mut latency = || latency(&mut rng);
        let (mut now, mut took) = (at(0), Vec::new());
        for _ in 0..10_000 {
            now = now + 20 * MS;
            let _admitted = group.enter(5, None, now);
            let mut tried = Tried::new();
            let mut first = group.attempt(&mut tried, None, false, now).unwrap();
            let ends = now + latency();
            let second = group.hedge_after(true).filter(|after| now + *after < ends).and_then(|after| {
                let begins = now + after;
                Some((group.hedge(&mut tried, None, begins)?, begins + latency()))
            });
            let answered = if let Some((second, other)) = second {
                assert_ne!(second.position(), first.position());
                let faster = other < ends;
                let (mut won, lost) = if faster { (second, first) } else { (first, second) };
                let end = ends.min(other);
                group.responded(&mut won, 200, end);
                group.finish(lost, Outcome::Cancelled, end);
                group.finish(won, Outcome::Success, end);
                end
            } else {
                group.responded(&mut first, 200, ends);
                group.finish(first, Outcome::Success, ends);
                ends
            };
            took.push(answered.since(now));
        }
        took.sort_unstable();
        (took[9800], view(&registry, now).totals)
    };
    let tail = |rng: &mut Rng| if rng.below(100) < 3 { SECOND } else { rng.within(4 * MS) + 8 * MS };
    let (late, totals) = run(20, tail);
    assert!(late < 40 * MS, "{late:?}: 3 % took a second");
    assert!((200..1000).contains(&totals.hedges), "{totals:?}");
    let (_, totals) = run(1, tail);
    assert!((50..=101).contains(&totals.hedges), "one in a hundred: {totals:?}");
    // One in twenty is later than the 95th percentile: also when those that lost were never seen to end.
    let (_, totals) = run(20, |rng| (50 * MS).mul_f64(-(1.0 - rng.unit()).ln()));
    assert!((300..600).contains(&totals.hedges), "{totals:?}");
}

#[test]
fn what_must_not_happen_twice_is_not_hedged() {
    let policy = Policy { hedge: Some(Hedge { samples: 10, ..Hedge::default() }), ..Policy::default() };
    let group = join(&mut Registry::new(1), &THREE, &policy, at(0));
    for _ in 0..10 {
        let mut attempt = attempt(&group, at(0));
        group.responded(&mut attempt, 200, at(50));
        group.finish(attempt, Outcome::Success, at(50));
    }
    assert!(group.hedge_after(true).is_some());
    assert_eq!(group.hedge_after(false), None);
    let one = join(&mut Registry::new(1), &THREE[..1], &policy, at(0));
    let mut tried = Tried::new();
    let _first = one.attempt(&mut tried, None, false, at(0)).unwrap();
    assert_eq!(one.hedge(&mut tried, None, at(0)), None, "nowhere to go");
}

#[test]
fn refusals_lower_an_adaptive_limit() {
    let concurrency = Concurrency::Adaptive(Adaptive::default());
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE, &Policy { concurrency, ..Policy::default() }, at(0));
    for n in 0..50 {
        let attempt = attempt(&group, at(n * 100));
        group.finish(attempt, Outcome::Failure(Failure::Status(503)), at(n * 100));
    }
    // Four windows of 10 and more.
    let limit = view(&registry, at(5000)).limit.unwrap();
    assert!((12..=14).contains(&limit), "{limit}: 20 × 0.9⁴");
}

#[test]
fn a_body_that_came_slowly_is_not_the_endpoints_latency() {
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE[..1], &Policy::default(), at(0));
    let mut upload = attempt(&group, at(0));
    group.request_streams(&mut upload);
    group.request_sent(&mut upload, at(60_000));
    group.responded(&mut upload, 200, at(60_010));
    group.responded(&mut upload, 200, at(60_500));
    group.finish(upload, Outcome::Success, at(60_500));
    assert_eq!(view(&registry, at(60_010)).endpoints[0].latency, Some(10 * MS));
    assert_eq!(view(&registry, at(60_010)).latency.unwrap()[0].as_millis(), 10);
}

#[test]
fn trials_of_a_stream_need_not_wait_for_its_end() {
    let breaker = Breaker { trials: 1, ..Breaker::default() };
    let policy = Policy { breaker, ..Policy::default() };
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE, &policy, at(0));
    break_down(&group, 0, at(0));
    let mut trial = attempt_at(&group, 0, at(10_000));
    assert_eq!(conditions(&registry, at(10_000))[0], Condition::HalfOpen);
    group.responded(&mut trial, 200, at(10_100));
    assert_eq!(conditions(&registry, at(10_100))[0], Condition::Starting(100));
    group.finish(trial, Outcome::Failure(Failure::Reset), at(20_000));
    assert_eq!(
        view(&registry, at(20_000)).endpoints[0].consecutive_failures,
        1,
        "its end counts as any other"
    );
}

/// What one message costs: `cargo test --release -p waypost-core --test cluster_group -- --ignored --nocapture cost`.
#[test]
#[ignore = "prints figures"]
fn cost() {
    for count in [3_u32, 30] {
        let urls: Vec<String> = (0..count).map(|n| format!("http://h{n}")).collect();
        let endpoints: Vec<(&str, u32)> = urls.iter().map(|url| (url.as_str(), 1)).collect();
        for balance in
            [Balance::LeastLoad, Balance::RoundRobin, Balance::Weighted, Balance::Hash("tenant".into())]
        {
            let name = format!("{count} endpoints, {balance:?}");
            let group =
                join(&mut Registry::new(1), &endpoints, &Policy { balance, ..Policy::default() }, at(0));
            let (rounds, batch) = (20_000_u32, 50_u32);
            let mut now = at(0);
            let mut spent = [Vec::new(), Vec::new()];
            for n in 0..rounds {
                now = now + MS;
                let began = std::time::Instant::now();
                let choose = |m: u32| {
                    group.attempt(&mut Tried::new(), Some(u64::from(n * batch + m)), false, now).unwrap()
                };
                let attempts: Vec<Attempt> = (0..batch).map(choose).collect();
                let chosen = std::time::Instant::now();
                for mut attempt in attempts {
                    group.responded(&mut attempt, 200, now + 10 * MS);
                    group.finish(attempt, Outcome::Success, now + 10 * MS);
                }
                spent[0].push(chosen.duration_since(began));
                spent[1].push(chosen.elapsed());
            }
            // The median, as others use this machine too.
            let [choose, record] = spent.map(|mut lengths| {
                lengths.sort_unstable();
                lengths[lengths.len() / 2].as_nanos() / u128::from(batch)
            });
            println!("{name}: choose {choose} ns, record {record} ns");
        }
    }
}
