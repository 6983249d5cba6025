//! What can prove who a caller is, beside the key table.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::keys::{Caller, Denied};
use crate::http1::Fields;

/// A point in time by the wall clock, in seconds since 1970 without leap seconds, as certificates and tokens have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// A certificate that the other end of a connection has presented and TLS has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject, as the host writes it.
    pub subject: String,
    /// Its subject alternative names, as the host writes them.
    pub names: Vec<String>,
    /// The SHA-256 of its DER encoding.
    pub fingerprint: [u8; 32],
}

impl Certificate {
    /// A certificate of this subject; `der` is all of it.
    #[must_use]
    pub fn new(subject: impl Into<String>, der: &[u8]) -> Self {
        Self { subject: subject.into(), names: Vec::new(), fingerprint: Sha256::digest(der).into() }
    }

    /// The same, with subject alternative names.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names.extend(names);
        self
    }
}

/// What a request presents of its caller. Nothing in it is shown: some of it is secret.
#[derive(Clone, Copy)]
pub struct Presented<'r> {
    /// Its header fields.
    pub fields: &'r Fields,
    /// The certificate of the connection's other end.
    pub certificate: Option<&'r Certificate>,
    /// The address of the connection's other end; `None` on a Unix domain socket. It may be a proxy's.
    pub address: Option<&'r str>,
}

/// A source of identities.
///
/// Each is asked for each request, so an answer costs little, and never waits.
pub trait IdentitySource: fmt::Debug + Send + Sync {
    /// What it judges.
    fn proof(&self) -> Proof;

    /// What it says of a request at a time.
    fn identify(&self, presented: &Presented<'_>, now: UnixTime) -> Answer;
}

/// What a source judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The token in the header fields that carry keys ([`keys::presented`](super::keys::presented)).
    Token,
    /// The certificate of the connection's other end.
    Certificate,
    /// The address of the connection's other end.
    Address,
}

/// What a source says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This caller sent it.
    Caller(Arc<Caller>),
    /// There is nothing that it could judge.
    Nothing,
    /// What it judges is there, and means nothing to it. Another source of the same proof may know better.
    Unknown,
    /// What it judges is its own, and not good.
    Denied(Denied),
}
