//! Messages: writes streams.

use serde_json::{Value, json};

use super::reply::{write_stop, write_usage};
use crate::translate::event::{Event, Kind};
use crate::translate::reply::{Stop, Usage};
use crate::translate::stream::StreamError;

/// Bytes of text that count for a token, where the endpoint does not tell how many there were.
const BYTES_A_TOKEN: u64 = 4;

/// Writes strictly: every event has an `event:` line, blocks follow one another, and `message_delta` tells what was used.
///
/// Calls may come interleaved. A block is written as it comes while it is the first that is open; what comes of others waits. A
/// call whose arguments are whole is closed as soon as another part begins, so that calls one after the other never wait.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    /// The prompt's tokens by estimate.
    prompt: u64,
    /// Bytes of what the model wrote.
    written: u64,
    /// Blocks begun.
    blocks: usize,
    /// The block that is being written, then those that wait.
    open: Vec<Block>,
    stop: Option<(Stop, Option<String>)>,
    /// Bytes that wait.
    held: usize,
}

#[derive(Debug)]
struct Block {
    part: usize,
    kind: Kind,
    /// What is still to be written.
    waiting: Vec<Delta>,
    json: Json,
    closed: bool,
}

#[derive(Debug)]
enum Delta {
    Text(String),
    Signature(String),
}

impl Delta {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Signature(text) => text,
        }
    }
}

/// Whether a piece of JSON is a whole object.
#[derive(Debug, Default)]
struct Json {
    depth: usize,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

impl Json {
    fn feed(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

impl StreamWriter {
    /// `prompt`: its tokens by estimate, for endpoints that do not tell.
    pub(in crate::translate) fn new(prompt: u64) -> Self {
        Self { prompt, written: 0, blocks: 0, open: Vec::new(), stop: None, held: 0 }
    }

    /// Appends what a client gets of an event. `usage` is all that was told so far.
    pub(in crate::translate) fn write(&mut self, event: &Event, usage: &Usage, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                let message = json!({
                    "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": write_usage(usage),
                });
                put("message_start", &json!({"type": "message_start", "message": message}), out);
            }
            Event::Open { part, kind } => {
                if let Some(first) = self.open.first_mut().filter(|first| first.json.is_whole()) {
                    first.closed = true;
                    self.settle(out);
                }
                let block = Block {
                    part: *part,
                    kind: kind.clone(),
                    waiting: Vec::new(),
                    json: Json::default(),
                    closed: false,
                };
                self.open.push(block);
                if self.open.len() == 1 {
                    self.begin(out);
                }
            }
            Event::More { part, text } => {
                self.written += text.len() as u64;
                self.delta(*part, Delta::Text(text.clone()), out);
            }
            Event::Signature { part, text } => self.delta(*part, Delta::Signature(text.clone()), out),
            Event::Close { part } => {
                if let Some(block) = self.open.iter_mut().find(|block| block.part == *part) {
                    block.closed = true;
                    self.settle(out);
                }
            }
            Event::Stop { stop, sequence } => self.stop = Some((*stop, sequence.clone())),
            Event::End => self.end(usage, out),
            Event::Ping => put("ping", &json!({"type": "ping"}), out),
            Event::Usage(_) => {}
        }
    }

    /// Bytes that wait until an earlier block is whole.
    pub(in crate::translate) fn held(&self) -> usize {
        self.held
    }

    fn delta(&mut self, part: usize, delta: Delta, out: &mut Vec<u8>) {
        let number = self.blocks.saturating_sub(1);
        let Some(at) = self.open.iter().position(|block| block.part == part) else { return };
        let Some(block) = self.open.get_mut(at) else { return };
        if let (Kind::Tool { .. }, Delta::Text(text)) = (&block.kind, &delta) {
            block.json.feed(text);
        }
        if at == 0 {
            put_delta(number, &block.kind, &delta, out);
        } else {
            self.held += delta.text().len();
            block.waiting.push(delta);
        }
    }

    /// Ends the blocks at the front that are closed, and goes on with the next one.
    fn settle(&mut self, out: &mut Vec<u8>) {
        while self.open.first().is_some_and(|first| first.closed) {
            self.open.remove(0);
            let number = self.blocks.saturating_sub(1);
            put("content_block_stop", &json!({"type": "content_block_stop", "index": number}), out);
            if !self.open.is_empty() {
                self.begin(out);
            }
        }
    }

    /// Begins the block at the front, with all that has waited.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let number = self.blocks;
        self.blocks += 1;
        let Some(block) = self.open.first_mut() else { return };
        let content = match &block.kind {
            Kind::Text | Kind::Refusal => json!({"type": "text", "text": ""}),
            Kind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Kind::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
            Kind::Tool { id, name } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        };
        let start = json!({"type": "content_block_start", "index": number, "content_block": content});
        put("content_block_start", &start, out);
        for delta in block.waiting.drain(..) {
            self.held -= delta.text().len();
            put_delta(number, &block.kind, &delta, out);
        }
    }

    fn end(&mut self, usage: &Usage, out: &mut Vec<u8>) {
        for block in &mut self.open {
            block.closed = true;
        }
        self.settle(out);
        let (stop, sequence) = self.stop.take().unwrap_or_default();
        let mut told = *usage;
        if told.fresh.is_none() {
            told.fresh = Some(self.prompt);
        }
        if told.output.is_none() {
            told.output = Some(self.written.div_ceil(BYTES_A_TOKEN));
        }
        let delta = json!({"stop_reason": write_stop(stop), "stop_sequence": sequence});
        put(
            "message_delta",
            &json!({"type": "message_delta", "delta": delta, "usage": write_usage(&told)}),
            out,
        );
        put("message_stop", &json!({"type": "message_stop"}), out);
    }
}

fn put_delta(number: usize, kind: &Kind, delta: &Delta, out: &mut Vec<u8>) {
    let delta = match (delta, kind) {
        (Delta::Signature(text), _) => json!({"type": "signature_delta", "signature": text}),
        (Delta::Text(text), Kind::Tool { .. }) => json!({"type": "input_json_delta", "partial_json": text}),
        (Delta::Text(text), Kind::Thinking) => json!({"type": "thinking_delta", "thinking": text}),
        (Delta::Text(text), _) => json!({"type": "text_delta", "text": text}),
    };
    let event = json!({"type": "content_block_delta", "index": number, "delta": delta});
    put("content_block_delta", &event, out);
}

/// Clients of this format skip events without an `event:` line.
fn put(name: &str, event: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("event: {name}\ndata: {event}\n\n").as_bytes());
}

/// Appends the event that tells a client of an error.
pub(in crate::translate) fn write_stream_error(error: StreamError<'_>, out: &mut Vec<u8>) {
    let told = json!({"type": error.kind, "message": error.message});
    put("error", &json!({"type": "error", "error": told, "request_id": error.request_id}), out);
}
