//! The access log: one line of JSON a message, formatted here, written by the host.
//!
//! A [`Record`] is what is known of a message once it is over. [`write_line`] makes one line of it, valid JSON whatever the
//! client sent, and never longer than [`LONGEST`]: a pipe takes so much in one piece, so that lines of several processes
//! do not mix. A [`Buffer`] keeps lines until the host writes them, in bounded memory. [`Recent`] keeps the
//! latest messages for whoever looks at the running process.

mod buffer;
mod line;
mod recent;
mod record;
mod time;

pub use buffer::{Buffer, Pushed};
pub use line::{LONGEST, write_line};
pub use recent::{Outcome, RECENT, Recent};
pub use record::{Record, Why};
pub use time::rfc3339;
