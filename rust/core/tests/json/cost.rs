//! No document is expensive.

use std::fmt::Write;

use waypost_core::json::{DuplicateKeys, Error, ErrorKind, Options, PathTrie, Scan, scan, validate};

use ErrorKind::{DuplicateKey, TooDeep, UnexpectedEnd};

fn check(body: &[u8]) -> Result<(), Error> {
    validate(body, Options::default())
}

#[track_caller]
fn refused(body: &[u8], kind: ErrorKind, offset: usize) {
    assert_eq!(check(body), Err(Error { kind, offset }));
}

/// Big documents whose cost would explode with anything quadratic: this test would take minutes.
#[test]
fn no_document_is_expensive() {
    let object = |count: usize, key: &dyn Fn(usize, &mut String)| {
        let mut body = String::from("{");
        for index in 0..count {
            body.push_str(if index == 0 { "\"" } else { ",\"" });
            key(index, &mut body);
            body.push_str("\":0");
        }
        body.push('}');
        body
    };
    let last = Options { duplicate_keys: DuplicateKeys::Last, ..Options::default() };

    // One wide object: distinct keys, distinct only in the middle, escaped, and all the same.
    let wide = object(200_000, &|index, body| write!(body, "{index}").unwrap());
    assert_eq!(check(wide.as_bytes()), Ok(()));
    let alike = object(100_000, &|index, body| write!(body, "{:a>40}{index:06}{:a>40}", "", "").unwrap());
    assert_eq!(check(alike.as_bytes()), Ok(()));
    let escaped = object(200_000, &|index, body| write!(body, "\\u0041{index}").unwrap());
    assert_eq!(check(escaped.as_bytes()), Ok(()));
    let same = object(200_000, &|_, body| body.push('a'));
    refused(same.as_bytes(), DuplicateKey, 7);
    assert_eq!(validate(same.as_bytes(), last), Ok(()));

    // Many small objects behind one that made the table large.
    let small = object(17, &|index, body| write!(body, "{index}").unwrap());
    let many = format!("[{wide},{}0]", format!("{small},").repeat(10_000));
    assert_eq!(check(many.as_bytes()), Ok(()));

    // Brackets without end, and with.
    refused(&vec![b'['; 1_000_000], TooDeep, 128);
    refused("{\"a\":".repeat(1_000_000).as_bytes(), TooDeep, 128 * 5);
    let shallow = format!("[{}[]]", "[[[[]]]],".repeat(200_000));
    assert_eq!(check(shallow.as_bytes()), Ok(()));

    // Copies within copies, each of which drops the leaves below it.
    let mut trie = PathTrie::new();
    let mut path: Vec<&str> = Vec::new();
    let mut nested = "0".to_owned();
    for depth in 0..16 {
        path.push("a");
        trie.insert(&path, depth);
        nested = format!("{{\"a\":{nested},\"a\":{nested}}}");
    }
    let mut found = Scan::default();
    scan(nested.as_bytes(), &trie, last, &mut found).unwrap();
    assert_eq!(found.leaves.len(), 16);

    // Strings and whitespace without structure.
    let long = format!("{}\"{}\"", " \n\t".repeat(1_000_000), "x".repeat(4_000_000));
    assert_eq!(check(long.as_bytes()), Ok(()));
    assert_eq!(check(format!("\"{}\"", "\\n\\u0041".repeat(500_000)).as_bytes()), Ok(()));
    assert_eq!(check("9".repeat(4_000_000).as_bytes()), Ok(()));
    refused(format!("\"{}", "\\\\".repeat(1_000_000)).as_bytes(), UnexpectedEnd, 2_000_001);

    // Wide tracked arrays and a trie with many children.
    let mut trie = PathTrie::new();
    for index in 0..10_000 {
        trie.insert(&[index.to_string()], index);
    }
    scan(wide.as_bytes(), &trie, Options::default(), &mut found).unwrap();
    assert_eq!(found.leaves.len(), 10_000);
    assert!(found.leaves.iter().enumerate().all(|(index, leaf)| leaf.field as usize == index));
    let mut trie = PathTrie::new();
    trie.insert(&["0"], 0);
    let elements = format!("{{\"0\":[{}0]}}", "{\"0\":[]},".repeat(200_000));
    scan(elements.as_bytes(), &trie, Options::default(), &mut found).unwrap();
    assert_eq!(found.elements.len(), 200_001);
}
