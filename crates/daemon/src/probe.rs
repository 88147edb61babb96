//! The paths by which a load balancer asks whether a daemon that is run by hand is alive and wants requests, and what
//! there is to say.
#![forbid(unsafe_code)]

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Is it alive? A busy one is.
    Healthy,
    /// Is it ready for requests?
    Ready,
}

impl Probe {
    /// The question that a path is.
    pub(crate) fn of_path(path: &[u8]) -> Option<Self> {
        match path {
            b"/-/healthy" => Some(Self::Healthy),
            b"/-/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// How a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// No worker is ready yet.
    Starting,
    /// A worker serves requests.
    Ready,
    /// Requests are answered, but should go elsewhere.
    Draining,
    /// No worker is left.
    Drained,
}
