//! Who waits for a cluster, most urgent first.

use std::time::Duration;

use crate::cluster::policy;
use crate::cluster::time::{Instant, nanos};

/// Priorities, 0 to 9; 9 is the most urgent.
const PRIORITIES: usize = 10;

/// The priority of a message that says none.
pub const ORDINARY: u8 = 5;

/// A place in a [`Queue`]. Of no use once its message has left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u32,
    /// How often the slot was used before.
    turn: u32,
}

impl Ticket {
    /// As one number, which is never the same again (within 2³² uses of one slot).
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.slot)
    }
}

/// Messages that wait, by priority, then arrival.
///
/// A more urgent message is served before a less urgent one. But a priority whose messages wait gains urgency while others
/// have their turns ([`Aging`]), so that an endless stream of urgent messages does not keep the others out for ever. A turn
/// takes that urgency away again: the priority gets a share of the turns, and not all of them.
///
/// Every operation is O(1): ten doubly linked lists in one array. Slots are reused, so that memory is that of the longest
/// the queue has been.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    nodes: Vec<Node>,
    /// The first of the slots that are free, linked by `next`.
    free: Option<u32>,
    lists: [List; PRIORITIES],
    /// Turns so far.
    turns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: Option<u32>,
    last: Option<u32>,
    length: u32,
    /// The number of turns, and the time, when it last had a turn, or was last empty.
    turns: u64,
    since: Instant,
}

/// How a priority whose messages wait gains urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aging {
    /// Turns of others after which it counts as one more urgent; 0: never.
    pub turns: u32,
    /// The time after which it does, if that is sooner.
    pub time: Duration,
}

impl Aging {
    /// Never.
    pub const OFF: Self = Self { turns: 0, time: Duration::MAX };

    /// That of a policy. A priority of 0 so gets a turn before its messages have waited as long as they may.
    #[must_use]
    pub fn of(policy: &policy::Queue) -> Self {
        Self { turns: policy.aging, time: policy.wait / 10 }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.turns > 0
    }

    /// Whether each priority has a place of its own in a queue of this length: it must be long enough for all.
    #[must_use]
    pub fn spares_places(self, length: u32) -> bool {
        self.is_on() && usize::try_from(length).is_ok_and(|length| length >= PRIORITIES)
    }

    fn gained(self, turns: u64, waited: Duration) -> u64 {
        if !self.is_on() {
            return 0;
        }
        (turns / u64::from(self.turns)).max(nanos(waited) / nanos(self.time).max(1))
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    turn: u32,
    waits: bool,
    priority: u8,
    deadline: Instant,
    since: Instant,
    previous: Option<u32>,
    next: Option<u32>,
}

/// A message that has left a [`Queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Which.
    pub ticket: Ticket,
    /// Its priority.
    pub priority: u8,
    /// When it has to be out.
    pub deadline: Instant,
    /// When it came.
    pub since: Instant,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.lists.iter().map(|list| list.length).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait, by priority.
    #[must_use]
    pub fn lengths(&self) -> [u32; PRIORITIES] {
        self.lists.map(|list| list.length)
    }

    /// How many would be served before a message of this priority that came now.
    #[must_use]
    pub fn ahead(&self, priority: u8) -> u32 {
        self.lists.iter().skip(usize::from(priority)).map(|list| list.length).sum()
    }

    /// Takes a message in, behind all that are as urgent. Priorities above 9 count as 9.
    pub fn push(&mut self, priority: u8, deadline: Instant, now: Instant) -> Ticket {
        let priority = priority.min(9);
        let before = self.list(priority).last;
        let node =
            Node { turn: 0, waits: true, priority, deadline, since: now, previous: before, next: None };
        let slot = if let Some(slot) = self.free {
            let next = self.get(slot).and_then(|free| free.next);
            if let Some(free) = self.get_mut(slot) {
                *free = Node { turn: free.turn, ..node };
            }
            self.free = next;
            slot
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        };
        match before.and_then(|before| self.get_mut(before)) {
            Some(before) => before.next = Some(slot),
            None => self.list(priority).first = Some(slot),
        }
        let turns = self.turns;
        let list = self.list(priority);
        if list.length == 0 {
            (list.turns, list.since) = (turns, now);
        }
        list.last = Some(slot);
        list.length += 1;
        Ticket { slot, turn: self.get(slot).map_or(0, |node| node.turn) }
    }

    /// Takes out the most urgent message, of those the one that came first. Of priorities that are as urgent by now, the
    /// lower has its turn.
    pub fn pop(&mut self, aging: Aging, now: Instant) -> Option<Departed> {
        let urgency = |(priority, list): (u64, &List)| {
            priority + aging.gained(self.turns - list.turns, now.since(list.since))
        };
        let waiting = (0..).zip(&self.lists).filter(|(_, list)| list.length > 0);
        // The first of equals, from below.
        let most = waiting.clone().map(urgency).max()?;
        let (priority, slot) =
            waiting.filter(|each| urgency(*each) == most).map(|(at, list)| (at, list.first)).next()?;
        self.turns += 1;
        let turns = self.turns;
        let list = self.list(u8::try_from(priority).unwrap_or(u8::MAX));
        (list.turns, list.since) = (turns, now);
        self.unlink(slot?)
    }

    /// Takes out the least urgent message, of those the one that came last, if it is less urgent than `priority`. `spare`: the
    /// last place of each priority is its own.
    pub fn evict(&mut self, priority: u8, spare: bool) -> Option<Departed> {
        let least = 1 + u32::from(spare);
        let below = self.lists.iter().take(usize::from(priority));
        let slot = below.filter(|list| list.length >= least).find_map(|list| list.last)?;
        self.unlink(slot)
    }

    /// Takes out the last message of the priority with the most, if it has several: a place for a priority that has none.
    pub fn evict_longest(&mut self) -> Option<Departed> {
        let longest = self.lists.iter().max_by_key(|list| list.length).filter(|list| list.length > 1)?;
        self.unlink(longest.last?)
    }

    /// Takes out a message that does not want to wait any longer; `None` where it has left already.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<Departed> {
        let node = self.get(ticket.slot)?;
        if node.waits && node.turn == ticket.turn { self.unlink(ticket.slot) } else { None }
    }

    fn unlink(&mut self, slot: u32) -> Option<Departed> {
        let node = *self.get(slot)?;
        match node.previous.and_then(|previous| self.get_mut(previous)) {
            Some(previous) => previous.next = node.next,
            None => self.list(node.priority).first = node.next,
        }
        match node.next.and_then(|next| self.get_mut(next)) {
            Some(next) => next.previous = node.previous,
            None => self.list(node.priority).last = node.previous,
        }
        self.list(node.priority).length -= 1;
        let free = self.free.replace(slot);
        if let Some(node) = self.get_mut(slot) {
            node.waits = false;
            node.turn = node.turn.wrapping_add(1);
            node.next = free;
        }
        let ticket = Ticket { slot, turn: node.turn };
        Some(Departed { ticket, priority: node.priority, deadline: node.deadline, since: node.since })
    }

    fn get(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(slot).ok()?)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(slot).ok()?)
    }

    fn list(&mut self, priority: u8) -> &mut List {
        let at = usize::from(priority).min(PRIORITIES - 1);
        #[allow(clippy::indexing_slicing)] // Below the length, which is fixed.
        &mut self.lists[at]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Pop,
        Evict(u8),
        Cancel(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..12).prop_map(Step::Push),
            2 => Just(Step::Pop),
            1 => (0_u8..10).prop_map(Step::Evict),
            2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        ]
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_sorted_list(steps in prop::collection::vec(step(), 0..300)) {
            let mut queue = Queue::new();
            let mut list: Vec<(u8, u64, Ticket)> = Vec::new();
            let (mut all, mut longest) = (Vec::new(), 0);
            for (n, step) in (0..).zip(steps) {
                let now = Instant::from_nanos(n);
                match step {
                    Step::Push(priority) => {
                        let ahead = list.iter().filter(|(other, ..)| *other >= priority.min(9)).count();
                        prop_assert_eq!(queue.ahead(priority.min(9)) as usize, ahead);
                        let ticket = queue.push(priority, now + Duration::from_secs(1), now);
                        prop_assert!(!all.contains(&ticket.number()));
                        all.push(ticket.number());
                        list.push((priority.min(9), n, ticket));
                        longest = longest.max(list.len());
                    }
                    Step::Pop => {
                        let first = list.iter().copied().max_by_key(|(p, n, _)| (*p, std::cmp::Reverse(*n)));
                        let departed = queue.pop(Aging::OFF, now);
                        prop_assert_eq!(departed.map(|departed| departed.ticket), first.map(|first| first.2));
                        prop_assert_eq!(departed.map(|departed| departed.since.nanos()), first.map(|first| first.1));
                        list.retain(|entry| Some(entry.2) != first.map(|first| first.2));
                    }
                    Step::Evict(priority) => {
                        let last = list.iter().copied().filter(|(p, ..)| *p < priority)
                            .min_by_key(|(p, n, _)| (*p, std::cmp::Reverse(*n)));
                        let departed = queue.evict(priority, false);
                        prop_assert_eq!(departed.map(|departed| departed.ticket), last.map(|last| last.2));
                        list.retain(|entry| Some(entry.2) != last.map(|last| last.2));
                    }
                    Step::Cancel(index) if !list.is_empty() => {
                        let (priority, _, ticket) = list.remove(index.index(list.len()));
                        prop_assert_eq!(queue.cancel(ticket).map(|departed| departed.priority), Some(priority));
                        prop_assert_eq!(queue.cancel(ticket), None, "once");
                    }
                    Step::Cancel(_) => (),
                }
                prop_assert_eq!(queue.len() as usize, list.len());
                prop_assert!(queue.nodes.len() <= longest, "slots are reused");
            }
        }
    }

    /// The priorities that have the next turns, where as many come as go.
    fn turns(waiting: &[u8], aging: Aging, every: Duration, count: usize) -> Vec<u32> {
        let mut queue = Queue::new();
        let mut now = Instant::default();
        for priority in waiting {
            queue.push(*priority, now + Duration::from_secs(60), now);
        }
        (0..count)
            .map(|_| {
                now = now + every;
                let departed = queue.pop(aging, now).unwrap();
                queue.push(departed.priority, now + Duration::from_secs(60), now);
                u32::from(departed.priority)
            })
            .collect()
    }

    #[test]
    fn beside_endless_urgent_ones_others_have_a_share() {
        let aging = Aging { turns: 4, time: Duration::from_secs(1) };
        let quick = turns(&[9, 9, 9, 5], aging, Duration::from_millis(1), 17 * 10);
        assert_eq!(quick.iter().filter(|priority| **priority == 5).count(), 10, "one of 4 × 4 + 1");
        assert_eq!(quick[..17].iter().position(|priority| *priority == 5), Some(16));
        let all = turns(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0], aging, Duration::from_millis(1), 400);
        assert!((0..10).all(|priority| all.contains(&priority)));
        assert!(
            all.iter().filter(|priority| **priority == 9).count() > 100,
            "the most urgent has most turns"
        );
        // Where turns are rare, time counts.
        let slow = turns(&[9, 9, 9, 5], aging, Duration::from_secs(1), 50);
        assert_eq!(slow[..6], [9, 9, 9, 9, 5, 9]);
        assert_eq!(turns(&[9, 9, 9, 5], Aging::OFF, Duration::from_secs(1), 50), [9; 50]);
    }
}
