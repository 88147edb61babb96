//! The module structure httpd finds by its name, and which hooks it tells httpd to call.

use super::commands;
use crate::bindings::{MODULE_MAGIC_COOKIE, MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR};
use crate::bindings::{apr_pool_t, module};
use crate::httpd::{self, Order};
use crate::module_config;

/// What `LoadModule wsgi_module …` looks for. Not `#[used]`: the tests of this crate would then have to
/// link httpd itself (docs/safety.md).
#[unsafe(no_mangle)]
#[expect(unreachable_pub, reason = "the linker exports it, not the crate")]
pub static mut wsgi_module: module = module {
    version: MODULE_MAGIC_NUMBER_MAJOR as i32,
    minor_version: MODULE_MAGIC_NUMBER_MINOR as i32,
    module_index: -1,
    // `<IfModule mod_wsgi.c>` stands in countless configurations (design decision D1).
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: MODULE_MAGIC_COOKIE as _,
    rewrite_args: None,
    create_dir_config: Some(module_config::create_directory),
    merge_dir_config: Some(module_config::merge_directory),
    create_server_config: Some(module_config::create_server),
    merge_server_config: Some(module_config::merge_server),
    cmds: commands::COMMANDS.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

#[cfg_attr(
    not(feature = "embedded"),
    allow(unused_variables, reason = "the providers are Python's")
)]
unsafe extern "C" fn register_hooks(pool: *mut apr_pool_t) {
    httpd::guard((), || {
        // SAFETY: httpd calls this with the structure it has loaded and given an index.
        unsafe { httpd::register_module(&raw mut wsgi_module) };
        httpd::install_panic_hook();
        httpd::hook_check_config::<crate::start::Start>(&Order::MIDDLE);
        httpd::hook_post_config::<crate::start::Start>(&Order::MIDDLE);
        httpd::hook_before_serving::<crate::graceful_restart::GracefulRestart>(&Order::MIDDLE);
        httpd::hook_child_init::<crate::start::Start>(&Order::MIDDLE);
        httpd::hook_child_stopping::<crate::start::Start>();
        httpd::hook_child_ended::<crate::start::Start>();
        httpd::hook_suspend_connection();
        httpd::hook_monitor::<crate::daemons::MonitorHook>(&Order::MIDDLE);
        // mod_alias has the first word, as with mod_wsgi; user directories and mass hosting the last.
        httpd::hook_translate_name::<crate::handler::Wsgi>(&Order {
            after: &[c"mod_alias.c"],
            before: &[c"mod_userdir.c", c"mod_vhost_alias.c"],
        });
        httpd::hook_content_handler::<crate::handler::Wsgi>(&Order::MIDDLE);
        httpd::hook_redirected_log::<crate::handler::Wsgi>();
        #[cfg(feature = "embedded")]
        {
            use crate::access::{AccessScript, GroupScript, UserScript};
            // mod_ssl has to have spoken, and what Apache itself knows of hosts comes later.
            httpd::hook_access_checker::<AccessScript>(&Order {
                after: &[c"mod_ssl.c"],
                before: &[c"mod_authz_host.c"],
            });
            // SAFETY: the pool of the configuration that is being read, which httpd lends.
            let pool = unsafe { crate::apr::Pool::from_raw(pool) };
            httpd::register_authenticator::<UserScript>(pool, c"wsgi");
            httpd::register_authorizer::<GroupScript>(pool, c"wsgi-group");
        }
    });
}
