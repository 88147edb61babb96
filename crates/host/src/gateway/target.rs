//! Which application a transport wants for a request, and how the request ended.
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
    /// Another process has the script: a request for which it cannot be loaded here is left to that one.
    pub is_elsewhere: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The response was sent, or as much of it as the client took.
    Done,
    /// Nothing was sent: the server answers with this HTTP status.
    Failed(u16),
    /// The same, because the script could not be loaded.
    LoadFailed(u16),
    /// Nothing was done: another process is to serve the request ([`Replacement`](crate::Replacement)).
    GivenBack,
    /// Nothing was done: the script could not be loaded, and another process has it ([`Target::is_elsewhere`]). Else
    /// this would be the HTTP status.
    NotLoaded(u16),
}
