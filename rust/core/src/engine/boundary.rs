//! What stands at a message boundary of a client's connection: a plain message, one for another parser, or nothing yet.

use std::borrow::Cow;
use std::sync::Arc;

use super::id::Ids;
use super::intake::{Intake, Rejection, Request, path_of};
use super::snapshot::Snapshot;
use crate::dialect::{self, Dialect};
use crate::http1::{self, ErrorKind, PlainHead, RequestReader, target_of};

/// Where a connection's requests come from.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// `http` or `https`.
    pub scheme: Cow<'static, str>,
}

/// What bytes at a message boundary are.
#[derive(Debug)]
pub enum Boundary<'a> {
    /// The beginning of a head.
    Partial,
    /// A message of which nothing needs more than a decision and forwarding, and the bytes behind its head.
    Plain(Arc<Intake>, &'a [u8]),
    /// Legal so far, but not plain, at no dialect's path, or to be refused by [`Snapshot::accept`].
    Other,
}

impl Snapshot {
    /// A reader for the next head of a connection.
    #[must_use]
    pub fn reader(&self) -> RequestReader {
        RequestReader::new(self.limits.header)
    }

    /// Looks at further bytes at a message boundary. After anything but [`Boundary::Partial`] `reader` is spent.
    ///
    /// # Errors
    /// What is no request head, or could be read in two ways: the connection cannot be used any more.
    pub fn at_boundary<'a>(
        &self,
        reader: &mut RequestReader,
        data: &'a [u8],
        peer: &Peer,
        ids: &Ids,
    ) -> Result<Boundary<'a>, Rejection> {
        let (head, surplus) = match reader.feed(data) {
            Ok(None) => return Ok(Boundary::Partial),
            Ok(Some((head, surplus))) => (head, surplus),
            Err(error) => return Err(rejection(&error, data, ids)),
        };
        let Some(PlainHead { method, target, old, fields }) = head else { return Ok(Boundary::Other) };
        let Some(entry) = dialect::entry(path_of(&target)) else { return Ok(Boundary::Other) };
        let request = Request {
            method: method.into(),
            target,
            headers: fields,
            client: peer.client.clone(),
            scheme: peer.scheme.clone(),
            version: if old { "1.0" } else { "1.1" }.into(),
        };
        Ok(self
            .accept_read(request, Some(entry), true, ids)
            .map_or(Boundary::Other, |intake| Boundary::Plain(Arc::new(intake), surplus)))
    }
}

/// The answer to what is no request head; `data` is the last that came of it.
fn rejection(error: &http1::Error, data: &[u8], ids: &Ids) -> Rejection {
    let path = path_of(target_of(data));
    let code = match error.kind {
        ErrorKind::RequestTooLarge | ErrorKind::TooManyFields => "header_too_large",
        _ => "bad_framing",
    };
    Rejection {
        code,
        message: error.to_string(),
        allow: None,
        dialect: dialect::entry(path).map_or(Dialect::Json, |entry| entry.dialect),
        id: ids.id(),
    }
}
