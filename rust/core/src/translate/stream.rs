//! Translates a stream of events while it comes.

use std::mem;

use super::event::Event;
use super::reply::Usage;
use super::sse::{Item, SseEvent, SseReader};
use super::{Format, chat, messages};

/// A stream on its way from one format to another. Bytes go in as they come, bytes for the client come out.
///
/// ```
/// use waypost_core::translate::{Format, Stream, StreamOptions};
/// let mut stream = Stream::new(Format::Chat, Format::Messages, StreamOptions::default());
/// let mut out = Vec::new();
/// stream.feed(b"data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", &mut out).unwrap();
/// assert!(!stream.committed(), "another endpoint may still answer");
/// stream.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n", &mut out).unwrap();
/// stream.finish(&mut out).unwrap();
/// let text = String::from_utf8(out).unwrap();
/// assert!(text.starts_with("event: message_start\n") && text.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
/// ```
#[derive(Debug)]
pub struct Stream {
    sse: SseReader,
    reader: Reader,
    writer: Writer,
    committed: bool,
    done: bool,
    usage: Usage,
    limit: usize,
    events: Vec<Event>,
}

/// How a stream is translated.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// The time, in seconds since 1970, for formats that tell when a reply was made.
    pub now: u64,
    /// The client asked to be told at the end what was used, in formats where that is asked for.
    pub usage: bool,
    /// The most bytes of one event, and of calls that wait for an earlier one to be whole.
    pub limit: usize,
    /// The prompt's tokens by estimate, for endpoints that do not tell.
    pub prompt: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { now: 0, usage: false, limit: 64 << 20, prompt: 0 }
    }
}

/// Why a stream is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The endpoint says so.
    Reported {
        /// The kind of error by the endpoint's own word, such as `overloaded_error`.
        kind: Option<String>,
        /// The endpoint's code.
        code: Option<String>,
        /// The endpoint's message.
        message: String,
    },
    /// What came is no stream of its format; as a sentence.
    Malformed(String),
    /// It ended too early; as a sentence.
    Short(String),
}

/// What a client is told of a stream that ends in an error.
#[derive(Clone, Copy, Debug)]
pub struct StreamError<'a> {
    /// The stable code.
    pub code: &'a str,
    /// The kind of error in the client's format.
    pub kind: &'a str,
    /// What went wrong.
    pub message: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

#[derive(Debug)]
enum Reader {
    Chat(chat::StreamReader),
    Messages(messages::StreamReader),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::StreamWriter),
    Messages(messages::StreamWriter),
}

impl Stream {
    /// A stream that nothing has come of yet.
    #[must_use]
    pub fn new(from: Format, to: Format, options: StreamOptions) -> Self {
        let reader = match from {
            Format::Chat => Reader::Chat(chat::StreamReader::default()),
            Format::Messages => Reader::Messages(messages::StreamReader::default()),
        };
        let writer = match to {
            Format::Chat => Writer::Chat(chat::StreamWriter::new(options.now, options.usage)),
            Format::Messages => Writer::Messages(messages::StreamWriter::new(options.prompt)),
        };
        let limit = options.limit;
        let (sse, usage) = (SseReader::new(limit), Usage::default());
        Self { sse, reader, writer, committed: false, done: false, usage, limit, events: Vec::new() }
    }

    /// Takes bytes of the endpoint and appends what the client gets to `out`.
    ///
    /// # Errors
    /// Why the stream ends here. What `out` has got before is right.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if self.done {
            return Ok(());
        }
        let mut fault = None;
        let mut sse = mem::replace(&mut self.sse, SseReader::new(0));
        let fed = sse.feed(bytes, |item| {
            let taken = match item {
                Item::Event(event) => self.event(&event, out),
                Item::Comment => {
                    self.write(&Event::Ping, out);
                    Ok(())
                }
            };
            fault = taken.err();
            fault.is_none() && !self.done
        });
        self.sse = sse;
        if fed.is_err() {
            return Err(StreamFault::Malformed("an event of the stream is longer than `limits.body`".into()));
        }
        fault.map_or(Ok(()), Err)
    }

    /// The endpoint's stream is over.
    ///
    /// # Errors
    /// The reply is not whole.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if let Some(event) = self.sse.finish().filter(|_| !self.done) {
            self.event(&event, out)?;
        }
        if self.done {
            return Ok(());
        }
        let mut events = mem::take(&mut self.events);
        let finished = match &mut self.reader {
            Reader::Chat(reader) => reader.finish(&mut events),
            Reader::Messages(_) => Err(StreamFault::Short(messages::SHORT.into())),
        };
        self.write_all(&mut events, out);
        finished
    }

    /// Tells the client that the stream ends in an error. The body has to end abnormally afterwards, because some clients do
    /// not look at such events.
    pub fn fail(&mut self, error: StreamError<'_>, out: &mut Vec<u8>) {
        self.done = true;
        match &self.writer {
            Writer::Chat(_) => chat::write_stream_error(error, out),
            Writer::Messages(_) => messages::write_stream_error(error, out),
        }
    }

    /// The client has got something of the reply itself, so that no other endpoint can answer any more.
    #[must_use]
    pub fn committed(&self) -> bool {
        self.committed
    }

    /// The client has got everything, though the endpoint may leave the stream open.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done
    }

    fn event(&mut self, event: &SseEvent, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let mut events = mem::take(&mut self.events);
        let read = match &mut self.reader {
            Reader::Chat(reader) => reader.read(event, &mut events),
            Reader::Messages(reader) => reader.read(event, &mut events),
        };
        self.write_all(&mut events, out);
        match &self.writer {
            Writer::Messages(writer) if writer.held() > self.limit => Err(StreamFault::Malformed(
                "calls that come at the same time are longer than `limits.body`".into(),
            )),
            _ => read,
        }
    }

    fn write_all(&mut self, events: &mut Vec<Event>, out: &mut Vec<u8>) {
        for event in events.drain(..) {
            self.write(&event, out);
        }
        self.events = mem::take(events);
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.committed |= event.commits();
        self.done |= *event == Event::End;
        if let Event::Usage(more) = event {
            self.usage.update(*more);
        }
        match &mut self.writer {
            Writer::Chat(writer) => writer.write(event, &self.usage, out),
            Writer::Messages(writer) => writer.write(event, &self.usage, out),
        }
    }
}
