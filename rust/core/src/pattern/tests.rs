use super::*;

/// Converts a JSON value to a pattern's value.
pub(crate) fn convert(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => Value::Number(n.to_string()),
        serde_json::Value::String(s) => Value::String(s.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(convert).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.iter().map(|(k, v)| (k.clone(), convert(v))).collect())
        }
    }
}

/// Parses JSON with the reference parser.
pub(crate) fn value(json: &str) -> Value {
    convert(&serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

fn problems(json: &str) -> Vec<String> {
    match Pattern::parse(&value(json)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Whether the only predicate of `{"f": [predicate]}` matches a JSON scalar.
fn holds(predicate: &str, scalar: &str) -> bool {
    let pattern = Pattern::parse(&value(&format!(r#"{{"f": [{predicate}]}}"#))).unwrap();
    let seen = match value(scalar) {
        Value::Null => Seen::Null,
        Value::Bool(b) => Seen::Bool(b),
        Value::Number(n) => Seen::Number(Decimal::parse(&n).unwrap()),
        Value::String(s) => Seen::String(s.into()),
        other => panic!("{other:?} is no scalar"),
    };
    pattern.fields().next().unwrap().tests[0].matches(&seen)
}

#[test]
fn predicates() {
    for (predicate, yes, no) in [
        (r#""x""#, &[r#""x""#][..], &[r#""X""#, r#""xx""#, "1"][..]),
        ("7", &["7", "7.0", "70e-1"], &[r#""7""#, "7.1", "true"]),
        ("true", &["true"], &["false", r#""true""#, "1"]),
        ("null", &["null"], &["false", r#""null""#, "0", r#""""#]),
        (r#"{"prefix": "ab"}"#, &[r#""ab""#, r#""abc""#], &[r#""a""#, r#""Ab""#, "1"]),
        (r#"{"prefix": ""}"#, &[r#""""#, r#""x""#], &["1", "null"]),
        (r#"{"prefix": {"equals-ignore-case": "ab"}}"#, &[r#""AB""#, r#""abC""#], &[r#""a""#]),
        (r#"{"suffix": ".eu"}"#, &[r#""x.eu""#], &[r#""x.eu.""#]),
        (r#"{"suffix": {"equals-ignore-case": ".EU"}}"#, &[r#""x.eu""#], &[r#""x.e""#]),
        (r#"{"equals-ignore-case": "Llama"}"#, &[r#""lLAMA""#], &[r#""llama3""#]),
        (r#"{"wildcard": "a*c"}"#, &[r#""abc""#, r#""ac""#], &[r#""ab""#]),
        (r#"{"anything-but": "a"}"#, &[r#""b""#, "1", "null", "true"], &[r#""a""#]),
        (
            r#"{"anything-but": ["a", 1, null, true]}"#,
            &[r#""b""#, "2", "false"],
            &[r#""a""#, "1.0", "null", "true"],
        ),
        (r#"{"anything-but": {"prefix": "a"}}"#, &[r#""b""#, "1"], &[r#""ab""#]),
        (r#"{"anything-but": {"prefix": ["a", "b"]}}"#, &[r#""c""#], &[r#""ab""#, r#""b""#]),
        (r#"{"anything-but": {"suffix": "a"}}"#, &[r#""ab""#], &[r#""ba""#]),
        (r#"{"anything-but": {"equals-ignore-case": ["A"]}}"#, &[r#""b""#], &[r#""a""#]),
        (r#"{"anything-but": {"wildcard": "a*b"}}"#, &[r#""a""#, "1"], &[r#""ab""#]),
        (r#"{"numeric": [">", 0, "<=", 5]}"#, &["5", "0.1", "1e-9"], &["0", "5.01", r#""3""#]),
        (r#"{"numeric": ["=", 3.018e2]}"#, &["301.8"], &["301.80001"]),
        (
            r#"{"numeric": [">", 9007199254740992]}"#,
            &["9007199254740993", "1e999999999"],
            &["9007199254740992"],
        ),
        (r#"{"numeric": ["<", -1]}"#, &["-1.5"], &["-1", "0"]),
        (
            r#"{"cidr": "10.0.0.0/8"}"#,
            &[r#""10.1.2.3""#],
            &[r#""11.0.0.1""#, r#""010.0.0.1""#, r#""::ffff:10.0.0.1""#, r#""10.0.0.1 ""#],
        ),
        (r#"{"cidr": "10.1.2.3/8"}"#, &[r#""10.255.0.1""#], &[r#""9.1.2.3""#]),
        (r#"{"cidr": "0.0.0.0/0"}"#, &[r#""255.255.255.255""#], &[r#""::""#, r#""x""#]),
        (
            r#"{"cidr": "2001:db8::/32"}"#,
            &[r#""2001:db8::1""#],
            &[r#""2001:db9::1""#, r#""fe80::1%eth0""#, "1"],
        ),
        (r#"{"cidr": "::ffff:0:0/96"}"#, &[r#""::ffff:10.0.0.1""#], &[r#""10.0.0.1""#]),
        (r#"{"exists": true}"#, &["null", "1", r#""""#], &[]),
        (r#"{"exists": false}"#, &[], &["null", "1"]),
        (r#"{"regex": "a|bc"}"#, &[r#""a""#, r#""bc""#], &[r#""ac""#, r#""abc""#, r#""xa""#, "1"]),
        (r#"{"regex": "(?i)llama-\\d+"}"#, &[r#""LLAMA-38""#], &[r#""llama-""#, r#""llama-3\n""#]),
        (r#"{"regex": ""}"#, &[r#""""#], &[r#""x""#]),
    ] {
        for scalar in yes {
            assert!(holds(predicate, scalar), "{predicate} matches {scalar}");
        }
        for scalar in no {
            assert!(!holds(predicate, scalar), "{predicate} does not match {scalar}");
        }
    }
}

#[test]
fn errors_name_the_place_and_what_is_allowed() {
    for (json, path, message) in [
        ("[]", "", "a pattern is a mapping"),
        (r#"{"a": []}"#, "a: ", "an empty list matches nothing"),
        (r#"{"a": {}}"#, "a: ", "an empty mapping"),
        (r#"{"a": [["x"]]}"#, "a[0]: ", "a list inside a list"),
        (r#"{"a": [{}]}"#, "a[0]: ", "exactly one key"),
        (r#"{"a": [{"prefix": "a", "suffix": "b"}]}"#, "a[0]: ", "exactly one key, this one has 2"),
        (
            r#"{"a": [{"prefx": "a"}]}"#,
            "a[0].prefx: ",
            "unknown predicate `prefx`; did you mean `prefix`? Allowed: prefix",
        ),
        (r#"{"a": [{"prefix": 1}]}"#, "a[0].prefix: ", "takes a string, not a number"),
        (r#"{"a": [{"prefix": {"wildcard": "x"}}]}"#, "a[0].prefix: ", "equals-ignore-case"),
        (r#"{"a": {"b": [1, {"wildcard": "x**"}]}}"#, "a.b[1].wildcard: ", "`**`"),
        (r#"{"a": [{"exists": "yes"}]}"#, "a[0].exists: ", "true or false"),
        (r#"{"a": [{"numeric": 5}]}"#, "a[0].numeric: ", "an operator and a number"),
        (r#"{"a": [{"numeric": []}]}"#, "a[0].numeric: ", "an operator and a number"),
        (r#"{"a": [{"numeric": [">", 1, "<"]}]}"#, "a[0].numeric: ", "an operator and a number"),
        (r#"{"a": [{"numeric": ["!=", 5]}]}"#, "a[0].numeric[0]: ", "one of \"=\""),
        (r#"{"a": [{"numeric": [">", "5"]}]}"#, "a[0].numeric[1]: ", "a number, not a string"),
        (r#"{"a": [{"numeric": ["<", 5, ">", 1]}]}"#, "a[0].numeric: ", "the first of two bounds must be"),
        (r#"{"a": [{"numeric": ["=", 5, "<", 9]}]}"#, "a[0].numeric: ", "the first of two bounds must be"),
        (r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#, "a[0].numeric: ", "the lower bound 5 must be less"),
        (r#"{"a": [1e9999999999999999999]}"#, "a[0]: ", "exponent"),
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, "a[0].cidr: ", "a slash and a prefix length"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "a[0].cidr: ", "not an address block"),
        (r#"{"a": [{"cidr": "010.0.0.0/8"}]}"#, "a[0].cidr: ", "not an address block"),
        (r#"{"a": [{"cidr": "10.0.0.0/08"}]}"#, "a[0].cidr: ", "not an address block"),
        (r#"{"a": [{"regex": "("}]}"#, "a[0].regex: ", "unclosed group"),
        (r#"{"a": [{"regex": "a)(b"}]}"#, "a[0].regex: ", "unopened group"),
        (r#"{"a": [{"regex": "((a{1000}){1000}){1000}"}]}"#, "a[0].regex: ", "smaller repetitions"),
        (r#"{"a": [{"anything-but": []}]}"#, "a[0].anything-but: ", "excludes nothing"),
        (r#"{"a": [{"anything-but": {"prefix": []}}]}"#, "a[0].anything-but.prefix: ", "excludes nothing"),
        (
            r#"{"a": [{"anything-but": {"prefix": ["x", ""]}}]}"#,
            "a[0].anything-but.prefix[1]: ",
            "an empty prefix",
        ),
        (r#"{"a": [{"anything-but": {"suffix": ""}}]}"#, "a[0].anything-but.suffix: ", "an empty suffix"),
        (
            r#"{"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}"#,
            "a[0].anything-but.cidr: ",
            "unknown predicate `cidr`",
        ),
        (
            r#"{"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}"#,
            "a[0].anything-but.prefix: ",
            "takes a string",
        ),
        (r#"{"a": [{"anything-but": [["x"]]}]}"#, "a[0].anything-but[0]: ", "not a list"),
        (r#"{"a": {"prefix": "llama"}}"#, "a.prefix: ", "write a: [{prefix: …}]"),
        (r#"{"a": {"anything-but": {"prefix": "x"}}}"#, "a.anything-but: ", "write a: [{anything-but: …}]"),
        (r#"{"a": {"anything-but": ["x"]}}"#, "a.anything-but: ", "write a: [{anything-but: …}]"),
        (r#"{"a": {"numeric": [">", 5]}}"#, "a.numeric: ", "write a: [{numeric: …}]"),
        (r#"{"$or": {"a": [1]}}"#, "$or: ", "takes a list of patterns"),
        (r#"{"$or": []}"#, "$or: ", "at least one pattern"),
        (r#"{"$or": [1]}"#, "$or[0]: ", "takes a list of patterns"),
        (r#"{"$or": [{"a": [1]}, {}]}"#, "$or[1]: ", "matches everything"),
        (r#"{"x": {"$or": [{"a": []}]}}"#, "x.$or[0].a: ", "an empty list"),
    ] {
        let problems = problems(json);
        assert_eq!(problems.len(), 1, "{json}: {problems:?}");
        assert!(problems[0].starts_with(path) && problems[0].contains(message), "{json}: {problems:?}");
    }
}

#[test]
fn every_problem_is_reported() {
    assert_eq!(problems(r#"{"a": [], "b": [{"prefix": 1}, {"cidr": "x"}], "$or": [{"c": {}}]}"#).len(), 4);
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    assert!(problems(&deep)[0].contains("nested more than 64 levels deep"));
}

#[test]
fn a_scalar_is_a_list_of_one_and_paths_pass_through_or() {
    let pattern =
        Pattern::parse(&value(r#"{"a": 1, "b": {"$or": [{"c": ["x"]}, {"d.e": ["y"]}]}}"#)).unwrap();
    let paths: Vec<String> = pattern.fields().map(|f| format_keys(&f.path)).collect();
    assert_eq!(paths, ["a", "b.c", r#"b."d.e""#]);
    assert_eq!(Pattern::parse(&value(r#"{"a": [1]}"#)).unwrap().root[0], {
        let Node::Field(mut field) = pattern.root[0].clone() else { panic!("a field") };
        field.tests =
            vec![Predicate::Equals(Scalar::Number(Box::new((Decimal::parse("1").unwrap(), "1".into()))))];
        Node::Field(field)
    });
}

/// `value`, in which each string `?` is unknown.
fn draft(value: Value) -> Value {
    match value {
        Value::String(text) if text == "?" => Value::Unknown,
        Value::List(items) => Value::List(items.into_iter().map(draft).collect()),
        Value::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, each)| (key, draft(each))).collect())
        }
        other => other,
    }
}

#[test]
fn what_is_unknown_has_no_problem_and_hides_none_beside_it() {
    for (json, expected) in [
        (r#""?""#, &[][..]),
        (r#"{"a": "?", "b": ["?"], "$or": "?"}"#, &[]),
        (r#"{"$or": ["?", {"a": []}, 3]}"#, &["$or[1].a", "$or[2]"]),
        (r#"{"a": ["?", {"prefix": "?"}, {"prefix": 1}, {"exists": "?"}]}"#, &["a[2].prefix"]),
        (r#"{"a": [{"numeric": "?"}, {"numeric": ["?", "x"]}]}"#, &["a[1].numeric[1]"]),
        (
            r#"{"a": [{"anything-but": ["?", []]}, {"anything-but": {"suffix": ["?", ""]}}]}"#,
            &["a[0].anything-but[1]", "a[1].anything-but.suffix[1]"],
        ),
        (
            r#"{"a": [{"suffix": {"equals-ignore-case": "?"}}, {"cidr": "?"}, {"regex": "?"}, {"wildcard": "?"}]}"#,
            &[],
        ),
        (r#"{"a": [{"prefix": "?", "sufix": 1}]}"#, &["a[0]", "a[0].sufix"]),
    ] {
        let (_, problems) = Pattern::parse_partly(&draft(value(json)));
        let paths: Vec<String> =
            problems.iter().map(|p| p.to_string().split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(paths, expected, "{json}");
    }
}

#[test]
fn a_field_with_something_unknown_may_be_anything() {
    let (pattern, _) = Pattern::parse_partly(&draft(value(r#"{"a": ["x", "?"]}"#)));
    let tests = &pattern.fields().next().unwrap().tests;
    assert!(tests.iter().any(|test| test.matches(&Seen::String("y".into()))));
    assert!(tests.iter().any(Predicate::wants_absence));
}
