//! The configuration in force, as hooks find it at the server or the request they are called for. It is
//! only read.

use super::server_slot::ServerSlot;
use crate::config::{DirectoryConfig, ProcessConfig, ServerConfig};
use crate::httpd::{Request, Server};

/// The aliases of a server.
pub(crate) fn server_config<'s>(server: Server<'s>) -> Option<&'s ServerConfig> {
    // SAFETY: made by `create_server` or `merge_server`, not changed once it is read.
    unsafe { ServerSlot::server(server.config().cast_const().cast()) }
}

/// What a server says of directories outside every section.
pub(crate) fn server_defaults<'s>(server: Server<'s>) -> Option<&'s DirectoryConfig> {
    // SAFETY: made by `create_directory` or `merge_directory`, not changed once it is read.
    unsafe { server.directory_defaults().cast::<DirectoryConfig>().as_ref() }
}

/// What is about the whole process, of the configuration in force; `main` is its main server.
pub(crate) fn process_config<'s>(main: Server<'s>) -> Option<&'s ProcessConfig> {
    // SAFETY: made by `create_server`; the lines that write to it have been read.
    unsafe { ServerSlot::process(main.config().cast_const().cast()) }
}

/// The merged settings of the place a request is for; `None` where none of our directives applied.
pub(crate) fn directory_config<'call>(request: &Request<'call>) -> Option<&'call DirectoryConfig> {
    // SAFETY: made by `create_directory` or `merge_directory`; lives as long as the request.
    unsafe { request.directory_config().cast::<DirectoryConfig>().as_ref() }
}
