//! What a client of an admin socket can ask of the group, and what it is answered. It must never know a connection or a
//! worker.
#![forbid(unsafe_code)]

use wsgi::Level;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// What the group is doing.
    Status,
    /// Its figures for Prometheus.
    Metrics {
        /// As OpenMetrics, and not in Prometheus' own format.
        is_openmetrics: bool,
    },
    /// What the threads of the workers do, or of the one with this process id.
    Stacks(Option<i32>),
    /// From which level lines of the workers are written.
    LogLevel,
    /// To write those from this level on.
    SetLogLevel(Level),
    /// To take no more requests, and to tell when the last one is answered.
    Drain,
    /// To replace every worker by one with the current code.
    Reload,
    /// To replace one worker, by its process id.
    Recycle(i32),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// A status of HTTP, with its words.
    pub(super) status: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Order {
    /// Its name in the path of a request and in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Metrics { .. } => "metrics",
            Self::Stacks(_) => "stacks",
            Self::LogLevel | Self::SetLogLevel(_) => "log-level",
            Self::Drain => "drain",
            Self::Reload => "reload",
            Self::Recycle(_) => "recycle",
        }
    }

    /// Whether nothing is changed by it.
    pub(super) const fn is_question(self) -> bool {
        matches!(self, Self::Status | Self::Metrics { .. } | Self::Stacks(_) | Self::LogLevel)
    }

    /// Whether each client that may connect has its answer, as to the questions of load balancers.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Metrics { .. })
    }
}

impl Answer {
    /// A text for people.
    pub(super) fn text(status: &'static str, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain", body: text.into() }
    }

    /// What was asked for, of that media type.
    pub(super) const fn ok(content_type: &'static str, body: String) -> Self {
        Self { status: Self::OK, content_type, body }
    }

    /// What programs read.
    pub(super) fn json(status: &'static str, value: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: format!("{value}\n") }
    }

    /// Why something was not done.
    pub(super) fn failure(status: &'static str, why: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": why }))
    }

    /// It was done.
    pub(super) const OK: &'static str = "200 OK";
    /// The group cannot do it.
    pub(super) const CONFLICT: &'static str = "409 Conflict";
    /// There is no such thing.
    pub(super) const NOT_FOUND: &'static str = "404 Not Found";
}
