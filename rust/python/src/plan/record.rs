//! The account of a plan's message, and its record when the message ends.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use waypost_core::engine::Ending;
use waypost_core::log::Why;

use super::Plan;
use crate::account::Account;
use crate::recorder::now;
use crate::snapshot::Shared;

impl Plan {
    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and logs the finished message. Only the first call has an effect. `upstream_id` is the endpoint's own id of the
    /// request, if the account does not have it.
    pub(crate) fn record(
        &self,
        py: Python<'_>,
        bytes_out: usize,
        why: Why<'_>,
        upstream_id: Option<&[u8]>,
    ) -> PyResult<()> {
        let Some(recorder) = &self.shared.recorder else { return Ok(()) };
        let ended = Instant::now();
        let mut account = self.account();
        if std::mem::replace(&mut account.over, true) {
            return Ok(());
        }
        let recorder = recorder.get();
        if !self.intake.is_internal() {
            recorder.inner().over();
        }
        let noted = account.upstream_id.take();
        let trail = self.exchange.trail();
        let named = account.at.filter(|at| at.address.is_some());
        let named = named.and_then(|at| self.shared.endpoint(py, at));
        let ending = Ending {
            time: now(),
            at: account.at,
            address: named.as_ref().and_then(|endpoint| endpoint.get().address.as_deref()),
            upstream_id: upstream_id.or(noted.as_deref()),
            attempts: account.attempts,
            trail: &trail,
            status: account.status,
            bytes_in: account.bytes_in,
            bytes_out: bytes_out as u64,
            queued: self.exchange.waited(),
            first_byte: account.first_byte.map(|at| at.saturating_duration_since(self.since)),
            total: ended.saturating_duration_since(self.since),
            why,
        };
        drop(account);
        let Shared { snapshot, slots, .. } = &*self.shared;
        recorder.pushed(py, recorder.inner().ended(snapshot, slots, &self.intake, &self.inner, &ending))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let account = self.account.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(recorder) = &self.shared.recorder
            && !account.over
            && !self.intake.is_internal()
        {
            recorder.get().inner().over();
        }
    }
}
