//! What a message has tried, under a virtual clock.

use crate::courses::{SECOND, SENT, Site, answer, at, attempt, calm, fail};
use waypost_core::cluster::policy::{Concurrency, Hedge, Policy, Queue};
use waypost_core::cluster::{Failure, Outcome};
use waypost_core::engine::{Course, Delivery, Step, TrailEntry};

type Told = (usize, Option<usize>, Option<u16>, Option<&'static str>, u128);

fn told(entries: &[TrailEntry]) -> Vec<Told> {
    let of = |entry: &TrailEntry| {
        (entry.cluster, entry.endpoint, entry.status, entry.failure, entry.took.as_millis())
    };
    entries.iter().map(of).collect()
}

fn head(course: &mut Course, number: u32, status: u16, ms: u32) {
    course.note_status(number, status, at(ms));
    course.responded(number, status, at(ms));
}

#[test]
fn a_first_attempt_that_answers_leaves_none() {
    let site = Site::new(&[(1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    // Until it answers, it is all that there is to tell.
    assert_eq!(told(&course.trail(at(4))), [(0, Some(0), None, Some("cancelled"), 4)]);
    head(&mut course, 1, 200, 5);
    assert!(course.trail(at(6)).is_empty());
    course.succeeded(1, at(7));
    course.end(Outcome::Success, at(7));
    assert!(course.trail(at(8)).is_empty());
}

#[test]
fn who_asks_is_told_of_it_too() {
    let site = Site::new(&[(1, calm())]);
    let mut course = site.message(at(0));
    course.keep_trail();
    attempt(&course.begin(at(0)));
    head(&mut course, 1, 200, 5);
    let wanted = [(0, Some(0), Some(200), None, 5)];
    assert_eq!(told(&course.trail(at(6))), wanted, "at the head");
    course.succeeded(1, at(9));
    course.end(Outcome::Success, at(9));
    assert_eq!(told(&course.trail(at(10))), wanted);
}

#[test]
fn each_attempt_is_told_with_its_status_or_failure_and_its_time() {
    let site = Site::new(&[(1, calm()), (1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    assert!(matches!(course.responded_retryable(1, 503, None, SENT, at(3)), Step::Pause(_)));
    course.note_upstream_id(1, b"req_1");
    attempt(&course.resume(at(10)));
    attempt(&fail(&mut course, Failure::Connect, at(12)));
    head(&mut course, 3, 200, 40);
    course.succeeded(3, at(50));
    course.end(Outcome::Success, at(50));
    let trail = course.trail(at(60));
    let wanted = [
        (0, Some(0), Some(503), None, 3),
        (1, Some(0), None, Some("connect"), 2),
        (1, Some(0), Some(200), None, 28),
    ];
    assert_eq!(told(&trail), wanted);
    assert_eq!(trail[0].upstream_id.as_deref(), Some(&b"req_1"[..]));
}

#[test]
fn a_cluster_that_is_passed_over_is_told() {
    let queue = Queue { length: 0, wait: 10 * SECOND, ..Queue::default() };
    let full = Policy { concurrency: Concurrency::Fixed(1), queue, ..calm() };
    let site = Site::new(&[(1, full), (1, calm())]);
    let mut first = site.message(at(0));
    attempt(&first.begin(at(0)));
    let mut second = site.message(at(1));
    attempt(&second.begin(at(1)));
    head(&mut second, 1, 200, 3);
    second.succeeded(1, at(3));
    second.end(Outcome::Success, at(3));
    let wanted = [(0, None, None, Some("queue_full"), 0), (1, Some(0), Some(200), None, 2)];
    assert_eq!(told(&second.trail(at(4))), wanted);
    answer(&mut first, at(5));
}

#[test]
fn of_two_attempts_both_are_told() {
    let hedge = Some(Hedge { samples: 10, ..Hedge::default() });
    let site = Site::new(&[(2, Policy { hedge, ..calm() })]);
    for _ in 0..20 {
        let mut course = site.message(at(0));
        attempt(&course.begin(at(0)));
        answer(&mut course, at(1));
    }
    let mut course = site.message(at(100));
    let one = attempt(&course.begin(at(100)));
    let other = course.hedge(at(120)).unwrap();
    head(&mut course, 2, 200, 130);
    course.succeeded(2, at(131));
    course.end(Outcome::Success, at(131));
    let wanted = [
        (0, Some(one.endpoint), None, Some("cancelled"), 30),
        (0, Some(other.endpoint), Some(200), None, 10),
    ];
    assert_eq!(told(&course.trail(at(132))), wanted);
}

#[test]
fn what_breaks_off_or_is_left_is_told() {
    let site = Site::new(&[(1, calm())]);
    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    head(&mut course, 1, 200, 5);
    let delivered = Delivery { delivered: true, ..SENT };
    assert!(matches!(course.failed(1, Failure::Reset, delivered, at(9)), Step::GiveUp(_)));
    course.end(Outcome::Cancelled, at(9));
    assert_eq!(told(&course.trail(at(9))), [(0, Some(0), Some(200), Some("reset"), 9)]);

    let mut course = site.message(at(0));
    attempt(&course.begin(at(0)));
    course.end(Outcome::Cancelled, at(7));
    assert_eq!(told(&course.trail(at(9))), [(0, Some(0), None, Some("cancelled"), 7)]);
}
