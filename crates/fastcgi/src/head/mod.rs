//! The head of an answer (RFC 3875, section 6): the lines before the body on STDOUT.
//! It must never know records, nor which header fields mean something to a server.

mod error;
mod fields;
mod parser;
mod syntax;
mod writer;

pub use error::{Excerpt, HeadError};
pub use fields::Head;
pub use parser::HeadParser;
pub use writer::HeadWriter;
