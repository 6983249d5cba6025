//! JSON lines.

use super::tree::Tree;
use super::{Place, RouteFile, Written, plain};
use crate::json::{self, DuplicateKeys, Options, PathTrie, Scan};
use crate::table::narrow;

/// How deep a plain route may be nested. Reading it takes the stack.
const DEPTH: usize = 32;

pub(super) fn read(text: &str) -> Option<RouteFile> {
    u32::try_from(text.len()).ok()?;
    let (trie, mut scan) = (PathTrie::new(), Scan::default());
    let options = Options { depth: DEPTH, duplicate_keys: DuplicateKeys::Error };
    let mut routes = Vec::new();
    let mut start = 0;
    for (number, line) in text.split('\n').enumerate() {
        if !line.trim().is_empty() {
            let is_valid = json::scan(line.as_bytes(), &trie, options, &mut scan).is_ok();
            let value = is_valid.then(|| Reader { text: line, at: 0 }.value());
            let place = Place {
                line: narrow(number),
                column: 0,
                start: narrow(start),
                end: narrow(start + line.len()),
            };
            routes.push(Written { place, spec: value.and_then(plain::route) });
        }
        start += line.len() + 1;
    }
    Some(RouteFile { text: text.into(), routes })
}

/// Reads valid JSON.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> u8 {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            if !byte.is_ascii_whitespace() {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Takes a byte, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self) -> Tree {
        match self.peek() {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => Tree::Text(self.string()),
            _ => {
                let from = self.at;
                let rest = self.text.get(from..).unwrap_or_default();
                let length = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += length;
                match rest.get(..length).unwrap_or_default() {
                    "null" => Tree::Null,
                    "true" => Tree::Bool(true),
                    "false" => Tree::Bool(false),
                    number => Tree::number(number),
                }
            }
        }
    }

    fn object(&mut self) -> Tree {
        let mut entries = Vec::new();
        self.take(b'{');
        while self.peek() == b'"' {
            let key = self.string();
            self.take(b':');
            entries.push((key, self.value()));
            self.take(b',');
        }
        self.take(b'}');
        Tree::map(entries)
    }

    fn array(&mut self) -> Tree {
        let mut items = Vec::new();
        self.take(b'[');
        while !matches!(self.peek(), b']' | 0) {
            items.push(self.value());
            self.take(b',');
        }
        self.take(b']');
        Tree::List(items)
    }

    fn string(&mut self) -> String {
        self.take(b'"');
        let from = self.at;
        let mut bytes = self.text.as_bytes().iter().skip(from);
        let mut end = from;
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => {
                    bytes.next();
                    end += 2;
                }
                _ => end += 1,
            }
        }
        self.at = end + 1;
        let raw = self.text.get(from..end).unwrap_or_default();
        if !raw.contains('\\') {
            return raw.to_owned();
        }
        let mut text = String::with_capacity(raw.len());
        json::unescape_into(raw, &mut text);
        text
    }
}
