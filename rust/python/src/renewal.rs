//! Compiling all rules of a matcher anew, while it goes on changing.
//!
//! A change lies over the rules of the beginning, and after some thousands of them the rules should be made one again. With
//! 100,000 rules that takes a tenth of a second, for which nobody who changes one rule should have to wait: a thread does it,
//! and what is left to do then, each change does a part of.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use waypost_core::table;

use crate::compiled::{Change, Compiled};
use crate::names::{List, Names};

/// How many names a change numbers anew: in half a millisecond.
const NAMES: usize = 4096;
/// How many changes that came meanwhile a change makes once more: as long as some make new ones, each has to make more than
/// one.
const CHANGES: usize = 16;
/// How many changes may come before what a thread compiles is there; the next one waits for it.
const AHEAD: usize = 16 << 10;

/// What becomes of a matcher's state once its rules are compiled anew.
pub(crate) struct Renewal {
    /// The state that it began with.
    from: Arc<Compiled>,
    /// What was changed since then, and is not yet in what is being made.
    changes: VecDeque<Change>,
    stage: Stage,
}

enum Stage {
    /// A thread of this process compiles the rules.
    Compiling(JoinHandle<Flattened>, u32),
    /// Their names are numbered anew.
    Naming(Flattened, List),
    /// What was changed meanwhile is changed in the new state too.
    CatchingUp(Compiled),
}

/// The rules in one layer; and by new number the old one.
type Flattened = (table::Matcher, Vec<usize>);

/// How far a [`Renewal`] is.
pub(crate) enum Progress {
    /// The state that the matcher would be in without it, but of rules that were compiled anew.
    Done(Compiled),
    More(Renewal),
}

impl Renewal {
    /// Begins with a state.
    pub(crate) fn of(from: &Arc<Compiled>) -> Self {
        let matcher = from.matcher.clone();
        let thread = thread::Builder::new().name("waypost-matcher".to_owned());
        let stage = match thread.spawn(move || matcher.flattened()) {
            Ok(thread) => Stage::Compiling(thread, process::id()),
            // The system allows no more threads.
            Err(_) => Stage::naming(from.matcher.flattened()),
        };
        Self { from: Arc::clone(from), changes: VecDeque::new(), stage }
    }

    /// Notes a change, which was made in the meantime, and does a part of what is to be done.
    pub(crate) fn go_on(mut self, py: Python<'_>, change: Change) -> PyResult<Progress> {
        self.changes.push_back(change);
        self.stage = match self.stage {
            Stage::Compiling(thread, of) if of != process::id() => {
                // This process was forked from that one: it has the handle, but not the thread.
                std::mem::forget(thread);
                Stage::naming(py.detach(|| self.from.matcher.flattened()))
            }
            Stage::Compiling(thread, of) if !thread.is_finished() && self.changes.len() < AHEAD => {
                Stage::Compiling(thread, of)
            }
            Stage::Compiling(thread, _) => {
                Stage::naming(py.detach(|| thread.join()).unwrap_or_else(|panic| resume_unwind(panic)))
            }
            Stage::Naming((matcher, numbers), mut names) => {
                let next = numbers.iter().skip(names.len()).take(NAMES);
                for name in next.filter_map(|number| self.from.names.get(*number)) {
                    names.append(py, name.clone_ref(py))?;
                }
                if names.len() < numbers.len() {
                    Stage::Naming((matcher, numbers), names)
                } else {
                    Stage::CatchingUp(Compiled::of(Names::of(names), matcher))
                }
            }
            Stage::CatchingUp(mut new) => {
                for change in self.changes.drain(..self.changes.len().min(CHANGES)) {
                    new = new.changed(py, &change)?;
                }
                if self.changes.is_empty() {
                    return Ok(Progress::Done(new));
                }
                Stage::CatchingUp(new)
            }
        };
        Ok(Progress::More(self))
    }
}

impl Stage {
    fn naming(flattened: Flattened) -> Self {
        let names = List::with_capacity(flattened.1.len());
        Self::Naming(flattened, names)
    }
}
