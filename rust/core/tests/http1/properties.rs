//! What holds for every response, however it is cut into pieces, and for bytes that are none.

// clippy.toml allows these in tests; the helpers of an integration test do not count as one.

use proptest::prelude::*;
use waypost_core::http1::{Error, ErrorKind, Fields, ResponseEnd, ResponseHead, ResponseReader};

const MAX_HEAD: usize = 2048;

#[derive(Debug, Clone, PartialEq)]
struct Read {
    head: Option<ResponseHead>,
    body: Vec<u8>,
    end: Option<ResponseEnd>,
}

/// Feed `wire` cut at `cuts`, and stop at the end of the response, as a caller does.
fn read(method: &str, wire: &[u8], cuts: &[usize]) -> Result<Read, Error> {
    let mut reader = ResponseReader::new(method, MAX_HEAD);
    let mut read = Read { head: None, body: Vec::new(), end: None };
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).chain([0, wire.len()]).collect();
    cuts.sort_unstable();
    for piece in cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]) {
        let progress = reader.feed(piece)?;
        assert!(progress.body.len() <= piece.len(), "a body has no more bytes than were fed");
        read.body.extend_from_slice(&progress.body);
        read.head = read.head.or(progress.head);
        if progress.end.is_some() {
            read.end = progress.end;
            break;
        }
    }
    Ok(read)
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<(Vec<u8>, String)>, Vec<(String, String)>),
    Close(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Response {
    interim: usize,
    version: u8,
    status: u16,
    fields: Vec<(String, String)>,
    connection: Option<&'static str>,
    body: Body,
}

fn encode(chunks: &[(Vec<u8>, String)], trailers: &[(String, String)]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (data, extension) in chunks {
        wire.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
        wire.extend_from_slice(data);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        wire.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire
}

impl Response {
    fn wire(&self) -> Vec<u8> {
        let mut wire = "HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n".repeat(self.interim).into_bytes();
        let mut line = |text: &str| wire.extend_from_slice(format!("{text}\r\n").as_bytes());
        line(&format!("HTTP/1.{} {} Some phrase", self.version, self.status));
        for (name, value) in &self.fields {
            line(&format!("{name}:{value}"));
        }
        if let Some(options) = self.connection {
            line(&format!("Connection: {options}"));
        }
        match &self.body {
            Body::None => line(""),
            Body::Length(body) => {
                line(&format!("Content-Length: {}\r\n", body.len()));
                wire.extend_from_slice(body);
            }
            Body::Chunked(chunks, trailers) => {
                line("Transfer-Encoding: chunked\r\n");
                wire.extend_from_slice(&encode(chunks, trailers));
            }
            Body::Close(body) => {
                line("");
                wire.extend_from_slice(body);
            }
        }
        wire
    }

    fn expected(&self) -> Read {
        let normal = |fields: &[(String, String)]| -> Fields {
            let normal = |(name, value): &(String, String)| {
                (name.trim_end().to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
            };
            fields.iter().map(normal).collect()
        };
        let mut headers = normal(&self.fields);
        let (body, trailers) = match &self.body {
            Body::None => (vec![], Fields::default()),
            Body::Length(body) => {
                headers.push(b"content-length", body.len().to_string().as_bytes());
                (body.clone(), Fields::default())
            }
            Body::Chunked(chunks, trailers) => {
                (chunks.iter().flat_map(|(data, _)| data.clone()).collect(), normal(trailers))
            }
            Body::Close(body) => (body.clone(), Fields::default()),
        };
        let options = self.connection.unwrap_or("");
        let reusable = !options.contains("close") && (self.version == 1 || options.contains("keep-alive"));
        let end = (!matches!(self.body, Body::Close(_))).then_some(ResponseEnd {
            reusable,
            trailers,
            empty: false,
        });
        Read { head: Some(ResponseHead { status: self.status, headers }), body, end }
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(
        (
            // RFC 9112, section 5.1: a proxy removes the space between a name and its colon in a response.
            "[xX]-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,8}[ \t]{0,2}",
            "[ \t]{0,2}([!-~]([ -~\u{a1}-\u{ff}]{0,8}[!-~])?)?[ \t]{0,2}",
        ),
        0..6,
    )
}

type Chunks = (Vec<(Vec<u8>, String)>, Vec<(String, String)>);

/// Chunks with their extensions, and trailers.
fn chunks() -> impl Strategy<Value = Chunks> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), "( ?;[a-z]{0,4}(=\"[ -~]{0,8}\")?)?");
    (prop::collection::vec(chunk, 0..5), fields())
}

fn chunked() -> impl Strategy<Value = Vec<u8>> {
    chunks().prop_map(|(chunks, trailers)| encode(&chunks, &trailers))
}

fn response() -> impl Strategy<Value = Response> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let body = prop_oneof![
        1 => Just(Body::None),
        2 => bytes().prop_map(Body::Length),
        4 => chunks().prop_map(|(chunks, trailers)| Body::Chunked(chunks, trailers)),
        1 => bytes().prop_map(Body::Close),
    ];
    let connection =
        prop::sample::select(vec![None, Some("close"), Some("keep-alive"), Some("Y-Hop, keep-alive")]);
    (0..3_usize, 0..=1_u8, 200..=599_u16, fields(), connection, body).prop_map(
        |(interim, version, status, fields, connection, body)| {
            let version = if matches!(body, Body::Chunked(..)) { 1 } else { version };
            let status = match body {
                Body::None => 204,
                _ if status == 204 || status == 304 => 200,
                _ => status,
            };
            Response { interim, version, status, fields, connection, body }
        },
    )
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    damage(response().prop_map(|response| response.wire()))
}

/// A few bytes changed, removed or doubled, in favour of those that mean something.
fn damage(wire: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"\r\n :;,0123456789abcdefxgCT\t\0-+".to_vec()),
        1 => any::<u8>(),
    ];
    let change = (any::<prop::sample::Index>(), 0..4_u8, byte);
    (wire, prop::collection::vec(change, 0..4)).prop_map(|(mut wire, changes)| {
        for (index, how, byte) in changes {
            let at = index.index(wire.len());
            match how {
                0 => wire[at] = byte,
                1 => wire.insert(at, byte),
                2 => drop(wire.remove(at)),
                _ => wire.insert(at, wire[at]),
            }
            if wire.is_empty() {
                wire.push(byte);
            }
        }
        wire
    })
}

/// The body of a complete chunked message and the length of all of it, by splitting the whole at once.
fn dechunk(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = |from: usize| -> Option<(&[u8], usize)> {
        let length = wire[from..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &wire[from..from + length];
        (!line.contains(&b'\n') && !line.contains(&b'\r')).then_some((line, from + length + 2))
    };
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (size, next) = line(at)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = size.split_at(digits);
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok().filter(|_| digits <= 16)?;
        let begins = extension.trim_ascii_start().first();
        let control = extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        if control || !extension.is_empty() && begins != Some(&b';') {
            return None;
        }
        at = next;
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(wire.get(at..end)?);
        at = (wire.get(end..end + 2)? == b"\r\n").then_some(end + 2)?;
    }
    loop {
        let (field, next) = line(at)?;
        at = next;
        if field.is_empty() {
            return Some((body, at));
        }
        let colon = field.iter().position(|&byte| byte == b':')?;
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let control = field.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let name = field[..colon].trim_ascii_end();
        if control || name.is_empty() || field.starts_with(b" ") || !name.iter().all(token) {
            return None;
        }
    }
}

fn kind(result: Result<Read, Error>) -> Result<Read, ErrorKind> {
    result.map_err(|error| error.kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_valid_response_reads_as_it_was_made_in_any_split(
        response in response(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let wire = response.wire();
        let expected = Ok(response.expected());
        prop_assert_eq!(&read("GET", &wire, &[]), &expected);
        prop_assert_eq!(&read("GET", &wire, &cuts), &expected);
        let every: Vec<usize> = (0..wire.len()).collect();
        prop_assert_eq!(&read("GET", &wire, &every), &expected);
    }

    #[test]
    fn damage_is_judged_alike_in_any_split(
        wire in damaged(),
        method in prop::sample::select(vec!["GET", "HEAD"]),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = kind(read(method, &wire, &[]));
        let every: Vec<usize> = (0..wire.len()).collect();
        for cuts in [cuts, every] {
            let mut split = kind(read(method, &wire, &cuts));
            // An end that was reached before the fault stands, and so does one that more bytes were found behind.
            if let (Ok(Read { end: Some(whole), .. }), Ok(Read { end: Some(split), .. })) = (&whole, &mut split) {
                prop_assert!(split.reusable || !whole.reusable);
                split.reusable = whole.reusable;
            }
            prop_assert_eq!(&split, &whole);
        }
    }

    /// Whatever is accepted, `httparse` reads in the same way: strictness only ever takes away.
    #[test]
    fn accepted_heads_are_what_another_parser_reads(wire in damaged()) {
        let Ok(Read { head: Some(head), .. }) = read("GET", &wire, &[]) else { return Ok(()) };
        let mut rest = &wire[..];
        loop {
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut parsed = httparse::Response::new(&mut slots);
            // RFC 9112, section 5.1: a proxy removes the space between a name and its colon in a response.
            let mut config = httparse::ParserConfig::default();
            config.allow_spaces_after_header_name_in_responses(true);
            let Ok(httparse::Status::Complete(length)) = config.parse_response(&mut parsed, rest) else {
                return Err(TestCaseError::fail("accepted what httparse does not"));
            };
            rest = &rest[length..];
            if parsed.code.is_some_and(|code| code < 200) {
                continue;
            }
            prop_assert_eq!(parsed.code, Some(head.status));
            let mut theirs = parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase().into_bytes(), field.value));
            for (name, value) in &head.headers {
                let same = theirs.any(|(their_name, their_value)| {
                    their_name == name && (their_value == value || name == b"content-length")
                });
                prop_assert!(same, "{}", name.escape_ascii());
            }
            break;
        }
    }

    /// A chunked body ends where a decoder that has all of it at once says so, and has the same bytes.
    #[test]
    fn chunked_bodies_end_where_a_second_decoder_ends_them(body in damage(chunked())) {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let ours = read("GET", &[&head[..], &body].concat(), &[]).ok();
        let ours = ours.and_then(|read| read.end.map(|end| (read.body, end.reusable)));
        let theirs = dechunk(&body).map(|(decoded, length)| (decoded, length == body.len()));
        prop_assert_eq!(ours, theirs, "{}", body.escape_ascii());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_an_error_stays(
        start in prop::sample::select(vec![
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        ]),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
    ) {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        prop_assert!(reader.feed(start.as_bytes()).is_ok());
        let mut first: Option<Error> = None;
        for piece in &pieces {
            let result = reader.feed(piece).map(drop);
            match (&first, result) {
                (None, Err(error)) => first = Some(error),
                (Some(first), result) => prop_assert_eq!(result.as_ref(), Err(first)),
                (None, Ok(())) => {}
            }
        }
        let closed = reader.eof();
        prop_assert_eq!(closed.clone().err(), reader.eof().err().filter(|_| closed.is_err()));
        if let Some(first) = first {
            prop_assert_eq!(closed, Err(first));
        }
    }
}
