//! What a key, or another proof, says of a caller.

/// What a caller proved to be. It decides these attributes: a message that says otherwise is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Labels, by name.
    pub labels: Vec<(String, String)>,
}
