//! The checks: each looks at the facts, and says what is wrong in sentences that also say what to do.

mod configuration;
mod django_asgi;
mod django_connections;
mod django_debug;
mod modules;
mod mpm;
mod permissions;
mod python_homes;
mod selinux;
mod server_limit;
mod sockets;
mod versions;
mod websocket_limit;
mod wsgi_module;

use super::findings::Report;
use super::server::Server;

/// Makes all checks. Where httpd refuses the configuration there are no facts for most of them.
pub(super) fn all(server: &Server, report: &mut Report) {
    configuration::check(server, report);
    wsgi_module::check(server, report);
    versions::check(server, report);
    if !server.accepted {
        let sentence = "what the configuration contains, because httpd refuses it";
        return report.unseen("configuration", sentence);
    }
    modules::check(server, report);
    mpm::check(server, report);
    server_limit::check(server, report);
    python_homes::check(server, report);
    permissions::check(server, report);
    sockets::check(server, report);
    selinux::check(server, report);
    django_debug::check(server, report);
    django_asgi::check(server, report);
    django_connections::check(server, report);
    websocket_limit::check(server, report);
}
