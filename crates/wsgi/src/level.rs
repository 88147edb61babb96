//! Severity of a log line, numbered as Apache's `APLOG_*` and syslog number it.

/// How serious a log line is. The numbers are those of httpd's `http_log.h` and go over the
/// daemon's wire as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The server cannot go on.
    Emergency = 0,
    /// Something must be done at once.
    Alert = 1,
    /// A fault of this module or of its set-up.
    Critical = 2,
    /// A request failed, or an application wrote to `wsgi.errors`.
    Error = 3,
    /// Something is odd but works.
    Warning = 4,
    /// Significant, normal.
    Notice = 5,
    /// Start, stop, load, reload.
    Info = 6,
    /// What the client caused, and settings.
    Debug = 7,
    /// Per-request detail.
    Trace = 8,
}

impl Level {
    /// The level with this number; numbers beyond the last are [`Level::Trace`].
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Emergency,
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            7 => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// The level of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        (0..=Self::Trace as u8).map(Self::from_number).find(|level| level.name() == name)
    }

    /// The name, as Apache's `LogLevel` and error log write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emerg",
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn a_level_survives_the_wire() {
        for number in 0..=8 {
            let level = Level::from_number(number);
            assert_eq!((level as u8, Level::from_name(level.name())), (number, Some(level)));
        }
        assert_eq!(Level::from_number(200), Level::Trace);
        assert_eq!(Level::from_name("loud"), None);
    }
}
