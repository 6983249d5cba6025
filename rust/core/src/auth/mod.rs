//! Authentication of callers: API keys and other sources of identities, and the identity that they prove.

mod certificates;
mod identities;
mod identity;
pub mod keys;
mod source;

pub use certificates::{CertificateId, Certificates};
pub use identities::Identities;
pub use identity::Identity;
pub use source::{Answer, Certificate, IdentitySource, Presented, Proof, UnixTime};
