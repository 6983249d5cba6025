//! A [`Scan`] that has seen other documents finds in one what a new one finds: whatever it learned from them.

use proptest::prelude::*;
use waypost_core::json::{DuplicateKeys, Kernel, Options, PathTrie, Scan, scan, scan_with};

const PATHS: &[&[&str]] =
    &[&["a"], &["a"], &["b", "a"], &["list"], &["list", "a"], &["list", "list"], &["deep", "b", "list", "b"]];

fn trie() -> PathTrie {
    let mut trie = PathTrie::new();
    for (path, field) in PATHS.iter().zip(0..) {
        trie.insert(path, field);
    }
    trie
}

fn options(last: bool, depth: usize) -> Options {
    let duplicate_keys = if last { DuplicateKeys::Last } else { DuplicateKeys::Error };
    Options { depth, duplicate_keys }
}

/// What a scan says of a body, in full.
fn said(body: &[u8], trie: &PathTrie, options: Options, found: &mut Scan) -> String {
    let verdict = scan(body, trie, options, found).map(str::len);
    format!("{verdict:?} {:?} {:?}", found.leaves, found.elements)
}

/// A value as it is written.
fn value() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "a",
        "b",
        "list",
        "deep",
        "",
        "\\u0061",
        "é",
        "sixteen bytes ok",
        "more than sixteen bytes",
    ]);
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?",
        Just("true".to_owned()),
        Just("null".to_owned()),
        "\"[a-z ]{0,20}\"",
        Just("\"a\\nb\"".to_owned()),
        Just("{}".to_owned()),
        Just("[ ]".to_owned()),
        Just("[1, 2,\n3.5e2]".to_owned()),
        // Many of these differ in nothing that is seen from a quote.
        prop::collection::vec(prop_oneof!["[0-9]{1,2}", Just("null".to_owned())], 0..5)
            .prop_map(|scalars| format!("[{}]", scalars.join(", "))),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member.clone(), 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(", "))),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| format!("{{\n\t{}\n}}", members.join(",\n\t"))),
        ]
    })
}

/// A document that differs a little from another, and is perhaps none.
fn mutate(base: &str, edits: &[(prop::sample::Index, char)]) -> String {
    let mut out: Vec<char> = base.chars().collect();
    for (at, edit) in edits {
        let at = at.index(out.len());
        match edit {
            '\u{0}' => {
                out.remove(at);
                if out.is_empty() {
                    out.push(' ');
                }
            }
            '0'..='9' if out[at].is_ascii_digit() => out[at] = *edit,
            'a'..='z' if out[at].is_ascii_lowercase() => out[at] = *edit,
            edit => out.insert(at, *edit),
        }
    }
    out.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_learned_changes_nothing(
        bases in prop::collection::vec(value(), 1..4),
        turns in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select("09azb{}[],:\" \\\u{0}é\n\t\u{1}".chars().collect::<Vec<_>>())), 0..3),
                prop::bool::weighted(0.1),
                prop::sample::select(vec![128, 128, 128, 2]),
                prop::sample::select(vec![0, 0, 0, 1, 2]),
            ),
            1..60,
        ),
    ) {
        // Two that record the same, and one that records other things.
        let mut tries = [trie(), trie(), PathTrie::new()];
        tries[2].insert(&["list", "a"], 7);
        let mut used = Scan::default();
        for (base, edits, last, depth, which) in &turns {
            let trie = &tries[*which];
            // Each as it is comes again and again.
            let base = base.get(&bases);
            for body in [mutate(base, edits), base.clone(), base.clone()] {
                let options = options(*last, *depth);
                let expected = said(body.as_bytes(), trie, options, &mut Scan::default());
                prop_assert_eq!(said(body.as_bytes(), trie, options, &mut used), expected, "{}", body);
            }
        }
        for trie in &tries {
            let expected = said(bases[0].as_bytes(), trie, options(false, 128), &mut Scan::default());
            prop_assert_eq!(said(bases[0].as_bytes(), trie, options(false, 128), &mut used), expected);
        }
    }
}

#[test]
fn documents_that_are_cut_or_have_something_behind_are_refused_all_the_same() {
    let trie = trie();
    let body = r#"{"a": "x", "b": {"a": -1.5e3}, "list": [{"a": "y\n"}, {"a": null}, "z"], "deep": {}}"#;
    for kernel in Kernel::available() {
        let mut used = Scan::default();
        let mut say = |body: &[u8]| {
            let verdict = scan_with(kernel, body, &trie, Options::default(), &mut used).map(str::len);
            format!("{verdict:?} {:?} {:?}", used.leaves, used.elements)
        };
        for end in 0..body.len() {
            for body in [&body.as_bytes()[..end], body.as_bytes(), body.as_bytes()] {
                let expected = said(body, &trie, Options::default(), &mut Scan::default());
                assert_eq!(say(body), expected, "{kernel:?} {end}");
            }
        }
        for behind in ["x", "}", "\u{0}", "{}", "\"", " 1", "é"] {
            let body = format!("{body}{behind}");
            let expected = said(body.as_bytes(), &trie, Options::default(), &mut Scan::default());
            assert_eq!(say(body.as_bytes()), expected, "{kernel:?} {behind:?}");
            assert!(expected.starts_with("Err"), "{expected}");
        }
        for byte in 0..body.len() {
            for with in [b'\x00', b'\xFF', b'"', b'\\', b'1', b'{', b','] {
                let mut body = body.as_bytes().to_vec();
                body[byte] = with;
                let expected = said(&body, &trie, Options::default(), &mut Scan::default());
                assert_eq!(say(&body), expected, "{kernel:?} {byte} {with}");
            }
        }
    }
}

#[test]
fn a_byte_more_in_a_document_between_others_is_seen() {
    let trie = trie();
    // Two of as many quotes, and of different lengths.
    let bodies = [r#"{"a": "x", "list": [{"a": -1.5e3}, null, 2]}"#, r#"["aaaaaa  a  "]"#, r#"[0,[""]]"#];
    let mut used = Scan::default();
    let mut compare = |body: &[u8]| {
        let expected = said(body, &trie, Options::default(), &mut Scan::default());
        assert_eq!(
            said(body, &trie, Options::default(), &mut used),
            expected,
            "{}",
            String::from_utf8_lossy(body)
        );
    };
    for body in bodies {
        for at in 0..=body.len() {
            for more in *b"{\"\\1,] \xC3" {
                for known in bodies {
                    compare(known.as_bytes());
                }
                compare(&[&body.as_bytes()[..at], &[more], &body.as_bytes()[at..]].concat());
            }
        }
    }
}

#[test]
fn long_documents_are_of_forms_too() {
    let trie = trie();
    let mut used = Scan::default();
    for length in [10, 5000, 1_000_000, 300_000, 64, 128] {
        let text = "words and \\n lines ".repeat(length / 19);
        let body =
            format!(r#"{{"a": "{text}", "list": [{{"a": "{text}"}}, {{"list": 1}}], "b": {{"a": "é"}}}} "#);
        for _ in 0..3 {
            let expected = said(body.as_bytes(), &trie, Options::default(), &mut Scan::default());
            assert_eq!(said(body.as_bytes(), &trie, Options::default(), &mut used), expected);
        }
    }
}
