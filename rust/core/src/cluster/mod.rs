//! Clusters: named endpoints that speak one dialect.

mod endpoint;
mod order;

pub use endpoint::Endpoint;
pub(crate) use order::mix;
pub use order::order;

use crate::dialect::Dialect;

/// A cluster's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The dialect of its endpoints.
    pub speaks: Dialect,
    /// Its endpoints, at least one.
    pub endpoints: Vec<Endpoint>,
    /// What its endpoints get to see of credentials.
    pub credential: Credential,
    /// The model for envelopes that name none.
    pub model: Option<String>,
    /// How long to wait.
    pub timeout: Timeout,
}

/// What an endpoint gets in the place of the client's credential.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// None.
    #[default]
    None,
    /// The client's own.
    Pass,
    /// This header field.
    Header {
        /// Field name.
        name: String,
        /// Field value.
        value: String,
    },
}

/// Never shows the value.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Pass => f.write_str("Pass"),
            Self::Header { name, .. } => write!(f, "Header({name})"),
        }
    }
}

/// How long to wait for an endpoint, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeout {
    /// Until a connection stands, TLS included.
    pub connect: f64,
    /// From the request's last byte to the response's first.
    pub first_byte: f64,
    /// Between two reads of a response.
    pub idle: f64,
    /// For a whole exchange, all its attempts together.
    pub total: f64,
}
