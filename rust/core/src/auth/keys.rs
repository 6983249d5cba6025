//! API keys: who may call, and which identity a caller's key proves.
//!
//! Only the keys' SHA-256 hashes are stored (FIPS 180-4). A presented key is looked up by its hash. The time of a look-up may
//! depend on how much of the hash is right, but that reveals nothing, because a client cannot choose the hash of its key.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use super::Identity;

/// The header fields that present a key; `authorization` with the scheme `Bearer` (RFC 6750, section 2.1).
pub const FIELDS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// The header field whose key is for Waypost alone. Beside it, the other fields hold credentials of the caller's own.
pub const OWN_FIELD: &str = "x-waypost-key";

/// The beginning of a written hash; 64 hexadecimal digits follow.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a key.
pub type Hash = [u8; 32];

/// How much of administration a caller may use. More includes less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admin {
    /// Nothing.
    #[default]
    No,
    /// The metrics.
    Metrics,
    /// Everything.
    All,
}

/// The caller that a key, or another proof, stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key or the other proof, which clients never see.
    pub name: String,
    /// The caller's identity.
    pub identity: Identity,
    /// How much of administration the key opens.
    pub admin: Admin,
    /// Whether the caller may send messages.
    pub messages: bool,
    /// Whether the caller's responses tell of each attempt.
    pub debug: bool,
}

impl Caller {
    /// A caller who sends messages, and no more.
    #[must_use]
    pub fn new(name: impl Into<String>, identity: Identity) -> Self {
        Self { name: name.into(), identity, admin: Admin::No, messages: true, debug: false }
    }

    /// Whether another caller has the same identity and may do the same.
    pub(super) fn same_rights(&self, other: &Self) -> bool {
        (&self.identity, self.admin, self.messages) == (&other.identity, other.admin, other.messages)
    }
}

/// All keys of a configuration. Without keys, every caller is admitted, without an identity.
#[derive(Clone, Default)]
pub struct Keys {
    callers: HashMap<Hash, Arc<Caller>>,
    /// The most of administration that any key opens.
    admin: Admin,
}

/// Why a caller is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No key was presented.
    Missing,
    /// The configuration does not have the presented key.
    Unknown,
    /// Two different keys were presented, so that two readers could choose differently.
    Several,
    /// The key is not an admin key.
    NotAdmin,
    /// The key opens the metrics only.
    OnlyMetrics,
    /// The key opens administration, and sends no messages.
    OnlyAdmin,
    /// The configuration has no admin key.
    NoAdmin,
    /// Nothing was presented of what proves an identity where there are no keys.
    Unproven,
    /// Two proofs are those of different callers.
    Conflict,
    /// The certificate is none that is known.
    UnknownCertificate,
    /// The address is none that is known.
    UnknownAddress,
    /// What was presented was good once.
    Expired,
    /// What was presented is not good. The text says why, in words for its owner.
    Rejected(&'static str),
}

impl Denied {
    /// The error code, which is stable.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAdmin | Self::OnlyMetrics | Self::OnlyAdmin => "forbidden",
            _ => "unauthorized",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "no key: send yours as `Authorization: Bearer KEY`, `x-api-key: KEY`, `api-key: KEY` or `x-waypost-key: KEY`"
            }
            Self::Unknown => {
                "unknown key: use one that `keys` in the configuration lists and that was not revoked; if it is your own, \
                 for an endpoint, send a key of Waypost's beside it, as `x-waypost-key: KEY`"
            }
            Self::Several => {
                "two different keys: send one of them; if the other is your own, for an endpoint, send Waypost's as \
                 `x-waypost-key: KEY`"
            }
            Self::NotAdmin => "this key is not an `admin` key: administration requires one",
            Self::OnlyMetrics => "this key has `admin: metrics`, which opens /metrics only",
            Self::OnlyAdmin => {
                "this key is an `admin` key, which sends no messages: use another key, or give this one `messages: true`"
            }
            Self::NoAdmin => {
                "administration needs an `admin` key, and `keys` in the configuration has none: add one, or open \
                 `listen.admin`"
            }
            Self::Unproven => "nothing proves who this caller is: present a token or a certificate that is known here",
            Self::Conflict => "this request proves two different identities: present what proves one of them",
            Self::UnknownCertificate => "unknown certificate: use one that the configuration knows",
            Self::UnknownAddress => "unknown address: connect from one that the configuration knows",
            Self::Expired => "what proves this caller has expired: get a new one",
            Self::Rejected(why) => why,
        })
    }
}

impl Keys {
    /// Collects keys. The configuration was checked, so that no two have the same hash.
    pub fn new(callers: impl IntoIterator<Item = (Hash, Caller)>) -> Self {
        let callers: HashMap<_, _> =
            callers.into_iter().map(|(hash, caller)| (hash, Arc::new(caller))).collect();
        Self { admin: callers.values().map(|caller| caller.admin).max().unwrap_or_default(), callers }
    }

    /// Whether there are no keys, so that no caller needs one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// The caller whose key a request presents; `None` without keys. Field names may be in any case.
    ///
    /// # Errors
    /// There are keys, and the request presents none of them.
    pub fn caller<'f>(
        &self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Option<&Arc<Caller>>, Denied> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = presented(fields)?.ok_or(Denied::Missing)?;
        let caller = self.callers.get(&hash(key)).ok_or(Denied::Unknown)?;
        Ok(Some(caller))
    }

    /// Checks that a request presents a key that opens this much of administration.
    ///
    /// # Errors
    /// It does not.
    pub fn admit<'f>(
        &self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        wanted: Admin,
    ) -> Result<(), Denied> {
        match self.caller(fields)? {
            Some(caller) if caller.admin >= wanted => Ok(()),
            Some(caller) if caller.admin == Admin::Metrics => Err(Denied::OnlyMetrics),
            _ if self.admin >= wanted => Err(Denied::NotAdmin),
            _ => Err(Denied::NoAdmin),
        }
    }

    /// The caller whose key has this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        self.callers.values().find(|caller| caller.name == name)
    }
}

impl fmt::Debug for Keys {
    /// Shows the number of keys, but no hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.callers.len())
    }
}

/// The SHA-256 of a key.
#[must_use]
pub fn hash(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}

/// Parses `sha256:` followed by 64 hexadecimal digits.
#[must_use]
pub fn parse_hash(text: &str) -> Option<Hash> {
    let digits = text.strip_prefix(PREFIX)?.as_bytes();
    let mut out = Hash::default();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(out)
}

/// The one key or other token that a request presents to Waypost: that of [`OWN_FIELD`], or else that of [`FIELDS`], in however
/// many fields. A field that holds nothing presents none.
///
/// # Errors
/// [`Denied::Several`] where two differ.
pub fn presented<'f>(
    fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<Option<&'f [u8]>, Denied> {
    let mut own: Option<&[u8]> = None;
    let mut found: Option<&[u8]> = None;
    let mut several = false;
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(OWN_FIELD.as_bytes()) {
            let key = value.trim_ascii();
            if !key.is_empty() && own.replace(key).is_some_and(|other| other != key) {
                return Err(Denied::Several);
            }
            continue;
        }
        let Some(field) = FIELDS.iter().find(|field| name.eq_ignore_ascii_case(field.as_bytes())) else {
            continue;
        };
        let value = value.trim_ascii();
        let key = if *field == "authorization" { bearer(value) } else { Some(value) };
        match (key.filter(|key| !key.is_empty()), found) {
            (Some(key), Some(other)) if key != other => several = true,
            (Some(key), _) => found = Some(key),
            (None, _) => {}
        }
    }
    match own {
        None if several => Err(Denied::Several),
        None => Ok(found),
        own => Ok(own),
    }
}

/// The token after the scheme `Bearer`; `None` for other schemes.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    let is_separate = token.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (is_separate && scheme.eq_ignore_ascii_case(SCHEME)).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn caller(name: &str, admin: Admin) -> Caller {
        Caller { admin, ..Caller::new(name, Identity::default()) }
    }

    fn keys() -> Keys {
        let keys = [
            (hash(b"abc"), caller("a", Admin::No)),
            (hash(b"root"), caller("b", Admin::All)),
            (hash(b"scrape"), caller("c", Admin::Metrics)),
        ];
        Keys::new(keys)
    }

    fn fields<'f>(fields: &[(&'f str, &'f str)]) -> Vec<(&'f [u8], &'f [u8])> {
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    #[test]
    fn a_hash_is_that_of_the_standard() {
        // FIPS 180-4, the example of one block.
        assert_eq!(parse_hash(ABC), Some(hash(b"abc")));
        assert_eq!(parse_hash(&ABC.to_ascii_uppercase().replace("SHA256", "sha256")), Some(hash(b"abc")));
        let last = &ABC[..ABC.len() - 1];
        for wrong in
            ["", "sha256:", ABC.trim_start_matches("sha256:"), last, &format!("{last}g"), &format!("{ABC}0")]
        {
            assert_eq!(parse_hash(wrong), None, "{wrong}");
        }
        assert_eq!(parse_hash(&format!("{}é", &ABC[..ABC.len() - 2])), None);
    }

    #[test]
    fn a_key_is_found_wherever_it_is_presented() {
        let keys = keys();
        for sent in [
            &[("Authorization", "Bearer abc")][..],
            &[("authorization", "bearer   abc ")],
            &[("AUTHORIZATION", "BEARER\tabc")],
            &[("x-api-key", "abc")],
            &[("X-Api-Key", " abc ")],
            &[("api-key", "abc")],
            &[("api-key", "abc"), ("x-api-key", "abc"), ("authorization", "Bearer abc")],
            &[("authorization", "Bearer "), ("x-api-key", "abc"), ("api-key", "")],
            &[("authorization", "Basic cm9vdA=="), ("x-api-key", "abc")],
            // Beside a key for Waypost alone, the others are the caller's own.
            &[("x-waypost-key", "abc")],
            &[("X-Waypost-Key", " abc "), ("x-waypost-key", "abc")],
            &[("authorization", "Bearer sk-of-the-user"), ("X-WAYPOST-KEY", "abc"), ("x-api-key", "another")],
            &[("x-waypost-key", ""), ("api-key", "abc")],
        ] {
            let found = keys.caller(fields(sent)).map(|caller| caller.map(|caller| caller.name.as_str()));
            assert_eq!(found, Ok(Some("a")), "{sent:?}");
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        let keys = keys();
        for (sent, denied) in [
            (&[][..], Denied::Missing),
            (&[("authorization", "")], Denied::Missing),
            (&[("authorization", "Bearer")], Denied::Missing),
            (&[("authorization", "Bearerabc")], Denied::Missing),
            (&[("authorization", "abc")], Denied::Missing),
            (&[("authorization", "Basic abc")], Denied::Missing),
            (&[("x_api_key", "abc")], Denied::Missing),
            (&[("proxy-authorization", "Bearer abc"), ("cookie", "abc")], Denied::Missing),
            (&[("x-api-key", "Bearer abc")], Denied::Unknown),
            (&[("x-api-key", "Abc")], Denied::Unknown),
            (&[("x-api-key", "abc, root")], Denied::Unknown),
            (&[("x-api-key", ABC)], Denied::Unknown),
            (&[("x-api-key", "abc"), ("api-key", "root")], Denied::Several),
            (&[("x-api-key", "abc"), ("x-api-key", "root")], Denied::Several),
            (&[("x-waypost-key", "abc"), ("x-waypost-key", "root")], Denied::Several),
            (&[("x-waypost-key", "ab"), ("x-api-key", "abc")], Denied::Unknown),
            (&[("x-waypost-key", "Bearer abc")], Denied::Unknown),
            (&[("x_waypost_key", "abc")], Denied::Missing),
            (&[("authorization", "Bearer abc"), ("authorization", "Bearer ab")], Denied::Several),
        ] {
            assert_eq!(keys.caller(fields(sent)), Err(denied), "{sent:?}");
        }
        assert_eq!(Keys::default().caller(fields(&[("x-api-key", "abc"), ("api-key", "root")])), Ok(None));
    }

    #[test]
    fn administration_takes_an_admin_key() {
        use Admin::{All, Metrics};
        let (keys, key) = (keys(), |key| fields(&[("x-api-key", key)]));
        for wanted in [Metrics, All] {
            assert_eq!(keys.admit(key("root"), wanted), Ok(()));
            assert_eq!(
                keys.admit(fields(&[("x-waypost-key", "root"), ("x-api-key", "abc")]), wanted),
                Ok(())
            );
            assert_eq!(keys.admit(key("abc"), wanted), Err(Denied::NotAdmin));
            assert_eq!(keys.admit(key("other"), wanted), Err(Denied::Unknown));
            assert_eq!(keys.admit(fields(&[]), wanted), Err(Denied::Missing));
            assert_eq!(Keys::default().admit(key("abc"), wanted), Err(Denied::NoAdmin));
        }
        assert_eq!(keys.admit(key("scrape"), Metrics), Ok(()));
        assert_eq!(keys.admit(key("scrape"), All), Err(Denied::OnlyMetrics));
        let others = [(hash(b"abc"), caller("a", Admin::No)), (hash(b"scrape"), caller("c", Metrics))];
        let others = Keys::new(others);
        assert_eq!(others.admit(key("abc"), Metrics), Err(Denied::NotAdmin));
        assert_eq!(others.admit(key("abc"), All), Err(Denied::NoAdmin));
        assert_eq!(others.admit(key("scrape"), All), Err(Denied::OnlyMetrics));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", keys()), "Keys(3)");
        assert_eq!(keys().named("b").map(|caller| caller.admin), Some(Admin::All));
        assert!(keys().named("d").is_none());
    }
}
