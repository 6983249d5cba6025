//! What the scanner records: spans, kinds, and which element of which array a value is in.

use std::fmt::Write;

use waypost_core::json::{DuplicateKeys, Kind, Options, PathTrie, Scan, scan};

const LAST: Options = Options { depth: 128, duplicate_keys: DuplicateKeys::Last };

/// Scans for dotted paths, the fields being their positions.
fn found(body: &str, paths: &[&str], options: Options) -> Scan {
    let mut trie = PathTrie::new();
    for (field, path) in (0..).zip(paths) {
        let path: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('.').collect() };
        trie.insert(&path, field);
    }
    let mut found = Scan::default();
    scan(body.as_bytes(), &trie, options, &mut found).unwrap();
    found
}

/// The leaves as `field:element:text`.
fn leaves(body: &str, paths: &[&str], options: Options) -> Vec<String> {
    let found = found(body, paths, options);
    let text =
        |leaf: &waypost_core::json::Leaf| format!("{}:{}:{}", leaf.field, leaf.element, &body[leaf.span()]);
    found.leaves.iter().map(text).collect()
}

/// The elements as (parent, array, end).
fn elements(body: &str, paths: &[&str]) -> Vec<(u32, u32, u32)> {
    let found = found(body, paths, Options::default());
    found.elements.iter().map(|element| (element.parent, element.array, element.end)).collect()
}

#[test]
fn a_leaf_is_the_text_of_its_value() {
    let body = r#" {"a": "x\"y" , "b":"é", "c": -1.50e+3 ,"d":true,"e":false,"f":null,"g": { "h" : 1 } ,"i": [ 1 ] } "#;
    let found = found(body, &["a", "b", "c", "d", "e", "f", "g", "i"], Options::default());
    let seen: Vec<_> = found.leaves.iter().map(|leaf| (&body[leaf.span()], leaf.kind, leaf.field)).collect();
    assert_eq!(
        seen,
        [
            (r#"x\"y"#, Kind::EscapedString, 0),
            ("é", Kind::String, 1),
            ("-1.50e+3", Kind::Number, 2),
            ("true", Kind::True, 3),
            ("false", Kind::False, 4),
            ("null", Kind::Null, 5),
            (r#"{ "h" : 1 }"#, Kind::Object, 6),
            ("[ 1 ]", Kind::Array, 7),
            ("1", Kind::Number, 7),
        ]
    );
}

#[test]
fn only_tracked_paths_are_recorded() {
    let body = r#"{"a":{"b":1,"c":2,"a":{"b":3}},"b":4,"ab":5,"":{"":6}}"#;
    assert_eq!(leaves(body, &["a.b"], Options::default()), ["0:0:1"]);
    assert_eq!(leaves(body, &["b", "a.a.b"], Options::default()), ["1:0:3", "0:0:4"]);
    assert!(leaves(body, &["a.b.c", "c", "A"], Options::default()).is_empty());
    assert!(leaves(body, &[], Options::default()).is_empty());
    let mut trie = PathTrie::new();
    trie.insert(&["", ""], 3);
    let mut found = Scan::default();
    scan(body.as_bytes(), &trie, Options::default(), &mut found).unwrap();
    assert_eq!(found.leaves.iter().map(|leaf| &body[leaf.span()]).collect::<Vec<_>>(), ["6"]);
}

#[test]
fn the_empty_path_is_the_document() {
    assert_eq!(leaves(" 1 ", &[""], Options::default()), ["0:0:1"]);
    assert_eq!(leaves("\"\"", &[""], Options::default()), ["0:0:"]);
    assert_eq!(leaves("{} ", &[""], Options::default()), ["0:0:{}"]);
    assert_eq!(leaves("[1,{}]", &[""], Options::default()), ["0:0:[1,{}]", "0:0:1", "0:1:{}"]);
    assert_eq!(leaves(r#"[{"a":1}]"#, &["a"], Options::default()), ["0:1:1"]);
}

#[test]
fn a_path_carries_several_fields_each_once() {
    let body = r#"{"a":[1]}"#;
    assert_eq!(
        leaves(body, &["a", "a", "", "a"], Options::default()),
        ["2:0:{\"a\":[1]}", "0:0:[1]", "1:0:[1]", "3:0:[1]", "0:0:1", "1:0:1", "3:0:1"]
    );
    let mut trie = PathTrie::new();
    trie.insert(&["a"], 9);
    trie.insert(&["a"], 9);
    let mut found = Scan::default();
    scan(body.as_bytes(), &trie, Options::default(), &mut found).unwrap();
    assert_eq!(found.leaves.len(), 2);
}

#[test]
fn keys_match_by_what_they_stand_for() {
    let body = r#"{"\u0061\/":{"\uD83D\uDE00":1}}"#;
    assert_eq!(leaves(body, &["a/.\u{1f600}"], Options::default()), ["0:0:1"]);
    assert!(leaves(r#"{"\\u0061":1}"#, &["a"], Options::default()).is_empty());
    assert_eq!(leaves(r#"{"\\u0061":1}"#, &["\\u0061"], Options::default()), ["0:0:1"]);
}

#[test]
fn keys_with_dots_are_keys() {
    let mut trie = PathTrie::new();
    trie.insert(&["a.b"], 1);
    let body = r#"{"a":{"b":1},"a.b":2}"#;
    let mut found = Scan::default();
    scan(body.as_bytes(), &trie, Options::default(), &mut found).unwrap();
    assert_eq!(found.leaves.iter().map(|leaf| &body[leaf.span()]).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn fields_of_one_object_in_an_array_share_its_element() {
    let body = r#"{"c":[{"t":"m","r":1},{"t":"d","r":2}],"x":0}"#;
    let paths = ["c.t", "c.r", "x"];
    assert_eq!(leaves(body, &paths, Options::default()), ["0:1:m", "1:1:1", "0:2:d", "1:2:2", "2:0:0"]);
    assert_eq!(elements(body, &paths), [(0, 0, 3), (0, 1, 2), (0, 1, 3)]);
}

#[test]
fn scalars_in_an_array_belong_to_the_element_around_it() {
    let body = r#"{"a":[1,{"b":[2,[3,4]]},5]}"#;
    let paths = ["a", "a.b"];
    assert_eq!(
        leaves(body, &paths, Options::default()),
        [
            r#"0:0:[1,{"b":[2,[3,4]]},5]"#,
            "0:0:1",
            r#"0:1:{"b":[2,[3,4]]}"#,
            "1:1:[2,[3,4]]",
            "1:1:2",
            "1:2:[3,4]",
            "1:2:3",
            "1:2:4",
            "0:0:5",
        ]
    );
    assert_eq!(elements(body, &paths), [(0, 0, 3), (0, 1, 3), (1, 2, 3)]);
}

#[test]
fn nested_arrays_are_elements_with_arrays_of_their_own() {
    let body = r#"[[{"a":1}],[{"a":2},{"a":3}],{"a":4}]"#;
    assert_eq!(leaves(body, &["a"], Options::default()), ["0:2:1", "0:4:2", "0:5:3", "0:6:4"]);
    let expected = [(0, 0, 7), (0, 1, 3), (1, 2, 3), (0, 1, 6), (3, 3, 5), (3, 3, 6), (0, 1, 7)];
    assert_eq!(elements(body, &["a"]), expected);
}

#[test]
fn arrays_that_lead_nowhere_have_no_elements() {
    assert_eq!(elements(r#"{"a":1,"b":[{"c":[{}]}]}"#, &["a", "c"]), [(0, 0, 1)]);
    assert_eq!(elements("[[],{}]", &[]), [(0, 0, 1)]);
    // Below `a.b` nothing is tracked.
    assert_eq!(elements(r#"{"a":{"b":{"c":[{}]}}}"#, &["a.b"]), [(0, 0, 1)]);
}

#[test]
fn the_last_copy_of_a_key_counts() {
    assert_eq!(leaves(r#"{"a":1,"a":2}"#, &["a"], LAST), ["0:0:2"]);
    assert_eq!(leaves(r#"{"a":1,"b":3,"\u0061":2}"#, &["a", "b"], LAST), ["1:0:3", "0:0:2"]);
    assert_eq!(leaves(r#"{"a":1,"a":2,"a":3,"b":4}"#, &["a", "b"], LAST), ["0:0:3", "1:0:4"]);
    // Another type, an earlier copy with values further down, and none left.
    assert_eq!(leaves(r#"{"a":{"b":1},"a":2}"#, &["a", "a.b"], LAST), ["0:0:2"]);
    assert_eq!(leaves(r#"{"a":[{"b":1},{"b":2}],"a":{}}"#, &["a.b"], LAST), [""; 0]);
    assert_eq!(leaves(r#"{"a":{"b":1},"a":{"c":2}}"#, &["a.b", "a.c"], LAST), ["1:0:2"]);
    // Copies within copies, on both sides.
    let body = r#"{"a":{"b":1,"b":2},"x":0,"a":{"b":3,"b":4,"x":5},"x":6}"#;
    assert_eq!(leaves(body, &["a.b", "x"], LAST), ["0:0:4", "1:0:6"]);
    // Within an element, and not across elements.
    let body = r#"{"a":[{"b":1,"b":2},{"b":3}]}"#;
    assert_eq!(leaves(body, &["a.b"], LAST), ["0:1:2", "0:2:3"]);
    // The container around the copies keeps its leaf and its end.
    let body = r#"{"a":{"b":1,"b":2}}"#;
    assert_eq!(leaves(body, &["a", "a.b"], LAST), [r#"0:0:{"b":1,"b":2}"#, "1:0:2"]);
}

#[test]
fn the_last_copy_counts_in_wide_objects() {
    for count in [3, 16, 17, 40, 500] {
        let mut body = String::from("{");
        for index in 0..count {
            write!(body, "\"k{}\":{index},", index % (count - 1)).unwrap();
        }
        body += "\"end\":[]}";
        assert_eq!(leaves(&body, &["k0", "k1"], LAST), ["1:0:1".to_owned(), format!("0:0:{}", count - 1)]);
    }
}
