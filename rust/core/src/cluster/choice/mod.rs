//! Which endpoint to try, whether to ask a second one, and whether to try again after a failure.

pub mod balance;
pub(crate) mod hedge;
pub mod rendezvous;
pub mod retry;
