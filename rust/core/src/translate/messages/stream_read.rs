//! Messages: reads streams.

use serde_json::Value;

use super::reply::{read_stop, read_usage};
use crate::translate::event::{Event, Kind};
use crate::translate::members::Members;
use crate::translate::report::{malformed, named};
use crate::translate::sse::SseEvent;
use crate::translate::stream::StreamFault;
use crate::translate::{Fault, Format, Losses, Policy};

/// What is missing from a stream that is over though nothing in it said so.
pub(in crate::translate) const SHORT: &str = "the stream ended without its last event, message_stop";

/// Reads events by their `type`. Those of a type that is not known are skipped.
#[derive(Debug, Default)]
pub(in crate::translate) struct StreamReader {
    /// The block of each open part.
    blocks: Vec<(u64, usize)>,
    parts: usize,
}

impl StreamReader {
    /// What an event of the stream means.
    pub(in crate::translate) fn read(
        &mut self,
        event: &SseEvent,
        out: &mut Vec<Event>,
    ) -> Result<(), StreamFault> {
        let document: Value = serde_json::from_slice(&event.data)
            .map_err(|error| malformed(&format!("is not JSON: {error}")))?;
        let mut members = Members::of(document, "").map_err(|_| malformed("is no object"))?;
        let kind = members.string("type").ok().flatten().unwrap_or_else(|| event.name.clone());
        if kind == "error" {
            return Err(named(&event.data));
        }
        self.event(&kind, members, out).map_err(|fault| malformed(&format!("is no {kind}: {fault}")))
    }

    fn event(&mut self, kind: &str, mut members: Members, out: &mut Vec<Event>) -> Result<(), Fault> {
        match kind {
            "message_start" => {
                let missing = || Fault::new("message", "is missing");
                let mut message = members.object("message")?.ok_or_else(missing)?;
                let id = message.string("id")?.unwrap_or_default();
                out.push(Event::Start { id, model: message.string("model")?.unwrap_or_default() });
                if let Some(usage) = message.object("usage")? {
                    out.push(Event::Usage(read_usage(usage)?));
                }
            }
            "content_block_start" => self.open(&mut members, out)?,
            "content_block_delta" => self.more(&mut members, out)?,
            "content_block_stop" => {
                let block = members.count("index")?.unwrap_or(0);
                if let Some(at) = self.blocks.iter().position(|(known, _)| *known == block) {
                    out.push(Event::Close { part: self.blocks.swap_remove(at).1 });
                }
            }
            "message_delta" => {
                if let Some(usage) = members.object("usage")? {
                    out.push(Event::Usage(read_usage(usage)?));
                }
                if let Some(mut delta) = members.object("delta")?
                    && let Some(reason) = delta.string("stop_reason")?
                {
                    let mut losses = Losses::new(Format::Messages, Format::Chat, Policy::Drop);
                    let stop = read_stop(&reason, &mut losses);
                    out.push(Event::Stop { stop, sequence: delta.string("stop_sequence")? });
                }
            }
            "message_stop" => out.push(Event::End),
            "ping" => out.push(Event::Ping),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, members: &mut Members, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = members.count("index")?.unwrap_or(0);
        let missing = || Fault::new("content_block", "is missing");
        let mut block = members.object("content_block")?.ok_or_else(missing)?;
        let mut text = String::new();
        let kind = match block.required_string("type")?.as_str() {
            "text" => {
                text = block.string("text")?.unwrap_or_default();
                Kind::Text
            }
            "thinking" => {
                text = block.string("thinking")?.unwrap_or_default();
                Kind::Thinking
            }
            "redacted_thinking" => Kind::Redacted(block.string("data")?.unwrap_or_default()),
            "tool_use" => {
                // Some servers give the whole input here.
                let input = block
                    .take("input")
                    .filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
                text = input.map(|input| input.to_string()).unwrap_or_default();
                Kind::Tool { id: block.required_string("id")?, name: block.required_string("name")? }
            }
            _ => return Ok(()),
        };
        let part = self.parts;
        self.parts += 1;
        self.blocks.push((index, part));
        out.push(Event::Open { part, kind });
        if !text.is_empty() {
            out.push(Event::More { part, text });
        }
        Ok(())
    }

    fn more(&mut self, members: &mut Members, out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = members.count("index")?.unwrap_or(0);
        let Some((_, part)) = self.blocks.iter().find(|(known, _)| *known == index).copied() else {
            return Ok(());
        };
        let Some(mut delta) = members.object("delta")? else { return Ok(()) };
        let text = match delta.required_string("type")?.as_str() {
            "text_delta" => delta.string("text")?,
            "input_json_delta" => delta.string("partial_json")?,
            "thinking_delta" => delta.string("thinking")?,
            "signature_delta" => {
                out.extend(delta.string("signature")?.map(|text| Event::Signature { part, text }));
                None
            }
            _ => None,
        };
        out.extend(text.map(|text| Event::More { part, text }));
        Ok(())
    }
}
