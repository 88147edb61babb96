//! Name-value pairs (FastCGI 1.0, 3.4), read and written.
//! It must never know what any name means.

mod block;
mod collector;
mod writer;

pub use block::{Pairs, Params};
pub(crate) use collector::Collector;
pub use writer::{PairList, PairListEnd, ParamsWriter};
