//! Applications of ASGI 3: requests that come on descriptors, served by coroutines on one event loop. WSGI does not know
//! this folder, and this folder knows neither FastCGI nor the scheduling of threads: what it serves comes as
//! [`AsgiExchange`].
#![forbid(unsafe_code)]

mod call;
mod current;
mod event_loop;
mod facts;
mod file_body;
mod gate;
mod message;
mod names;
mod observed;
mod request;
mod scope;
mod sent;
mod settings;
mod shared;
mod socket;
mod socket_message;
mod socket_transport;
mod tls;
mod traffic;
mod transport;

pub(crate) use event_loop::{Serving, run};
pub use sent::Sent;
pub use settings::{AsgiSettings, EventLoopKind, LifespanMode, StartupApplication};
pub use socket_transport::{AsgiSocket, Received, SocketMessage};
pub use transport::{AsgiEvent, AsgiExchange, AsgiExecutor, AsgiSource, Input, Load};
