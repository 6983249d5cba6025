//! Reads the bytes at a message boundary of a client connection: a plain message, a part of a head, or a matter for another
//! parser.

use std::borrow::Cow;
use std::sync::Arc;

use super::id::Ids;
use super::intake::{Intake, Rejection, Request, path_of};
use super::snapshot::Snapshot;
use crate::auth::{Certificate, UnixTime};
use crate::dialect::{self, Dialect};
use crate::http1::{self, ErrorKind, PlainHead, RequestReader, target_of};

/// The peer of a client connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The client's certificate, where TLS has verified one.
    pub certificate: Option<Arc<Certificate>>,
    /// `http` or `https`.
    pub scheme: Cow<'static, str>,
}

/// The result of reading bytes at a message boundary.
#[derive(Debug)]
pub enum Boundary<'a> {
    /// Part of a head.
    Partial,
    /// A plain message, and the bytes after its head.
    Plain(Arc<Intake>, &'a [u8]),
    /// A legal request that is not plain, is at no dialect's path, or would be rejected by [`Snapshot::accept`].
    Other,
}

impl Snapshot {
    /// A reader for the next head of a connection.
    #[must_use]
    pub fn reader(&self) -> RequestReader {
        RequestReader::new(self.limits.header)
    }

    /// Reads further bytes at a message boundary. After any result other than [`Boundary::Partial`], `reader` must not be used.
    ///
    /// # Errors
    /// The bytes are not a request head, or could be read in two ways. The connection cannot be used any more.
    pub fn at_boundary<'a>(
        &self,
        reader: &mut RequestReader,
        data: &'a [u8],
        peer: &Peer,
        now: UnixTime,
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
            certificate: peer.certificate.clone(),
            scheme: peer.scheme.clone(),
            version: if old { "1.0" } else { "1.1" }.into(),
        };
        Ok(self
            .accept_read(request, Some(entry), true, now, ids)
            .map_or(Boundary::Other, |intake| Boundary::Plain(Arc::new(intake), surplus)))
    }
}

/// The rejection of bytes that are not a request head. `data` are the last bytes read.
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
