//! What a translation cannot carry.

use super::table::{Verdict, verdict};
use super::{Fault, Format};

/// What becomes of that which can neither be carried nor left out without a loss of meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The message is refused, and the refusal names it.
    #[default]
    Refuse,
    /// It is left out and named.
    Drop,
}

/// What one translation cannot carry, by the paths that the client knows.
#[derive(Debug)]
pub struct Losses {
    from: Format,
    to: Format,
    policy: Policy,
    dropped: Vec<String>,
    refused: Vec<String>,
}

impl Losses {
    pub(super) fn new(from: Format, to: Format, policy: Policy) -> Self {
        Self { from, to, policy, dropped: Vec::new(), refused: Vec::new() }
    }

    /// What is at this path of the client's document is not carried.
    pub(super) fn lose(&mut self, at: &str) {
        let refused = verdict(self.from, self.to, at) == Verdict::Refuse && self.policy == Policy::Refuse;
        let list = if refused { &mut self.refused } else { &mut self.dropped };
        if !list.iter().any(|known| known == at) {
            list.push(at.to_owned());
        }
    }

    /// What is at this path is left out because nothing is lost by it that would have a meaning; it is named all the same.
    pub(super) fn leave_out(&mut self, at: &str) {
        if !self.dropped.iter().any(|known| known == at) {
            self.dropped.push(at.to_owned());
        }
    }

    /// The paths that were left out.
    ///
    /// # Errors
    /// What may not be left out.
    pub(super) fn finish(self) -> Result<Vec<String>, Fault> {
        let Some((first, more)) = self.refused.split_first() else { return Ok(self.dropped) };
        let more = if more.is_empty() { String::new() } else { format!(", nor can `{}`", more.join("`, `")) };
        let message = format!(
            "cannot be carried over to a model that is called by {}{more}: leave it out, or let the cluster drop it \
             (`translate: {{unsupported: drop}}`)",
            self.to
        );
        Err(Fault::new(first, &message))
    }
}
