//! Anthropic's messages.

mod read;
mod reply;
mod stream_read;
mod stream_write;
mod write;

pub(super) use read::read_request;
pub(super) use reply::{read_reply, write_reply};
pub(super) use stream_read::{SHORT, StreamReader};
pub(super) use stream_write::{StreamWriter, write_stream_error};
pub(super) use write::write_request;
