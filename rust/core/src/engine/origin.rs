//! Determines the origin of a request, from its connection and from the forwarding fields of trusted proxies.
//!
//! 1. Only a trusted peer is believed. From any other peer, `x-forwarded-*` and `forwarded` are dropped unread.
//! 2. `x-forwarded-for`, or without it `forwarded` (RFC 7239), lists the hops of the request, the client first. The list is
//!    read from its end, which the peer wrote. The client is the first address that is not a trusted proxy; entries before
//!    it are only the client's claim.
//! 3. If the entry found is not an address (RFC 7239, section 6.3), the client is unknown.
//! 4. If both fields are present, they must lead to the same client. Otherwise, behind a proxy that writes one field and
//!    passes the other through, clients could choose their address. A `forwarded` that cannot be parsed is an error too.
//! 5. Scheme and host are read from the same family of fields as the hops.
//! 6. Other fields that claim who the client is ([`claim`]) are dropped as well, unless a trusted peer sent them. An address
//!    that such a field names has to be that of the client or of a proxy behind it, if the peer listed the hops: proxies pass
//!    on what they do not write.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::claims::{Claim, claim};
use super::intake::Request;
use crate::http1::is_host;

/// The trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Address blocks of trusted proxies.
    pub blocks: Vec<IpNet>,
    /// Whether peers on a Unix domain socket, which have no address, are trusted.
    pub unix: bool,
}

impl Trusted {
    fn holds(&self, address: IpAddr) -> bool {
        self.blocks.iter().any(|block| block.contains(&address))
    }

    fn holds_peer(&self, peer: Option<&str>) -> bool {
        match peer {
            None => self.unix,
            Some(_) if self.blocks.is_empty() => false,
            Some(peer) => address(peer).is_some_and(|address| self.holds(address)),
        }
    }
}

/// The origin of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The client's address, if known.
    pub(super) client: Option<Arc<str>>,
    /// The information of a trusted proxy, if the peer is one.
    pub(super) told: Option<Told>,
}

/// The information of a trusted proxy about a request, for the endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Whether `x-forwarded-*` are believed, not only `forwarded`.
    pub(super) by_x: bool,
    /// The client's scheme, `http` or `https`.
    pub(super) scheme: Option<&'static str>,
    /// The host that the client asked for.
    pub(super) host: Option<Vec<u8>>,
    /// The hops of the request including the peer, for `x-forwarded-for`.
    pub(super) way: String,
    /// The value of `forwarded` including the peer, if a proxy sent the field.
    pub(super) forwarded: Option<String>,
    /// The addresses that the request came by: the client's, those of the proxies behind it, the peer's. Empty if no proxy
    /// listed hops.
    passed: Vec<IpAddr>,
}

/// One hop of `forwarded`.
#[derive(Debug, Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<Vec<u8>>,
}

impl Origin {
    /// Determines the origin of a request.
    ///
    /// # Errors
    /// The forwarding fields of a trusted proxy are malformed or contradictory.
    pub(super) fn of(request: &Request, trusted: &Trusted) -> Result<Self, &'static str> {
        let peer = request.client.as_deref();
        let own = request.client.as_ref().map(plain);
        if !trusted.holds_peer(peer) {
            return Ok(Self { client: own, told: None });
        }
        let listed = joined(request, "x-forwarded-for");
        let forwarded = joined(request, "forwarded");
        let hops = match &forwarded {
            None => Vec::new(),
            Some(text) => parse_forwarded(text).ok_or(
                "the `forwarded` field cannot be read (RFC 7239): the proxy in front must write it or remove it",
            )?,
        };
        let by_x = listed.is_some() || forwarded.is_none();
        let way: Vec<Option<IpAddr>> = match &listed {
            Some(listed) => elements(listed).map(node).collect(),
            None => hops.iter().map(|hop| hop.address).collect(),
        };
        let at = trusted.client(&way);
        if listed.is_some() && forwarded.is_some() {
            let other: Vec<Option<IpAddr>> = hops.iter().map(|hop| hop.address).collect();
            let client = |way: &[Option<IpAddr>]| trusted.client(way).and_then(|at| way.get(at).copied());
            if client(&way) != client(&other) {
                return Err(
                    "`x-forwarded-for` and `forwarded` name different clients: the proxy in front must write \
                     both, or remove the one that it does not write",
                );
            }
        }
        let client = match at {
            None => own.clone(),
            Some(at) => way.get(at).copied().flatten().map(|address| address.to_string().into()),
        };
        let mut told = Told { by_x, way: String::new(), ..Told::default() };
        if let Some(at) = at {
            told.passed = way.get(at..).unwrap_or_default().iter().copied().flatten().collect();
            told.passed.extend(peer.and_then(address));
        }
        if by_x {
            told.scheme = last(request, "x-forwarded-proto").and_then(|value| scheme(&value));
            told.host =
                last(request, "x-forwarded-host").map(String::into_bytes).filter(|host| is_host(host));
            told.way = listed.unwrap_or_default();
        } else {
            for hop in &hops {
                let text = hop.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
                append(&mut told.way, &text);
            }
            if let Some(hop) = at.and_then(|at| hops.into_iter().nth(at)) {
                (told.scheme, told.host) = (hop.scheme, hop.host);
            }
        }
        if let Some(own) = &own {
            append(&mut told.way, own);
        }
        told.forwarded = forwarded.map(|mut text| {
            append(&mut text, &for_peer(own.as_deref()));
            text
        });
        Ok(Self { client, told: Some(told) })
    }

    /// Whether a field of the request claims where the request came from, and is not believed.
    pub(super) fn disbelieves(&self, name: &[u8], value: &[u8]) -> bool {
        let told = self.told.as_ref();
        if is_x_forwarded(name) {
            // Proxies write these names with dashes. An endpoint that uses CGI or WSGI would treat `_` as a dash.
            return !told.is_some_and(|told| told.by_x) || name.contains(&b'_');
        }
        match claim(name) {
            None => name.eq_ignore_ascii_case(b"forwarded") && told.is_none(),
            Some(kind) => !told.is_some_and(|told| !name.contains(&b'_') && told.bears_out(kind, value)),
        }
    }
}

impl Told {
    /// Whether what a trusted proxy said about the hops agrees with a claim that it sent or passed on.
    fn bears_out(&self, claim: Claim, value: &[u8]) -> bool {
        let named = || std::str::from_utf8(value).ok().and_then(node);
        claim != Claim::Address
            || self.passed.is_empty()
            || named().is_some_and(|address| self.passed.contains(&address))
    }
}

impl Trusted {
    /// The position of the client among the hops; `None` without hops, in which case the peer is the client.
    fn client(&self, way: &[Option<IpAddr>]) -> Option<usize> {
        let stranger = |hop: &Option<IpAddr>| !hop.is_some_and(|address| self.holds(address));
        way.iter().rposition(stranger).or((!way.is_empty()).then_some(0))
    }
}

/// Whether a field is one of `x-forwarded-*`. As for endpoints that use CGI or WSGI, `_` equals `-`.
pub(super) fn is_x_forwarded(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.get(..PREFIX.len()).is_some_and(|start| start.iter().map(dashed).eq(PREFIX.iter().copied()))
}

/// Parses an address. IPv4 mapped to IPv6 by a dual-stack socket becomes IPv4, and the local zone is dropped.
fn address(text: &str) -> Option<IpAddr> {
    let (text, _) = text.split_once('%').unwrap_or((text, ""));
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A peer's address in its canonical form. Test clients have names, which stay unchanged.
fn plain(peer: &Arc<str>) -> Arc<str> {
    // Nearly every address is canonical already.
    let other = peer.contains(['%', ':']).then(|| address(peer)).flatten();
    other.map_or_else(|| Arc::clone(peer), |address| address.to_string().into())
}

/// Parses an address as proxies list it: with an optional port, and IPv6 in brackets then. `None` for anything else.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let with_port = || text.parse().ok().map(|at: SocketAddr| at.ip().to_canonical());
    address(bare.unwrap_or(text)).or_else(with_port)
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

/// All values of a field as one list (RFC 9110, section 5.3), with `?` for bytes that are not ASCII; `None` without the field.
fn joined(request: &Request, name: &str) -> Option<String> {
    let mut out: Option<String> = None;
    for value in request.fields(name) {
        let out = out.get_or_insert_default();
        append(
            out,
            &value
                .iter()
                .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' })
                .collect::<String>(),
        );
    }
    out
}

fn append(list: &mut String, element: &str) {
    if !list.is_empty() && !element.is_empty() {
        list.push_str(", ");
    }
    list.push_str(element);
}

/// The elements of a list, without empty ones (RFC 9110, section 5.6.1).
fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim_ascii).filter(|element| !element.is_empty())
}

/// The last element of a field that is a list by convention. The nearest proxy wrote it.
fn last(request: &Request, name: &str) -> Option<String> {
    joined(request, name).and_then(|list| elements(&list).last().map(str::to_owned))
}

/// The `for=…` parameter of a peer.
fn for_peer(peer: Option<&str>) -> String {
    let mut out = String::from("for=");
    // Writing to a String cannot fail.
    let _ = match peer {
        Some(peer) if peer.contains(':') => write!(out, "\"[{peer}]\""),
        Some(peer) => write!(out, "{peer}"),
        None => write!(out, "unknown"),
    };
    out
}

/// Parses the hops of `forwarded` (RFC 7239, section 4); `None` if it is malformed.
fn parse_forwarded(text: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut hop: Option<Hop> = None;
    let mut rest = text.trim_ascii();
    loop {
        let (name, after) = token(rest);
        if !name.is_empty() {
            let (value, after) = quoted_or_token(after.strip_prefix('=')?)?;
            let hop = hop.get_or_insert_default();
            if name.eq_ignore_ascii_case("for") {
                hop.address = node(&value);
            } else if name.eq_ignore_ascii_case("proto") {
                hop.scheme = scheme(&value);
            } else if name.eq_ignore_ascii_case("host") {
                hop.host = Some(value.into_bytes()).filter(|host| is_host(host));
            }
            rest = after;
        }
        rest = rest.trim_ascii_start();
        match rest.as_bytes().first() {
            None | Some(b',') => hops.extend(hop.take()),
            Some(b';') => {}
            Some(_) => return None,
        }
        let Some(next) = rest.get(1..) else { return Some(hops) };
        rest = next.trim_ascii_start();
    }
}

/// Splits off a token (RFC 9110, section 5.6.2), possibly empty.
fn token(text: &str) -> (&str, &str) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits off a token or a quoted string (RFC 9110, section 5.6.4), which is unquoted. A value that should be quoted but is not
/// (an IPv6 address, or an address with a port) is accepted, because it is common and unambiguous.
fn quoted_or_token(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = inner.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, inner.get(at + 1..)?)),
            (_, '\\') => value.push(characters.next()?.1),
            (_, character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(client: Option<&str>, headers: &[(&str, &str)]) -> Result<Origin, &'static str> {
        let headers =
            headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let request = Request {
            method: "GET".into(),
            target: "/".to_owned(),
            headers: headers.collect(),
            client: client.map(Into::into),
            certificate: None,
            scheme: "http".into(),
            version: "1.1".into(),
        };
        let blocks = ["10.0.0.0/8", "2001:db8::/32"].map(|block| block.parse().unwrap());
        Origin::of(&request, &Trusted { blocks: blocks.to_vec(), unix: true })
    }

    fn client(client: Option<&str>, headers: &[(&str, &str)]) -> Option<String> {
        origin(client, headers).unwrap().client.map(|client| client.to_string())
    }

    #[test]
    fn strangers_are_not_believed() {
        for peer in ["192.0.2.7", "testclient", "11.0.0.1", "2001:db9::1"] {
            let found = origin(Some(peer), &[("x-forwarded-for", "6.6.6.6"), ("forwarded", "\"")]).unwrap();
            assert_eq!(found.client.as_deref(), Some(peer));
            assert!(found.told.is_none());
            for name in [
                &b"x-forwarded-for"[..],
                b"X_Forwarded_Port",
                b"Forwarded",
                b"x-real-ip",
                b"True_Client-IP",
                b"remote-user",
            ] {
                assert!(found.disbelieves(name, b"10.0.0.1"));
            }
            assert!(!found.disbelieves(b"x-forwarded", b"") && !found.disbelieves(b"x-tier", b""));
        }
    }

    #[test]
    fn a_claim_has_to_agree_with_the_hops() {
        let hops = ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2");
        for (headers, name, value, believed) in [
            (&[hops][..], "x-real-ip", "192.0.2.7", true),
            (&[hops], "X-Real-IP", "192.0.2.7:4711", true),
            (&[hops], "x-real-ip", "10.0.0.2", true),
            (&[hops], "x-real-ip", "10.0.0.1", true),
            (&[hops], "x_real_ip", "192.0.2.7", false),
            (&[hops], "x-real-ip", "6.6.6.6", false),
            (&[hops], "cf-connecting-ip", "6.6.6.6", false),
            (&[hops], "x-real-ip", "office", false),
            (&[hops], "client-cert", ":abc:", true),
            (&[hops], "client_cert", ":abc:", false),
            (&[("forwarded", "for=192.0.2.7")], "x-real-ip", "192.0.2.7", true),
            (&[("forwarded", "for=192.0.2.7")], "x-real-ip", "6.6.6.6", false),
            // A proxy that writes this field only.
            (&[], "x-real-ip", "192.0.2.7", true),
        ] {
            let found = origin(Some("10.0.0.1"), headers).unwrap();
            assert_eq!(!found.disbelieves(name.as_bytes(), value.as_bytes()), believed, "{name}: {value}");
        }
    }

    #[test]
    fn the_client_is_the_first_stranger_on_the_way_back() {
        for (listed, wanted) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("6.6.6.6, 192.0.2.7", Some("192.0.2.7")),
            ("6.6.6.6, 192.0.2.7, 10.0.0.3,10.0.0.2", Some("192.0.2.7")),
            ("rubbish, 192.0.2.7", Some("192.0.2.7")),
            ("10.0.0.9, 10.0.0.2", Some("10.0.0.9")),
            (", 192.0.2.7 ,, ", Some("192.0.2.7")),
            ("192.0.2.7:4711, 10.0.0.1:80", Some("192.0.2.7")),
            ("[2001:db9::1]:4711", Some("2001:db9::1")),
            ("[2001:db9::1]", Some("2001:db9::1")),
            ("2001:db9::1, 2001:db8::5", Some("2001:db9::1")),
            ("::ffff:192.0.2.7, ::ffff:10.0.0.5", Some("192.0.2.7")),
            ("unknown", None),
            ("192.0.2.7, unknown, 10.0.0.2", None),
            ("010.0.0.1", None),
            ("", Some("10.0.0.1")),
        ] {
            let found = client(Some("10.0.0.1"), &[("x-forwarded-for", listed)]);
            assert_eq!(found.as_deref(), wanted, "{listed}");
        }
        let several = [("X-Forwarded-For", "192.0.2.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(Some("::ffff:10.0.0.1"), &several).as_deref(), Some("192.0.2.7"));
        assert_eq!(client(None, &several).as_deref(), Some("192.0.2.7"));
        assert_eq!(client(None, &[]), None);
        assert_eq!(client(Some("10.0.0.1"), &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(client(Some("fe80::1%eth0"), &[]).as_deref(), Some("fe80::1"));
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (forwarded, wanted) in [
            ("for=192.0.2.7", Some("192.0.2.7")),
            ("For=\"[2001:db9::1]:4711\"", Some("2001:db9::1")),
            ("for=192.0.2.7;proto=https;by=203.0.113.43, for=10.0.0.2", Some("192.0.2.7")),
            ("proto=https ; for=\"192.0.2.7\" , for=10.0.0.2", Some("192.0.2.7")),
            ("for=6.6.6.6, for=\"192.0.2.7:80\"", Some("192.0.2.7")),
            ("for=192.0.2.7:80", Some("192.0.2.7")),
            ("for=\"\\1\\92.0.2.7\"", Some("192.0.2.7")),
            ("for=\"6.6.6.6, for=7.7.7.7\", for=192.0.2.7", Some("192.0.2.7")),
            (",for=192.0.2.7,;,", Some("192.0.2.7")),
            ("for=_hidden", None),
            ("for=unknown, for=10.0.0.2", None),
            ("proto=https", None),
            ("", Some("10.0.0.1")),
        ] {
            let found = client(Some("10.0.0.1"), &[("forwarded", forwarded)]);
            assert_eq!(found.as_deref(), wanted, "{forwarded}");
        }
        for wrong in
            ["for", "for=", "for=\"192.0.2.7", "for=\"1\"2", "for = 1", "192.0.2.7", "for=1 for=2", "\\", "="]
        {
            assert!(origin(Some("10.0.0.1"), &[("forwarded", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_stories_have_to_agree() {
        let both = |listed, forwarded| {
            origin(Some("10.0.0.1"), &[("x-forwarded-for", listed), ("forwarded", forwarded)])
                .map(|found| found.client)
        };
        assert_eq!(both("192.0.2.7, 10.0.0.2", "for=192.0.2.7"), Ok(Some("192.0.2.7".into())));
        assert_eq!(both("unknown", "for=_x"), Ok(None));
        for (listed, forwarded) in
            [("192.0.2.7", "for=6.6.6.6"), ("192.0.2.7", "for=_x"), ("192.0.2.7", ""), ("", "for=192.0.2.7")]
        {
            assert!(both(listed, forwarded).is_err(), "{listed} {forwarded}");
        }
    }

    #[test]
    fn an_endpoint_is_told_the_whole_way() {
        let told = |client, headers: &[_]| origin(client, headers).unwrap().told.unwrap();
        let found = told(
            Some("10.0.0.1"),
            &[
                ("x-forwarded-for", "192.0.2.7, 10.0.0.2"),
                ("x-forwarded-proto", "ftp, HTTPS"),
                ("x-forwarded-host", "a.example, b.example:8443"),
            ],
        );
        assert_eq!(found.way, "192.0.2.7, 10.0.0.2, 10.0.0.1");
        assert_eq!((found.scheme, found.host.as_deref()), (Some("https"), Some(&b"b.example:8443"[..])));
        assert_eq!(found.forwarded, None);

        let forwarded =
            "for=192.0.2.7;proto=https;host=a.example, for=_b;host=b.example, for=10.0.0.2;proto=http";
        let found = told(
            Some("2001:db8::9"),
            &[("forwarded", forwarded), ("x-forwarded-proto", "ftp"), ("x-forwarded-host", "evil.example")],
        );
        assert_eq!(found.way, "192.0.2.7, unknown, 10.0.0.2, 2001:db8::9");
        assert_eq!((found.scheme, found.host.as_deref()), (None, Some(&b"b.example"[..])));
        assert_eq!(found.forwarded.unwrap(), format!("{forwarded}, for=\"[2001:db8::9]\""));

        let found = told(None, &[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b")]);
        assert_eq!((found.scheme, found.host, found.way.as_str()), (None, None, ""));
        assert_eq!(
            told(None, &[("forwarded", "for=10.0.0.2")]).forwarded.unwrap(),
            "for=10.0.0.2, for=unknown"
        );
    }
}
