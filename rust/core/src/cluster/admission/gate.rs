//! How many messages a cluster gets at a time, and who waits.

use std::time::Duration;

use super::gradient::Gradient;
use super::queue::{Aging, Queue, Ticket};
use crate::cluster::policy::{self, Concurrency};
use crate::cluster::rng::Rng;
use crate::cluster::time::{Instant, float, nanos, whole};

/// A cluster's concurrency limit with the queue in front of it.
///
/// A message comes with [`enter`](Self::enter). It is admitted, or waits, or is shed: answered at once because it could not be
/// served in time. Whoever was admitted leaves with [`leave`](Self::leave). After that, and whenever the limit may have
/// grown, [`turn`](Self::turn) says whose turn it is, until it says nobody's.
///
/// How long a message would wait is estimated as `(those ahead + 1) × t / limit`, `t` being the mean time for which
/// messages are in flight (a moving average over about the last 16); or by the share of the turns that its priority has, if
/// that is sooner. More urgent ones that come later are not foreseen: that
/// is why what waits has a deadline as well.
#[derive(Clone, Debug)]
pub struct Gate {
    in_flight: u32,
    gradient: Option<Gradient>,
    queue: Queue,
    /// Nanoseconds; 0 before anything has left.
    holding: f64,
    shed: ShedCounts,
    share: Share,
}

/// Which of how many processes this is that serve the same clusters. They divide what is fixed among them; what has to be
/// learned, each learns for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub worker: u32,
    /// At least one.
    pub workers: u32,
}

/// The only one.
impl Default for Share {
    fn default() -> Self {
        Self { worker: 0, workers: 1 }
    }
}

impl Share {
    /// This one's part of a limit: the parts make up the whole, but for that each is one at least.
    #[must_use]
    pub fn of(self, limit: u32) -> u32 {
        let workers = self.workers.max(1);
        (limit / workers + u32::from(self.worker < limit % workers)).max(1)
    }
}

/// How many messages a gate has shed, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShedCounts {
    /// The queue was full.
    pub queue_full: u64,
    /// They could not have been served in time.
    pub deadline_too_short: u64,
    /// They made room for more urgent ones.
    pub displaced: u64,
    /// Their time ran out while they waited.
    pub expired: u64,
}

/// Leave to be in flight. Goes back with [`Gate::leave`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "who is admitted has to leave"]
pub struct Permit {
    since: Instant,
}

/// What becomes of a message that comes.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Entry {
    /// It may go on.
    Admitted(Permit),
    /// It has to wait for its [`Turn`].
    Waits {
        /// Its place.
        ticket: Ticket,
        /// A less urgent message whose place it took, and what that one is answered.
        displaced: Option<(Ticket, Shed)>,
    },
    /// It is answered at once.
    Shed(Shed),
}

/// A message that is not served (load shedding), and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The stable error code: `queue_full` or `deadline_too_short`.
    pub code: &'static str,
    /// For a `Retry-After`: when a message like it might find room. At least a second.
    pub retry_after: Duration,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// This message may go on.
    Admitted(Ticket, Permit),
    /// This message's time ran out: its deadline, or the policy's longest wait.
    Expired(Ticket),
}

impl Gate {
    /// An empty one.
    #[must_use]
    pub fn new(policy: &Concurrency, now: Instant) -> Self {
        let mut gate = Self {
            in_flight: 0,
            gradient: None,
            queue: Queue::new(),
            holding: 0.0,
            shed: ShedCounts::default(),
            share: Share::default(),
        };
        gate.adapt(policy, now);
        gate
    }

    /// Another policy applies from now on. What an adaptive limit has learned stays.
    pub fn adapt(&mut self, policy: &Concurrency, now: Instant) {
        match policy {
            Concurrency::Adaptive(adaptive) => {
                self.gradient.get_or_insert_with(|| Gradient::new(adaptive, now));
            }
            Concurrency::Unlimited | Concurrency::Fixed(_) => self.gradient = None,
        }
    }

    /// From now on only this part of a fixed limit is its own.
    pub fn take_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Messages that may be in flight; `None`: any number.
    #[must_use]
    pub fn limit(&self, policy: &Concurrency) -> Option<u32> {
        match policy {
            Concurrency::Unlimited => None,
            Concurrency::Fixed(limit) => Some(self.share.of(*limit)),
            Concurrency::Adaptive(adaptive) => {
                Some(self.gradient.as_ref().map_or(adaptive.initial, |gradient| gradient.limit(adaptive)))
            }
        }
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Messages that wait, by priority.
    #[must_use]
    pub fn waiting(&self) -> [u32; 10] {
        self.queue.lengths()
    }

    /// Messages shed so far.
    #[must_use]
    pub fn shed(&self) -> ShedCounts {
        self.shed
    }

    /// How long a message of this priority that came now would wait for its turn, as far as one can tell.
    #[must_use]
    pub fn wait(&self, priority: u8, policy: &Concurrency, queue: &policy::Queue) -> Duration {
        match self.limit(policy) {
            Some(limit) if !self.has_room(policy) || self.queue.ahead(priority) > 0 => {
                let turns = self.turns_ahead(priority, queue);
                Duration::from_nanos(whole(turns * self.holding / f64::from(limit.max(1))))
            }
            _ => Duration::ZERO,
        }
    }

    /// Turns until a message of this priority that came now has its own.
    fn turns_ahead(&self, priority: u8, queue: &policy::Queue) -> f64 {
        let strict = u64::from(self.queue.ahead(priority)) + 1;
        let own = self.queue.lengths().get(usize::from(priority)).map_or(1, |length| u64::from(*length) + 1);
        // With nothing but the most urgent ahead, each turn of this priority takes so many.
        let share = u64::from(9 - priority.min(9)) * u64::from(queue.aging) + 1;
        float(if Aging::of(queue).is_on() { strict.min(own * share) } else { strict })
    }

    /// A message comes. `priority` 0 to 9, `deadline` when its exchange has to be over.
    ///
    /// Who finds room goes on, unless others wait that are as urgent. Who would have to wait longer than its deadline or
    /// the policy allows is shed with `deadline_too_short`; where the queue is full, a more urgent message takes the
    /// place of the least urgent, of those the one that came last, and others are shed with `queue_full`. With aging,
    /// each priority has one place that others do not take, or nothing of it would ever grow old in a queue full of urgent
    /// ones; a queue of less than ten places is too short for that.
    pub fn enter(
        &mut self,
        priority: u8,
        deadline: Option<Instant>,
        concurrency: &Concurrency,
        queue: &policy::Queue,
        now: Instant,
    ) -> Entry {
        let priority = priority.min(9);
        if self.has_room(concurrency) && self.queue.ahead(priority) == 0 {
            return Entry::Admitted(self.admit(now));
        }
        let wait = self.wait(priority, concurrency, queue);
        let until = deadline.map_or(now + queue.wait, |deadline| deadline.min(now + queue.wait));
        if now + wait >= until {
            self.shed.deadline_too_short += 1;
            return Entry::Shed(Shed::new("deadline_too_short", wait));
        }
        let mut displaced = None;
        if self.queue.len() >= queue.length {
            let spare = Aging::of(queue).spares_places(queue.length);
            let none_waits = self.queue.lengths().get(usize::from(priority)) == Some(&0);
            let evicted = self.queue.evict(priority, spare);
            let place = |gate: &mut Self| if spare && none_waits { gate.queue.evict_longest() } else { None };
            let Some(departed) = evicted.or_else(|| place(self)) else {
                self.shed.queue_full += 1;
                return Entry::Shed(Shed::new("queue_full", wait));
            };
            self.shed.displaced += 1;
            let shed = Shed::new("queue_full", self.wait(departed.priority, concurrency, queue));
            displaced = Some((departed.ticket, shed));
        }
        Entry::Waits { ticket: self.queue.push(priority, until, now), displaced }
    }

    /// Whose turn it is now; `None`: nobody's. To be called until it says so.
    pub fn turn(&mut self, policy: &Concurrency, queue: &policy::Queue, now: Instant) -> Option<Turn> {
        if !self.has_room(policy) {
            return None;
        }
        let departed = self.queue.pop(Aging::of(queue), now)?;
        if departed.deadline <= now {
            self.shed.expired += 1;
            return Some(Turn::Expired(departed.ticket));
        }
        Some(Turn::Admitted(departed.ticket, self.admit(now)))
    }

    /// A message does not want to wait any longer. False: it does not wait (any more).
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.queue.cancel(ticket).is_some()
    }

    /// A message that waits has waited as long as it could. False: it does not wait (any more).
    pub fn expire(&mut self, ticket: Ticket) -> bool {
        let expired = self.cancel(ticket);
        self.shed.expired += u64::from(expired);
        expired
    }

    /// A message is in flight no more.
    #[allow(clippy::needless_pass_by_value)] // It is used up.
    pub fn leave(&mut self, permit: Permit, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let held = float(nanos(now.since(permit.since)));
        self.holding = if self.holding <= 0.0 { held } else { self.holding + (held - self.holding) / 16.0 };
    }

    /// An attempt begun at `began` has its response's first byte.
    pub fn observe(&mut self, began: Instant, policy: &Concurrency, now: Instant, rng: &mut Rng) {
        if let (Some(gradient), Concurrency::Adaptive(adaptive)) = (&mut self.gradient, policy) {
            gradient.observe(began, self.in_flight, adaptive, now, rng);
        }
    }

    /// An endpoint refused for overload, or took too long.
    pub fn overloaded(&mut self, policy: &Concurrency, now: Instant, rng: &mut Rng) {
        if let (Some(gradient), Concurrency::Adaptive(adaptive)) = (&mut self.gradient, policy) {
            gradient.overloaded(adaptive, now, rng);
        }
    }

    fn has_room(&self, policy: &Concurrency) -> bool {
        self.limit(policy).is_none_or(|limit| self.in_flight < limit)
    }

    fn admit(&mut self, now: Instant) -> Permit {
        self.in_flight += 1;
        Permit { since: now }
    }
}

impl Shed {
    fn new(code: &'static str, wait: Duration) -> Self {
        Self { code, retry_after: wait.max(Duration::from_secs(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const TWO: Concurrency = Concurrency::Fixed(2);

    #[test]
    fn workers_divide_a_limit() {
        for (limit, workers, shares) in
            [(8, 3, &[3, 3, 2][..]), (4, 2, &[2, 2]), (5, 1, &[5]), (2, 3, &[1, 1, 1])]
        {
            for (worker, share) in (0..).zip(shares) {
                let mut gate = Gate::new(&Concurrency::Fixed(limit), at(0));
                gate.take_share(Share { worker, workers });
                assert_eq!(gate.limit(&Concurrency::Fixed(limit)), Some(*share));
            }
        }
    }

    fn at(ms: u32) -> Instant {
        Instant::default() + ms * MS
    }

    fn queue(length: u32) -> policy::Queue {
        policy::Queue { length, wait: 10_000 * MS, ..policy::Queue::default() }
    }

    fn admitted(entry: Entry) -> Permit {
        match entry {
            Entry::Admitted(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn waits(entry: Entry) -> Ticket {
        match entry {
            Entry::Waits { ticket, displaced: None } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// A gate with two in flight, each for 100 ms as those before.
    fn busy() -> (Gate, [Permit; 2]) {
        let mut gate = Gate::new(&TWO, at(0));
        for _ in 0..3 {
            let permit = admitted(gate.enter(5, None, &TWO, &queue(9), at(0)));
            gate.leave(permit, at(100));
        }
        let mut enter = || admitted(gate.enter(5, None, &TWO, &queue(9), at(100)));
        let permits = [enter(), enter()];
        (gate, permits)
    }

    #[test]
    fn urgent_first_then_as_they_came() {
        let (mut gate, [a, b]) = busy();
        let mut enter = |priority| waits(gate.enter(priority, None, &TWO, &queue(9), at(100)));
        let tickets = [5, 9, 0, 5, 9].map(&mut enter);
        assert_eq!(gate.turn(&TWO, &queue(9), at(100)), None, "no room");
        assert!(gate.cancel(tickets[4]));
        assert!(!gate.cancel(tickets[4]));
        gate.leave(a, at(200));
        let mut order = Vec::new();
        let mut held = vec![b];
        for _ in 0..4 {
            gate.leave(held.pop().unwrap(), at(200));
            while let Some(Turn::Admitted(ticket, permit)) = gate.turn(&TWO, &queue(9), at(200)) {
                order.push(ticket);
                held.push(permit);
            }
            assert_eq!(gate.in_flight() as usize, held.len());
        }
        assert_eq!(order, [tickets[1], tickets[0], tickets[3], tickets[2]]);
    }

    #[test]
    fn who_comes_does_not_overtake_who_is_as_urgent() {
        let (mut gate, [a, _b]) = busy();
        let first = waits(gate.enter(5, None, &TWO, &queue(9), at(100)));
        gate.leave(a, at(200));
        let second = waits(gate.enter(5, None, &TWO, &queue(9), at(200)));
        assert!(
            matches!(gate.turn(&TWO, &queue(9), at(200)), Some(Turn::Admitted(ticket, _)) if ticket == first)
        );
        assert!(gate.cancel(second));
        let urgent = gate.enter(6, None, &TWO, &queue(9), at(200));
        assert!(matches!(urgent, Entry::Waits { .. }), "no room left");
    }

    #[test]
    fn what_cannot_make_it_is_refused_at_once() {
        let (mut gate, _permits) = busy();
        // 100 ms each, two at a time: 50 ms for each one ahead and itself.
        assert_eq!(gate.wait(5, &TWO, &queue(9)), 50 * MS);
        let shed = Entry::Shed(Shed { code: "deadline_too_short", retry_after: 1000 * MS });
        assert_eq!(gate.enter(5, Some(at(150)), &TWO, &queue(9), at(100)), shed);
        waits(gate.enter(5, Some(at(151)), &TWO, &queue(9), at(100)));
        assert_eq!(gate.enter(5, Some(at(200)), &TWO, &queue(9), at(100)), shed, "one is ahead");
        waits(gate.enter(6, Some(at(200)), &TWO, &queue(9), at(100)));
        let short = policy::Queue { length: 9, wait: 150 * MS, ..policy::Queue::default() };
        assert_eq!(gate.enter(5, None, &TWO, &short, at(100)), shed, "longer than the policy allows");
        assert_eq!(gate.shed().deadline_too_short, 3);
    }

    #[test]
    fn when_full_the_more_urgent_takes_the_place_of_the_newest_least_urgent() {
        let (mut gate, _permits) = busy();
        let mut enter = |priority| waits(gate.enter(priority, None, &TWO, &queue(3), at(100)));
        let [_, _, newest] = [3, 2, 2].map(&mut enter);
        let full = gate.enter(2, None, &TWO, &queue(3), at(100));
        assert_eq!(full, Entry::Shed(Shed { code: "queue_full", retry_after: 1000 * MS }));
        let Entry::Waits { displaced: Some((displaced, shed)), .. } =
            gate.enter(9, None, &TWO, &queue(3), at(100))
        else {
            panic!()
        };
        assert_eq!((displaced, shed.code), (newest, "queue_full"));
        assert!(!gate.cancel(newest));
        assert_eq!(gate.waiting().iter().sum::<u32>(), 3);
        let none = gate.enter(2, None, &TWO, &queue(0), at(100));
        assert!(matches!(none, Entry::Shed(Shed { code: "queue_full", .. })), "no queue");
    }

    #[test]
    fn retry_after_is_how_long_it_would_take() {
        let mut gate = Gate::new(&TWO, at(0));
        for _ in 0..2 {
            let permit = admitted(gate.enter(5, None, &TWO, &queue(9), at(0)));
            gate.leave(permit, at(4000));
        }
        let _permits = [(); 2].map(|()| admitted(gate.enter(5, None, &TWO, &queue(9), at(4000))));
        waits(gate.enter(5, None, &TWO, &queue(1), at(4000)));
        let full = gate.enter(5, None, &TWO, &queue(1), at(4000));
        assert_eq!(full, Entry::Shed(Shed { code: "queue_full", retry_after: 4000 * MS }));
    }

    #[test]
    fn what_waited_too_long_is_said_to_have() {
        let (mut gate, [a, _b]) = busy();
        let short = waits(gate.enter(5, Some(at(300)), &TWO, &queue(9), at(100)));
        let long = waits(gate.enter(5, None, &TWO, &queue(9), at(100)));
        gate.leave(a, at(300));
        assert_eq!(gate.turn(&TWO, &queue(9), at(300)), Some(Turn::Expired(short)));
        assert!(
            matches!(gate.turn(&TWO, &queue(9), at(300)), Some(Turn::Admitted(ticket, _)) if ticket == long)
        );
        assert_eq!(gate.turn(&TWO, &queue(9), at(300)), None);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let any = Concurrency::Unlimited;
        let mut gate = Gate::new(&any, at(0));
        for _ in 0..1000 {
            let _ = admitted(gate.enter(0, None, &any, &queue(0), at(0)));
        }
        assert_eq!((gate.in_flight(), gate.limit(&any)), (1000, None));
    }

    #[test]
    fn a_full_queue_has_a_place_for_each_priority() {
        let (mut gate, _permits) = busy();
        let urgent = [(); 10].map(|()| waits(gate.enter(9, None, &TWO, &queue(10), at(100))));
        let strict = policy::Queue { aging: 0, ..queue(10) };
        assert!(matches!(gate.enter(5, None, &TWO, &strict, at(100)), Entry::Shed(_)));
        let Entry::Waits { ticket, displaced: Some((displaced, _)) } =
            gate.enter(5, None, &TWO, &queue(10), at(100))
        else {
            panic!()
        };
        assert_eq!(displaced, urgent[9], "the last of the priority with the most");
        assert!(matches!(gate.enter(5, None, &TWO, &queue(10), at(100)), Entry::Shed(_)), "one place");
        assert!(matches!(gate.enter(9, None, &TWO, &queue(10), at(100)), Entry::Shed(_)), "nobody takes it");
        assert!(gate.cancel(ticket));
    }

    #[test]
    fn the_wait_of_a_lower_priority_counts_its_share_of_the_turns() {
        let (mut gate, _permits) = busy();
        let long = policy::Queue { length: 500, wait: 3_600_000 * MS, aging: 2 };
        for _ in 0..100 {
            waits(gate.enter(9, None, &TWO, &long, at(100)));
        }
        assert_eq!(gate.wait(9, &TWO, &long), 50 * 101 * MS);
        assert_eq!(gate.wait(5, &TWO, &long), 50 * 9 * MS, "one turn of nine");
        assert_eq!(gate.wait(5, &TWO, &policy::Queue { aging: 0, ..long }), 50 * 101 * MS);
    }
}
