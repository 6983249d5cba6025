//! The JSON scanner against `serde_json`, by each kernel that the processor has: the verdict, and every leaf and
//! element at a few paths; and by a scanner that has learned from the bodies before.

#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::{Deserializer, Value};
use waypost_core::json::{
    DuplicateKeys, Element, ErrorKind, Kernel, Kind, MAX_DEPTH, Options, PathTrie, Scan, scan, scan_with,
    unescape, validate,
};

/// Paths by field; short keys, which a fuzzer hits.
const PATHS: &[&[&str]] =
    &[&[], &["a"], &["a", "b"], &["a", "a", "a"], &["b", "c"], &["b", "c"], &["", ""], &["é"]];

static TRIE: LazyLock<PathTrie> = LazyLock::new(|| {
    let mut trie = PathTrie::new();
    for (field, path) in (0..).zip(PATHS) {
        trie.insert(path, field);
    }
    trie
});

thread_local! {
    static USED: RefCell<Scan> = RefCell::default();
}

const STRICT: Options = Options { depth: MAX_DEPTH, duplicate_keys: DuplicateKeys::Error };
const LAST: Options = Options { depth: MAX_DEPTH, duplicate_keys: DuplicateKeys::Last };

fuzz_target!(|body: &[u8]| {
    // The key by which `serde_json` smuggles numbers through its data model.
    if body.windows(19).any(|window| window == b"serde_json::private") {
        return;
    }
    let mut found = Scan::default();
    let verdict = scan(body, &TRIE, LAST, &mut found);
    let strict = validate(body, STRICT);
    USED.with_borrow_mut(|used| {
        for _ in 0..2 {
            assert_eq!(scan(body, &TRIE, LAST, used), verdict);
            assert_eq!(recorded(used), recorded(&found));
            assert_eq!(scan(body, &TRIE, STRICT, used).map(|_| ()), strict);
        }
    });
    if strict.is_ok() && body.len() < 1000 {
        near(body);
    }
    for kernel in Kernel::available() {
        let mut other = Scan::default();
        assert_eq!(scan_with(kernel, body, &TRIE, LAST, &mut other), verdict, "{kernel:?}");
        assert_eq!(recorded(&other), recorded(&found), "{kernel:?}");
        let other = scan_with(kernel, body, &TRIE, STRICT, &mut other).map(|_| ());
        assert_eq!(other, strict, "{kernel:?}");
    }
    if let Err(error) = verdict {
        assert!(error.offset <= body.len());
        assert!(found.leaves.is_empty() && found.elements.is_empty());
        if error.kind == ErrorKind::TooDeep {
            assert_eq!(open_before(&body[..error.offset]), MAX_DEPTH);
            return;
        }
    }
    let tree = parse(body);
    assert_eq!(verdict.is_ok(), tree.is_some(), "{verdict:?}");
    let Some(tree) = tree else {
        assert!(strict.is_err());
        return;
    };

    let unique = members(&tree) == colons(body);
    match strict {
        Ok(()) => assert!(unique),
        Err(error) => {
            assert!(!unique);
            assert_eq!((error.kind, body[error.offset]), (ErrorKind::DuplicateKey, b'"'));
        }
    }

    let mut expected = Reference { leaves: Vec::new(), elements: vec![(0, 0, 0)], arrays: 0 };
    expected.walk(&tree, &mut Vec::new(), 0, None);
    expected.elements[0].2 = expected.elements.len() as u32;
    let mut seen: Vec<_> = found
        .leaves
        .iter()
        .map(|leaf| (leaf.field, leaf.element, value(&body[leaf.span()], leaf.kind)))
        .collect();
    if unique {
        let elements = found.elements.iter().map(|&Element { parent, array, end }| (parent, array, end));
        assert_eq!(elements.collect::<Vec<_>>(), expected.elements);
        assert_eq!(seen, expected.leaves);
    } else {
        // The copies that were replaced count in the numbers of elements, and decide the order in the tree. A
        // container with duplicates in it has its members in another order, too.
        let mut leaves = expected.leaves;
        for leaf in seen.iter_mut().chain(&mut leaves) {
            leaf.1 = 0;
            leaf.2.sort_all_objects();
        }
        seen.sort_by_key(|leaf| (leaf.0, leaf.2.to_string()));
        leaves.sort_by_key(|leaf| (leaf.0, leaf.2.to_string()));
        assert_eq!(seen, leaves);
    }
});

/// Bodies that differ in one byte from one whose form is known.
fn near(body: &[u8]) {
    const BYTES: &[u8] = b"\"\\{}[]:, 0e-\n\x01\x80\xC3uax";
    let mut random = body.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mut learned = Scan::default();
    for _ in 0..3 {
        let _ = scan(body, &TRIE, STRICT, &mut learned);
    }
    for _ in 0..6 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (at, byte) = ((random >> 33) as usize % body.len(), BYTES[(random >> 17) as usize % BYTES.len()]);
        let mut other = body.to_vec();
        match (random >> 13) % 3 {
            0 => other[at] = byte,
            1 => other.insert(at, byte),
            _ => drop(other.remove(at)),
        }
        let mut found = Scan::default();
        let verdict = scan(&other, &TRIE, STRICT, &mut found);
        assert_eq!(scan(&other, &TRIE, STRICT, &mut learned), verdict);
        assert_eq!(recorded(&learned), recorded(&found));
        // Its form stays worth a look.
        for _ in 0..3 {
            let _ = scan(body, &TRIE, STRICT, &mut learned);
        }
    }
}

/// All that a scan recorded, to be compared.
fn recorded(found: &Scan) -> (Vec<(u32, u32, u32, u32, Kind)>, Vec<(u32, u32, u32)>) {
    let leaves = found.leaves.iter().map(|leaf| (leaf.field, leaf.element, leaf.start, leaf.end, leaf.kind));
    let elements = found.elements.iter().map(|&Element { parent, array, end }| (parent, array, end));
    (leaves.collect(), elements.collect())
}

fn parse(body: &[u8]) -> Option<Value> {
    let mut parser = Deserializer::from_slice(body);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some(value)
}

fn value(text: &[u8], kind: Kind) -> Value {
    match kind {
        Kind::String => Value::String(std::str::from_utf8(text).unwrap().to_owned()),
        Kind::EscapedString => Value::String(unescape(std::str::from_utf8(text).unwrap()).into_owned()),
        _ => parse(text).unwrap(),
    }
}

/// What the scanner records, from a tree whose objects keep their order.
struct Reference {
    /// (field, element, value)
    leaves: Vec<(u32, u32, Value)>,
    /// (parent, array, end)
    elements: Vec<(u32, u32, u32)>,
    arrays: u32,
}

impl Reference {
    /// `element` is the one around `value`, `array` the one that `value` is an element of.
    fn walk<'a>(&mut self, value: &'a Value, path: &mut Vec<&'a str>, element: u32, array: Option<u32>) {
        if !PATHS.iter().any(|tracked| tracked.starts_with(path)) {
            return;
        }
        let mut own = element;
        if let (Some(array), Value::Array(_) | Value::Object(_)) = (array, value) {
            own = self.elements.len() as u32;
            self.elements.push((element, array, 0));
        }
        for (field, tracked) in (0..).zip(PATHS) {
            if tracked == path {
                self.leaves.push((field, own, value.clone()));
            }
        }
        match value {
            Value::Array(items) => {
                self.arrays += 1;
                let number = self.arrays;
                for item in items {
                    self.walk(item, path, own, Some(number));
                }
            }
            Value::Object(object) => {
                for (key, value) in object {
                    path.push(key);
                    self.walk(value, path, own, None);
                    path.pop();
                }
            }
            _ => {}
        }
        if own != element {
            self.elements[own as usize].2 = self.elements.len() as u32;
        }
    }
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
    outside_strings(body).filter(|&byte| byte == b':').count()
}

/// How many containers are open at the end of the beginning of a document.
fn open_before(body: &[u8]) -> usize {
    outside_strings(body).fold(0, |open, byte| match byte {
        b'{' | b'[' => open + 1,
        b'}' | b']' => open - 1,
        _ => open,
    })
}

fn outside_strings(body: &[u8]) -> impl Iterator<Item = u8> {
    let (mut inside, mut escaped) = (false, false);
    body.iter().copied().filter(move |&byte| {
        let string = inside;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            _ => {}
        }
        !string
    })
}
