//! What each outcome of an attempt teaches: the table of the documentation, the table of the code, and what happens.

use std::time::Duration;

use waypost_core::cluster::policy::{Balance, Breaker, Health, Policy, Retry};
use waypost_core::cluster::{
    Again, Condition, Failure, Group, Instant, Lesson, Outcome, Sample, Tried, Verdict,
};
use waypost_core::engine::{Course, Step};

use crate::courses::{MS, SECOND, SENT, Site, at, attempt};

/// The cells of a row of the table.
type Cells = [&'static str; 6];

#[derive(Clone)]
struct Row {
    name: &'static str,
    outcomes: Vec<Outcome>,
    passed: bool,
    retry_after: bool,
    after_timeout: bool,
}

const NONE: &str = "–";

fn status(status: u16) -> Outcome {
    Outcome::Failure(Failure::Status(status))
}

fn failure(failure: Failure) -> Outcome {
    Outcome::Failure(failure)
}

fn rows() -> Vec<Row> {
    fn row(name: &'static str, outcomes: &[Outcome]) -> Row {
        Row { name, outcomes: outcomes.to_vec(), passed: false, retry_after: false, after_timeout: false }
    }
    let passed = |name, outcomes: &[Outcome]| Row { passed: true, ..row(name, outcomes) };
    let later = |name, outcomes: &[Outcome]| Row { retry_after: true, ..row(name, outcomes) };
    let busy = &[502, 503, 504, 529].map(status);
    let stall = &[failure(Failure::Timeout)];
    vec![
        row("2xx, 3xx", &[Outcome::Success]),
        row(
            "400, 401, 403, 404, 408, 413, 422, other 4xx",
            &[400, 401, 403, 404, 408, 413, 422, 418].map(status),
        ),
        passed("401, 403, with `credential: pass`", &[status(401), status(403)]),
        row("429", &[status(429)]),
        later("429 with `Retry-After`", &[status(429)]),
        passed("429, with `credential: pass`", &[status(429)]),
        row("500, 501, 505, other 5xx", &[status(500), status(501), status(505), status(599)]),
        row("502, 503, 504, 529", busy),
        later("502, 503, 504, 529 with `Retry-After`", busy),
        row("520 to 527", &[status(520), status(524), status(527)]),
        row("no connection", &[failure(Failure::Connect)]),
        row("stale connection", &[failure(Failure::Stale)]),
        row("reset, broken HTTP, empty stream", &[failure(Failure::Reset), failure(Failure::Protocol)]),
        row("stall", stall),
        Row { after_timeout: true, ..row("stall, with `retry.after_timeout`", stall) },
        row("check fails while the attempt waits", &[failure(Failure::Unfit)]),
        row("client leaves, other attempt was faster", &[Outcome::Cancelled]),
    ]
}

/// The cells as the code's table says.
fn decided(row: &Row, outcome: Outcome) -> Cells {
    let lesson = Lesson::of(outcome, row.passed);
    let verdict = |verdict| match verdict {
        Verdict::Well => "well",
        Verdict::Badly => "badly",
        Verdict::BadlyIfSilent => "badly if silent",
        Verdict::Nothing => NONE,
    };
    let listed = matches!(outcome, Outcome::Failure(Failure::Status(status))
        if Retry::default().statuses.contains(&status));
    let again = match lesson.again {
        Again::Yes => true,
        Again::Listed => listed,
        Again::AfterTimeout => row.after_timeout,
        Again::Never | Again::Afresh => false,
    };
    [
        verdict(lesson.breaker),
        match lesson.latency {
            Sample::Time => "sample",
            Sample::Bound => "at least",
            Sample::Nothing => NONE,
        },
        if lesson.rest && row.retry_after { "until then" } else { NONE },
        if lesson.again == Again::Afresh {
            "free"
        } else if again {
            "paid"
        } else {
            NONE
        },
        if again { "yes" } else { NONE },
        verdict(lesson.balance),
    ]
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    let page = include_str!("../../../../docs/clusters/outcomes.md");
    let table = page.lines().filter(|line| line.starts_with('|')).skip(2);
    let shown: Vec<Vec<&str>> =
        table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let rows = rows();
    assert_eq!(shown.len(), rows.len());
    for (shown, row) in shown.iter().zip(&rows) {
        assert_eq!(shown[0], row.name);
        for outcome in &row.outcomes {
            assert_eq!(shown[1..], decided(row, *outcome), "{} {outcome:?}", row.name);
        }
    }
}

#[test]
fn each_cell_is_what_happens() {
    for row in rows() {
        for outcome in &row.outcomes {
            let seen = [
                breaker(&row, *outcome),
                latency(&row, *outcome),
                rest(&row, *outcome),
                retry(&row, *outcome),
                fallback(&row, *outcome),
                balance(&row, *outcome),
            ];
            assert_eq!(seen, decided(&row, *outcome), "{} {outcome:?}", row.name);
        }
    }
}

fn policy(row: &Row) -> Policy {
    Policy {
        passes_credential: row.passed,
        retry: Retry {
            after_timeout: row.after_timeout,
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
            ..Retry::default()
        },
        health: Health { slow_start: Duration::ZERO, ..Health::default() },
        breaker: Breaker { consecutive: 0, failure_percent: 0, ..Breaker::default() },
        ..Policy::default()
    }
}

/// The message's attempt under way ends like this after `took`.
fn end(row: &Row, outcome: Outcome, course: &mut Course, now: Instant) -> Step {
    let number = course.made();
    let retry_after = row.retry_after.then_some(5 * SECOND);
    match outcome {
        Outcome::Success => {
            course.responded(number, 200, now);
            course.succeeded(number, now);
            Step::Respond
        }
        Outcome::Cancelled => {
            course.end(Outcome::Cancelled, now);
            Step::Stay
        }
        Outcome::Failure(Failure::Status(status)) if course.is_retryable(status) => {
            course.responded_retryable(number, status, retry_after, SENT, now)
        }
        Outcome::Failure(Failure::Status(status)) => {
            course.responded(number, status, now);
            course.succeeded(number, now);
            Step::Respond
        }
        Outcome::Failure(Failure::Unfit) => course.leave_unfit(number, SENT, now),
        Outcome::Failure(failure) => course.failed(number, failure, SENT, now),
    }
}

/// A whole message whose only attempt ends like this.
fn message(row: &Row, outcome: Outcome, site: &Site, began: Instant, now: Instant) {
    let mut course = site.message(began);
    attempt(&course.begin(began));
    let _ = end(row, outcome, &mut course, now);
    course.end(Outcome::Cancelled, now);
}

/// A policy under which a message has one attempt, which a check's failure cannot move: so what it does is another's.
fn single(row: &Row) -> Policy {
    let policy = policy(row);
    Policy { retry: Retry { attempts: 1, ..policy.retry.clone() }, ..policy }
}

/// One endpoint, and another cluster to which the check's failure may send what waits.
fn one_endpoint(policy: Policy, outcome: Outcome) -> Site {
    let other = Policy::default();
    if outcome == failure(Failure::Unfit) {
        Site::new(&[(1, policy), (1, other)])
    } else {
        Site::new(&[(1, policy)])
    }
}

fn is_open(site: &Site, now: Instant) -> bool {
    matches!(site.view(now)[0].endpoints[0].condition, Condition::Open(_))
}

fn breaker(row: &Row, outcome: Outcome) -> &'static str {
    let failing = Row { passed: false, retry_after: false, after_timeout: false, ..row.clone() };
    let run = |answered: bool| {
        let breaker = Breaker { consecutive: 3, failure_percent: 0, ..Breaker::default() };
        let policy = Policy {
            breaker,
            health: Health { rest_max: Duration::ZERO, ..policy(row).health },
            ..single(row)
        };
        let site = one_endpoint(policy, outcome);
        for n in 0..2 {
            message(&failing, failure(Failure::Reset), &site, at(n), at(n));
        }
        let mut course = site.message(at(10));
        attempt(&course.begin(at(10)));
        if answered {
            // Another message, which leaves the row of failures as it is.
            let mut other = site.message(at(11));
            attempt(&other.begin(at(11)));
            other.responded(1, 200, at(12));
            let _ = other.failed(1, Failure::Stale, SENT, at(12));
            other.end(Outcome::Cancelled, at(12));
        }
        let _ = end(row, outcome, &mut course, at(20));
        course.end(Outcome::Cancelled, at(20));
        let opened = is_open(&site, at(20));
        message(&failing, failure(Failure::Reset), &site, at(21), at(21));
        (opened, is_open(&site, at(21)))
    };
    match (run(false), run(true)) {
        ((true, _), (true, _)) => "badly",
        ((true, _), (false, _)) => "badly if silent",
        ((false, true), _) => NONE,
        ((false, false), _) => "well",
    }
}

fn latency(row: &Row, outcome: Outcome) -> &'static str {
    let site = one_endpoint(single(row), outcome);
    message(row, Outcome::Success, &site, at(0), at(10));
    message(row, outcome, &site, at(20), at(520));
    let view = site.view(at(520));
    if view[0].latency.unwrap()[2] > 400 * MS {
        "sample"
    } else if view[0].endpoints[0].latency.unwrap() > 400 * MS {
        "at least"
    } else {
        NONE
    }
}

fn rest(row: &Row, outcome: Outcome) -> &'static str {
    let site = one_endpoint(single(row), outcome);
    message(row, outcome, &site, at(0), at(0));
    match site.view(at(0))[0].endpoints[0].condition {
        Condition::Resting(until) if until == at(5000) => "until then",
        Condition::Fit => NONE,
        other => panic!("{other:?}"),
    }
}

fn retry(row: &Row, outcome: Outcome) -> &'static str {
    let site = Site::new(&[(2, policy(row))]);
    let mut course = site.message(at(0));
    let first = attempt(&course.begin(at(0)));
    let before = site.view(at(0))[0].retries_left;
    let mut step = end(row, outcome, &mut course, at(1));
    if matches!(step, Step::Pause(_)) {
        step = course.resume(at(1));
    }
    let paid = before - site.view(at(1))[0].retries_left;
    match step {
        Step::Attempt { at, fresh: true } => {
            assert_eq!((at, paid), (first, 0));
            "free"
        }
        Step::Attempt { at, fresh: false } => {
            assert_ne!(at, first);
            assert_eq!(paid, 1);
            "paid"
        }
        _ => NONE,
    }
}

fn fallback(row: &Row, outcome: Outcome) -> &'static str {
    let site = Site::new(&[(1, policy(row)), (1, policy(row))]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    let mut step = end(row, outcome, &mut course, at(1));
    if matches!(step, Step::Pause(_)) {
        step = course.resume(at(1));
    }
    match step {
        Step::Attempt { at, .. } if at.cluster == 1 => "yes",
        _ => NONE,
    }
}

/// How many of 100 messages that come one by one go to the first of two endpoints.
fn to_first(group: &Group, now: Instant) -> usize {
    let position = |_| {
        let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
        let position = attempt.position();
        group.finish(attempt, Outcome::Failure(Failure::Stale), now);
        position
    };
    (0..100).map(position).filter(|position| *position == 0).count()
}

fn balance(row: &Row, outcome: Outcome) -> &'static str {
    let run = |before: usize| {
        // Without a `Retry-After`: who rests gets nothing in any case.
        let policy = Policy { balance: Balance::LeastLoad, ..policy(row) };
        let site = Site::new(&[(2, policy)]);
        let group = &site.groups[0];
        let finish = |position, outcome| {
            let mut attempt = group.attempt_again(position, at(0)).unwrap();
            if outcome == Outcome::Success {
                group.responded(&mut attempt, 200, at(10));
            }
            group.finish(attempt, outcome, at(10));
        };
        (0..2).for_each(|position| (0..5).for_each(|_| finish(position, Outcome::Success)));
        (0..before).for_each(|_| finish(0, failure(Failure::Reset)));
        (0..50).for_each(|_| finish(0, outcome));
        to_first(group, at(10))
    };
    match (run(0), run(3)) {
        (0, _) => "badly",
        (_, 0) => NONE,
        _ => "well",
    }
}

// What one caller can do to another.

#[test]
fn poison_of_one_caller_does_not_send_others_to_the_fallback() {
    let site = Site::new(&[(2, Policy::default()), (1, Policy::default())]);
    let poison = &rows()[6];
    for n in 0..100 {
        message(poison, status(500), &site, at(n), at(n));
    }
    for n in 0..20 {
        assert_eq!(attempt(&site.message(at(n)).begin(at(n))).cluster, 0);
    }
}

#[test]
fn a_limit_of_a_passed_credential_is_the_callers_alone() {
    let limited = Row { retry_after: true, ..rows()[5].clone() };
    let site = Site::new(&[(1, policy(&limited))]);
    let mut alice = site.message(at(0));
    attempt(&alice.begin(at(0)));
    assert_eq!(end(&limited, status(429), &mut alice, at(1)), Step::Respond);
    alice.end(Outcome::Cancelled, at(1));
    attempt(&site.message(at(2)).begin(at(2)));
    assert_eq!(site.view(at(2))[0].endpoints[0].condition, Condition::Fit);
}

#[test]
fn a_stream_that_stops_is_no_proof_that_its_endpoint_answers() {
    for answered in [false, true] {
        let breaker = Breaker { consecutive: 3, failure_percent: 0, ..Breaker::default() };
        let site = Site::new(&[(1, Policy { breaker, ..policy(&rows()[0]) })]);
        for n in 0..3 {
            let mut course = site.message(at(n * 100));
            attempt(&course.begin(at(n * 100)));
            course.responded(1, 200, at(n * 100 + 10));
            if answered {
                let mut other = site.message(at(n * 100 + 11));
                attempt(&other.begin(at(n * 100 + 11)));
                other.responded(1, 200, at(n * 100 + 20));
                let _ = other.failed(1, Failure::Stale, SENT, at(n * 100 + 20));
                other.end(Outcome::Cancelled, at(n * 100 + 20));
            }
            let _ = course.failed(1, Failure::Timeout, SENT, at(n * 100 + 90));
            course.end(Outcome::Cancelled, at(n * 100 + 90));
        }
        assert_eq!(is_open(&site, at(300)), !answered);
    }
}

#[test]
fn a_caller_that_is_answered_badly_at_once_does_not_lower_an_adaptive_limit() {
    use waypost_core::cluster::policy::{Adaptive, Concurrency};
    let policy = Policy { concurrency: Concurrency::Adaptive(Adaptive::default()), ..Policy::default() };
    let site = Site::new(&[(1, policy)]);
    let missing = &rows()[1];
    let limit = |now| site.view(now)[0].limit.unwrap();
    for n in 0..400 {
        let now = at(n * 50);
        message(missing, status(404), &site, now, now + MS);
        message(missing, Outcome::Success, &site, now, now + 40 * MS);
    }
    assert!(limit(at(20_000)) >= 20, "{}", limit(at(20_000)));
}
