//! The directive table as httpd's `command_rec[]`, and the three C functions behind all of them.

use super::parse_context::HttpdContext;
use crate::apr::Pool;
use crate::bindings::{
    ACCESS_CONF, NOT_IN_HTACCESS, OR_AUTHCFG, OR_FILEINFO, RSRC_CONF, ap_check_cmd_context,
    ap_walk_config, cmd_func, cmd_how, cmd_parms, command_rec,
};
use crate::config::{
    Args, Contexts, DIRECTIVES, Directive, DirectoryConfig, Form, Scope, SectionSelector,
};
use crate::httpd::{Server, guard};
use crate::module_config::configs_being_read;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// `DIRECTIVES` and the row of nulls that ends it.
pub(super) struct Commands([command_rec; DIRECTIVES.len() + 1]);

// SAFETY: built at compile time and never written.
unsafe impl Sync for Commands {}

impl Commands {
    pub(super) const fn as_ptr(&self) -> *const command_rec {
        self.0.as_ptr()
    }
}

pub(super) static COMMANDS: Commands = {
    let mut rows = [const { END }; DIRECTIVES.len() + 1];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        rows[index] = row(&DIRECTIVES[index]);
        index += 1;
    }
    Commands(rows)
};

const END: command_rec = command_rec {
    name: std::ptr::null(),
    func: cmd_func { no_args: None },
    cmd_data: std::ptr::null_mut(),
    req_override: 0,
    args_how: cmd_how::NO_ARGS,
    errmsg: std::ptr::null(),
};

const fn row(directive: &'static Directive) -> command_rec {
    let (func, args_how) = match directive.form {
        Form::Words => (cmd_func { take_argv: Some(words) }, cmd_how::TAKE_ARGV),
        Form::Raw => (cmd_func { raw_args: Some(raw) }, cmd_how::RAW_ARGS),
        Form::Section => (cmd_func { raw_args: Some(section) }, cmd_how::RAW_ARGS),
    };
    let contexts = match directive.contexts {
        Contexts::GlobalOnly | Contexts::Server => RSRC_CONF,
        Contexts::Everywhere => RSRC_CONF | ACCESS_CONF,
        Contexts::EverywhereFileInfo => RSRC_CONF | ACCESS_CONF | OR_FILEINFO,
        Contexts::DirectoryAuthConfig => ACCESS_CONF | OR_AUTHCFG,
    };
    command_rec {
        name: directive.name.as_ptr(),
        func,
        cmd_data: (&raw const *directive).cast_mut().cast(),
        req_override: contexts as c_int,
        args_how,
        errmsg: directive.help.as_ptr(),
    }
}

thread_local! {
    /// The `<WSGIInterpreterOptions>` whose lines are being read.
    static SECTION: RefCell<Option<SectionSelector>> = const { RefCell::new(None) };
}

unsafe extern "C" fn words(
    parms: *mut cmd_parms,
    config: *mut c_void,
    count: c_int,
    arguments: *const *mut c_char,
) -> *const c_char {
    guard(INTERNAL_ERROR, || {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: httpd passes `count` NUL-terminated strings that outlive this call.
        let words: Vec<&[u8]> = (0..count)
            .map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) }.to_bytes())
            .collect();
        // SAFETY: what httpd called with, for the length of this call.
        unsafe { run(parms, config, Args::Words(&words)) }
    })
}

unsafe extern "C" fn raw(
    parms: *mut cmd_parms,
    config: *mut c_void,
    arguments: *const c_char,
) -> *const c_char {
    guard(INTERNAL_ERROR, || {
        // SAFETY: httpd passes a NUL-terminated string that outlives this call.
        let rest = unsafe { CStr::from_ptr(arguments) }.to_bytes();
        // SAFETY: what httpd called with, for the length of this call.
        unsafe { run(parms, config, Args::Rest(rest)) }
    })
}

unsafe extern "C" fn section(
    parms: *mut cmd_parms,
    config: *mut c_void,
    arguments: *const c_char,
) -> *const c_char {
    guard(INTERNAL_ERROR, || {
        // SAFETY: httpd passes a NUL-terminated string that outlives this call.
        let rest = unsafe { CStr::from_ptr(arguments) }.to_bytes();
        // SAFETY: httpd's own arguments; the lines between the tags hang below the directive.
        unsafe {
            let refused = run(parms, config, Args::Rest(rest));
            if !refused.is_null() {
                return refused;
            }
            let opened = configs_being_read(Server::from_raw((*parms).server))
                .and_then(|(_, process)| process.interpreter_sections.last())
                .map(|section| section.selector.clone());
            SECTION.set(opened);
            let refused =
                ap_walk_config((*(*parms).directive).first_child, parms, (*parms).context);
            SECTION.set(None);
            refused
        }
    })
}

const INTERNAL_ERROR: *const c_char =
    c"internal error in mod_wsgi_rs, see the lines above".as_ptr();

/// Runs one line; gives null or the sentence that refuses it.
///
/// # Safety
/// The first two are what httpd called with.
unsafe fn run(parms: *mut cmd_parms, config: *mut c_void, args: Args<'_>) -> *const c_char {
    // SAFETY: httpd passes the command_rec we registered, whose `cmd_data` is a `&'static Directive`;
    // `config` is what create_directory made for this place; the server's config what create_server made
    // for its server. Configuration files are read by one thread, and `.htaccess` files, read by any,
    // never reach the configs of servers.
    unsafe {
        let directive = &*(*(*parms).cmd).cmd_data.cast::<Directive>();
        let pool = Pool::from_raw((*parms).pool);
        let context = HttpdContext::of(parms);
        let section = SECTION.take();
        let line = directive.line(args, &context, section.as_ref());
        let directory = &mut *config.cast::<DirectoryConfig>();
        let in_htaccess = !ap_check_cmd_context(parms, NOT_IN_HTACCESS as c_uint).is_null();
        let outcome = if in_htaccess {
            directive.run(Scope::Htaccess { directory }, &line)
        } else {
            match configs_being_read(Server::from_raw((*parms).server)) {
                Some((server, process)) => {
                    directive.run(Scope::ServerFiles { process, server, directory }, &line)
                }
                None => return INTERNAL_ERROR,
            }
        };
        SECTION.set(section);
        match outcome {
            Ok(()) => std::ptr::null(),
            Err(why) => pool.copy(why.to_string().as_bytes()),
        }
    }
}
