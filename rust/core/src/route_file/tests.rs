use super::*;
use crate::pattern::Value;

fn names(file: &RouteFile) -> Vec<Option<&str>> {
    (0..file.len()).map(|at| file.spec(at).map(|spec| spec.name.as_str())).collect()
}

#[test]
fn plain_routes_are_read_and_the_text_of_others_is_known() {
    let text = "# é\nlisten: {port: 8080}\nroutes:\n- name: a\n  match: {kind: model, n: [1, {prefix: x}], m: ~}\n  to: c\n\
                # between\n- {name: é, to: c}\n- name: b\n  to: c\n  fallback: [d]\n  precedence: -3\n\nclusters: {c: {}}\n";
    let (file, rest) = RouteFile::yaml(text).unwrap();
    assert_eq!(names(&file), [Some("a"), None, Some("b")]);
    assert_eq!(file.others().collect::<Vec<_>>(), [1]);
    let (place, written) = file.written(1).unwrap();
    assert_eq!((place.line, place.column, written), (7, 2, "{name: é, to: c}"));
    assert_eq!(file.written(2).unwrap().1.trim_end(), "name: b\n  to: c\n  fallback: [d]\n  precedence: -3");
    let spec = file.spec(0).unwrap();
    let list = |items: Vec<Value>| Value::List(items);
    assert_eq!(
        spec.pattern,
        Value::Map(vec![
            ("kind".into(), list(vec![Value::String("model".into())])),
            (
                "n".into(),
                list(vec![
                    Value::Number("1".into()),
                    Value::Map(vec![("prefix".into(), Value::String("x".into()))])
                ])
            ),
            ("m".into(), list(vec![Value::Null])),
        ])
    );
    let spec = file.spec(2).unwrap();
    assert_eq!((spec.precedence, spec.fallback.as_slice()), (-3, &["d".to_owned()][..]));
    assert_eq!(file.clusters(), ["c", "d"]);
    // Everything else has its place.
    assert_eq!(
        rest,
        format!("# é\nlisten: {{port: 8080}}\nroutes:\n []{}clusters: {{c: {{}}}}\n", "\n".repeat(10))
    );
    assert_eq!(rest.lines().count(), text.lines().count());
}

#[test]
fn lists_of_every_style_leave_a_valid_rest() {
    for (text, rest) in [
        ("routes: [{name: a, to: c}]", "routes:  []"),
        ("{routes: [{name: a, to: c},\n  {name: b, to: c}\n ], x: 1}", "{routes:  []\n\n  , x: 1}"),
        ("  routes:\n    - {name: a, to: c}\n  x: 1", "  routes:\n     []\n  x: 1"),
        ("routes:\n  - {name: a, to: c}", "routes:\n   []"),
    ] {
        assert_eq!(RouteFile::yaml(text).unwrap().1, rest, "{text}");
    }
}

#[test]
fn what_only_the_complete_reader_knows_is_left_to_it() {
    for text in [
        "",
        "a: 1",
        "routes: 7",
        "- 1",
        "routes: [",
        "routes: []\nroutes: []",
        "routes: []\n---\nroutes: []",
        "%YAML 1.1\n---\nroutes: []",
        "routes: &x []",
        "routes: [{name: &n a, to: c}]",
        "a: &a c\nroutes: [{name: a, to: *a}]",
        "routes: [{name: !!str a, to: c}]",
        "routes: [{name: a, to: c}]\r\n",
        "routes: [{name: a, to: \"\u{feff}\"}]",
        "routes: [\u{7f}]",
    ] {
        assert!(RouteFile::yaml(text).is_none(), "{text}");
    }
}

/// The place of a route is found by its column, so the routes of one long line would take quadratic time: two MB took more
/// than a minute.
#[test]
fn many_routes_in_one_line_are_left_to_the_complete_reader() {
    for name in ["a", "\u{e9}"] {
        let route = format!("{{name: a, to: c, match: {{x: {name}}}}}");
        let routes = |separator: &str| format!("routes: [{}]", vec![route.as_str(); 1000].join(separator));
        assert!(RouteFile::yaml(&routes(", ")).is_none());
        assert_eq!(RouteFile::yaml(&routes(",\n ")).unwrap().0.specs().count(), 1000);
    }
    let long = format!("routes: [{{name: a, to: c, match: {{x: {}}}}}]", "\u{e9}".repeat(1 << 16));
    assert_eq!(RouteFile::yaml(&long).unwrap().0.specs().count(), 1);
}

#[test]
fn what_is_not_plain_is_kept_as_text() {
    for route in [
        "x",
        "[]",
        "{}",
        "{name: a}",
        "{to: c}",
        "{name: 7, to: c}",
        "{name: a, to: c, reply: {status: 200}}",
        "{name: a, to: c, unknown: 1}",
        "{name: a, name: b, to: c}",
        "{name: '${A}', to: c}",
        "{name: a, to: c, match: {x: '${A}'}}",
        "{name: a, to: c, match: {x: 1.5}}",
        "{name: a, to: c, match: {x: ['a*']}}",
        "{name: a, to: c, match: {x: 0x1F}}",
        "{name: a, to: c, match: {x: 007}}",
        "{name: a, to: c, match: {x: -0}}",
        "{name: a, to: c, match: {x: .inf}}",
        "{name: a, to: c, match: {x: 2026-11-30}}",
        "{name: a, to: c, match: {x: }}",
        "{name: a, to: c, match: {1: x}}",
        "{name: a, to: c, match: {x: {prefix: y}}}",
        "{name: a, to: c, match: {$or: [x]}}",
        "{name: a, to: c, fallback: d}",
        "{name: a, to: c, fallback: [d, c]}",
        "{name: a, to: c, precedence: 3000000000}",
    ] {
        let text = format!("routes: [{route}]");
        let (file, _) = RouteFile::yaml(&text).unwrap();
        assert_eq!(names(&file), [None], "{route}");
    }
    for (value, expected) in
        [("10.0.0.0/8", "10.0.0.0/8"), ("yes", "yes"), ("'7'", "7"), ("-y", "-y"), ("7 days", "7 days")]
    {
        let text = format!("routes: [{{name: a, to: c, match: {{x: {value}}}}}]");
        let file = RouteFile::yaml(&text).unwrap().0;
        let Some(Value::List(items)) = file.spec(0).unwrap().pattern.get("x") else { panic!("{value}") };
        assert_eq!(items, &[Value::String(expected.into())]);
    }
}

#[test]
fn lines_are_routes() {
    let text = "{\"name\": \"a\", \"to\": \"c\", \"match\": {\"x\": [\"\\u00e9\\\"\", -7, true, null, {\"numeric\": [\">=\", 7]}]}}\n\n\
                {\"name\": \"b\", \"to\": 1}\n{\"name\": \"b\"\n{\"name\": \"d\", \"to\": \"c\"} x\n  {\"to\":\"d\",\"name\":\"e\"}  ";
    let file = RouteFile::lines(text).unwrap();
    assert_eq!(names(&file), [Some("a"), None, None, None, Some("e")]);
    let (place, written) = file.written(3).unwrap();
    assert_eq!((place.line, place.column, written), (4, 0, "{\"name\": \"d\", \"to\": \"c\"} x"));
    let Some(Value::List(items)) = file.spec(0).unwrap().pattern.get("x") else { panic!() };
    assert_eq!(items.first(), Some(&Value::String("é\"".into())));
    assert_eq!(items.len(), 5);
    assert_eq!(file.clusters(), ["c", "d"]);
    assert!(
        names_differ(&[&file], ["x"]) && !names_differ(&[&file], ["e"]) && !names_differ(&[&file, &file], [])
    );
}
