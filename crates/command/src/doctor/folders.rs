//! Where the system's Apache has the sockets of its process groups.

use super::configtest;
use super::findings::Report;
use super::server::Server;
use crate::options::{Doctor, Programs};
use std::path::PathBuf;

/// The folders that the configuration of the system's Apache names; none where it cannot be asked.
pub(crate) fn socket_folders(programs: &Programs) -> Vec<PathBuf> {
    let options =
        Doctor { server_root: None, config: None, json: false, programs: programs.clone() };
    configtest::ask(&options, &mut Report::default()).map_or_else(|_| Vec::new(), |it| of(&it))
}

fn of(server: &Server) -> Vec<PathBuf> {
    let last =
        |name: &str| server.all(name).last().and_then(|it| it.argument(0)).map(str::to_owned);
    let runtime = last("DefaultRuntimeDir").map(|written| server.path(&written));
    // What stands behind the last slash is the beginning of names.
    let prefix =
        last("WSGISocketPrefix").and_then(|written| Some(server.path(written.rsplit_once('/')?.0)));
    prefix.into_iter().chain(runtime).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_prefix_and_of_the_runtime_directory() {
        let folders = |text: &str| of(&Server::of(text, &[]));
        let both = "DefaultRuntimeDir /run/apache2\nWSGISocketPrefix run/wsgi";
        assert_eq!(
            folders(both),
            [PathBuf::from("/etc/apache2/run"), PathBuf::from("/run/apache2")]
        );
        assert_eq!(folders("WSGISocketPrefix /run/x/\n"), [PathBuf::from("/run/x")]);
        assert!(folders("Timeout 5").is_empty());
    }
}
