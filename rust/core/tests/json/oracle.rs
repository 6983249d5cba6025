//! The scanner against `serde_json`, and against a model that knows what it wrote.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use waypost_core::json::{
    DuplicateKeys, Error, ErrorKind, Kind, Options, PathTrie, Scan, scan, unescape, validate,
};

const STRICT: Options = Options { depth: 128, duplicate_keys: DuplicateKeys::Error };
const LAST: Options = Options { depth: 128, duplicate_keys: DuplicateKeys::Last };

/// A string: (as written, what it stands for).
type Text = (String, String);
/// Paths with their fields.
type Paths = BTreeMap<Vec<String>, Vec<u32>>;

#[derive(Debug, Clone)]
enum Doc {
    Scalar(&'static str, Kind),
    Number(String),
    String(Text),
    Array(Vec<Doc>),
    Object(Vec<(Text, Doc)>),
}

fn text(
    alphabet: &'static [(&'static str, &'static str)],
    length: std::ops::Range<usize>,
) -> impl Strategy<Value = Text> {
    prop::collection::vec(prop::sample::select(alphabet), length).prop_map(|pieces| {
        (pieces.iter().map(|piece| piece.0).collect(), pieces.iter().map(|piece| piece.1).collect())
    })
}

const CONTENT: &[(&str, &str)] = &[
    ("a", "a"),
    ("plain text that fills a word or two", "plain text that fills a word or two"),
    (" ", " "),
    ("é", "é"),
    ("𝄞", "𝄞"),
    ("\u{7f}", "\u{7f}"),
    ("\u{feff}", "\u{feff}"),
    ("{[,:]}", "{[,:]}"),
    ("\\n", "\n"),
    ("\\\"", "\""),
    ("\\\\", "\\"),
    ("\\/", "/"),
    ("\\u0000", "\0"),
    ("\\u00e9", "é"),
    ("\\uD834\\uDD1E", "𝄞"),
];

/// Few keys, so that paths are met and keys are repeated, and several ways to write them.
const KEYS: &[(&str, &str)] =
    &[("a", "a"), ("b", "b"), ("\\u0061", "a"), ("\\u0062", "b"), ("é", "é"), ("\\u00E9", "é")];

fn doc() -> impl Strategy<Value = Doc> {
    let leaf = prop_oneof![
        prop::sample::select(&[("null", Kind::Null), ("true", Kind::True), ("false", Kind::False)][..])
            .prop_map(|(text, kind)| Doc::Scalar(text, kind)),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?".prop_map(Doc::Number),
        text(CONTENT, 0..12).prop_map(Doc::String),
    ];
    leaf.prop_recursive(6, 80, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Doc::Array),
            prop::collection::vec((text(KEYS, 0..3), inner.clone()), 0..6).prop_map(Doc::Object),
            // Wide enough for the table of keys.
            prop::collection::vec((text(KEYS, 0..6), inner), 14..24).prop_map(Doc::Object),
        ]
    })
}

fn paths() -> impl Strategy<Value = Paths> {
    let key = prop::sample::select(&["a", "b", "é", "", "aa", "ab"][..]).prop_map(str::to_owned);
    prop::collection::btree_map(
        prop::collection::vec(key, 0..4),
        prop::collection::btree_set(0u32..50, 1..3).prop_map(|fields| fields.into_iter().collect()),
        0..6,
    )
}

fn trie(paths: &Paths) -> PathTrie {
    let mut trie = PathTrie::new();
    for (path, fields) in paths {
        for &field in fields {
            trie.insert(path, field);
        }
    }
    trie
}

/// (field, element, start, end, kind)
type Expected = (u32, u32, usize, usize, Kind);

/// Writes a document and knows what the scanner must record of it.
struct Writer<'a> {
    paths: &'a Paths,
    spaces: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    body: String,
    elements: Vec<(u32, u32, u32)>,
    arrays: u32,
    /// Opening quotes of second copies of keys, as objects end.
    duplicates: Vec<usize>,
}

impl Writer<'_> {
    fn space(&mut self) {
        let choice = self.spaces.next().copied().unwrap_or(0);
        self.body.push_str(["", "", "", " ", "\n", "\t", "\r\n", "          "][usize::from(choice % 8)]);
    }

    /// `place`: the element around, and the array whose element this is.
    fn write(
        &mut self,
        doc: &Doc,
        path: &mut Vec<String>,
        element: u32,
        array: Option<u32>,
    ) -> Vec<Expected> {
        self.space();
        let live = self.paths.keys().any(|tracked| tracked.starts_with(path));
        let start = self.body.len();
        let mut inner = Vec::new();
        let (mut own, mut span) = (element, None);
        if live
            && matches!(doc, Doc::Array(_) | Doc::Object(_))
            && let Some(array) = array
        {
            own = u32::try_from(self.elements.len()).unwrap();
            self.elements.push((element, array, 0));
        }
        let kind = match doc {
            Doc::Scalar(text, kind) => {
                self.body.push_str(text);
                *kind
            }
            Doc::Number(text) => {
                self.body.push_str(text);
                Kind::Number
            }
            Doc::String((raw, _)) => {
                span = Some((start + 1, start + 1 + raw.len()));
                self.body.extend(["\"", raw, "\""]);
                if raw.contains('\\') { Kind::EscapedString } else { Kind::String }
            }
            Doc::Array(items) => {
                if live {
                    self.arrays += 1;
                }
                let number = self.arrays;
                self.body.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.body.push(',');
                    }
                    inner.extend(self.write(item, path, own, Some(number)));
                    self.space();
                }
                self.space();
                self.body.push(']');
                Kind::Array
            }
            Doc::Object(members) => {
                self.body.push('{');
                let mut seen: Vec<(&str, Vec<Expected>)> = Vec::new();
                let mut duplicates = Vec::new();
                for (index, ((raw, key), value)) in members.iter().enumerate() {
                    if index > 0 {
                        self.body.push(',');
                    }
                    self.space();
                    if let Some(earlier) = seen.iter_mut().find(|earlier| earlier.0 == key) {
                        duplicates.push(self.body.len());
                        earlier.1.clear();
                        earlier.0 = "replaced: no key of these tests";
                    }
                    self.body.extend(["\"", raw, "\""]);
                    self.space();
                    self.body.push(':');
                    path.push(key.clone());
                    seen.push((key, self.write(value, path, own, None)));
                    path.pop();
                    self.space();
                }
                self.duplicates.extend(duplicates);
                inner.extend(seen.into_iter().flat_map(|member| member.1));
                self.space();
                self.body.push('}');
                Kind::Object
            }
        };
        if own != element {
            self.elements[own as usize].2 = u32::try_from(self.elements.len()).unwrap();
        }
        let (start, end) = span.unwrap_or((start, self.body.len()));
        let fields = self.paths.get(path).map_or(&[][..], |fields| fields);
        fields.iter().map(|&field| (field, own, start, end, kind)).chain(inner).collect()
    }
}

fn write<'a>(doc: &Doc, paths: &'a Paths, spaces: &'a [u8]) -> (Writer<'a>, Vec<Expected>) {
    let (spaces, body, elements) = (spaces.iter().cycle(), String::new(), vec![(0, 0, 0)]);
    let mut writer = Writer { paths, spaces, body, elements, arrays: 0, duplicates: Vec::new() };
    let leaves = writer.write(doc, &mut Vec::new(), 0, None);
    writer.space();
    writer.elements[0].2 = u32::try_from(writer.elements.len()).unwrap();
    (writer, leaves)
}

fn recorded(found: &Scan) -> (Vec<Expected>, Vec<(u32, u32, u32)>) {
    (
        found
            .leaves
            .iter()
            .map(|leaf| (leaf.field, leaf.element, leaf.start as usize, leaf.end as usize, leaf.kind))
            .collect(),
        found.elements.iter().map(|element| (element.parent, element.array, element.end)).collect(),
    )
}

/// How many members the objects of a tree have in all.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// How many members a valid document writes down: its colons outside strings.
fn colons(body: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The values at `path` in a tree, through arrays.
fn walk(value: &Value, path: &[String], out: &mut Vec<Value>) {
    if path.is_empty() {
        out.push(value.clone());
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, path, out)),
        Value::Object(object) => {
            if let Some((key, rest)) = path.split_first()
                && let Some(value) = object.get(key)
            {
                walk(value, rest, out);
            }
        }
        _ => {}
    }
}

/// Holds `body` against `serde_json`: the verdict, the offset's plausibility, duplicates, and the values at
/// `paths`.
fn agrees(body: &[u8], paths: &Paths) -> Result<(), TestCaseError> {
    let tree = serde_json::from_slice::<Value>(body);
    let mut found = Scan::default();
    let verdict = scan(body, &trie(paths), LAST, &mut found).map(|_| ());
    if let Err(Error { kind: ErrorKind::TooDeep, .. }) = verdict {
        return Ok(());
    }
    prop_assert_eq!(verdict.is_ok(), tree.is_ok(), "{:?} / {:?}", verdict, tree);
    let strict = validate(body, STRICT);
    let Ok(tree) = tree else {
        let offset = verdict.unwrap_err().offset;
        prop_assert!(offset <= body.len());
        prop_assert!(strict.is_err());
        return Ok(());
    };
    let unique = members(&tree) == colons(body);
    prop_assert_eq!(strict.is_ok(), unique, "{:?}", strict);
    if let Err(error) = strict {
        prop_assert_eq!(error.kind, ErrorKind::DuplicateKey);
        prop_assert_eq!(body[error.offset], b'"');
    }
    for (path, fields) in paths {
        let mut expected = Vec::new();
        walk(&tree, path, &mut expected);
        let mut seen = Vec::new();
        for leaf in found.leaves.iter().filter(|leaf| leaf.field == fields[0]) {
            let text = std::str::from_utf8(&body[leaf.span()]).unwrap();
            seen.push(match leaf.kind {
                Kind::String | Kind::EscapedString => Value::String(unescape(text).into_owned()),
                _ => serde_json::from_str(text).unwrap(),
            });
        }
        // `serde_json` sorts the members of objects.
        expected.sort_by_key(Value::to_string);
        seen.sort_by_key(Value::to_string);
        prop_assert_eq!(seen, expected);
    }
    Ok(())
}

/// Fields that belong to one path only.
fn numbered(paths: &Paths) -> Paths {
    paths.keys().cloned().zip((0..).map(|field| vec![field])).collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index, u8),
    Copy(prop::sample::Index, prop::sample::Index, u8),
    Truncate(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || {
        prop_oneof![
            prop::sample::select(&b"{}[]:,\"\\ueE0129+-.ntf/ \n\0\x1F\x7F\x80\xC3\xED\xF0"[..]),
            any::<u8>()
        ]
    };
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        4 => (at(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        4 => (at(), 1u8..4).prop_map(|(at, count)| Mutation::Remove(at, count)),
        2 => (at(), at(), 1u8..12).prop_map(|(from, to, count)| Mutation::Copy(from, to, count)),
        1 => at().prop_map(Mutation::Truncate),
    ]
}

fn mutate(body: &mut Vec<u8>, mutation: &Mutation) {
    let slots = body.len() + 1;
    match mutation {
        Mutation::Insert(at, byte) => body.insert(at.index(slots), *byte),
        _ if body.is_empty() => {}
        Mutation::Set(at, byte) => {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        Mutation::Remove(at, count) => {
            let at = at.index(body.len());
            body.drain(at..(at + usize::from(*count)).min(slots - 1));
        }
        Mutation::Copy(from, to, count) => {
            let from = from.index(body.len());
            let copy = body[from..(from + usize::from(*count)).min(body.len())].to_vec();
            let to = to.index(slots);
            body.splice(to..to, copy);
        }
        Mutation::Truncate(at) => body.truncate(at.index(slots)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn records_exactly_what_the_model_wrote(
        doc in doc(),
        paths in paths(),
        spaces in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let (written, leaves) = write(&doc, &paths, &spaces);
        let mut found = Scan::default();
        let verdict = scan(written.body.as_bytes(), &trie(&paths), LAST, &mut found).map(|_| ());
        prop_assert_eq!(verdict, Ok(()), "{}", written.body);
        let (seen, elements) = recorded(&found);
        prop_assert_eq!(&seen, &leaves, "{}", written.body);
        prop_assert_eq!(&elements, &written.elements, "{}", written.body);

        let verdict = scan(written.body.as_bytes(), &trie(&paths), STRICT, &mut found).map(|_| ());
        let expected = match written.duplicates.first() {
            Some(&offset) => Err(Error { kind: ErrorKind::DuplicateKey, offset }),
            None => Ok(()),
        };
        prop_assert_eq!(verdict, expected, "{}", written.body);
        if verdict.is_ok() {
            prop_assert_eq!(recorded(&found), (leaves, elements));
        }
    }

    #[test]
    fn agrees_with_serde_json_on_valid_documents(
        doc in doc(),
        paths in paths(),
        spaces in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let paths = numbered(&paths);
        let (written, _) = write(&doc, &paths, &spaces);
        agrees(written.body.as_bytes(), &paths)?;
    }

    #[test]
    fn agrees_with_serde_json_on_damaged_documents(
        doc in doc(),
        paths in paths(),
        spaces in prop::collection::vec(any::<u8>(), 1..40),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let paths = numbered(&paths);
        let (written, _) = write(&doc, &paths, &spaces);
        let mut body = written.body.into_bytes();
        for mutation in &mutations {
            mutate(&mut body, mutation);
            agrees(&body, &paths)?;
        }
    }

    #[test]
    fn agrees_with_serde_json_on_short_token_soup(
        tokens in prop::collection::vec(prop::sample::select(&[
            "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"\\u0061\"", "0", "-", "1.5", "e", "+", ".", "true", "nul",
            "l", " ", "\\", "\\u", "D834", "\\uDD1E", "\u{1f}", "\u{e9}",
        ][..]), 0..10),
    ) {
        agrees(tokens.concat().as_bytes(), &Paths::from([(vec!["a".to_owned()], vec![0])]))?;
    }

    #[test]
    fn unescape_agrees_with_serde_json((raw, text) in text(CONTENT, 0..30)) {
        prop_assert_eq!(&*unescape(&raw), &text);
        prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{raw}\"")).unwrap(), text);
    }

    #[test]
    fn unescape_never_panics(raw in "(\\\\|u|[dD][89cC]|[0-9a-f]|é|\"){0,24}") {
        let _ = unescape(&raw);
    }
}
