//! Client certificates: which callers they stand for.
//!
//! TLS has verified a certificate before it is looked up here. A certificate is known by one of its names, which are compared
//! as texts, or by its fingerprint.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::keys::{Caller, Denied};
use super::source::{Answer, Certificate, IdentitySource, Presented, Proof, UnixTime};

/// What a certificate is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateId {
    /// Its subject, as the host writes it.
    Subject(String),
    /// One of its subject alternative names, as the host writes it.
    Name(String),
    /// The SHA-256 of its DER encoding.
    Fingerprint([u8; 32]),
}

/// The callers that client certificates stand for.
#[derive(Clone, Default)]
pub struct Certificates {
    subjects: HashMap<String, Arc<Caller>>,
    names: HashMap<String, Arc<Caller>>,
    fingerprints: HashMap<[u8; 32], Arc<Caller>>,
}

impl Certificates {
    /// Collects the callers. The configuration was checked, so that none is known by the same thing as another.
    pub fn new(callers: impl IntoIterator<Item = (CertificateId, Caller)>) -> Self {
        let mut out = Self::default();
        for (id, caller) in callers {
            let caller = Arc::new(caller);
            match id {
                CertificateId::Subject(subject) => out.subjects.insert(subject, caller),
                CertificateId::Name(name) => out.names.insert(name, caller),
                CertificateId::Fingerprint(fingerprint) => out.fingerprints.insert(fingerprint, caller),
            };
        }
        out
    }

    fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.subjects.values().chain(self.names.values()).chain(self.fingerprints.values())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers().next().is_none()
    }

    /// The caller of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        self.callers().find(|caller| caller.name == name)
    }

    /// The caller of a certificate.
    fn caller(&self, certificate: &Certificate) -> Answer {
        let fingerprint = self.fingerprints.get(&certificate.fingerprint);
        let subject = self.subjects.get(&certificate.subject);
        let names = certificate.names.iter().filter_map(|name| self.names.get(name));
        let mut found: Option<&Arc<Caller>> = None;
        for caller in fingerprint.into_iter().chain(subject).chain(names) {
            let first = *found.get_or_insert(caller);
            if !first.same_rights(caller) {
                return Answer::Denied(Denied::Conflict);
            }
        }
        found.map_or(Answer::Unknown, |caller| Answer::Caller(Arc::clone(caller)))
    }
}

impl IdentitySource for Certificates {
    fn proof(&self) -> Proof {
        Proof::Certificate
    }

    fn identify(&self, presented: &Presented<'_>, _: UnixTime) -> Answer {
        match presented.certificate {
            Some(certificate) if !self.is_empty() => self.caller(certificate),
            _ => Answer::Nothing,
        }
    }
}

impl fmt::Debug for Certificates {
    /// Shows the number of certificates.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.callers().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use crate::http1::Fields;

    fn caller(name: &str, tenant: &str) -> Caller {
        let identity = Identity { tenant: Some(tenant.to_owned()), ..Identity::default() };
        Caller::new(name, identity)
    }

    fn table() -> Certificates {
        Certificates::new([
            (CertificateId::Subject("CN=planner,O=Acme".to_owned()), caller("subject", "acme")),
            (CertificateId::Name("URI:spiffe://acme/planner".to_owned()), caller("san", "acme")),
            (CertificateId::Name("DNS:other.test".to_owned()), caller("other", "globex")),
            (
                CertificateId::Fingerprint(Certificate::new("", b"pinned").fingerprint),
                caller("pinned", "initech"),
            ),
        ])
    }

    fn answer(certificate: Option<&Certificate>) -> Answer {
        let fields = Fields::default();
        table().identify(&Presented { fields: &fields, certificate, address: None }, UnixTime(0))
    }

    fn name(answer: &Answer) -> Option<&str> {
        if let Answer::Caller(caller) = answer { Some(&caller.name) } else { None }
    }

    #[test]
    fn a_certificate_is_known_by_its_subject_a_name_or_its_fingerprint() {
        let subject = Certificate::new("CN=planner,O=Acme", b"der");
        assert_eq!(name(&answer(Some(&subject))), Some("subject"));
        let names = ["DNS:planner.test".to_owned(), "URI:spiffe://acme/planner".to_owned()];
        let other = Certificate::new("CN=someone", b"der").with_names(names);
        assert_eq!(name(&answer(Some(&other))), Some("san"));
        assert_eq!(name(&answer(Some(&Certificate::new("CN=someone", b"pinned")))), Some("pinned"));
    }

    #[test]
    fn nothing_else_makes_a_certificate_known() {
        for (subject, san) in [
            ("CN=planner", "DNS:planner.test"),
            ("URI:spiffe://acme/planner", "CN=planner,O=Acme"),
            ("", "URI:spiffe://acme/planner/"),
            ("CN=planner,O=Acme,O=Acme", "DNS:spiffe://acme/planner"),
        ] {
            let certificate = Certificate::new(subject, b"der").with_names([san.to_owned()]);
            assert_eq!(answer(Some(&certificate)), Answer::Unknown, "{subject} {san}");
        }
        assert_eq!(answer(None), Answer::Nothing);
    }

    #[test]
    fn a_certificate_with_the_names_of_two_callers_is_denied() {
        let names = ["URI:spiffe://acme/planner".to_owned(), "DNS:other.test".to_owned()];
        let two = Certificate::new("CN=someone", b"der").with_names(names);
        assert_eq!(answer(Some(&two)), Answer::Denied(Denied::Conflict));
        // Two keys of one identity are one caller.
        let same = Certificate::new("CN=planner,O=Acme", b"der")
            .with_names(["URI:spiffe://acme/planner".to_owned()]);
        assert_eq!(name(&answer(Some(&same))), Some("subject"));
    }
}
