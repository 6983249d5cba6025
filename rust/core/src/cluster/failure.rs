//! How an attempt can end.

/// How an attempt ended, as its endpoint is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response came whole, with a status below 500 that is not 429.
    Success,
    /// It failed.
    Failure(Failure),
    /// It was given up for no fault of the endpoint: the client left, or another attempt of its exchange was faster.
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
    /// The connection was reset or closed before the response was whole.
    Reset,
    /// The response broke HTTP.
    Protocol,
    /// A response with this status, 429 or 500 to 599.
    Status(u16),
}

impl Failure {
    /// The failure that a status is, if it is one.
    #[must_use]
    pub fn of_status(status: u16) -> Option<Self> {
        (status == 429 || (500..600).contains(&status)).then_some(Self::Status(status))
    }

    /// Whether it counts against the endpoint in its breaker. A 429 does not: it is a sound endpoint that has too much
    /// to do. Nor do 501 and 505, which speak of the request.
    #[must_use]
    pub fn breaks(self) -> bool {
        match self {
            Self::Stale | Self::Status(429 | 501 | 505) => false,
            Self::Connect | Self::Timeout | Self::Reset | Self::Protocol | Self::Status(_) => true,
        }
    }

    /// Whether it says that the endpoint has more to do than it can.
    #[must_use]
    pub fn overload(self) -> bool {
        matches!(self, Self::Timeout | Self::Status(429 | 503 | 504))
    }
}
