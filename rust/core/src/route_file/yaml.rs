//! YAML.

use libyaml_safer::{Encoding, Event, EventData, Mark, Parser, ScalarStyle};

use super::tree::Tree;
use super::{Place, RouteFile, Written, plain};
use crate::table::narrow;

/// How deep a plain route may be nested.
const DEPTH: usize = 32;

/// The last column in which a route may begin. A column is found by counting, so many routes in one line would take
/// quadratic time.
const LAST_COLUMN: u64 = 4096;

pub(super) fn read(text: &str) -> Option<(RouteFile, String)> {
    u32::try_from(text.len()).ok()?;
    if !text.chars().all(is_readable) {
        return None;
    }
    let lines = [0].into_iter().chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_encoding(Encoding::Utf8);
    parser.set_input_string(&mut bytes);
    Reader { text, lines, events: || parser.parse().ok() }.document()
}

/// Whether YAML 1.2 and the parser agree on a character. A carriage return is left to the complete reader.
fn is_readable(character: char) -> bool {
    matches!(character, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

struct Reader<'t, E> {
    text: &'t str,
    /// The offset of each line.
    lines: Vec<usize>,
    events: E,
}

impl<E: FnMut() -> Option<Event>> Reader<'_, E> {
    fn document(mut self) -> Option<(RouteFile, String)> {
        let EventData::StreamStart { .. } = (self.events)()?.data else { return None };
        let EventData::DocumentStart { version_directive: None, tag_directives, .. } = (self.events)()?.data
        else {
            return None;
        };
        let EventData::MappingStart { anchor: None, tag: None, .. } = (self.events)()?.data else {
            return None;
        };
        if !tag_directives.is_empty() {
            return None;
        }
        let mut found: Option<(Vec<Written>, usize, usize, u64)> = None;
        loop {
            let key = (self.events)()?;
            let is_routes = match &key.data {
                EventData::MappingEnd => break,
                EventData::Scalar { value, .. } => value == "routes",
                _ => return None,
            };
            let value = (self.events)()?;
            if !is_routes {
                self.skip(&value)?;
                continue;
            }
            let EventData::SequenceStart { anchor: None, tag: None, .. } = value.data else { return None };
            if found.is_some() {
                return None;
            }
            let mut routes = Vec::new();
            let end = loop {
                let item = (self.events)()?;
                if let EventData::SequenceEnd = item.data {
                    break item.end_mark;
                }
                let start = item.start_mark;
                if start.column > LAST_COLUMN {
                    return None;
                }
                let (tree, end) = self.tree(item, 0)?;
                routes.push(Written { place: self.place(&start, &end)?, spec: plain::route(tree) });
            };
            found = Some((routes, self.offset(&value.start_mark)?, self.offset(&end)?, end.column));
        }
        let EventData::DocumentEnd { .. } = (self.events)()?.data else { return None };
        let EventData::StreamEnd = (self.events)()?.data else { return None };
        let (routes, start, end, column) = found?;
        let (before, list, after) =
            (self.text.get(..start)?, self.text.get(start..end)?, self.text.get(end..)?);
        let breaks = memchr::memchr_iter(b'\n', list.as_bytes()).count();
        let indent = if breaks > 0 { usize::try_from(column).ok()? } else { 0 };
        // The blank before the list: in the first column it would not belong to its key.
        let rest = format!("{before} []{}{}{after}", "\n".repeat(breaks), " ".repeat(indent));
        Some((RouteFile { text: self.text.into(), routes }, rest))
    }

    /// Passes over a value.
    fn skip(&mut self, first: &Event) -> Option<()> {
        let mut depth = 0_usize;
        let mut next = None;
        loop {
            let event = next.as_ref().unwrap_or(first);
            match event.data {
                EventData::MappingStart { .. } | EventData::SequenceStart { .. } => depth += 1,
                EventData::MappingEnd | EventData::SequenceEnd => depth = depth.checked_sub(1)?,
                EventData::Scalar { .. } | EventData::Alias { .. } => {}
                _ => return None,
            }
            if depth == 0 {
                return Some(());
            }
            next = Some((self.events)()?);
        }
    }

    /// The value that begins with an event, and its end. `None` if it has an anchor, an alias or a tag.
    fn tree(&mut self, event: Event, depth: usize) -> Option<(Tree, Mark)> {
        if depth > DEPTH {
            return None;
        }
        match event.data {
            EventData::Scalar { anchor: None, tag: None, value, style, .. } => {
                let tree = if style == ScalarStyle::Plain { resolved(value) } else { Tree::Text(value) };
                Some((tree, event.end_mark))
            }
            EventData::SequenceStart { anchor: None, tag: None, .. } => {
                let mut items = Vec::new();
                loop {
                    let item = (self.events)()?;
                    if let EventData::SequenceEnd = item.data {
                        return Some((Tree::List(items), item.end_mark));
                    }
                    items.push(self.tree(item, depth + 1)?.0);
                }
            }
            EventData::MappingStart { anchor: None, tag: None, .. } => {
                let (mut entries, mut is_plain) = (Vec::new(), true);
                loop {
                    let key = (self.events)()?;
                    if let EventData::MappingEnd = key.data {
                        let tree = if is_plain { Tree::map(entries) } else { Tree::Other };
                        return Some((tree, key.end_mark));
                    }
                    let key = self.tree(key, depth + 1)?.0;
                    let value = (self.events)()?;
                    let value = self.tree(value, depth + 1)?.0;
                    match key {
                        Tree::Text(key) if key != "<<" => entries.push((key, value)),
                        _ => is_plain = false,
                    }
                }
            }
            _ => None,
        }
    }

    fn offset(&self, mark: &Mark) -> Option<usize> {
        let line = usize::try_from(mark.line).ok()?;
        // Behind a last line without a line break, the parser sees one more line.
        if line == self.lines.len() && mark.column == 0 {
            return Some(self.text.len());
        }
        let start = *self.lines.get(line)?;
        let text = self.text.get(start..self.lines.get(line + 1).copied().unwrap_or(self.text.len()))?;
        let column = usize::try_from(mark.column).ok()?;
        let inside = if text.as_bytes().get(..column).is_some_and(<[u8]>::is_ascii) {
            column
        } else {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(column)?
        };
        Some(start + inside)
    }

    fn place(&self, start: &Mark, end: &Mark) -> Option<Place> {
        Some(Place {
            line: u32::try_from(start.line).ok()?,
            column: u32::try_from(start.column).ok()?,
            start: narrow(self.offset(start)?),
            end: narrow(self.offset(end)?),
        })
    }
}

/// A plain scalar under YAML's core schema (section 10.3 of YAML 1.2.2).
fn resolved(text: String) -> Tree {
    match text.as_str() {
        "" => Tree::Other,
        "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        // It may be a number in some other form.
        number
            if number.bytes().all(|byte| b"0123456789.+-xoeEabcdfABCDFinINF".contains(&byte))
                && number.starts_with(|first: char| "0123456789+-.".contains(first)) =>
        {
            Tree::number(number)
        }
        _ => Tree::Text(text),
    }
}
