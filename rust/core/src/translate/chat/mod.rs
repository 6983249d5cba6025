//! OpenAI's chat completions.

mod read;
mod reply;
mod write;

pub(super) use read::read_request;
pub(super) use reply::{read_reply, write_reply};
pub(super) use write::write_request;
