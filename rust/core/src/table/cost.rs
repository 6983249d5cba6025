//! The rules that are tried one by one, so that matching takes time linear in their number.

/// What a matcher or route table costs beyond the document itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How many rules there are.
    pub rules: usize,
    /// Rules that are tried one by one; empty where no message makes many rules be tried in vain.
    pub linear: Vec<Linear>,
}

/// Rules that one message makes be tried one by one, because nothing that an index can find tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Which messages do: `kind is "model"`, or `every message`.
    pub when: String,
    /// The rules, ascending.
    pub rules: Vec<usize>,
}

/// From how many rules on they are worth a word: some microseconds for a message.
pub(crate) const MANY: usize = 128;

impl Linear {
    /// With other numbers for the rules, and without those that have none; `None` where they are too few then.
    pub(crate) fn map(self, number: impl FnMut(usize) -> Option<usize>) -> Option<Self> {
        let rules: Vec<usize> = self.rules.into_iter().filter_map(number).collect();
        (rules.len() >= MANY).then_some(Self { rules, ..self })
    }
}
