//! Rules that are tried one by one, so that matching takes time linear in their number.

/// What matching costs beyond reading the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of rules.
    pub rules: usize,
    /// Groups of rules that are tried one by one; empty if no message causes that for many rules.
    pub linear: Vec<Linear>,
    /// Groups of rules whose conditions are compared with each value of one field. A message with very many values there is
    /// refused as too costly.
    pub per_value: Vec<Linear>,
}

/// Rules that are tried one by one for some messages, because the index cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The messages concerned (`kind is "model"`, or `every message`), or the values: `each value of items.size`.
    pub when: String,
    /// The rules' numbers, ascending.
    pub rules: Vec<usize>,
}

/// The least number of rules worth reporting, which cost a message some microseconds.
pub(crate) const MANY: usize = 128;

impl Linear {
    /// Maps the rules to other numbers and drops those without one; `None` if fewer than [`MANY`] remain.
    pub(crate) fn map(self, number: impl FnMut(usize) -> Option<usize>) -> Option<Self> {
        self.renumbered(number).filter(|renumbered| renumbered.rules.len() >= MANY)
    }

    /// Maps the rules to other numbers and drops those without one; `None` if none remain.
    pub(crate) fn renumbered(self, number: impl FnMut(usize) -> Option<usize>) -> Option<Self> {
        let rules: Vec<usize> = self.rules.into_iter().filter_map(number).collect();
        (!rules.is_empty()).then_some(Self { rules, ..self })
    }
}
