//! An incremental reader of server-sent events (WHATWG HTML, section 9.2).

/// Reads events, however the stream is split into pieces.
///
/// Lines end with LF, CRLF or CR. A byte order mark at the start and all fields except `event` and `data` are skipped, and so
/// are events without data. An event has at most `limit` bytes, unfinished lines included.
#[derive(Debug)]
pub(super) struct SseReader {
    limit: usize,
    /// An unfinished line.
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    size: usize,
    /// The last byte was a CR, so that a LF now ends no other line.
    after_return: bool,
    at_start: bool,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// The value of its last `event` field; empty without one.
    pub(super) name: String,
    /// The values of its `data` fields, joined by line feeds.
    pub(super) data: Vec<u8>,
}

/// What was read of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Event(SseEvent),
    /// It keeps the stream alive.
    Comment,
}

/// An event is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl SseReader {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: SseEvent::default(),
            has_data: false,
            size: 0,
            after_return: false,
            at_start: true,
        }
    }

    /// Gives `take` what these bytes complete, in order. It returns whether it wants more; what stands behind is lost otherwise.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Item) -> bool,
    ) -> Result<(), TooLong> {
        if std::mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
            bytes = bytes.get(1..).unwrap_or_default();
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (piece, rest) = bytes.split_at(end);
            let (ending, rest) = rest.split_at(1);
            let crlf = ending == b"\r" && rest.first() == Some(&b'\n');
            self.after_return = ending == b"\r" && rest.is_empty();
            bytes = if crlf { rest.get(1..).unwrap_or_default() } else { rest };
            self.grow(piece.len() + 1)?;
            let item = if self.line.is_empty() {
                self.read_line(piece)
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                let item = self.read_line(&line);
                line.clear();
                self.line = line;
                item
            };
            if item.is_some_and(|item| !take(item)) {
                return Ok(());
            }
        }
        self.grow(bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The event that the end of the stream completes, where a blank line would have.
    pub(super) fn finish(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.read_line(&line);
        }
        match self.read_line(b"") {
            Some(Item::Event(event)) => Some(event),
            _ => None,
        }
    }

    fn grow(&mut self, more: usize) -> Result<(), TooLong> {
        self.size += more;
        if self.size > self.limit { Err(TooLong) } else { Ok(()) }
    }

    /// What a line completes.
    fn read_line(&mut self, line: &[u8]) -> Option<Item> {
        let mark = std::mem::take(&mut self.at_start);
        let line = if mark { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        if line.is_empty() {
            self.size = 0;
            let event = std::mem::take(&mut self.event);
            let has_data = std::mem::take(&mut self.has_data);
            return (has_data && !event.data.trim_ascii().is_empty()).then_some(Item::Event(event));
        }
        if line.starts_with(b":") {
            // Servers send comments for hours to keep a stream open. Outside of an event they do not count.
            if !self.has_data && self.event.name.is_empty() {
                self.size = 0;
            }
            return Some(Item::Comment);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = SseReader::new(1000);
        let mut found = Vec::new();
        let mut take = |item| {
            if let Item::Event(event) = item {
                found.push((event.name, String::from_utf8(event.data).unwrap()));
            }
            true
        };
        for piece in pieces {
            reader.feed(piece, &mut take).unwrap();
        }
        if let Some(event) = reader.finish() {
            take(Item::Event(event));
        }
        found
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_split() {
        let stream = "\u{feff}data: a\n\nevent: e\r\ndata:b\r\ndata\r\ndata:  c\r\n\r\n: comment\rid: 1\rdata: d\r\rretry: 3\n\ndata:\n\n\
                      data: last";
        let named = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        let wanted = [named("", "a"), named("e", "b\n\n c"), named("", "d"), named("", "last")];
        let bytes = stream.as_bytes();
        assert_eq!(read(&[bytes]), wanted);
        for at in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), wanted, "split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), wanted);
    }

    #[test]
    fn an_event_is_bounded_and_comments_are_not() {
        let mut reader = SseReader::new(10);
        for _ in 0..100 {
            reader.feed(b": alive\n\n", |item| item == Item::Comment).unwrap();
        }
        assert_eq!(reader.feed(b"data: 12345", |_| true), Err(TooLong));
    }
}
