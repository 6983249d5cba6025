//! The identity of a caller, proved by a key or otherwise.

/// What a caller has proved to be. A message that contradicts it is rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Labels, by name.
    pub labels: Vec<(String, String)>,
}
