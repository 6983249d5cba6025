//! Actions: what a route does with its messages.

use std::sync::Arc;

/// What happens to a decided message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The message goes to the clusters of its decision.
    #[default]
    Forward,
    /// The route answers the message itself.
    Reply(Arc<Reply>),
}

impl Action {
    /// The action's name in decisions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reply(_) => "reply",
        }
    }
}

/// A route's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status; with `error`, the status of that code.
    pub status: u16,
    /// The header fields, including `content-length`; names are in lower case.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The code of an error that is answered instead of `fields` and `body`, in the shape of the client's dialect.
    pub error: Option<String>,
}

/// A second cluster that gets copies of a route's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster.
    pub to: String,
    /// The share of messages that are copied, in per cent.
    pub share: u8,
}

impl Mirror {
    /// Whether the message with this id is copied. The answer for one id is the same in every process.
    #[must_use]
    pub fn takes(&self, id: &str) -> bool {
        crate::hash::hash(id.as_bytes()) % 100 < u64::from(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_ids_is_mirrored() {
        let taken = |share| {
            let mirror = Mirror { to: "b".into(), share };
            (0..10_000).filter(|number| mirror.takes(&format!("message-{number}"))).count()
        };
        assert_eq!(taken(0), 0);
        assert_eq!(taken(100), 10_000);
        assert!((800..1200).contains(&taken(10)), "{}", taken(10));
        let mirror = Mirror { to: "b".into(), share: 50 };
        assert_eq!(mirror.takes("one"), mirror.takes("one"));
    }
}
