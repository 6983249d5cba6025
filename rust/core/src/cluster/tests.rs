//! What a registry, its groups and its reports do together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::admission::accounts::Accounts;
use super::admission::gate::{Entry, Share};
use super::choice::balance::Tried;
use super::failure::{Failure, Outcome};
use super::group::Group;
use super::policy::{self, Policy};
use super::registry::Registry;
use super::report::board::Board;
use super::time::Instant;

struct Same(Arc<[AtomicU64]>);

impl AsRef<[AtomicU64]> for Same {
    fn as_ref(&self) -> &[AtomicU64] {
        &self.0
    }
}

fn boards(workers: usize) -> impl Fn() -> Board {
    let memory: Arc<[AtomicU64]> = (0..Board::SLOT * (workers + 1)).map(|_| AtomicU64::new(0)).collect();
    move || Board::new(Box::new(Same(Arc::clone(&memory))))
}

fn worker(board: Board, worker: u32) -> (Registry, Group) {
    let mut registry = Registry::sharing(Accounts::on_heap(1), 1);
    registry.show(board);
    registry.become_worker(Share { worker, workers: 2 }, 1);
    let policy = Arc::new(Policy::default());
    let group = registry.apply([("models", &[("http://a", 1)][..], policy)], Instant::default()).remove(0);
    (registry, group)
}

fn succeed(group: &Group) {
    let now = Instant::default();
    let permit = match group.enter(5, None, now) {
        Entry::Admitted(permit) => permit,
        other => panic!("{other:?}"),
    };
    let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
    group.finish(attempt, Outcome::Success, now);
    group.leave(permit, now);
}

#[test]
fn a_worker_speaks_for_all_and_what_was_counted_remains() {
    let now = Instant::default();
    let board = boards(2);
    let (mut supervisor, (first, one), (second, two)) =
        (Registry::new(1), worker(board(), 0), worker(board(), 1));
    supervisor.show(board());
    let seen = |registry: &Registry| {
        let view = registry.view(now).remove(0);
        let endpoint = &view.endpoints[0];
        (view.totals.messages, view.in_flight, endpoint.counts.succeeded, endpoint.conditions.len())
    };
    (0..3).for_each(|_| succeed(&one));
    (0..4).for_each(|_| succeed(&two));
    let held = two.enter(5, None, now);
    assert_eq!(seen(&first), (3, 0, 3, 1), "the other has said nothing yet");
    assert!(first.publish(now));
    assert!(second.publish(now));
    assert_eq!(seen(&first), (8, 1, 7, 2));
    assert_eq!(seen(&second), (8, 1, 7, 2));
    drop((held, two, second));
    supervisor.forget_worker(1);
    assert_eq!(seen(&first), (8, 0, 7, 1));
    let (second, two) = worker(board(), 1);
    succeed(&two);
    assert!(second.publish(now));
    assert_eq!(seen(&first), (9, 0, 8, 2));
    supervisor.forget_worker(1);
    supervisor.forget_worker(1);
    assert_eq!(seen(&first), (9, 0, 8, 1));
}

#[test]
fn a_worker_with_too_much_to_say_knows_it() {
    let now = Instant::default();
    let board = boards(2);
    let ((mut first, _one), (second, _two)) = (worker(board(), 0), worker(board(), 1));
    assert!(first.publish(now));
    assert_eq!(second.view(now)[0].endpoints.len(), 1);
    let urls: Vec<String> = (0..100_000).map(|n| format!("http://host-{n}.test:8000/openai/v1")).collect();
    let endpoints: Vec<(&str, u32)> = urls.iter().map(|url| (&**url, 1)).collect();
    let many = first.apply([("many", &endpoints[..], Arc::default())], now);
    assert!(!first.publish(now));
    let seen = second.view(now);
    assert_eq!((seen.len(), &*seen[0].name), (1, "models"));
    drop(many);
    let _few = first.apply([("few", &endpoints[..40_000], Arc::default())], now);
    assert!(first.publish(now));
    assert_eq!(second.view(now).len(), 2);
}

/// A look-up of each endpoint among all others took minutes for as many as fit on a board, while nothing was served.
#[test]
fn what_many_endpoints_have_counted_is_added_in_a_moment() {
    let now = Instant::default();
    let board = boards(2);
    let ((mut first, _one), (mut second, _two)) = (worker(board(), 0), worker(board(), 1));
    let urls: Vec<String> = (0..30_000).map(|n| format!("http://host-{n}.test:8000/openai/v1")).collect();
    let endpoints: Vec<(&str, u32)> = urls.iter().map(|url| (&**url, 1)).collect();
    let apply =
        |registry: &mut Registry, endpoints| registry.apply([("many", endpoints, Arc::default())], now);
    let one = apply(&mut first, &endpoints[..20_000]);
    let two = apply(&mut second, &endpoints[10_000..]);
    (0..9).for_each(|_| succeed(&one[0]));
    (0..9).for_each(|_| succeed(&two[0]));
    assert!(second.publish(now));
    let begun = std::time::Instant::now();
    let view = first.view(now).into_iter().find(|view| view.name == "many").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(view.endpoints.len(), 30_000);
    assert_eq!(view.endpoints.iter().map(|endpoint| endpoint.counts.succeeded).sum::<u64>(), 18);
    assert_eq!(view.endpoints.iter().map(|endpoint| endpoint.conditions.len()).sum::<usize>(), 40_000);
    assert!(view.endpoints.is_sorted_by(|one, next| one.url < next.url));
}

#[test]
fn nobody_reads_half_of_what_is_said() {
    let board = boards(1);
    let (writer, reader) = (board(), board());
    let of = |name: String| {
        let mut registry = Registry::new(1);
        let endpoints: Vec<(String, u32)> = (0..20).map(|n| (format!("http://{name}/{n}"), 1)).collect();
        let endpoints: Vec<(&str, u32)> = endpoints.iter().map(|(url, weight)| (&**url, *weight)).collect();
        let _groups = registry.apply([(&*name, &endpoints[..], Arc::default())], Instant::default());
        registry.view(Instant::default())
    };
    let said: Vec<_> = (0..4).map(|n| of("x".repeat(n * 5))).collect();
    let done = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..3000 {
                writer.write(0, &said[at % said.len()]);
            }
            done.store(true, Relaxed);
        });
        let mut read = 0;
        while !done.load(Relaxed) {
            if let Some(views) = reader.read(0) {
                assert!(said.contains(&views));
                read += 1;
            }
        }
        read
    });
    assert!(read > 0);
}

fn end(group: &Group, outcome: Outcome, now: Instant) {
    let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
    group.finish(attempt, outcome, now);
}

#[test]
fn each_change_is_told_once() {
    let mut registry = Registry::new(1);
    let breaker = policy::Breaker { consecutive: 3, ..policy::Breaker::default() };
    let policy = Arc::new(Policy { breaker, ..Policy::default() });
    let mut now = Instant::default();
    let endpoints = [("http://a", 1)];
    let group = registry.apply([("models", &endpoints[..], policy)], now).remove(0);
    assert_eq!(registry.changes(now), []);
    for told in [0, 0, 1] {
        end(&group, Outcome::Failure(Failure::Connect), now);
        assert_eq!(registry.changes(now).len(), told);
    }
    assert_eq!(registry.changes(now), []);
    let view = registry.view(now).remove(0).endpoints.remove(0);
    now = now + Duration::from_secs(3600);
    assert_eq!(registry.changes(now), [], "it is being tried out");
    for _ in 0..20 {
        end(&group, Outcome::Success, now);
    }
    let [back] = &registry.changes(now)[..] else { panic!("it is back") };
    assert_eq!((&*back.cluster, &*back.url, back.out), ("models", "http://a", false));
    assert_eq!((view.condition.is_out(), back.condition.is_out()), (Some(true), Some(false)));
    assert_eq!((view.consecutive_failures, back.consecutive_failures), (3, 0));
}
