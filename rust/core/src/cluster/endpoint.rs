//! One URL of a cluster.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dialect::{Dialect, Target};

/// Where to send messages: an `http` or `https` URL with a weight.
///
/// ```
/// use waypost_core::cluster::Endpoint;
/// use waypost_core::dialect::Dialect;
/// let endpoint = Endpoint::parse("http://[::1]:9100/openai/v1", 1).unwrap();
/// assert_eq!((endpoint.host(), endpoint.port(), endpoint.tls()), ("::1", 9100, false));
/// assert_eq!(endpoint.target(Dialect::OpenAi, "/v1/models?limit=1"), "/openai/v1/models?limit=1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    authority: String,
    host: String,
    port: u16,
    tls: bool,
    /// Path without a trailing slash; empty where the URL has none.
    path: String,
    weight: u32,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(url: &str, weight: u32) -> Result<Self, String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(format!("`{url}` is not an http:// or https:// URL")),
        };
        if weight == 0 {
            return Err("an endpoint's weight is at least 1".to_owned());
        }
        if let Some(bad) = url.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '@' | '\\'))
        {
            return Err(format!("{bad:?} may not stand in an endpoint's URL"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, port)) => {
                let port = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
                (host.parse::<Ipv6Addr>().ok().map(|_| host), port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (is_host(host).then_some(host), Some(port)),
                None => (is_host(authority).then_some(authority), Some("")),
            },
        };
        let host = host.ok_or_else(|| format!("`{url}` names no valid host"))?;
        let port = match port {
            Some("") if tls => 443,
            Some("") => 80,
            Some(digits) => {
                parse_port(digits).ok_or_else(|| format!("`{url}` has no valid port (1 to 65535)"))?
            }
            None => return Err(format!("`{url}` names no valid host")),
        };
        Ok(Self {
            url: url.to_owned(),
            authority: authority.trim_end_matches(':').to_owned(),
            host: host.to_owned(),
            port,
            tls,
            path: path.trim_end_matches('/').to_owned(),
            weight,
        })
    }

    /// The URL as configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host[:port]`, as a Host field wants it (RFC 9110, section 7.2).
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Name or address; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Its share of messages, relative to that of its siblings.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The target of an upstream request, as the endpoint's dialect has it ([`Target`]): the URL's path replaces the leading
    /// `/v1` of `target`, and a URL without a path keeps it; or it is always the URL's path, else the dialect's own.
    #[must_use]
    pub fn target<'t>(&'t self, speaks: Dialect, target: &'t str) -> Cow<'t, str> {
        if speaks.spec().target == Target::Url {
            let path = if self.path.is_empty() { speaks.default_path() } else { &self.path };
            return path.into();
        }
        match target.strip_prefix("/v1") {
            Some(rest) if !self.path.is_empty() => format!("{}{rest}", self.path).into(),
            _ => target.into(),
        }
    }
}

fn is_host(host: &str) -> bool {
    // All digits and dots is meant as an address, so it must be one.
    if !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

fn parse_port(digits: &str) -> Option<u16> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, parts) in [
            ("http://127.0.0.1:9100", ("127.0.0.1:9100", "127.0.0.1", 9100, false)),
            ("https://api.openai.com", ("api.openai.com", "api.openai.com", 443, true)),
            ("http://[2001:db8::1]/x", ("[2001:db8::1]", "2001:db8::1", 80, false)),
            ("http://model_a.svc.local.:80/", ("model_a.svc.local.:80", "model_a.svc.local.", 80, false)),
        ] {
            let endpoint = Endpoint::parse(url, 1).unwrap();
            assert_eq!(
                (endpoint.authority(), endpoint.host(), endpoint.port(), endpoint.tls()),
                parts,
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_endpoint() {
        for url in [
            "",
            "127.0.0.1:80",
            "ftp://x",
            "http://",
            "http:///v1",
            "http://user@host",
            "http://host?q",
            "http://host#f",
            "http://host:0",
            "http://host:65536",
            "http://host:+80",
            "http://ho st",
            "http://[::1",
            "http://[::1]x",
            "http://[::g]",
            "http://-x",
            "http://a..b",
            "http://1.2.3",
            "http://256.1.1.1",
            "http://hôst",
            "http://a\r\nb",
        ] {
            assert!(Endpoint::parse(url, 1).is_err(), "{url:?}");
        }
        assert!(Endpoint::parse("http://host", 0).is_err());
    }

    #[test]
    fn paths() {
        for (url, speaks, target, expected) in [
            ("http://h", Dialect::OpenAi, "/v1/models?a=b", "/v1/models?a=b"),
            ("http://h/", Dialect::OpenAi, "/v1/models", "/v1/models"),
            ("http://h/v1", Dialect::OpenAi, "/v1/models", "/v1/models"),
            ("http://h/api/v2/", Dialect::OpenAi, "/v1/models?a=/v1", "/api/v2/models?a=/v1"),
            ("http://h", Dialect::Envelope, "/v1/chat/completions", "/v1/envelopes"),
            ("http://h/inbox", Dialect::Envelope, "/v1/envelopes?x", "/inbox"),
        ] {
            assert_eq!(Endpoint::parse(url, 1).unwrap().target(speaks, target), expected, "{url} {target}");
        }
    }
}
