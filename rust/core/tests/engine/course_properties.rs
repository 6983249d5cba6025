//! Whatever happens to exchanges, and in whatever order: nothing is sent twice that must not be, and nothing stays counted.

use std::collections::HashMap;

use crate::courses::{MS, SECOND, Site, at, calm};
use proptest::prelude::*;
use waypost_core::cluster::policy::{Breaker, Concurrency, Hedge, Per, Policy, Queue, Rate, Retry};
use waypost_core::cluster::{Failure, Instant, Outcome, Ticket, Tried, Turn};
use waypost_core::engine::{CallerNames, Course, Delivery, Step, Terms};

/// A host that does as it is told, to several exchanges.
struct Host {
    site: Site,
    exchanges: Vec<Exchange>,
    waiting: HashMap<(String, Ticket), usize>,
    now: Instant,
}

#[allow(clippy::struct_excessive_bools)] // Independent facts.
struct Exchange {
    course: Course,
    idempotent: bool,
    /// Numbers of the attempts under way, and whether bytes of each may have reached an endpoint.
    under_way: Vec<(u32, bool)>,
    /// How often it may have been executed.
    executed: u32,
    pausing: bool,
    waits: bool,
    answered: bool,
    deadline: Option<Instant>,
    attempts: u32,
}

impl Host {
    /// Latencies are known, so that there are second attempts.
    fn warm(&self) {
        for group in &self.site.groups {
            for _ in 0..10 {
                let mut attempt = group.attempt(&mut Tried::new(), None, false, self.now).unwrap();
                group.responded(&mut attempt, 200, self.now + MS);
                group.finish(attempt, Outcome::Success, self.now + MS);
            }
        }
    }

    fn begin(&mut self, idempotent: bool, priority: u8, deadline: Option<u32>) {
        let began = self.now;
        let deadline = deadline.map(|ms| ms * MS);
        let mut course = self.site.exchange(Terms {
            began,
            deadline,
            priority,
            idempotent,
            streamed: false,
            caller: None,
        });
        course.charge(CallerNames { tenant: Some(format!("t{priority}")), ..CallerNames::default() });
        let step = course.begin(self.now);
        self.exchanges.push(Exchange {
            course,
            idempotent,
            under_way: Vec::new(),
            executed: 0,
            pausing: false,
            waits: false,
            answered: false,
            deadline: deadline.map(|length| began + length),
            attempts: 0,
        });
        self.go(self.exchanges.len() - 1, step);
    }

    #[allow(clippy::needless_pass_by_value)] // It is done with.
    fn go(&mut self, at: usize, step: Step) {
        let exchange = &mut self.exchanges[at];
        match step {
            Step::Attempt { .. } => {
                assert!(!exchange.answered, "an attempt after the answer");
                assert!(exchange.idempotent || exchange.executed == 0, "sent again");
                assert!(exchange.deadline.is_none_or(|deadline| self.now < deadline), "after the deadline");
                exchange.attempts += 1;
                let number = exchange.course.made();
                assert_eq!(number, exchange.attempts);
                exchange.under_way.push((number, false));
            }
            Step::Pause(_) => exchange.pausing = true,
            Step::Wait { ticket, displaced, .. } => {
                exchange.waits = true;
                let name = exchange.course.group().unwrap().name().to_owned();
                assert!(self.waiting.insert((name.clone(), ticket), at).is_none());
                if let Some((ticket, shed)) = displaced {
                    let other = self.waiting.remove(&(name, ticket)).expect("somebody loses its place");
                    self.exchanges[other].waits = false;
                    let step = self.exchanges[other].course.dropped(Some(shed), self.now);
                    self.go(other, step);
                }
            }
            Step::Respond | Step::GiveUp(_) | Step::Fail(_) => self.end(at),
            Step::Stay => assert!(!exchange.under_way.is_empty() || exchange.answered),
        }
    }

    fn end(&mut self, at: usize) {
        let exchange = &mut self.exchanges[at];
        exchange.answered = true;
        exchange.course.end(Outcome::Cancelled, self.now);
        exchange.under_way.clear();
        exchange.pausing = false;
        exchange.waits = false;
        self.waiting.retain(|_, other| *other != at);
        self.turns(at);
    }

    fn turns(&mut self, at: usize) {
        while let Some((turn, group)) = self.exchanges[at].course.turn(self.now) {
            let name = group.name().to_owned();
            let (ticket, permit) = match turn {
                Turn::Admitted(ticket, permit) => (ticket, Some(permit)),
                Turn::Expired(ticket) => (ticket, None),
            };
            let other = self.waiting.remove(&(name, ticket)).expect("somebody waits");
            let exchange = &mut self.exchanges[other];
            exchange.waits = false;
            let step = match permit {
                Some(permit) => exchange.course.admitted(permit, self.now),
                None => exchange.course.dropped(None, self.now),
            };
            self.go(other, step);
        }
    }

    fn happen(&mut self, event: u8, choice: usize, more: u8) {
        if self.exchanges.is_empty() {
            return;
        }
        let at = choice % self.exchanges.len();
        let now = self.now;
        let exchange = &mut self.exchanges[at];
        let replayable = more & 1 == 0;
        if let Some(which) =
            exchange.under_way.len().checked_sub(1).map(|last| usize::from(more) % (last + 1))
        {
            let (number, sent) = exchange.under_way[which];
            let traces = Delivery { sent, replayable, delivered: false };
            match event {
                0 | 1 if !sent => {
                    exchange.under_way[which].1 = true;
                    exchange.executed += 1;
                }
                0 => {
                    exchange.course.responded(number, 200, now);
                    exchange.under_way.retain(|(other, _)| *other == number);
                }
                1 => {
                    exchange.course.responded(number, 200, now);
                    exchange.course.succeeded(number, now);
                    self.end(at);
                }
                2 => {
                    exchange.under_way.remove(which);
                    let status = [429, 500, 503][usize::from(more) % 3];
                    let wait = (more & 4 != 0).then_some(SECOND);
                    let step = exchange.course.responded_retryable(number, status, wait, traces, now);
                    self.go(at, step);
                }
                3 | 4 => {
                    exchange.under_way.remove(which);
                    let failure = if sent {
                        [Failure::Reset, Failure::Timeout, Failure::Protocol, Failure::Stale]
                            [usize::from(more) % 4]
                    } else {
                        Failure::Connect
                    };
                    let step = exchange.course.failed(number, failure, traces, now);
                    self.go(at, step);
                }
                5 => {
                    if exchange.idempotent && exchange.course.hedge(now).is_some() {
                        exchange.attempts += 1;
                        exchange.under_way.push((exchange.course.made(), false));
                    }
                }
                6 if exchange.under_way.len() == 1 => {
                    let step = exchange.course.leave_unfit(number, traces, now);
                    if step != Step::Stay {
                        exchange.under_way.remove(which);
                        self.go(at, step);
                    }
                }
                _ => self.end(at),
            }
        } else if exchange.pausing && event < 6 {
            exchange.pausing = false;
            let step = exchange.course.resume(now);
            self.go(at, step);
        } else if exchange.waits && event < 3 {
            let step = exchange.course.expired(now);
            if step != Step::Stay {
                exchange.waits = false;
                self.waiting.retain(|_, other| *other != at);
            }
            self.go(at, step);
        } else if event > 5 {
            self.end(at);
        }
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    (0_u32..3, 0_u32..3, 1_u32..4, any::<bool>(), any::<bool>(), 0_u8..3).prop_map(
        |(limit, length, attempts, hedged, rated, breaks)| Policy {
            concurrency: if limit == 0 { Concurrency::Unlimited } else { Concurrency::Fixed(limit) },
            queue: Queue { length, wait: 2 * SECOND, ..Queue::default() },
            retry: Retry { attempts, ..Retry::default() },
            hedge: hedged.then(|| Hedge { samples: 10, ..Hedge::default() }),
            rate: if rated {
                vec![Rate { per: Per::Tenant, messages: 3, every: SECOND, burst: 3, keys: 4 }]
            } else {
                Vec::new()
            },
            breaker: Breaker { consecutive: u32::from(breaks), trials: 1, ..Breaker::default() },
            ..calm()
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_sent_twice_that_must_not_be_and_nothing_stays_counted(
        clusters in prop::collection::vec((1_usize..4, policies()), 1..4),
        events in prop::collection::vec((0_u8..10, any::<usize>(), any::<u8>(), 0_u32..400), 1..150),
    ) {
        let mut host =
            Host { site: Site::new(&clusters), exchanges: Vec::new(), waiting: HashMap::new(), now: at(0) };
        host.warm();
        for (event, choice, more, passed) in events {
            host.now = host.now + passed * MS;
            if event > 7 {
                host.begin(more & 1 == 0, more % 10, (more & 2 != 0).then_some(500));
            } else {
                host.happen(event, choice, more);
            }
            let in_flight = host.exchanges.iter().filter(|exchange| !exchange.answered && !exchange.waits).count();
            let counted: u32 = host.site.view(host.now).iter().map(|cluster| cluster.in_flight).sum();
            prop_assert_eq!(counted as usize, in_flight);
            let waiting: u32 = host.site.view(host.now).iter().flat_map(|cluster| cluster.waiting).sum();
            prop_assert_eq!(waiting as usize, host.waiting.len());
        }
        for exchange in &host.exchanges {
            prop_assert!(exchange.idempotent || exchange.executed <= 1);
        }
        for at in 0..host.exchanges.len() {
            host.end(at);
        }
        prop_assert!(host.site.idle(host.now));
        let warm = 10 * host.site.groups.len() as u64;
        let begun = host.exchanges.iter().map(|exchange| u64::from(exchange.attempts)).sum::<u64>() + warm;
        let views = host.site.view(host.now);
        let counts = views.iter().flat_map(|cluster| &cluster.endpoints).map(|endpoint| endpoint.counts);
        let (mut all, mut ended) = (0, 0);
        for c in counts {
            all += c.attempts;
            ended += c.succeeded + c.unreachable + c.timed_out + c.broken + c.error_status + c.cancelled;
        }
        prop_assert_eq!((all, ended), (begun, begun));
    }
}
