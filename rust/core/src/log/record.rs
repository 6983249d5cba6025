//! The facts about a finished message.

use std::time::Duration;

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// The client got an endpoint's whole response, whatever its status.
    Ok,
    /// Waypost answered with the error of this code.
    Error(&'a str),
    /// The client left before it had its whole response.
    ClientGone,
    /// The response stopped short because of the error of this code.
    Aborted(&'a str),
}

impl<'a> Why<'a> {
    /// How it is written: `why`, and the code that it comes with where `why` is not that code.
    #[must_use]
    pub fn words(self) -> (&'a str, Option<&'a str>) {
        match self {
            Self::Ok => ("ok", None),
            Self::Error(code) => (code, None),
            Self::ClientGone => ("client_gone", None),
            Self::Aborted(code) => ("aborted", Some(code)),
        }
    }

    /// The code of the error, if one was to blame.
    #[must_use]
    pub fn code(self) -> Option<&'a str> {
        match self {
            Self::Ok | Self::ClientGone => None,
            Self::Error(code) | Self::Aborted(code) => Some(code),
        }
    }
}

/// One attempt of a message, or one cluster that it passed over.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The URL of the endpoint; `None` for a cluster that was passed over.
    pub endpoint: Option<&'a str>,
    /// The address, where the endpoint's addresses are endpoints of their own.
    pub address: Option<&'a str>,
    /// The status of the endpoint's response, if one began.
    pub status: Option<u16>,
    /// Why the attempt failed, or why the cluster was passed over.
    pub failure: Option<&'a str>,
    /// Time from the attempt's begin to the head of its response, or to its failure.
    pub took: Duration,
    /// The endpoint's own id of the request.
    pub upstream_id: Option<&'a [u8]>,
}

/// A finished message. Unknown values are `None` or empty.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the message ended, in milliseconds since 1970.
    pub time: u64,
    /// The message's id.
    pub id: &'a str,
    /// The client's address.
    pub client: Option<&'a str>,
    /// The name of the presented key.
    pub key: Option<&'a str>,
    /// The tenant that the key proves, or that the message names.
    pub tenant: Option<&'a str>,
    /// The agent that the key proves.
    pub agent: Option<&'a str>,
    /// The method.
    pub method: &'a [u8],
    /// The request's target. The query may contain secrets, so it is not logged.
    pub target: &'a [u8],
    /// The dialect in which the message came.
    pub dialect: Option<&'a str>,
    /// The message's kind.
    pub kind: Option<&'a str>,
    /// The model that the message names.
    pub model: Option<&'a str>,
    /// The route that took the message.
    pub route: Option<&'a str>,
    /// The cluster that answered, or was tried last.
    pub cluster: Option<&'a str>,
    /// The URL of the endpoint that answered, or was tried last.
    pub endpoint: Option<&'a str>,
    /// The address there, where the endpoint's addresses are endpoints of their own.
    pub address: Option<&'a str>,
    /// The endpoint's own id of the request, from the response that the client got.
    pub upstream_id: Option<&'a [u8]>,
    /// Number of attempts.
    pub attempts: u32,
    /// The attempts and the clusters that were passed over, if there is more to tell than that one attempt answered.
    pub tried: &'a [Attempted<'a>],
    /// The status of the response; 0 if the client got none.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// Time in queues.
    pub queued: Duration,
    /// Time from the request's head to the first byte of an endpoint's response.
    pub first_byte: Option<Duration>,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
    /// How the message ended.
    pub why: Why<'a>,
    /// The message's trace (W3C Trace Context), 32 hexadecimal digits.
    pub trace: Option<&'a str>,
    /// The purpose of an internal call.
    pub call: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// The target's path.
    pub(super) fn path(&self) -> Option<&'a [u8]> {
        self.target.split(|byte| *byte == b'?').next().filter(|path| !path.is_empty())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::log) const NOTHING: Record<'_> = Record {
        time: 0,
        id: "",
        client: None,
        key: None,
        tenant: None,
        agent: None,
        method: b"",
        target: b"",
        dialect: None,
        kind: None,
        model: None,
        route: None,
        cluster: None,
        endpoint: None,
        address: None,
        upstream_id: None,
        attempts: 0,
        tried: &[],
        status: 0,
        bytes_in: 0,
        bytes_out: 0,
        queued: Duration::ZERO,
        first_byte: None,
        total: Duration::ZERO,
        why: Why::Ok,
        trace: None,
        call: None,
    };
}
