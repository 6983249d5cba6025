//! All sources of identities of a configuration.
//!
//! Each is asked, the key table first. The request is denied
//! - at the first source that denies it,
//! - where two sources name different callers: what is one caller to this reader must not be another one to the next,
//! - where something was presented that every source which judges its like does not know, even if another proof is good,
//! - where there are sources, and none names a caller.
//!
//! Where several name the same identity, the first one's caller counts.

use std::sync::Arc;

use super::certificates::Certificates;
use super::keys::{Admin, Caller, Denied, Keys};
use super::source::{Answer, IdentitySource, Presented, Proof, UnixTime};

/// The sources of a configuration. Without any, every caller is let in and proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    keys: Keys,
    certificates: Certificates,
    others: Vec<Arc<dyn IdentitySource>>,
}

impl From<Keys> for Identities {
    fn from(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }
}

impl Identities {
    /// Keys and client certificates.
    #[must_use]
    pub fn new(keys: Keys, certificates: Certificates) -> Self {
        Self { keys, certificates, others: Vec::new() }
    }

    /// The same, with a source that is asked after the others.
    #[must_use]
    pub fn with(mut self, source: Arc<dyn IdentitySource>) -> Self {
        self.others.push(source);
        self
    }

    /// Whether there are no sources, so that every caller is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.has_keys_only()
    }

    /// The caller whose key or certificate has this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        self.keys.named(name).or_else(|| self.certificates.named(name))
    }

    /// Whether keys are the only proof.
    fn has_keys_only(&self) -> bool {
        self.certificates.is_empty() && self.others.is_empty()
    }

    /// The caller who sent a request; `None` where there are no sources.
    ///
    /// # Errors
    /// Where there are, and the request does not prove to be one caller's.
    pub fn identify(&self, presented: &Presented<'_>, now: UnixTime) -> Result<Option<Arc<Caller>>, Denied> {
        if self.has_keys_only() {
            return Ok(self.keys.caller(presented.fields)?.map(Arc::clone));
        }
        let tables: [&dyn IdentitySource; 2] = [&self.keys, &self.certificates];
        let sources = || tables.into_iter().chain(self.others.iter().map(|source| &**source));
        let mut caller: Option<Arc<Caller>> = None;
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for source in sources() {
            match source.identify(presented, now) {
                Answer::Nothing => {}
                Answer::Unknown => unknown.push(source.proof()),
                Answer::Denied(why) => return Err(why),
                Answer::Caller(found) => {
                    known.push(source.proof());
                    let first = caller.get_or_insert_with(|| Arc::clone(&found));
                    if !first.same_rights(&found) {
                        return Err(Denied::Conflict);
                    }
                }
            }
        }
        match unknown.into_iter().find(|proof| !known.contains(proof)) {
            Some(Proof::Token) => Err(Denied::Unknown),
            Some(Proof::Certificate) => Err(Denied::UnknownCertificate),
            Some(Proof::Address) => Err(Denied::UnknownAddress),
            None if caller.is_some() => Ok(caller),
            None if self.keys.is_empty() => Err(Denied::Unproven),
            None => Err(Denied::Missing),
        }
    }

    /// Whether a key or another token in the header fields can prove who the caller is. A token that proves nothing is then
    /// denied, so that of a caller who was identified, every token that was [presented](super::keys::presented) is known.
    #[must_use]
    pub fn judges_tokens(&self) -> bool {
        !self.keys.is_empty() || self.others.iter().any(|source| source.proof() == Proof::Token)
    }

    /// Whether the caller of a request may use this much of administration.
    ///
    /// # Errors
    /// Where it may not.
    pub fn admit(&self, presented: &Presented<'_>, wanted: Admin, now: UnixTime) -> Result<(), Denied> {
        if self.has_keys_only() {
            return self.keys.admit(presented.fields, wanted);
        }
        match self.identify(presented, now)? {
            Some(caller) if caller.admin >= wanted => Ok(()),
            Some(caller) if caller.admin == Admin::Metrics => Err(Denied::OnlyMetrics),
            _ => Err(Denied::NotAdmin),
        }
    }
}

impl IdentitySource for Keys {
    fn proof(&self) -> Proof {
        Proof::Token
    }

    fn identify(&self, presented: &Presented<'_>, _: UnixTime) -> Answer {
        match self.caller(presented.fields) {
            Ok(Some(caller)) => Answer::Caller(Arc::clone(caller)),
            Ok(None) | Err(Denied::Missing) => Answer::Nothing,
            Err(Denied::Unknown) => Answer::Unknown,
            Err(denied) => Answer::Denied(denied),
        }
    }
}
