//! PEP 3333's vocabulary: what a gateway and a transport say to each other about one request.
//!
//! It knows neither Apache nor Python nor a wire. The Python room (`host`) serves an [`Exchange`];
//! Apache's embedded mode, the daemon's FastCGI connection and unit tests each implement one.
#![forbid(unsafe_code)]

mod environ;
mod exchange;
mod head;
mod level;
mod rule;
mod steady;

pub use environ::{Environ, Key, epoch_micros};
pub use exchange::{Body, Exchange, Output, ReadError, SendError, Source, Then, UNHEARD};
pub use head::{HeadError, ResponseHead};
pub use level::Level;
pub use rule::{HeaderRule, header_rule, python_repr};
pub use steady::Steady;
