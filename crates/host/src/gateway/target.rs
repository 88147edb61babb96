//! What a transport says of a request beside the request itself, and what it gets back.
#![forbid(unsafe_code)]

use crate::interpreters::script::ScriptFile;

/// Which application a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The script that holds it.
    pub script: ScriptFile<'a>,
    /// The name of the callable in the script (`WSGICallableObject`).
    pub callable: &'a [u8],
    /// The application group by name (`WSGIApplicationGroup`); empty is `%{GLOBAL}`.
    pub application_group: &'a [u8],
    /// Run it in the main interpreter whatever the group's name is (design decision D5).
    pub main_interpreter: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The answer went out, or as much of it as the client wanted.
    Done,
    /// Nothing went out: the server answers with this HTTP status.
    Failed(u16),
}
