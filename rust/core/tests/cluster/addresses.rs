//! Endpoints whose host is a name: each of its addresses is an endpoint of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::clusters::{MS, SECOND, at};
use proptest::prelude::*;
use waypost_core::cluster::policy::{Balance, Breaker, Check, Health, Policy};
use waypost_core::cluster::{
    Attempt, Condition, EndpointView, Failure, Group, Instant, NoEndpoint, Outcome, Registry, Tried,
};

const NAME: &str = "pool.test";
const URL: &str = "http://pool.test";

/// A registry with one cluster, of which these endpoints have [`NAME`] as their host.
fn site(endpoints: &[(&str, u32)], named: &[usize], policy: &Policy, now: Instant) -> (Registry, Group) {
    let mut registry = Registry::new(7);
    let group = apply(&mut registry, endpoints, named, policy, now);
    (registry, group)
}

fn apply(
    registry: &mut Registry,
    endpoints: &[(&str, u32)],
    named: &[usize],
    policy: &Policy,
    now: Instant,
) -> Group {
    let mut groups = registry.apply([("c", endpoints, Arc::new(policy.clone()))], now);
    registry.watch(&groups, named.iter().map(|position| (0, *position, NAME)), now);
    groups.remove(0)
}

fn balanced(balance: Balance) -> Policy {
    Policy {
        balance,
        health: Health { slow_start: Duration::ZERO, ..Health::default() },
        ..Policy::default()
    }
}

fn views(registry: &Registry, now: Instant) -> Vec<EndpointView> {
    registry.view(now).remove(0).endpoints
}

fn addresses(registry: &Registry, now: Instant) -> Vec<Option<String>> {
    views(registry, now).into_iter().map(|view| view.address).collect()
}

fn condition(registry: &Registry, address: &str, now: Instant) -> Option<Condition> {
    let found = views(registry, now).into_iter().find(|view| view.address.as_deref() == Some(address));
    found.map(|view| view.condition)
}

/// The address of an attempt; the URL's own place is `-`.
fn address(group: &Group, attempt: &Attempt) -> String {
    attempt.place().address.map_or_else(|| "-".to_owned(), |key| group.address(key).unwrap())
}

fn begin(group: &Group, now: Instant) -> Attempt {
    group.attempt(&mut Tried::new(), None, false, now).unwrap()
}

/// Where so many messages go, each over before the next.
fn shares(group: &Group, count: u32, now: Instant) -> Vec<(usize, String, u32)> {
    let mut found: Vec<(usize, String, u32)> = Vec::new();
    for _ in 0..count {
        let attempt = begin(group, now);
        let (position, address) = (attempt.position(), address(group, &attempt));
        group.finish(attempt, Outcome::Success, now);
        match found.iter_mut().find(|(at, known, _)| (*at, known) == (position, &address)) {
            Some((.., count)) => *count += 1,
            None => found.push((position, address, 1)),
        }
    }
    found.sort();
    found
}

fn break_down(group: &Group, text: &str, now: Instant) {
    for _ in 0..5 {
        let attempt = at_address(group, text, now);
        group.finish(attempt, Outcome::Failure(Failure::Reset), now);
    }
}

/// An attempt at that address.
fn at_address(group: &Group, text: &str, now: Instant) -> Attempt {
    let mut tried = Tried::new();
    loop {
        let attempt = group.attempt(&mut tried, None, false, now).unwrap();
        if address(group, &attempt) == text {
            return attempt;
        }
        group.finish(attempt, Outcome::Cancelled, now);
    }
}

#[test]
fn until_it_is_resolved_the_endpoint_itself_takes_messages_and_then_each_address() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &balanced(Balance::RoundRobin), at(0));
    assert_eq!(shares(&group, 2, at(0)), [(0, "-".to_owned(), 2)]);
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(1));
    assert_eq!(shares(&group, 10, at(1)), [(0, "10.0.0.1".to_owned(), 5), (0, "10.0.0.2".to_owned(), 5)]);
    assert_eq!(addresses(&registry, at(1)), [Some("10.0.0.1".to_owned()), Some("10.0.0.2".to_owned())]);
    registry.resolved(NAME, &[], at(2));
    assert_eq!(shares(&group, 2, at(2)), [(0, "-".to_owned(), 2)]);
    assert_eq!(addresses(&registry, at(2)), [None]);
}

#[test]
fn addresses_share_the_weight_of_their_endpoint() {
    let endpoints = [(URL, 3), ("http://10.9.9.9", 1)];
    for balance in [Balance::RoundRobin, Balance::Weighted, Balance::LeastLoad] {
        let (mut registry, group) = site(&endpoints, &[0], &balanced(balance.clone()), at(0));
        for many in [1_u8, 4, 7, 64] {
            let ips: Vec<String> = (0..many).map(|n| format!("10.0.0.{n}")).collect();
            registry.resolved(NAME, &ips.iter().map(String::as_str).collect::<Vec<_>>(), at(0));
            let found = shares(&group, 16_000, at(1));
            assert_eq!(found.len(), usize::from(many) + 1, "{balance:?}");
            let named: u32 = found.iter().filter(|(position, ..)| *position == 0).map(|(.., n)| n).sum();
            assert!((11_700..12_300).contains(&named), "{balance:?}: {named} of 16000 for {many} addresses");
            for (.., count) in found.iter().filter(|(position, ..)| *position == 0) {
                let even = f64::from(12_000 / u32::from(many));
                assert!((f64::from(*count) / even - 1.0).abs() < 0.4, "{balance:?}: {count}, not {even}");
            }
        }
    }
}

#[test]
fn a_breaker_opens_for_one_address_alone() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    break_down(&group, "10.0.0.2", at(1));
    assert!(matches!(condition(&registry, "10.0.0.2", at(2)), Some(Condition::Open(_))));
    assert_eq!(condition(&registry, "10.0.0.1", at(2)), Some(Condition::Fit));
    assert_eq!(shares(&group, 100, at(2)), [(0, "10.0.0.1".to_owned(), 100)]);
    let [change] = &registry.changes(at(2))[..] else { panic!("one change") };
    assert_eq!((&*change.url, change.address.as_deref(), change.out), (URL, Some("10.0.0.2"), true));
}

#[test]
fn a_retry_goes_to_another_address_and_a_rest_is_one_address_s() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    let mut tried = Tried::new();
    let first = group.attempt(&mut tried, None, false, at(0)).unwrap();
    let second = group.attempt(&mut tried, None, false, at(0)).unwrap();
    assert_ne!(first.place(), second.place());
    assert_eq!(group.attempt(&mut tried, None, false, at(0)).unwrap_err(), NoEndpoint::Tried);
    let (resting, other) = (address(&group, &first), address(&group, &second));
    group.rest(first.place(), 5 * SECOND, at(0));
    group.finish(first, Outcome::Failure(Failure::Status(429)), at(0));
    group.finish(second, Outcome::Success, at(0));
    assert_eq!(shares(&group, 20, at(1)), [(0, other, 20)]);
    assert!(matches!(condition(&registry, &resting, at(1)), Some(Condition::Resting(_))));
}

#[test]
fn a_reload_keeps_what_is_known_of_an_address() {
    let policy = Policy::default();
    let (mut registry, group) = site(&[(URL, 1)], &[0], &policy, at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    break_down(&group, "10.0.0.2", at(1));
    let newer = apply(&mut registry, &[("http://other", 1), (URL, 2)], &[1], &policy, at(2));
    drop(group);
    assert!(matches!(condition(&registry, "10.0.0.2", at(2)), Some(Condition::Open(_))));
    let mut used = shares(&newer, 300, at(2));
    used.retain(|(position, ..)| *position == 1);
    assert!(matches!(&used[..], [(1, address, _)] if address == "10.0.0.1"), "{used:?}");
    assert_eq!(
        views(&registry, at(2)).iter().map(|view| view.weight).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(2)]
    );
    // The proxy resolves the name from now on.
    let proxied = apply(&mut registry, &[(URL, 2)], &[], &policy, at(3));
    drop(newer);
    assert_eq!(shares(&proxied, 3, at(3)), [(0, "-".to_owned(), 3)]);
    assert_eq!(addresses(&registry, at(3)), [None]);
}

#[test]
fn a_name_that_was_resolved_is_so_for_clusters_that_come_later() {
    let (mut registry, _group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    let policy = Arc::new(Policy::default());
    let one = [(URL, 1)];
    let two = [("https://pool.test:8443/v1", 1)];
    let groups = registry.apply([("c", &one[..], Arc::clone(&policy)), ("d", &two[..], policy)], at(1));
    registry.watch(&groups, [(0, 0, NAME), (1, 0, NAME)], at(1));
    let address_of = |group: &Group| address(group, &begin(group, at(1)));
    assert!(groups.iter().map(address_of).all(|address| address.starts_with("10.0.0.")));
    registry.resolved(NAME, &["10.0.0.3"], at(2));
    assert!(groups.iter().map(address_of).all(|address| address == "10.0.0.3"));
    registry.resolved("else.test", &["10.0.0.4"], at(2));
    assert!(groups.iter().map(address_of).all(|address| address == "10.0.0.3"));
}

#[test]
fn an_address_that_left_drains_and_is_forgotten_once_nothing_is_in_flight() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    let stream = at_address(&group, "10.0.0.2", at(0));
    registry.resolved(NAME, &["10.0.0.1"], at(1));
    assert_eq!(shares(&group, 50, at(1)), [(0, "10.0.0.1".to_owned(), 50)]);
    assert_eq!(condition(&registry, "10.0.0.2", at(1)), Some(Condition::Draining));
    registry.resolved(NAME, &["10.0.0.1"], at(100_000));
    assert_eq!(condition(&registry, "10.0.0.2", at(100_000)), Some(Condition::Draining));
    assert_eq!(address(&group, &stream), "10.0.0.2");
    group.finish(stream, Outcome::Success, at(100_001));
    assert_eq!(addresses(&registry, at(100_001)), [Some("10.0.0.1".to_owned())]);
    registry.resolved(NAME, &["10.0.0.1"], at(100_002));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(100_003));
    assert_eq!(condition(&registry, "10.0.0.2", at(100_003)), Some(Condition::Starting(100)), "it is new");
}

#[test]
fn an_address_that_comes_back_soon_is_as_it_was() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    let attempt = at_address(&group, "10.0.0.2", at(0));
    group.finish(attempt, Outcome::Success, at(1));
    registry.resolved(NAME, &["10.0.0.1"], at(10_000));
    assert_eq!(condition(&registry, "10.0.0.2", at(10_000)), None, "nothing is in flight there");
    registry.resolved(NAME, &["10.0.0.2", "10.0.0.1"], at(20_000));
    assert_eq!(condition(&registry, "10.0.0.2", at(20_000)), Some(Condition::Fit));
    assert_eq!(views(&registry, at(20_000))[1].counts.succeeded, 1);
}

#[test]
fn an_address_that_appears_starts_slowly_and_proves_itself_with_one_message() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1"], at(0));
    assert_eq!(condition(&registry, "10.0.0.1", at(0)), Some(Condition::Fit), "the first ones are all new");
    let mut known = begin(&group, at(0));
    group.responded(&mut known, 200, at(20));
    group.finish(known, Outcome::Success, at(20));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(30));
    assert_eq!(condition(&registry, "10.0.0.2", at(30)), Some(Condition::Starting(100)));
    assert_eq!(condition(&registry, "10.0.0.1", at(30)), Some(Condition::Fit));
    // A crowd at once, with nothing answered yet: one message proves the new address.
    let crowd: Vec<Attempt> = (0..200).map(|_| begin(&group, at(31))).collect();
    assert_eq!(crowd.iter().filter(|attempt| address(&group, attempt) == "10.0.0.2").count(), 1);
    for attempt in crowd {
        group.finish(attempt, Outcome::Cancelled, at(32));
    }
    assert_eq!(condition(&registry, "10.0.0.2", at(20_000)), Some(Condition::Fit));
}

#[test]
fn a_connection_made_elsewhere_moves_the_attempt_and_counts_against_who_refused() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    let mut tried = Tried::new();
    // The name was not resolved when the attempt began.
    let attempt = group.attempt(&mut tried, None, false, at(0)).unwrap();
    assert_eq!(group.alternatives(attempt.place(), &tried, at(0)), []);
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2", "10.0.0.3"], at(1));
    let attempt = group.moved(attempt, Some("10.0.0.2"), &["10.0.0.1"], &mut tried, at(1));
    assert_eq!(address(&group, &attempt), "10.0.0.2");
    let counts = |nth: usize| {
        let view = &views(&registry, at(2))[nth];
        (view.counts.attempts, view.counts.unreachable, view.in_flight, view.consecutive_failures)
    };
    assert_eq!([counts(0), counts(1), counts(2)], [(1, 1, 0, 1), (1, 0, 1, 0), (0, 0, 0, 0)]);
    // The retry goes to the only one that nobody tried, and where nothing is to be had there, the attempt stays.
    group.finish(attempt, Outcome::Failure(Failure::Status(503)), at(2));
    let attempt = group.attempt(&mut tried, None, false, at(2)).unwrap();
    assert_eq!(address(&group, &attempt), "10.0.0.3");
    assert_eq!(group.alternatives(attempt.place(), &tried, at(2)), []);
    assert_eq!(group.alternatives(attempt.place(), &Tried::new(), at(2)).len(), 2);
    let attempt = group.moved(attempt, None, &["10.0.0.3", "10.0.0.1", "gone"], &mut tried, at(2));
    assert_eq!(address(&group, &attempt), "10.0.0.3");
    group.finish(attempt, Outcome::Failure(Failure::Connect), at(2));
    let counts = |nth: usize| views(&registry, at(2))[nth].counts.unreachable;
    assert_eq!([counts(0), counts(1), counts(2)], [2, 0, 1]);
    assert!(views(&registry, at(2)).iter().all(|view| view.in_flight == 0));
}

#[test]
fn alternatives_are_fit() {
    let (mut registry, group) = site(&[(URL, 1), ("http://10.9.9.9", 1)], &[0], &Policy::default(), at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2", "10.0.0.3"], at(0));
    break_down(&group, "10.0.0.2", at(1));
    let attempt = at_address(&group, "10.0.0.1", at(1));
    let others = group.alternatives(attempt.place(), &Tried::new(), at(1));
    let others: Vec<String> =
        others.into_iter().map(|place| group.address(place.address.unwrap()).unwrap()).collect();
    assert_eq!(others, ["10.0.0.3"]);
    group.finish(attempt, Outcome::Cancelled, at(1));
}

#[test]
fn a_dead_name_is_no_majority() {
    // By their number the five addresses are most of the cluster, but they are one endpoint of two.
    let policy = Policy { breaker: Breaker { consecutive: 1, ..Breaker::default() }, ..Policy::default() };
    let (mut registry, group) = site(&[(URL, 1), ("http://10.9.9.9", 1)], &[0], &policy, at(0));
    let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    registry.resolved(NAME, &ips, at(0));
    for ip in ips {
        let attempt = at_address(&group, ip, at(0));
        group.finish(attempt, Outcome::Failure(Failure::Reset), at(0));
    }
    assert_eq!(shares(&group, 100, at(1)), [(1, "-".to_owned(), 100)]);
}

/// The list of all places made anew for each name took half a minute.
#[test]
fn very_many_names_in_one_cluster_are_resolved_in_a_moment() {
    let hosts: Vec<String> = (0..20_000).map(|n| format!("host-{n}.test")).collect();
    let urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}")).collect();
    let endpoints: Vec<(&str, u32)> = urls.iter().map(|url| (&**url, 1)).collect();
    let mut registry = Registry::new(7);
    let groups = registry.apply([("c", &endpoints[..], Arc::default())], at(0));
    registry.watch(&groups, hosts.iter().enumerate().map(|(position, host)| (0, position, &**host)), at(0));
    let begun = std::time::Instant::now();
    for host in &hosts {
        registry.resolved(host, &["10.0.0.1", "10.0.0.2"], at(1));
    }
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
    let attempt = begin(&groups[0], at(2));
    assert!(["10.0.0.1", "10.0.0.2"].contains(&&*address(&groups[0], &attempt)));
    groups[0].finish(attempt, Outcome::Success, at(3));
    registry.resolved(&hosts[7], &[], at(3));
    assert_eq!(registry.view(at(3))[0].endpoints.len(), 40_000 - 1);
}

#[test]
fn each_address_is_checked() {
    let policy =
        Policy { health: Health { check: Some(Check::default()), ..Health::default() }, ..Policy::default() };
    let (mut registry, group) = site(&[(URL, 1)], &[0], &policy, at(0));
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2"], at(0));
    let mut asked = Vec::new();
    for place in group.due_checks(at(2000)) {
        let address = group.address(place.address.unwrap()).unwrap();
        group.checked(place, address == "10.0.0.1", at(2000));
        asked.push(address);
    }
    asked.sort();
    assert_eq!(asked, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(condition(&registry, "10.0.0.1", at(2001)), Some(Condition::Fit));
    assert_eq!(condition(&registry, "10.0.0.2", at(2001)), Some(Condition::CheckFails));
}

#[test]
fn hash_balancing_is_by_address_and_one_that_comes_or_goes_moves_only_its_own_values() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &balanced(Balance::Hash("tenant".to_owned())), at(0));
    let keyed = |key: u64| {
        let attempt = group.attempt(&mut Tried::new(), Some(key), false, at(1)).unwrap();
        let found = address(&group, &attempt);
        group.finish(attempt, Outcome::Cancelled, at(1));
        found
    };
    registry.resolved(NAME, &["10.0.0.1", "10.0.0.2", "10.0.0.3"], at(0));
    let before: Vec<String> = (0..3000).map(keyed).collect();
    registry.resolved(NAME, &["10.0.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.4"], at(0));
    let after: Vec<String> = (0..3000).map(keyed).collect();
    let moved: Vec<&String> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
    assert!((600..900).contains(&moved.len()), "{}", moved.len());
    assert!(moved.iter().all(|address| *address == "10.0.0.4"));
}

#[test]
fn the_number_of_addresses_is_bounded_however_often_they_change() {
    let (mut registry, group) = site(&[(URL, 1)], &[0], &Policy::default(), at(0));
    let mut held = Vec::new();
    for round in 0..50_u32 {
        let ips: Vec<String> = (0..1000).map(|n| format!("10.{round}.{}.{}", n / 256, n % 256)).collect();
        registry.resolved(NAME, &ips.iter().map(String::as_str).collect::<Vec<_>>(), at(round));
        let attempts: Vec<Attempt> = (0..64).map(|_| begin(&group, at(round))).collect();
        held.extend(attempts);
    }
    assert!(views(&registry, at(60)).len() <= 128);
    for attempt in held {
        group.finish(attempt, Outcome::Success, at(70));
    }
    assert_eq!(views(&registry, at(70)).len(), 64);
    assert!(views(&registry, at(70)).iter().all(|view| view.in_flight == 0));
    let place = begin(&group, at(71)).place();
    drop(group);
    assert!(registry.view(at(72)).is_empty());
    assert!(place.address.is_some());
}

#[derive(Clone, Debug)]
enum Event {
    Resolve(Vec<u8>),
    Begin(u64),
    End(usize, u8),
    Move(usize, u8, u8),
    Wait(u16),
    Reload(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        prop::collection::vec(0_u8..6, 0..5).prop_map(Event::Resolve),
        any::<u64>().prop_map(Event::Begin),
        (any::<usize>(), 0_u8..4).prop_map(|(at, how)| Event::End(at, how)),
        (any::<usize>(), 0_u8..7, 0_u8..7).prop_map(|(at, to, refused)| Event::Move(at, to, refused)),
        (1_u16..40_000).prop_map(Event::Wait),
        any::<bool>().prop_map(Event::Reload),
    ];
    prop::collection::vec(event, 1..80)
}

proptest! {
    #[test]
    fn whatever_happens_messages_go_only_to_present_addresses_and_nothing_is_counted_for_ever(
        events in events(), balance in 0_u8..4
    ) {
        let policy = balanced(match balance {
            0 => Balance::LeastLoad,
            1 => Balance::Weighted,
            2 => Balance::RoundRobin,
            _ => Balance::Hash("tenant".to_owned()),
        });
        let text = |number: u8| format!("10.0.0.{number}");
        let mut now = at(0);
        let (mut registry, group) = site(&[(URL, 1)], &[0], &policy, now);
        let mut group = Arc::new(group);
        let mut present: Vec<String> = Vec::new();
        let mut under_way: Vec<(Arc<Group>, Attempt)> = Vec::new();
        for event in events {
            match event {
                Event::Resolve(numbers) => {
                    present = numbers.into_iter().map(text).collect();
                    present.sort();
                    present.dedup();
                    registry.resolved(NAME, &present.iter().map(String::as_str).collect::<Vec<_>>(), now);
                }
                Event::Begin(key) => {
                    if let Ok(attempt) = group.attempt(&mut Tried::new(), Some(key), false, now) {
                        let address = address(&group, &attempt);
                        prop_assert!(present.contains(&address) || (present.is_empty() && address == "-"));
                        under_way.push((Arc::clone(&group), attempt));
                    }
                }
                Event::End(at, how) if !under_way.is_empty() => {
                    let (group, attempt) = under_way.remove(at % under_way.len());
                    let outcome = [
                        Outcome::Success,
                        Outcome::Cancelled,
                        Outcome::Failure(Failure::Connect),
                        Outcome::Failure(Failure::Status(503)),
                    ][usize::from(how)];
                    group.finish(attempt, outcome, now);
                }
                Event::Move(at, to, refused) if !under_way.is_empty() => {
                    let (group, attempt) = under_way.remove(at % under_way.len());
                    let (to, refused) = (text(to), text(refused));
                    let attempt = group.moved(attempt, Some(&to), &[&refused], &mut Tried::new(), now);
                    under_way.push((group, attempt));
                }
                Event::End(..) | Event::Move(..) => (),
                Event::Wait(ms) => now = now + u32::from(ms) * MS,
                Event::Reload(named) => {
                    let named: &[usize] = if named { &[0] } else { &[] };
                    group = Arc::new(apply(&mut registry, &[(URL, 1)], named, &policy, now));
                    if named.is_empty() {
                        // It is watched again, and has to be told again.
                        present.clear();
                        group = Arc::new(apply(&mut registry, &[(URL, 1)], &[0], &policy, now));
                    }
                }
            }
            let flying: u32 = views(&registry, now).iter().map(|view| view.in_flight).sum();
            prop_assert!(flying as usize <= under_way.len());
        }
        for (group, attempt) in under_way {
            group.finish(attempt, Outcome::Success, now);
        }
        prop_assert!(views(&registry, now).iter().all(|view| view.in_flight == 0));
        prop_assert_eq!(views(&registry, now).len(), present.len().max(1));
    }
}
