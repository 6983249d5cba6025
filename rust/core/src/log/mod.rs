//! The access log: one line of JSON a message, formatted here, written by the host.
//!
//! A [`Record`] is what is known of a message once it is over. [`write_line`] makes one line of it, valid JSON whatever the
//! client sent, and never longer than [`LONGEST`]: a pipe takes so much in one piece, so that lines of several processes
//! do not mix. A [`Buffer`] keeps lines until the host writes them, in bounded memory.

mod buffer;
mod line;
mod record;
mod time;

pub use buffer::{Buffer, Pushed};
pub use line::{LONGEST, write_line};
pub use record::{Record, Why};
