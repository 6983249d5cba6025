//! How an attempt can end.

/// How an attempt ended. [`Lesson`](super::Lesson) says what that teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response came whole, with a status below 400.
    Success,
    /// The attempt failed.
    Failure(Failure),
    /// The attempt was given up for no fault of the endpoint: the client left, or another attempt of its exchange was faster.
    Cancelled,
}

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection: the name does not resolve, refused, unreachable, TLS, or not within `timeout.connect`. No byte of
    /// the request was sent.
    Connect,
    /// A connection that had served before was found closed when it was used again, before any byte of a response:
    /// it was idle too long. Says nothing about the endpoint.
    Stale,
    /// Not within `timeout.first_byte`, or nothing more within `timeout.idle`.
    Timeout,
    /// The endpoint's active check failed while the attempt waited for a response.
    Unfit,
    /// The connection was reset or closed before the response was whole.
    Reset,
    /// The response broke HTTP.
    Protocol,
    /// A response with this status, 400 to 599.
    Status(u16),
}

impl Outcome {
    /// The outcome that a response with this status is.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        if status < 400 { Self::Success } else { Self::Failure(Failure::Status(status)) }
    }
}
