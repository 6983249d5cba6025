//! The access log: one line of JSON per message. This module formats the lines, and the host writes them.
//!
//! A [`Record`] holds the facts about a finished message. [`write_line`] formats it as one line of valid JSON, whatever the
//! client sent. A line has at most [`LONGEST`] bytes, which a pipe takes in one piece, so that lines of several processes do
//! not mix. A [`Buffer`] keeps lines, in bounded memory, until the host writes them. [`Recent`] keeps the latest messages for
//! administration.

mod buffer;
mod line;
mod recent;
mod record;
mod time;

pub use buffer::{Buffer, Pushed};
pub use line::{LONGEST, write_line};
pub use recent::{Kept, Outcome, RECENT, Recent};
pub use record::{Attempted, Record, Why};
pub use time::rfc3339;
