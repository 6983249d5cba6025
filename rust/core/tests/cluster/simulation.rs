//! What a cluster's policies do to pretended servers, under a virtual clock.

use std::time::Duration;

use crate::simulator::{MS, SECOND, Server, Simulation};
use waypost_core::cluster::Condition;
use waypost_core::cluster::policy::{Adaptive, Balance, Concurrency, Health, Policy, Queue, Retry};

fn balanced(balance: Balance) -> Policy {
    Policy { balance, ..Policy::default() }
}

fn per_cent(counts: &[u64]) -> Vec<f64> {
    let all: u64 = counts.iter().sum();
    counts.iter().map(|count| *count as f64 * 100.0 / all as f64).collect()
}

fn mean(latencies: &[(u8, Duration)]) -> Duration {
    latencies.iter().map(|(_, took)| *took).sum::<Duration>() / u32::try_from(latencies.len()).unwrap()
}

#[test]
fn least_load_keeps_off_a_slow_endpoint_and_the_others_do_not() {
    let servers = || vec![Server::new(8, 20 * MS), Server::new(8, 20 * MS), Server::new(8, 200 * MS)];
    let mut means = Vec::new();
    for balance in [Balance::LeastLoad, Balance::RoundRobin, Balance::Weighted] {
        let mut simulation = Simulation::new(balanced(balance.clone()), servers(), 10 * MS);
        simulation.start(1);
        simulation.run(60 * SECOND);
        let shares = per_cent(&simulation.asked());
        if balance == Balance::LeastLoad {
            assert!(shares[2] < 10.0 && shares[2] > 0.1, "{shares:?}");
            assert!((shares[0] - shares[1]).abs() < 10.0, "{shares:?}");
        } else {
            assert!((shares[2] - 33.3).abs() < 3.0, "{shares:?}");
        }
        means.push(mean(&simulation.answered));
    }
    assert!(means[0] * 2 < means[1] && means[0] * 2 < means[2], "{means:?}");
}

#[test]
fn least_load_comes_back_to_an_endpoint_that_was_slow() {
    let servers = (0..3).map(|_| Server::new(50, 20 * MS)).collect();
    let mut simulation = Simulation::new(Policy::default(), servers, 5 * MS);
    simulation.start(1);
    simulation.servers[0].service = 2 * SECOND;
    simulation.run(30 * SECOND);
    let shares = per_cent(&simulation.asked());
    assert!(shares[0] < 3.0, "{shares:?}");
    simulation.servers[0].service = 20 * MS;
    simulation.run(60 * SECOND);
    simulation.asked();
    simulation.run(60 * SECOND);
    let shares = per_cent(&simulation.asked());
    assert!((shares[0] - 33.3).abs() < 5.0, "{shares:?}");
}

#[test]
fn under_pressure_least_load_gives_each_what_it_can_do() {
    // Three times the capacity, the same time for one request.
    let servers = vec![Server::new(30, 50 * MS), Server::new(10, 50 * MS)];
    let mut simulation = Simulation::new(Policy::default(), servers, Duration::ZERO);
    simulation.start(60);
    simulation.run(60 * SECOND);
    let shares = per_cent(&simulation.asked());
    assert!((shares[0] - 75.0).abs() < 8.0, "{shares:?}");
}

#[test]
fn a_failing_endpoint_is_left_alone_tried_again_and_taken_back() {
    let servers = (0..3).map(|_| Server::new(50, 20 * MS)).collect();
    let mut simulation = Simulation::new(balanced(Balance::RoundRobin), servers, 10 * MS);
    let condition = |simulation: &Simulation| {
        simulation.registry.view(simulation.now)[0].endpoints.iter().map(|e| e.condition).collect::<Vec<_>>()
    };
    simulation.start(1);
    simulation.run(10 * SECOND);
    assert_eq!(condition(&simulation), [Condition::Fit; 3]);

    simulation.asked();
    simulation.servers[1].down = true;
    simulation.run(60 * SECOND);
    assert_eq!(simulation.failed, 0, "all were answered elsewhere");
    assert!(matches!(condition(&simulation)[1], Condition::Open(_)), "{:?}", condition(&simulation));
    let asked = simulation.asked();
    assert!(asked[1] >= 5 + 3 && asked[1] < 5 + 3 * 6, "{asked:?}: five, then at most three a time");

    simulation.servers[1].down = false;
    let mut seen = Vec::new();
    for _ in 0..900 {
        simulation.run(100 * MS);
        let now = condition(&simulation)[1].name();
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert!(
        seen.ends_with(&["open", "half_open", "starting", "fit"]) || seen == ["open", "starting", "fit"],
        "{seen:?}"
    );
    simulation.asked();
    simulation.run(60 * SECOND);
    let shares = per_cent(&simulation.asked());
    assert!((shares[1] - 33.3).abs() < 5.0, "{shares:?}");
}

#[test]
fn least_load_hardly_needs_a_breaker() {
    let mut simulation =
        Simulation::new(Policy::default(), (0..3).map(|_| Server::new(50, 20 * MS)).collect(), 10 * MS);
    simulation.start(1);
    simulation.servers[1].down = true;
    simulation.run(60 * SECOND);
    // What fails fast would have the least in flight, and the least latency, if failures did not count as slow.
    assert!(simulation.asked()[1] < 8);
    assert_eq!(simulation.failed, 0);
}

#[test]
fn who_comes_back_starts_slowly() {
    let policy = Policy {
        balance: Balance::Weighted,
        health: Health { slow_start: 20 * SECOND, ..Health::default() },
        ..Policy::default()
    };
    let servers = (0..2).map(|_| Server::new(500, 20 * MS)).collect();
    let mut simulation = Simulation::new(policy, servers, MS);
    simulation.start(1);
    simulation.servers[0].down = true;
    simulation.run(SECOND);
    simulation.servers[0].down = false;
    let starting = |simulation: &Simulation| {
        matches!(simulation.registry.view(simulation.now)[0].endpoints[0].condition, Condition::Starting(_))
    };
    while !starting(&simulation) {
        simulation.run(10 * MS);
    }
    let mut shares = Vec::new();
    for _ in 0..5 {
        simulation.asked();
        simulation.run(5 * SECOND);
        shares.push(per_cent(&simulation.asked())[0]);
    }
    // Weights of (0.125 with at least 0.1, 0.375, 0.625, 0.875, 1) against 1.
    for (share, expected) in shares.iter().zip([11.5, 27.0, 38.3, 46.6, 50.0]) {
        assert!((share - expected).abs() < 3.0, "{shares:?}");
    }
}

#[test]
fn in_an_outage_of_everything_retries_stay_within_the_budget() {
    let retry = Retry { budget_minimum: 0, ..Retry::default() };
    let policy = Policy { retry, ..Policy::default() };
    let servers = (0..3).map(|_| Server::new(50, 20 * MS).down()).collect();
    let mut simulation = Simulation::new(policy, servers, MS);
    simulation.start(1);
    simulation.run(60 * SECOND);
    let totals = simulation.registry.view(simulation.now)[0].totals;
    let share = totals.retries as f64 / totals.messages as f64;
    assert!(totals.messages > 50_000 && (0.15..=0.2).contains(&share), "{totals:?}");
    let asked: u64 = simulation.asked().iter().sum();
    // Nothing is fit, so all of them are used.
    assert_eq!(asked, totals.messages + totals.retries);
}

#[test]
fn an_adaptive_limit_settles_near_what_the_server_can_do() {
    for (capacity, initial) in [(20, 4), (20, 200), (5, 20), (40, 20)] {
        let adaptive = Adaptive { initial, ..Adaptive::default() };
        let policy = Policy { concurrency: Concurrency::Adaptive(adaptive), ..Policy::default() };
        let mut simulation = Simulation::new(policy, vec![Server::new(capacity, 50 * MS)], Duration::ZERO);
        simulation.start(300);
        simulation.run(200 * SECOND);
        simulation.answered.clear();
        let mut limits = Vec::new();
        for _ in 0..120 {
            simulation.run(SECOND);
            limits.push(simulation.registry.view(simulation.now)[0].limit.unwrap());
        }
        let mean = f64::from(limits.iter().sum::<u32>()) / limits.len() as f64;
        let capacity = capacity as f64;
        let name = format!("capacity {capacity} from {initial}: {mean} {limits:?}");
        assert!(mean >= capacity && mean <= 2.4 * capacity, "{name}");
        let done = simulation.answered.len() as f64 / (capacity * 120.0 / 0.05);
        assert!(done > 0.93, "{done} {name}");
    }
}

#[test]
fn an_adaptive_limit_follows_a_server_that_becomes_slower() {
    let policy = Policy { concurrency: Concurrency::Adaptive(Adaptive::default()), ..Policy::default() };
    let mut simulation = Simulation::new(policy, vec![Server::new(40, 50 * MS)], Duration::ZERO);
    let limit = |simulation: &Simulation| simulation.registry.view(simulation.now)[0].limit.unwrap();
    simulation.start(300);
    simulation.run(120 * SECOND);
    let before = limit(&simulation);
    simulation.servers[0].capacity = 10;
    simulation.run(120 * SECOND);
    let after = limit(&simulation);
    assert!(before > 40 && after < 30, "{before} {after}");
    // Slower for each request by itself is no reason to send fewer at a time.
    simulation.servers[0].service = 200 * MS;
    simulation.run(300 * SECOND);
    assert!((10..30).contains(&limit(&simulation)), "{}", limit(&simulation));
}

#[test]
fn with_nothing_to_do_an_adaptive_limit_does_not_grow() {
    let policy = Policy { concurrency: Concurrency::Adaptive(Adaptive::default()), ..Policy::default() };
    let mut simulation = Simulation::new(policy, vec![Server::new(1000, 50 * MS)], 50 * MS);
    simulation.start(1);
    simulation.run(300 * SECOND);
    assert_eq!(simulation.registry.view(simulation.now)[0].limit, Some(20));
}

#[test]
fn urgent_messages_do_not_wait_for_others() {
    let policy = Policy {
        concurrency: Concurrency::Fixed(10),
        queue: Queue { length: 50, wait: 10 * SECOND, ..Queue::default() },
        ..Policy::default()
    };
    // 250 a second, of which 200 can be done.
    let mut simulation = Simulation::new(policy, vec![Server::new(10, 50 * MS)], 4 * MS);
    simulation.priorities = vec![2, 2, 2, 2, 9];
    simulation.start(1);
    simulation.run(120 * SECOND);
    let of = |priority| simulation.answered.iter().copied().filter(|a| a.0 == priority).collect::<Vec<_>>();
    let (urgent, others) = (of(9), of(2));
    assert!(mean(&urgent) < 75 * MS, "{:?}", mean(&urgent));
    assert!(mean(&others) > 200 * MS, "{:?}", mean(&others));
    let shed = simulation.registry.view(simulation.now)[0].shed;
    assert_eq!(shed.queue_full + shed.displaced, simulation.shed);
    assert!(shed.displaced > 100 && shed.queue_full > 1000, "{shed:?}");
    // A fifth of 250 a second for two minutes, give or take three standard deviations.
    assert!(urgent.len().abs_diff(6000) < 250, "no urgent one was refused: {}", urgent.len());
}
