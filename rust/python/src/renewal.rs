//! Recompiles all rules of a matcher while it keeps changing.
//!
//! Changes form layers over the compiled rules, which should be merged after some thousands of changes. With 100,000
//! rules, merging takes 0.1 s, too long for a call that changes one rule. So a thread merges the rules, and each
//! further change does a part of the remaining work.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use waypost_core::table;

use crate::compiled::{Change, Compiled};
use crate::names::{List, Names};

/// Number of names that one change renumbers, which takes half a millisecond.
const NAMES: usize = 4096;
/// Number of earlier changes that one change repeats in the new state. It must be more than one to catch up, because
/// each change adds one.
const CHANGES: usize = 16;
/// The most changes made while the thread compiles; the next change waits for the thread.
const AHEAD: usize = 16 << 10;

/// A recompilation under way.
pub(crate) struct Renewal {
    /// The state that is recompiled.
    from: Arc<Compiled>,
    /// Changes made since then that the new state does not have yet.
    changes: VecDeque<Change>,
    stage: Stage,
}

enum Stage {
    /// A thread of this process compiles the rules.
    Compiling(JoinHandle<Flattened>, u32),
    /// The rules are compiled; their names are being renumbered.
    Naming(Flattened, List),
    /// Changes made meanwhile are repeated in the new state.
    CatchingUp(Compiled),
}

/// The rules in one layer, and the old number of each new one.
type Flattened = (table::Matcher, Vec<usize>);

/// The progress of a [`Renewal`].
pub(crate) enum Progress {
    /// The recompiled state, with all changes.
    Done(Compiled),
    More(Renewal),
}

impl Renewal {
    /// Begins to recompile a state.
    pub(crate) fn of(from: &Arc<Compiled>) -> Self {
        let matcher = from.matcher.clone();
        let thread = thread::Builder::new().name("waypost-matcher".to_owned());
        let stage = match thread.spawn(move || matcher.flattened()) {
            Ok(thread) => Stage::Compiling(thread, process::id()),
            // The system allows no more threads: compile in this one.
            Err(_) => Stage::naming(from.matcher.flattened()),
        };
        Self { from: Arc::clone(from), changes: VecDeque::new(), stage }
    }

    /// Adds a change that was made meanwhile, and does a part of the remaining work.
    pub(crate) fn go_on(mut self, py: Python<'_>, change: Change) -> PyResult<Progress> {
        self.changes.push_back(change);
        self.stage = match self.stage {
            Stage::Compiling(thread, of) if of != process::id() => {
                // This process was forked: it has the handle, but not the thread.
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
