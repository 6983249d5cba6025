//! HTTP/1.1 heads and framing (RFC 9112) for a proxy, without I/O.
//!
//! Bytes go in; heads and body bytes come out. The result does not depend on how the bytes are split.
//!
//! | module | contents |
//! |---|---|
//! | `fields` | header fields in one allocation |
//! | `head` | rules for field lines, hop-by-hop fields, limits, finding the end of a head |
//! | `chunked` | the chunked transfer coding, for either direction |
//! | `incoming` | reading a request head from a client |
//! | `framing` | what the fields of a request's head say of its message |
//! | `incoming_body` | reading a request's body from a client |
//! | `request` | writing a request head for an upstream |
//! | `response` | reading a response from an upstream |
//! | `first_event` | finding the first event of a stream of server-sent events |
//!
//! One rule holds throughout: if two parsers could read a message in two ways, it is an error and never forwarded, even
//! where RFC 9112 lets a recipient guess. Accepted messages are passed on in one normal form: names in lower case, values
//! without surrounding whitespace, framing fields written from the numbers that were read.
//!
//! ```
//! use waypost_core::http1::ResponseReader;
//!
//! let mut reader = ResponseReader::new("POST", 65_536);
//! let progress = reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
//! assert_eq!(progress.head.map(|head| head.status), Some(200));
//! assert_eq!(&*progress.body, b"hello");
//! assert!(progress.end.is_some_and(|end| end.reusable));
//! # Ok::<(), waypost_core::http1::Error>(())
//! ```

mod chunked;
mod error;
mod fields;
mod first_event;
mod framing;
mod head;
mod incoming;
mod incoming_body;
mod request;
mod response;

pub use chunked::{append_chunked, encode_chunk};
pub use error::{Error, ErrorKind};
pub use fields::{Fields, Iter};
pub(crate) use framing::shows_browser;
pub use framing::{Announced, Framing};
pub use head::{MAX_FIELDS, MAX_OPTIONS};
pub(crate) use head::{is_hop_by_hop, is_host};
pub use incoming::{IncomingHead, RequestReader, target_of};
pub use incoming_body::BodyReader;
pub use request::{Added, BodyLength, RequestHead, write_request_head};
pub(crate) use request::{check_line, same_name};
pub use response::{MAX_INTERIM, Progress, ResponseEnd, ResponseHead, ResponseReader};
