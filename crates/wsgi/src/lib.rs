//! PEP 3333's vocabulary: what a gateway and a transport say to each other about one request.
//!
//! It knows neither Apache nor Python nor a wire. The Python room (`host`) serves an [`Exchange`];
//! Apache's embedded mode, the daemon's FastCGI connection and unit tests each implement one.
#![forbid(unsafe_code)]

mod common_variables;
mod environ;
mod exchange;
mod file_version;
mod head;
mod key;
mod level;
mod log_pieces;
mod printable;
mod rule;
mod utc_time;

pub use common_variables::CommonVariables;
pub use environ::{Environ, epoch_micros, is_private_variable};
pub use exchange::{Body, DISCARD_LIMIT, Exchange, Output, ReadError, SendError, Source, Then};
pub use file_version::{ExactVersion, FileVersion};
pub use head::{HeadError, ResponseHead};
pub use key::Key;
pub use level::Level;
pub use log_pieces::log_pieces;
pub use printable::is_printable;
pub use rule::{HeaderRule, header_rule, python_repr};
pub use utc_time::UtcTime;
