//! `Step` and `Turn`: what an exchange does next, and how a wait ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use waypost_core::cluster::{self, Failure, Group, Instant, Outcome, Permit, Shed};
use waypost_core::engine::{self, Course};

use crate::snapshot::Shared;
use crate::{clock, errors};

/// The next step of an exchange, unless it is an attempt.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Step {
    /// What to do next.
    #[pyo3(get)]
    kind: &'static str,
    /// With `pause` and `wait`, how long.
    #[pyo3(get)]
    seconds: f64,
    /// With `wait`, the ticket in that cluster's queue.
    #[pyo3(get)]
    ticket: u64,
    /// With `wait`, the name of the cluster that has no room.
    #[pyo3(get)]
    cluster: String,
    /// With `wait`, the turn of another exchange that lost its place in the queue to this one.
    #[pyo3(get)]
    displaced: Option<Py<Turn>>,
    /// With `refuse`, the `WaypostError` to answer with: `rate_limited`, `queue_full`, `deadline_too_short`, …
    #[pyo3(get)]
    error: Option<Py<PyAny>>,
}

/// The end of one message's wait in a cluster's queue: it may proceed, or it has lost its place.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Turn {
    /// The name of the cluster.
    #[pyo3(get)]
    cluster: String,
    /// The ticket in the cluster's queue.
    #[pyo3(get)]
    ticket: u64,
    what: Mutex<Option<What>>,
}

enum What {
    Admitted(Arc<Group>, Permit),
    Expired,
    Displaced(Shed),
}

impl Turn {
    pub(crate) fn of(turn: cluster::Turn, group: &Arc<Group>) -> Self {
        match turn {
            cluster::Turn::Admitted(ticket, permit) => {
                Self::new(group, ticket.number(), What::Admitted(Arc::clone(group), permit))
            }
            cluster::Turn::Expired(ticket) => Self::new(group, ticket.number(), What::Expired),
        }
    }

    fn new(group: &Group, ticket: u64, what: What) -> Self {
        Self { cluster: group.name().to_owned(), ticket, what: Mutex::new(Some(what)) }
    }

    /// Reports the turn to the course of the exchange that waits for it.
    pub(crate) fn give(&self, course: &mut Course, now: Instant) -> engine::Step {
        match self.take() {
            None => engine::Step::Stay,
            Some(What::Admitted(_, permit)) => course.admitted(permit, now),
            Some(What::Expired) => course.dropped(None, now),
            Some(What::Displaced(shed)) => course.dropped(Some(shed), now),
        }
    }

    fn take(&self) -> Option<What> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Turn {
    /// Give up the turn, because its exchange is gone. Returns the turns that come instead.
    fn release(&self) -> Vec<Self> {
        let Some(What::Admitted(group, permit)) = self.take() else { return Vec::new() };
        group.leave(permit, clock::now());
        std::iter::from_fn(|| Some(Self::of(group.turn(clock::now())?, &group))).collect()
    }
}

/// A turn that no exchange takes gives back its permit.
impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(What::Admitted(group, permit)) = self.take() {
            group.leave(permit, clock::now());
        }
    }
}

/// How much of a response a reader has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A part.
    Part,
    /// All of it.
    Whole,
    /// All of it, and it is no answer: a stream without an event.
    Empty,
}

/// The course of a plan's exchange, once it has begun. The lock is never contended, because a plan belongs to one
/// exchange.
#[derive(Default)]
pub(crate) struct Exchange {
    course: Mutex<Option<Course>>,
}

impl Exchange {
    pub(crate) fn begin<'py>(
        &self,
        py: Python<'py>,
        shared: &Shared,
        intake: &engine::Intake,
        plan: &engine::Plan,
        body: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = clock::now();
        match shared.snapshot.course(shared.bound(), intake, plan, body, now) {
            Err(fault) => object(py, shared, engine::Step::Fail(fault), None),
            Ok(mut course) => {
                if intake.is_debug() {
                    course.keep_trail();
                }
                *self.course() = Some(course);
                self.next(py, shared, Course::begin)
            }
        }
    }

    /// Asks the course for the next step; `stay` before the exchange begins.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        shared: &Shared,
        ask: impl FnOnce(&mut Course, Instant) -> engine::Step,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut course = self.course();
        let step = course.as_mut().map_or(engine::Step::Stay, |course| ask(course, clock::now()));
        object(py, shared, step, course.as_ref().and_then(Course::group))
    }

    /// Changes the course; `None` before the exchange begins.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Course, Instant) -> T) -> Option<T> {
        self.course().as_mut().map(|course| change(course, clock::now()))
    }

    /// Reports what a reader has seen of an attempt's response: its `status` (at its head), and its `end`. Returns
    /// whether the response is retryable, in which case `Plan.retryable_response` follows. After a response that
    /// [is none](Seen::Empty), `Plan.failed` follows.
    pub(crate) fn answered(&self, number: u32, status: Option<u16>, seen: Seen) -> bool {
        let retryable = self.change(|course, now| {
            let retryable = status.is_some_and(|status| course.is_retryable(status));
            if let Some(status) = status {
                course.note_status(number, status, now);
            }
            if let Some(status) = status.filter(|_| !retryable && seen != Seen::Empty) {
                course.responded(number, status, now);
            }
            if seen == Seen::Whole && !retryable {
                course.succeeded(number, now);
            }
            retryable
        });
        retryable.unwrap_or(false)
    }

    /// Reports that the only attempt's response, with this status, is complete, and ends the exchange. Changes nothing
    /// and returns false if the response is retryable.
    pub(crate) fn answer(&self, status: u16) -> bool {
        let is_answer = self.change(|course, now| {
            if course.is_retryable(status) {
                return false;
            }
            course.note_status(1, status, now);
            course.responded(1, status, now);
            course.succeeded(1, now);
            course.end(Outcome::Success, now);
            true
        });
        is_answer.unwrap_or(false)
    }

    /// How many seconds it may still take, and the total timeout where that says so.
    pub(crate) fn time_left(&self, stream: bool) -> (f64, Option<f64>) {
        let found = self.change(|course, now| {
            let bound = course.bound(stream)?;
            Some((bound, course.time_left(bound, now).as_secs_f64()))
        });
        match found.flatten() {
            None => (f64::INFINITY, None),
            Some((engine::Bound::Deadline(_), left)) => (left, None),
            Some((engine::Bound::Total(total), left)) => (left, Some(total.as_secs_f64())),
        }
    }

    /// The time that the exchange may still take, by the message's deadline alone.
    pub(crate) fn message_time_left(&self) -> Option<Duration> {
        self.change(|course, now| course.message_time_left(now)).flatten()
    }

    /// What the exchange has tried; see [`Course::trail`].
    pub(crate) fn trail(&self) -> Vec<engine::TrailEntry> {
        self.course().as_ref().map_or_else(Vec::new, |course| course.trail(clock::now()))
    }

    /// The time that the exchange has waited in queues.
    pub(crate) fn waited(&self) -> Duration {
        self.course().as_ref().map_or(Duration::ZERO, |course| course.waited(clock::now()))
    }

    pub(crate) fn turns(&self) -> Vec<Turn> {
        let course = self.course();
        let next = || course.as_ref()?.turn(clock::now()).map(|(turn, group)| Turn::of(turn, group));
        std::iter::from_fn(next).collect()
    }

    fn course(&self) -> MutexGuard<'_, Option<Course>> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the exchange, so that its clusters no longer count it.
impl Drop for Exchange {
    fn drop(&mut self) {
        self.change(|course, now| course.end(Outcome::Cancelled, now));
    }
}

/// Converts a step for Python: an attempt to its endpoint, any other to a `Step`.
fn object<'py>(
    py: Python<'py>,
    shared: &Shared,
    step: engine::Step,
    group: Option<&Arc<Group>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut out =
        Step { kind: "stay", seconds: 0.0, ticket: 0, cluster: String::new(), displaced: None, error: None };
    match step {
        engine::Step::Attempt { at, .. } => {
            let endpoint = shared.endpoint(py, at);
            let endpoint = endpoint.ok_or_else(|| PyValueError::new_err("there is no such endpoint"))?;
            return Ok(endpoint.into_bound(py).into_any());
        }
        engine::Step::Pause(length) => {
            out.kind = "pause";
            out.seconds = length.as_secs_f64();
        }
        engine::Step::Wait { ticket, patience, displaced } => {
            out.kind = "wait";
            out.seconds = patience.as_secs_f64();
            out.ticket = ticket.number();
            if let Some(group) = group {
                group.name().clone_into(&mut out.cluster);
                let turn = |(ticket, shed): (cluster::Ticket, Shed)| {
                    Py::new(py, Turn::new(group, ticket.number(), What::Displaced(shed)))
                };
                out.displaced = displaced.map(turn).transpose()?;
            }
        }
        engine::Step::Respond => out.kind = "respond",
        engine::Step::GiveUp(_) => out.kind = "give_up",
        engine::Step::Fail(fault) => {
            out.kind = "refuse";
            out.error = Some(errors::fault(py, &fault)?);
        }
        engine::Step::Stay => (),
    }
    Ok(Bound::new(py, out)?.into_any())
}

/// Reads the kind of an attempt's failure.
pub(crate) fn failure(name: &str) -> PyResult<Failure> {
    match name {
        "connect" => Ok(Failure::Connect),
        "stale" => Ok(Failure::Stale),
        "timeout" => Ok(Failure::Timeout),
        "reset" => Ok(Failure::Reset),
        "protocol" => Ok(Failure::Protocol),
        _ => Err(PyValueError::new_err(format!("there is no failure {name:?}"))),
    }
}
