//! The course of an exchange, under a virtual clock: which attempts it makes, and what it answers.

use std::time::Duration;

use crate::courses::{MS, SECOND, SENT, Site, answer, at, attempt, calm, code, fail};
use waypost_core::cluster::policy::{
    Breaker, Concurrency, Health, Hedge, Per, Policy, Queue, Rate, Retry, Timeout,
};
use waypost_core::cluster::{Condition, Failure, Outcome, Reason, Ticket, Turn};
use waypost_core::engine::{Bound, CallerNames, Course, Delivery, Step, Terms};

fn once(now: waypost_core::cluster::Instant) -> Terms {
    Terms { began: now, priority: 5, idempotent: false, ..Terms::default() }
}

fn limited(concurrency: u32, length: u32) -> Policy {
    let queue = Queue { length, wait: 10 * SECOND, ..Queue::default() };
    Policy { concurrency: Concurrency::Fixed(concurrency), queue, ..calm() }
}

fn waits(step: &Step) -> Ticket {
    match step {
        Step::Wait { ticket, .. } => *ticket,
        other => panic!("{other:?}"),
    }
}

// One attempt.

#[test]
fn an_answer_at_once_leaves_nothing_behind() {
    let site = Site::new(&[(2, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    let view = &site.view(at(0))[0];
    assert_eq!((view.in_flight, view.endpoints.iter().map(|e| e.in_flight).sum::<u32>()), (1, 1));
    answer(&mut course, at(50));
    assert!(site.idle(at(50)));
    let view = &site.view(at(50))[0];
    assert_eq!(view.endpoints.iter().map(|e| e.counts.succeeded).sum::<u64>(), 1);
    assert_eq!((course.made(), view.totals.messages), (1, 1));
}

#[test]
fn a_client_that_leaves_is_nobodys_failure() {
    let site = Site::new(&[(1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    course.end(Outcome::Cancelled, at(10));
    course.end(Outcome::Success, at(20));
    assert!(site.idle(at(20)));
    let counts = site.view(at(20))[0].endpoints[0].counts;
    assert_eq!((counts.cancelled, counts.succeeded), (1, 0));
    // What comes late changes nothing.
    course.responded(1, 200, at(30));
    course.succeeded(1, at(30));
    assert_eq!(fail(&mut course, Failure::Reset, at(30)), Step::GiveUp(Reason::Response));
    assert_eq!(course.resume(at(30)), Step::Stay);
    assert_eq!(site.view(at(30))[0].endpoints[0].counts, counts);
}

#[test]
fn a_stream_that_the_client_has_all_of_is_a_success() {
    let site = Site::new(&[(1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    course.responded(1, 200, at(5));
    course.end(Outcome::Success, at(900));
    assert_eq!(site.view(at(900))[0].endpoints[0].counts.succeeded, 1);
}

// Further attempts.

#[test]
fn what_may_have_been_executed_is_not_sent_again() {
    for failure in [Failure::Timeout, Failure::Reset, Failure::Protocol, Failure::Stale] {
        let site = Site::new(&[(2, calm()), (2, calm())]);
        let mut course = site.exchange(once(at(0)));
        attempt(&course.begin(at(0)));
        assert!(matches!(fail(&mut course, failure, at(1)), Step::GiveUp(_)), "{failure:?}");
        course.end(Outcome::Cancelled, at(1));
        assert!(site.idle(at(1)));
        // Nothing had left: it goes on.
        let mut course = site.exchange(once(at(2)));
        let first = attempt(&course.begin(at(2)));
        let unsent = Delivery { sent: false, ..SENT };
        let next = attempt(&course.failed(1, failure, unsent, at(2)));
        assert_eq!(next == first, failure == Failure::Stale);
    }
    // Nor after a status, nor where the request's bytes are gone.
    let site = Site::new(&[(2, calm()), (2, calm())]);
    let mut course = site.exchange(once(at(0)));
    attempt(&course.begin(at(0)));
    assert_eq!(course.responded_retryable(1, 503, None, SENT, at(1)), Step::Respond);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    let gone = Delivery { replayable: false, ..SENT };
    assert_eq!(course.failed(1, Failure::Reset, gone, at(1)), Step::GiveUp(Reason::Protocol));
}

#[test]
fn other_endpoints_then_the_fallback_then_the_answer() {
    let site = Site::new(&[(2, calm()), (1, calm())]);
    let mut course = site.message(at(0));
    let first = attempt(&course.begin(at(0)));
    let second = attempt(&fail(&mut course, Failure::Connect, at(1)));
    assert_eq!((first.cluster, second.cluster), (0, 0));
    assert_ne!(first.endpoint, second.endpoint);
    let third = attempt(&fail(&mut course, Failure::Reset, at(2)));
    assert_eq!(third.cluster, 1);
    assert_eq!(site.view(at(2)).iter().map(|c| c.in_flight).collect::<Vec<_>>(), [0, 1], "it left the first");
    // There is nothing else: here again, as often as the policy says.
    assert!(matches!(fail(&mut course, Failure::Reset, at(3)), Step::Attempt { .. }));
    assert!(matches!(fail(&mut course, Failure::Reset, at(4)), Step::Attempt { .. }));
    assert_eq!(fail(&mut course, Failure::Reset, at(5)), Step::GiveUp(Reason::Protocol));
    assert_eq!(course.made(), 5);
    course.end(Outcome::Cancelled, at(6));
    assert!(site.idle(at(6)));
}

#[test]
fn a_stale_connection_is_replaced_at_the_same_endpoint_and_costs_no_attempt() {
    let policy = Policy { retry: Retry { attempts: 2, ..calm().retry }, ..calm() };
    let site = Site::new(&[(3, policy)]);
    let mut course = site.message(at(0));
    let first = attempt(&course.begin(at(0)));
    assert_eq!(fail(&mut course, Failure::Stale, at(1)), Step::Attempt { at: first, fresh: true });
    let other = fail(&mut course, Failure::Reset, at(2));
    assert!(matches!(other, Step::Attempt { at, fresh: false } if at != first), "{other:?}");
    assert_eq!(fail(&mut course, Failure::Reset, at(3)), Step::GiveUp(Reason::Protocol));
    assert_eq!(course.made(), 3);
}

#[test]
fn a_status_waits_for_its_turn_to_be_an_answer() {
    let site = Site::new(&[(1, calm()), (1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    assert!(
        course.is_retryable(429)
            && !course.is_retryable(500)
            && !course.is_retryable(404)
            && !course.is_retryable(200)
    );
    // The response is kept for as long as the host likes; nothing is begun meanwhile.
    assert_eq!(course.responded_retryable(1, 503, None, SENT, at(1)), Step::Pause(Duration::ZERO));
    assert_eq!(course.made(), 1);
    assert_eq!(attempt(&course.resume(at(900))).cluster, 1);
    assert_eq!(
        course.responded_retryable(2, 500, None, SENT, at(901)),
        Step::Respond,
        "no status to try again after"
    );
    course.end(Outcome::Cancelled, at(902));
    assert!(site.idle(at(902)));
    let errors: Vec<u64> = site.view(at(902)).iter().map(|c| c.endpoints[0].counts.error_status).collect();
    assert_eq!(errors, [1, 1]);
}

#[test]
fn a_status_that_only_the_policy_retries_is_no_failure_of_the_endpoint() {
    let retry = Retry { statuses: vec![404], ..calm().retry };
    let site = Site::new(&[(2, Policy { retry, ..calm() })]);
    let mut course = site.message(at(0));
    let first = attempt(&course.begin(at(0)));
    assert!(course.is_retryable(404));
    assert!(matches!(course.responded_retryable(1, 404, None, SENT, at(1)), Step::Pause(_)));
    assert_ne!(attempt(&course.resume(at(1))), first);
    assert_eq!(course.responded_retryable(2, 503, None, SENT, at(2)), Step::Respond);
    let counts: Vec<_> =
        site.view(at(2))[0].endpoints.iter().map(|e| (e.counts.succeeded, e.counts.error_status)).collect();
    assert!(counts.contains(&(1, 0)) && counts.contains(&(0, 1)), "{counts:?}");
}

#[test]
fn retry_after_is_respected() {
    let site = Site::new(&[(2, calm())]);
    let mut course = site.message(at(0));
    let first = attempt(&course.begin(at(0)));
    assert_eq!(
        course.responded_retryable(1, 429, Some(5 * SECOND), SENT, at(0)),
        Step::Pause(Duration::ZERO)
    );
    let second = attempt(&course.resume(at(0)));
    assert_ne!(first, second);
    // Nobody is left: it waits for as long as the endpoint said.
    assert_eq!(course.responded_retryable(2, 429, Some(7 * SECOND), SENT, at(0)), Step::Pause(7 * SECOND));
    // A message that comes is told when to come back: when the first of them may be asked.
    let fault = match site.message(at(1000)).begin(at(1000)) {
        Step::Fail(fault) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!((fault.code, fault.retry_after), ("overloaded", Some(4 * SECOND)));
    // A timer that was early.
    let alone = site.message(at(4999)).begin(at(4999));
    assert_eq!(alone, Step::Pause(MS));
    attempt(&course.resume(at(7000)));
    course.end(Outcome::Cancelled, at(7000));
    // Longer than a client is kept waiting, and than one header may keep an endpoint out.
    let mut course = site.exchange(Terms { began: at(10_000), idempotent: true, ..Terms::default() });
    attempt(&course.begin(at(10_000)));
    assert!(matches!(
        course.responded_retryable(1, 429, Some(31 * SECOND), SENT, at(10_000)),
        Step::Pause(_)
    ));
    attempt(&course.resume(at(10_000)));
    assert_eq!(course.responded_retryable(2, 429, Some(31 * SECOND), SENT, at(10_000)), Step::Respond);
    course.end(Outcome::Cancelled, at(10_000));
    attempt(&site.message(at(40_000)).begin(at(40_000)));
}

#[test]
fn the_budget_ends_a_storm_of_retries() {
    let retry = Retry { budget_percent: 20, budget_minimum: 0, ..calm().retry };
    let site = Site::new(&[(3, Policy { retry, ..calm() })]);
    let mut made = 0;
    for _ in 0..1000 {
        let mut course = site.message(at(0));
        let mut step = course.begin(at(0));
        while let Step::Attempt { .. } = step {
            step = fail(&mut course, Failure::Connect, at(0));
        }
        assert_eq!(step, Step::GiveUp(Reason::Unreachable));
        course.end(Outcome::Cancelled, at(0));
        made += course.made();
    }
    assert!((1190..=1200).contains(&made), "{made}");
}

#[test]
fn a_breaker_that_is_open_leads_to_the_fallback_and_back() {
    let breaker = Breaker { consecutive: 2, trials: 1, jitter_percent: 0, ..Breaker::default() };
    let site = Site::new(&[(1, Policy { breaker, ..calm() }), (1, calm())]);
    let clusters = |now| {
        let mut course = site.message(now);
        let mut step = course.begin(now);
        let mut seen = Vec::new();
        while let Step::Attempt { at, .. } = step {
            seen.push(at.cluster);
            if at.cluster == 1 || now >= at_ms(5000) {
                answer(&mut course, now);
                break;
            }
            step = fail(&mut course, Failure::Reset, now);
        }
        course.end(Outcome::Cancelled, now);
        seen
    };
    assert_eq!([clusters(at(0)), clusters(at(1))], [vec![0, 1], vec![0, 1]]);
    assert_eq!(clusters(at(2)), [1], "open");
    assert!(matches!(site.view(at(2))[0].endpoints[0].condition, Condition::Open(_)));
    assert_eq!(clusters(at(5001)), [0], "the trial");
    assert_eq!(site.view(at(5001))[0].endpoints[0].condition, Condition::Fit);
    assert!(site.idle(at(5001)));
}

fn at_ms(ms: u32) -> waypost_core::cluster::Instant {
    at(ms)
}

#[test]
fn nobody_is_fit_and_there_is_no_panic() {
    let breaker = Breaker { consecutive: 1, ..Breaker::default() };
    let health = Health { panic_percent: 0, ..calm().health };
    let site = Site::new(&[(1, Policy { breaker, health, retry: Retry::off(), ..calm() })]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    assert_eq!(fail(&mut course, Failure::Connect, at(0)), Step::GiveUp(Reason::Unreachable));
    let mut course = site.message(at(1));
    assert_eq!(code(&course.begin(at(1))), "upstream_unreachable");
    course.end(Outcome::Cancelled, at(1));
    assert_eq!(site.view(at(1))[0].in_flight, 1, "of the first");
}

#[test]
fn who_may_be_unfit_is_tried_before_those_who_failed_are_tried_again() {
    let breaker = Breaker { consecutive: 2, ..Breaker::default() };
    let policy = Policy { breaker, ..calm() };
    for (clusters, there) in [(vec![(2, policy.clone())], (0, 0)), (vec![(2, policy), (1, calm())], (1, 0))] {
        let site = Site::new(&clusters);
        // One of two, so that there is no panic. Time passes, or one that fails would not be chosen again.
        let mut now = 0;
        while site.view(at(now))[0].endpoints[0].condition == Condition::Fit {
            now += 10_000;
            let mut course = site.message(at(now));
            if attempt(&course.begin(at(now))).endpoint == 0 {
                attempt(&fail(&mut course, Failure::Connect, at(now)));
            }
            answer(&mut course, at(now));
        }
        now += 1;
        let mut course = site.message(at(now));
        let first = attempt(&course.begin(at(now)));
        assert_eq!((first.cluster, first.endpoint), (0, 1));
        let second = attempt(&fail(&mut course, Failure::Connect, at(now)));
        assert_eq!((second.cluster, second.endpoint), there, "another cluster comes first");
        answer(&mut course, at(now));
        assert!(site.idle(at(now)));
    }
}

// Deadlines.

#[test]
fn the_deadline_bounds_all_of_it() {
    let site = Site::new(&[(3, calm()), (1, calm())]);
    let terms = || Terms { began: at(0), deadline: Some(100 * MS), idempotent: true, ..Terms::default() };
    let mut course = site.exchange(terms());
    attempt(&course.begin(at(0)));
    attempt(&fail(&mut course, Failure::Reset, at(99)));
    let step = fail(&mut course, Failure::Reset, at(100));
    assert_eq!(code(&step), "deadline_exceeded");
    let Step::Fail(fault) = step else { panic!() };
    assert_eq!(fault.message, "the message's deadline of 100 ms passed without a reply");
    // A pause that it would not survive is not begun: the next cluster.
    let mut course = site.exchange(terms());
    attempt(&course.begin(at(0)));
    for _ in 0..2 {
        assert_eq!(
            course.responded_retryable(course.made(), 503, None, SENT, at(0)),
            Step::Pause(Duration::ZERO)
        );
        attempt(&course.resume(at(0)));
    }
    assert_eq!(course.responded_retryable(3, 429, Some(SECOND), SENT, at(0)), Step::Pause(Duration::ZERO));
    assert_eq!(attempt(&course.resume(at(0))).cluster, 1);
    // One that was overslept.
    assert!(matches!(course.responded_retryable(4, 429, Some(99 * MS), SENT, at(0)), Step::Pause(_)));
    assert_eq!(code(&course.resume(at(100))), "deadline_exceeded");
}

#[test]
fn the_clusters_total_bounds_it_too() {
    let timeout = Timeout { total: SECOND, ..Timeout::default() };
    let site = Site::new(&[(3, Policy { timeout, ..calm() })]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    let Step::Fail(fault) = fail(&mut course, Failure::Reset, at(1000)) else { panic!() };
    assert_eq!(
        (fault.code, &*fault.message),
        ("upstream_timeout", "cluster c0: no complete response within 1 s")
    );
}

#[test]
fn the_nearer_of_deadline_and_total_is_the_bound() {
    let timeout = Timeout { total: 10 * SECOND, ..Timeout::default() };
    let endless = Site::new(&[(1, Policy { timeout, ..calm() })]);
    let timeout = Timeout { stream_total: Some(20 * SECOND), ..timeout };
    let ending = Site::new(&[(1, Policy { timeout, ..calm() })]);
    for (site, deadline, plain, stream) in [
        (&endless, None, Some(Bound::Total(10 * SECOND)), None),
        (&endless, Some(9), Some(Bound::Deadline(9 * SECOND)), Some(Bound::Deadline(9 * SECOND))),
        (&endless, Some(10), Some(Bound::Deadline(10 * SECOND)), Some(Bound::Deadline(10 * SECOND))),
        (&endless, Some(11), Some(Bound::Total(10 * SECOND)), Some(Bound::Deadline(11 * SECOND))),
        (&ending, None, Some(Bound::Total(10 * SECOND)), Some(Bound::Total(20 * SECOND))),
        (&ending, Some(30), Some(Bound::Total(10 * SECOND)), Some(Bound::Total(20 * SECOND))),
    ] {
        let deadline = deadline.map(|seconds| seconds * SECOND);
        let course = site.exchange(Terms { began: at(0), deadline, ..Terms::default() });
        assert_eq!((course.bound(false), course.bound(true)), (plain, stream), "{deadline:?}");
        assert_eq!(course.message_time_left(at(500)).map(|left| left + 500 * MS), deadline);
    }
    let course = endless.message(at(0));
    assert_eq!(course.time_left(Bound::Total(10 * SECOND), at(4000)), 6 * SECOND);
    assert_eq!(course.time_left(Bound::Total(10 * SECOND), at(11_000)), Duration::ZERO);
}

// Rates.

#[test]
fn a_callers_rate_is_the_answer_and_a_clusters_leads_on() {
    let rate = |per| Rate { per, messages: 2, every: 10 * SECOND, burst: 2, keys: Rate::KEYS };
    let begin = |site: &Site, tenant: &str| {
        let mut course = site.message(at(0));
        course.charge(CallerNames { tenant: Some(tenant.to_owned()), ..CallerNames::default() });
        let step = course.begin(at(0));
        course.end(Outcome::Cancelled, at(0));
        step
    };
    let site = Site::new(&[(1, Policy { rate: vec![rate(Per::Tenant)], ..calm() }), (1, calm())]);
    for _ in 0..2 {
        assert_eq!(attempt(&begin(&site, "acme")).cluster, 0);
    }
    let Step::Fail(fault) = begin(&site, "acme") else { panic!() };
    assert_eq!((fault.code, fault.retry_after), ("rate_limited", Some(5 * SECOND)));
    assert_eq!(fault.message, "cluster c0: more than 2 messages from one tenant in 10 s");
    assert_eq!(attempt(&begin(&site, "globex")).cluster, 0);
    let site = Site::new(&[(1, Policy { rate: vec![rate(Per::Cluster)], ..calm() }), (1, calm())]);
    assert_eq!([0; 4].map(|_| attempt(&begin(&site, "acme")).cluster), [0, 0, 1, 1]);
    assert_eq!(site.view(at(0))[0].totals.rate_limited, 2);
    assert!(site.idle(at(0)));
}

// The queue.

#[test]
fn who_finds_no_room_waits_by_priority() {
    let site = Site::new(&[(1, limited(1, 9))]);
    let mut first = site.message(at(0));
    attempt(&first.begin(at(0)));
    let mut enter = |priority| {
        let mut course =
            site.exchange(Terms { began: at(0), priority, idempotent: true, ..Terms::default() });
        let ticket = waits(&course.begin(at(0)));
        (ticket, course)
    };
    let mut line = [5, 9, 5].map(&mut enter);
    assert!(first.turn(at(1)).is_none());
    let mut last = first;
    for next in [1, 0, 2] {
        answer(&mut last, at(10));
        let Some((Turn::Admitted(ticket, permit), _)) = last.turn(at(10)) else { panic!() };
        assert_eq!(ticket, line[next].0);
        attempt(&line[next].1.admitted(permit, at(10)));
        last = std::mem::replace(&mut line[next].1, site.message(at(0)));
    }
    answer(&mut last, at(20));
    assert!(last.turn(at(20)).is_none());
    assert!(site.idle(at(20)));
}

#[test]
fn who_leaves_the_queue_gives_its_turn_back() {
    let site = Site::new(&[(1, limited(1, 9))]);
    let mut first = site.message(at(0));
    attempt(&first.begin(at(0)));
    let mut second = site.message(at(0));
    waits(&second.begin(at(0)));
    second.end(Outcome::Cancelled, at(1));
    assert_eq!(site.view(at(1))[0].waiting, [0; 10]);
    // Called and gone at the same time.
    let mut third = site.message(at(0));
    waits(&third.begin(at(0)));
    answer(&mut first, at(2));
    let Some((Turn::Admitted(_, permit), _)) = first.turn(at(2)) else { panic!() };
    third.end(Outcome::Cancelled, at(2));
    assert_eq!(third.admitted(permit, at(3)), Step::Stay);
    assert!(site.idle(at(3)));
}

#[test]
fn a_full_queue_is_the_answer_or_leads_on() {
    let alone = Site::new(&[(1, limited(1, 1))]);
    let mut held: Vec<Course> = (0..2).map(|_| alone.message(at(0))).collect();
    attempt(&held[0].begin(at(0)));
    waits(&held[1].begin(at(0)));
    let Step::Fail(fault) = alone.message(at(0)).begin(at(0)) else { panic!() };
    assert_eq!((fault.code, fault.retry_after), ("queue_full", Some(SECOND)));
    // A more urgent one takes the place.
    let mut urgent = alone.exchange(Terms { began: at(0), priority: 9, ..Terms::default() });
    let Step::Wait { displaced: Some((_, shed)), .. } = urgent.begin(at(0)) else { panic!() };
    assert_eq!(code(&held[1].dropped(Some(shed), at(0))), "queue_full");
    for course in held.iter_mut().chain([&mut urgent]) {
        course.end(Outcome::Cancelled, at(1));
    }
    assert!(alone.idle(at(1)));

    let backed = Site::new(&[(1, limited(1, 0)), (1, calm())]);
    let mut first = backed.message(at(0));
    assert_eq!(attempt(&first.begin(at(0))).cluster, 0);
    let mut second = backed.message(at(0));
    assert_eq!(attempt(&second.begin(at(0))).cluster, 1);
}

#[test]
fn nobody_waits_for_longer_than_it_may() {
    let site = Site::new(&[(1, limited(1, 9))]);
    let mut first = site.message(at(0));
    attempt(&first.begin(at(0)));
    let wait = |deadline: Option<Duration>| {
        let mut course = site.exchange(Terms { began: at(0), deadline, ..Terms::default() });
        let Step::Wait { patience, .. } = course.begin(at(0)) else { panic!() };
        (course, patience)
    };
    let (mut hasty, patience) = wait(Some(300 * MS));
    assert_eq!(patience, 300 * MS);
    assert_eq!([at(0), at(200)].map(|now| hasty.waited(now)), [Duration::ZERO, 200 * MS]);
    assert_eq!(code(&hasty.expired(at(300))), "deadline_exceeded");
    assert_eq!(hasty.expired(at(300)), Step::Stay);
    assert_eq!(hasty.waited(at(900)), 300 * MS);
    let (mut patient, patience) = wait(None);
    assert_eq!(patience, 10 * SECOND);
    let Step::Fail(fault) = patient.expired(at(10_000)) else { panic!() };
    assert_eq!((fault.code, fault.retry_after), ("deadline_too_short", Some(SECOND)));
    assert_eq!(fault.message, "cluster c0: this message's turn did not come within 10 s");
    assert_eq!(site.view(at(10_000))[0].shed.expired, 2);
    // Its turn came first.
    let (mut third, _) = wait(None);
    answer(&mut first, at(20));
    let Some((Turn::Admitted(_, permit), _)) = first.turn(at(20)) else { panic!() };
    assert_eq!(third.expired(at(20)), Step::Stay);
    attempt(&third.admitted(permit, at(21)));
    third.end(Outcome::Cancelled, at(22));
    assert!(site.idle(at(22)));
}

// Hedging.

fn hedged() -> Site {
    let hedge = Hedge { samples: 10, ..Hedge::default() };
    let site = Site::new(&[(2, Policy { hedge: Some(hedge), ..calm() })]);
    for _ in 0..10 {
        let mut course = site.message(at(0));
        attempt(&course.begin(at(0)));
        answer(&mut course, at(20));
    }
    site
}

#[test]
fn of_two_attempts_the_one_that_answers_first_counts() {
    for winner in [1, 2] {
        let site = hedged();
        let mut course = site.message(at(100));
        let first = attempt(&course.begin(at(100)));
        let after = course.hedge_after().unwrap();
        assert!(after >= 20 * MS, "{after:?}");
        let second = course.hedge(at(100) + after).unwrap();
        assert_ne!(first, second);
        assert_eq!(course.hedge(at(200)), None, "two are enough");
        let before: u64 = site.view(at(200))[0].endpoints.iter().map(|e| e.counts.succeeded).sum();
        course.responded(winner, 200, at(200));
        course.succeeded(winner, at(201));
        course.end(Outcome::Cancelled, at(201));
        let view = &site.view(at(201))[0];
        assert_eq!(view.endpoints.iter().map(|e| e.counts.succeeded).sum::<u64>(), before + 1);
        assert_eq!(view.endpoints.iter().map(|e| e.counts.cancelled).sum::<u64>(), 1);
        assert_eq!((view.totals.hedges, course.made()), (1, 2));
        assert!(site.idle(at(201)));
    }
}

#[test]
fn of_two_attempts_one_may_fail() {
    let site = hedged();
    let mut course = site.message(at(100));
    attempt(&course.begin(at(100)));
    course.hedge(at(130)).unwrap();
    assert_eq!(course.failed(1, Failure::Reset, SENT, at(140)), Step::Stay);
    assert_eq!(
        course.responded_retryable(2, 503, None, SENT, at(150)),
        Step::Pause(Duration::ZERO),
        "the third"
    );
    attempt(&course.resume(at(150)));
    course.end(Outcome::Cancelled, at(160));
    assert!(site.idle(at(160)));
    let mut course = site.message(at(200));
    attempt(&course.begin(at(200)));
    course.hedge(at(230)).unwrap();
    assert_eq!(course.responded_retryable(2, 503, None, SENT, at(240)), Step::Stay);
    course.responded(1, 200, at(250));
    course.end(Outcome::Cancelled, at(260));
    assert!(site.idle(at(260)));
}

#[test]
fn what_must_not_happen_twice_gets_no_second_attempt() {
    let site = hedged();
    let mut course = site.exchange(once(at(100)));
    attempt(&course.begin(at(100)));
    assert_eq!(course.hedge_after(), None);
}
