//! Authentication of callers: API keys, and the identity that a key proves.

mod identity;
pub mod keys;

pub use identity::Identity;
