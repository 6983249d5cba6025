//! Chat completions: reads streams, as servers write them.

use serde_json::Value;

use super::reply::{read_stop, read_usage};
use crate::translate::event::{Event, Kind};
use crate::translate::members::Members;
use crate::translate::reply::Stop;
use crate::translate::report::{malformed, named, reported};
use crate::translate::sse::SseEvent;
use crate::translate::stream::StreamFault;

/// Reads liberally: roles, ids and names may be missing or come again with each piece, calls may have no index or begin at
/// any, `[DONE]` may be missing once the model has stopped. Only the first choice is read.
#[derive(Debug, Default)]
pub(in crate::translate) struct StreamReader {
    started: bool,
    stopped: bool,
    /// The part of text that goes on, and what it is.
    text: Option<(usize, Kind)>,
    calls: Vec<Call>,
    /// Parts so far.
    parts: usize,
}

/// A call of a tool, which begins once its name is known.
#[derive(Debug)]
struct Call {
    index: Option<u64>,
    part: Option<usize>,
    id: String,
    name: String,
    /// What came of its arguments before its name.
    held: String,
}

impl StreamReader {
    /// What an event of the stream means.
    pub(in crate::translate) fn read(
        &mut self,
        event: &SseEvent,
        out: &mut Vec<Event>,
    ) -> Result<(), StreamFault> {
        if event.data.trim_ascii() == b"[DONE]" {
            return self.end(out, "it ended without a finish_reason");
        }
        if event.name == "error" {
            return Err(named(&event.data));
        }
        let document: Value = match serde_json::from_slice(&event.data) {
            Ok(document) => document,
            // An extension of the server's, such as a ping.
            Err(_) if !matches!(event.name.as_str(), "" | "message") => return Ok(()),
            Err(error) => return Err(malformed(&format!("is not JSON: {error}"))),
        };
        if let Some(fault) = reported(&document) {
            return Err(fault);
        }
        let members = Members::of(document, "").map_err(|_| malformed("is no object"))?;
        let told = self.chunk(members, out);
        told.map_err(|fault| malformed(&format!("is no chunk: {fault}")))
    }

    /// The stream is over, though nothing in it said so.
    pub(in crate::translate) fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        self.end(out, "the stream ended without a finish_reason and without its last event, [DONE]")
    }

    fn end(&mut self, out: &mut Vec<Event>, short: &str) -> Result<(), StreamFault> {
        if !self.stopped {
            return Err(StreamFault::Short(short.to_owned()));
        }
        out.push(Event::End);
        Ok(())
    }

    fn chunk(&mut self, mut members: Members, out: &mut Vec<Event>) -> Result<(), crate::translate::Fault> {
        if !self.started {
            self.started = true;
            let id = members.string("id")?.unwrap_or_default();
            out.push(Event::Start { id, model: members.string("model")?.unwrap_or_default() });
        }
        for (at, choice) in members.list("choices")? {
            let mut choice = Members::of(choice, &at)?;
            if choice.count("index")?.unwrap_or(0) == 0 {
                self.choice(&mut choice, out)?;
            }
        }
        if let Some(usage) = members.object("usage")? {
            out.push(Event::Usage(read_usage(usage)?));
        }
        Ok(())
    }

    fn choice(&mut self, choice: &mut Members, out: &mut Vec<Event>) -> Result<(), crate::translate::Fault> {
        if let Some(mut delta) = choice.object("delta")? {
            let thought = delta.string("reasoning_content")?;
            let thought = thought.map_or_else(|| delta.string("reasoning"), |text| Ok(Some(text)))?;
            let texts = [
                (Kind::Thinking, thought),
                (Kind::Text, delta.string("content")?),
                (Kind::Refusal, delta.string("refusal")?),
            ];
            for (kind, text) in texts {
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    self.text(kind, text, out);
                }
            }
            for (at, call) in delta.list("tool_calls")? {
                self.call(Members::of(call, &at)?, out)?;
            }
        }
        if let Some(reason) = choice.string("finish_reason")?.filter(|_| !self.stopped) {
            self.stop(&reason, out);
        }
        Ok(())
    }

    fn stop(&mut self, reason: &str, out: &mut Vec<Event>) {
        self.stopped = true;
        self.close_text(out);
        for at in 0..self.calls.len() {
            // A call whose name never came has none.
            self.begin(at, out);
        }
        out.extend(self.calls.iter().filter_map(|call| Some(Event::Close { part: call.part? })));
        let stop = match read_stop(Some(reason), &[]) {
            Stop::End if !self.calls.is_empty() => Stop::Tools,
            stop => stop,
        };
        out.push(Event::Stop { stop, sequence: None });
    }

    fn text(&mut self, kind: Kind, text: String, out: &mut Vec<Event>) {
        let part = match &self.text {
            Some((part, open)) if *open == kind => *part,
            _ => {
                self.close_text(out);
                let part = self.next();
                out.push(Event::Open { part, kind: kind.clone() });
                self.text = Some((part, kind));
                part
            }
        };
        out.push(Event::More { part, text });
    }

    fn close_text(&mut self, out: &mut Vec<Event>) {
        if let Some((part, _)) = self.text.take() {
            out.push(Event::Close { part });
        }
    }

    fn call(&mut self, mut call: Members, out: &mut Vec<Event>) -> Result<(), crate::translate::Fault> {
        let index = call.count("index")?;
        let id = call.string("id")?.filter(|id| !id.is_empty());
        let (mut name, mut arguments) = (None, String::new());
        if let Some(mut function) = call.object("function")? {
            name = function.string("name")?.filter(|name| !name.is_empty());
            arguments = match function.take("arguments") {
                None => String::new(),
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
            };
        }
        let known = match index {
            Some(_) => self.calls.iter().position(|call| call.index == index),
            // Without an index, a new id or a name begins a call; all else goes on with the last one.
            None => self.calls.len().checked_sub(1).filter(|last| {
                let new_id =
                    id.as_ref().is_some_and(|id| self.calls.get(*last).is_some_and(|call| call.id != *id));
                !new_id && (id.is_some() || name.is_none())
            }),
        };
        let at = known.unwrap_or_else(|| {
            self.calls.push(Call {
                index,
                part: None,
                id: String::new(),
                name: String::new(),
                held: String::new(),
            });
            self.calls.len() - 1
        });
        self.close_text(out);
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        // An id or a name that comes with each piece is the same one.
        if call.part.is_none() {
            call.id = id.unwrap_or_else(|| std::mem::take(&mut call.id));
            call.name = name.unwrap_or_else(|| std::mem::take(&mut call.name));
        }
        call.held.push_str(&arguments);
        if !call.name.is_empty() {
            self.begin(at, out);
        }
        Ok(())
    }

    /// Begins a call that has not begun, and gives what is held of its arguments.
    fn begin(&mut self, at: usize, out: &mut Vec<Event>) {
        let next = self.parts;
        let Some(call) = self.calls.get_mut(at) else { return };
        let part = *call.part.get_or_insert_with(|| {
            let id = if call.id.is_empty() { format!("call_{at}") } else { call.id.clone() };
            out.push(Event::Open { part: next, kind: Kind::Tool { id, name: call.name.clone() } });
            next
        });
        let text = std::mem::take(&mut call.held);
        if !text.is_empty() {
            out.push(Event::More { part, text });
        }
        self.parts = self.parts.max(part + 1);
    }

    fn next(&mut self) -> usize {
        self.parts += 1;
        self.parts - 1
    }
}
