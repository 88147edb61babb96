//! Applications of ASGI 3: requests that come on descriptors, served by coroutines on one event loop. WSGI does not know
//! this folder, and this folder knows neither FastCGI nor the scheduling of threads: what it serves comes as
//! [`AsgiExchange`].
#![forbid(unsafe_code)]

mod call;
mod current;
mod event_loop;
mod gate;
mod message;
mod request;
mod scope;
mod settings;
mod tls;
mod transport;

pub(crate) use event_loop::{Serving, run};
pub use settings::{AsgiSettings, EventLoopKind, LifespanMode, StartupApplication};
pub use transport::{AsgiEvent, AsgiExchange, AsgiSource, Input, Load, Sent};
