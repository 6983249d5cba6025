//! Rejects what pages of other sites send to a listener that needs no proof of who its callers are: one that only this host can
//! reach, without keys, or the listener that administration has of its own.
//!
//! Every page that somebody on this host opens can send messages to it through the browser, and a page whose name is made to
//! lead to this host (DNS rebinding) could read the answers as well. Browsers say in `Origin` which page sends a request, and
//! in `Host` by which name the page found the listener:
//!
//! 1. An `Origin` has to be the listener's own (its scheme; its name `localhost`, an address of the loopback, or the `Host` of
//!    the request, if that is an address; the port of `Host`), or its host has to be one of the admitted names.
//! 2. If a browser sent a request, its `Host` has to be `localhost`, an address, or an admitted name. Only a name can be made to
//!    lead elsewhere. A page whose name was made to lead here sends its `GET` without `Origin` (the request has the page's own
//!    origin), and without `Sec-Fetch-Site` (Fetch Metadata, section 2: only to trustworthy URLs, such as those of https). But
//!    browsers name themselves (`User-Agent: Mozilla/…`) and the user's languages, and no page can keep back both.
//! 3. The probes `/healthz` and `/readyz` tell nothing and are open to everyone.
//! 4. With sources of identities, a page of another site has no proof, and nothing is checked, except by the listener of
//!    administration, which asks for none.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::intake::{Rejection, path_of};
use super::snapshot::Snapshot;
use crate::dialect::{self, Dialect};
use crate::engine::Ids;
use crate::http1::{Fields, shows_browser};

/// Paths that every page may ask for.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The most characters of a field's value that an error shows.
const SHOWN: usize = 100;

/// What a listener asks of the pages that send it requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Open,
    /// That they are of its own site, while there are no sources of identities.
    Keyless,
    /// That they are of its own site: it is the listener of administration.
    Always,
}

impl Guard {
    /// The guard with this name: `open`, `keyless` or `always`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "open" => Some(Self::Open),
            "keyless" => Some(Self::Keyless),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

impl Snapshot {
    /// Checks that no page of another site sent a request to a listener with this guard. `scheme` is the listener's.
    ///
    /// # Errors
    /// One did.
    pub fn check_origin(
        &self,
        guard: Guard,
        scheme: &str,
        target: &str,
        fields: &Fields,
        ids: &Ids,
    ) -> Result<(), Rejection> {
        let path = path_of(target);
        let open = match guard {
            Guard::Open => true,
            Guard::Keyless => self.has_identities(),
            Guard::Always => false,
        };
        if open || OPEN.contains(&path) {
            return Ok(());
        }
        self.judge_origin(guard == Guard::Always, scheme, fields).map_err(|message| Rejection {
            code: "foreign_origin",
            message,
            allow: None,
            dialect: dialect::entry(path).map_or(Dialect::Json, |entry| entry.dialect),
            id: ids.id(),
        })
    }

    fn judge_origin(&self, administers: bool, scheme: &str, fields: &Fields) -> Result<(), String> {
        let (listener, or_keys) = if administers {
            ("the listener of administration", "")
        } else {
            ("a listener without `keys`", ", or add `keys`")
        };
        let all = |wanted: &'static [u8]| {
            fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let host = all(b"host").next().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let (name, port) = divide(host, scheme);
        let browser = fields.iter().any(|(name, value)| shows_browser(name, value));
        for origin in all(b"origin") {
            let own = std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
            let own = own.is_some_and(|(origin_scheme, authority)| {
                let (origin_name, origin_port) = divide(authority, origin_scheme);
                let local = is_loopback(origin_name) || (is_address(name) && origin_name == name);
                self.admits_host(origin_name) || (origin_scheme == scheme && local && origin_port == port)
            });
            if !own {
                return Err(format!(
                    "a page of `{}` sent this request, and {listener} takes none from other sites: add the page's host to \
                     `listen.hosts`{or_keys}",
                    shown(origin)
                ));
            }
        }
        if browser && !(name.is_empty() || is_localhost(name) || is_address(name) || self.admits_host(name)) {
            return Err(format!(
                "a browser sent this request to `{}`, which is no name of this listener: use localhost or an address, or add \
                 the name to `listen.hosts`{or_keys}",
                shown(host.as_bytes())
            ));
        }
        Ok(())
    }
}

/// Name and port of an authority; the port of the scheme if it has none.
fn divide<'a>(authority: &'a str, scheme: &'a str) -> (&'a str, &'a str) {
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address are inside brackets.
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (authority, default),
    }
}

fn is_localhost(name: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

/// Whether a name is an IP address as browsers write it.
fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    name.parse::<Ipv4Addr>().is_ok() || inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Whether a name is `localhost` or the usual address of the loopback.
fn is_loopback(name: &str) -> bool {
    is_localhost(name) || matches!(name, "127.0.0.1" | "[::1]")
}

fn shown(value: &[u8]) -> String {
    let short = value.get(..SHOWN).unwrap_or(value);
    short.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        assert_eq!(divide("a:1", "http"), ("a", "1"));
        assert_eq!(divide("a", "http"), ("a", "80"));
        assert_eq!(divide("[::1]", "https"), ("[::1]", "443"));
        assert_eq!(divide("[::1]:8080", "https"), ("[::1]", "8080"));
        assert_eq!(divide("", "file"), ("", ""));
        for name in ["127.0.0.1", "10.1.2.3", "[::1]", "[2001:db8::1]"] {
            assert!(is_address(name), "{name}");
        }
        for name in ["127.1", "0x7f.0.0.1", "::1", "[::1", "a.b", "127.0.0.1.", ""] {
            assert!(!is_address(name), "{name}");
        }
        assert!(
            is_localhost("LocalHost.") && !is_localhost("localhost.evil") && !is_localhost("a.localhost")
        );
    }
}
