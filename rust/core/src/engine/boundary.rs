//! Reads the bytes at a message boundary of a client connection: a plain message, a message for the application, or a part of a
//! head.

use std::borrow::Cow;
use std::sync::Arc;

use super::foreign_origin::Guard;
use super::id::Ids;
use super::intake::{Intake, Rejection, Request, path_of};
use super::snapshot::Snapshot;
use crate::auth::{Certificate, UnixTime};
use crate::dialect::{self, Dialect};
use crate::http1::{self, ErrorKind, IncomingHead, RequestReader, target_of};

/// The peer of a client connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The client's certificate, where TLS has verified one.
    pub certificate: Option<Arc<Certificate>>,
    /// `http` or `https`.
    pub scheme: Cow<'static, str>,
    /// What the listener asks of pages of other sites ([`Snapshot::check_origin`]).
    pub guard: Guard,
}

/// The result of reading bytes at a message boundary.
#[derive(Debug)]
pub enum Boundary<'a> {
    /// Part of a head.
    Partial,
    /// A plain message, and the bytes after its head.
    Plain(Arc<Intake>, &'a [u8]),
    /// The head of a request that is not plain, is at no dialect's path, or would be rejected by [`Snapshot::accept`], and the
    /// bytes after the head.
    Other(IncomingHead, &'a [u8]),
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
        if head.announced.browser {
            self.check_origin(peer.guard, &peer.scheme, &head.target, &head.fields, ids)?;
        }
        let entry = if head.plain { dialect::entry(path_of(&head.target)) } else { None };
        let Some(entry) = entry else { return Ok(Boundary::Other(head, surplus)) };
        let announced = head.announced;
        let version = head.version();
        let mut request = Request {
            method: head.method,
            target: head.target,
            headers: head.fields,
            client: peer.client.clone(),
            certificate: peer.certificate.clone(),
            scheme: peer.scheme.clone(),
            version: version.into(),
        };
        if let Ok(intake) = self.accept_read(&mut request, Some(entry), Some(announced), now, ids) {
            return Ok(Boundary::Plain(Arc::new(intake), surplus));
        }
        // The application rejects the request again, and deals with its body.
        let Request { method, target, headers: fields, .. } = request;
        let head = IncomingHead { method, target, old: version == "1.0", fields, announced, plain: true };
        Ok(Boundary::Other(head, surplus))
    }
}

/// The rejection of bytes that are not a request head. `data` are the last bytes read.
fn rejection(error: &http1::Error, data: &[u8], ids: &Ids) -> Rejection {
    let path = path_of(target_of(data));
    Rejection {
        code: code_of(error),
        message: error.to_string(),
        allow: None,
        dialect: dialect::entry(path).map_or(Dialect::Json, |entry| entry.dialect),
        id: ids.id(),
    }
}

/// The code of an error in the bytes of a request.
#[must_use]
pub fn code_of(error: &http1::Error) -> &'static str {
    match error.kind {
        ErrorKind::RequestTooLarge | ErrorKind::RequestTrailersTooLarge | ErrorKind::TooManyFields => {
            "header_too_large"
        }
        _ => "bad_framing",
    }
}
