//! A cluster of pretended servers under a virtual clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use waypost_core::cluster::policy::Policy;
use waypost_core::cluster::{
    Attempt, Entry, Failed, Failure, Group, Instant, Next, NoEndpoint, Outcome, Permit, Registry, Rng,
    Ticket, Tried, Turn,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Works on `capacity` requests at a time, each for `service` on the average; others wait in line.
pub(crate) struct Server {
    pub(crate) capacity: usize,
    pub(crate) service: Duration,
    /// Service times are even between 0.5 and 1.5 times the mean, or exact.
    pub(crate) noisy: bool,
    /// Refuses connections.
    pub(crate) down: bool,
    busy: usize,
    line: VecDeque<u64>,
    /// Requests that reached it, refused ones included.
    pub(crate) asked: u64,
}

impl Server {
    pub(crate) fn new(capacity: usize, service: Duration) -> Self {
        Self { capacity, service, noisy: true, down: false, busy: 0, line: VecDeque::new(), asked: 0 }
    }

    pub(crate) fn down(self) -> Self {
        Self { down: true, ..self }
    }
}

pub(crate) struct Message {
    attempt: Option<Attempt>,
    permit: Option<Permit>,
    tried: Tried,
    attempts: u32,
    came: Instant,
    key: Option<u64>,
    priority: u8,
}

enum Event {
    Arrive,
    Done(u64),
    Again(u64),
}

pub(crate) struct Simulation {
    pub(crate) registry: Registry,
    pub(crate) group: Group,
    pub(crate) servers: Vec<Server>,
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    what: HashMap<u64, Event>,
    next: u64,
    messages: HashMap<u64, Message>,
    waiting: HashMap<Ticket, u64>,
    /// Between two arrivals; zero: a new message comes whenever one ends.
    pub(crate) every: Duration,
    /// Answered messages: priority and how long they took.
    pub(crate) answered: Vec<(u8, Duration)>,
    pub(crate) failed: u64,
    pub(crate) shed: u64,
    pub(crate) priorities: Vec<u8>,
}

pub(crate) fn endpoints(count: usize) -> Vec<(String, u32)> {
    (0..count).map(|n| (format!("http://10.0.0.{n}:9100"), 1)).collect()
}

pub(crate) fn join(
    registry: &mut Registry,
    endpoints: &[(String, u32)],
    policy: Policy,
    now: Instant,
) -> Group {
    assert_eq!(policy.problems(), []);
    let endpoints: Vec<(&str, u32)> = endpoints.iter().map(|(url, weight)| (url.as_str(), *weight)).collect();
    registry.apply([("models", &endpoints[..], Arc::new(policy))], now).remove(0)
}

impl Simulation {
    pub(crate) fn new(policy: Policy, servers: Vec<Server>, every: Duration) -> Self {
        let now = Instant::default() + 1000 * SECOND;
        let mut registry = Registry::new(42);
        let group = join(&mut registry, &endpoints(servers.len()), policy, now);
        Self {
            registry,
            group,
            servers,
            now,
            rng: Rng::new(1),
            events: BinaryHeap::new(),
            what: HashMap::new(),
            next: 0,
            messages: HashMap::new(),
            waiting: HashMap::new(),
            every,
            answered: Vec::new(),
            failed: 0,
            shed: 0,
            priorities: vec![5],
        }
    }

    /// Begins that many streams of messages.
    pub(crate) fn start(&mut self, streams: usize) {
        for _ in 0..streams {
            let offset = self.rng.within(self.every.max(10 * MS));
            self.at(self.now + offset, Event::Arrive);
        }
    }

    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(Reverse((at, number))) = self.events.peek().copied() {
            if at > end {
                break;
            }
            self.events.pop();
            self.now = at;
            match self.what.remove(&number).unwrap() {
                Event::Arrive => self.arrive(),
                Event::Done(id) => self.done(id),
                Event::Again(id) => self.attempt(id),
            }
        }
        self.now = end;
    }

    /// Requests that each server was asked since this was called last.
    pub(crate) fn asked(&mut self) -> Vec<u64> {
        self.servers.iter_mut().map(|server| std::mem::take(&mut server.asked)).collect()
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.next += 1;
        self.events.push(Reverse((at, self.next)));
        self.what.insert(self.next, event);
    }

    fn arrive(&mut self) {
        if !self.every.is_zero() {
            // Poisson.
            let pause = self.every.mul_f64(-(1.0 - self.rng.unit()).ln());
            self.at(self.now + pause, Event::Arrive);
        }
        self.next += 1;
        let id = self.next;
        let choice = self.rng.below(self.priorities.len() as u64);
        let priority = self.priorities[usize::try_from(choice).unwrap()];
        let mut message = Message {
            attempt: None,
            permit: None,
            tried: Tried::new(),
            attempts: 0,
            came: self.now,
            key: None,
            priority,
        };
        let entry = self.group.enter(priority, None, self.now);
        match entry {
            Entry::Admitted(permit) => {
                message.permit = Some(permit);
                self.messages.insert(id, message);
                self.attempt(id);
            }
            Entry::Waits { ticket, displaced } => {
                self.messages.insert(id, message);
                self.waiting.insert(ticket, id);
                if let Some((ticket, _)) = displaced {
                    let id = self.waiting.remove(&ticket).unwrap();
                    self.messages.remove(&id);
                    self.followed(true);
                }
            }
            Entry::Shed(_) => {
                self.followed(true);
            }
        }
    }

    fn attempt(&mut self, id: u64) {
        let message = self.messages.get_mut(&id).unwrap();
        let attempt = match self.group.attempt(&mut message.tried, message.key, false, self.now) {
            Ok(attempt) => attempt,
            Err(NoEndpoint::Resting { until }) => {
                self.at(until, Event::Again(id));
                return;
            }
            Err(NoEndpoint::Tried | NoEndpoint::Unfit) => {
                self.failed += 1;
                self.end(id);
                return;
            }
        };
        message.attempts += 1;
        let position = attempt.position();
        message.attempt = Some(attempt);
        let server = &mut self.servers[position];
        server.asked += 1;
        if server.down {
            self.fail(id, Failure::Connect);
        } else if server.busy < server.capacity {
            server.busy += 1;
            self.serve(id, position);
        } else {
            server.line.push_back(id);
        }
    }

    fn serve(&mut self, id: u64, position: usize) {
        let server = &self.servers[position];
        let service =
            if server.noisy { server.service.mul_f64(0.5 + self.rng.unit()) } else { server.service };
        self.at(self.now + service, Event::Done(id));
    }

    fn done(&mut self, id: u64) {
        let mut attempt = self.messages.get_mut(&id).unwrap().attempt.take().unwrap();
        let position = attempt.position();
        let server = &mut self.servers[position];
        if let Some(next) = server.line.pop_front() {
            self.serve(next, position);
        } else {
            server.busy -= 1;
        }
        self.group.responded(&mut attempt, 200, self.now);
        self.group.finish(attempt, Outcome::Success, self.now);
        let message = &self.messages[&id];
        self.answered.push((message.priority, self.now.since(message.came)));
        self.end(id);
    }

    fn fail(&mut self, id: u64, failure: Failure) {
        let message = self.messages.get_mut(&id).unwrap();
        self.group.finish(message.attempt.take().unwrap(), Outcome::Failure(failure), self.now);
        let failed = Failed {
            failure,
            retry_after: None,
            idempotent: true,
            sent: true,
            replayable: true,
            delivered: false,
            attempts: message.attempts,
            fallback: false,
            deadline: None,
        };
        match self.group.retry(&failed, &message.tried, self.now) {
            Next::Retry { after, elsewhere } => {
                if !elsewhere {
                    message.tried.clear();
                }
                self.at(self.now + after, Event::Again(id));
            }
            Next::NextCluster => unreachable!(),
            Next::GiveUp(_) => {
                self.failed += 1;
                self.end(id);
            }
        }
    }

    fn end(&mut self, id: u64) {
        let message = self.messages.remove(&id).unwrap();
        self.group.leave(message.permit.unwrap(), self.now);
        while let Some(turn) = self.group.turn(self.now) {
            match turn {
                Turn::Admitted(ticket, permit) => {
                    let id = self.waiting.remove(&ticket).unwrap();
                    self.messages.get_mut(&id).unwrap().permit = Some(permit);
                    self.attempt(id);
                }
                Turn::Expired(ticket) => {
                    let id = self.waiting.remove(&ticket).unwrap();
                    self.messages.remove(&id);
                    self.followed(true);
                }
            }
        }
        self.followed(false);
    }

    /// The next message of a stream. Who was refused comes again after a second.
    fn followed(&mut self, shed: bool) {
        self.shed += u64::from(shed);
        if self.every.is_zero() {
            let pause = if shed { SECOND } else { MS };
            self.at(self.now + pause, Event::Arrive);
        }
    }
}
