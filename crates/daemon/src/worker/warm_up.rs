//! `warm-up=`: a request that a new process makes and answers before it serves, so that no client waits for what
//! an application imports, compiles and connects at its first request; with `preload=On` before the fork, so that
//! the workers share it.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::message::Loaded;
use crate::worker::file_version;
use group_config::{GroupConfig, WarmUp};
use host::{Host, Reloading, ScriptFile, Served, Target};
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Instant;
use wsgi::{Environ, Exchange, Key, Level, Output, ReadError, SendError};

/// The script of the request, to be loaded.
pub(super) fn script(request: &WarmUp) -> Loaded {
    Loaded {
        path: request.script.clone(),
        application_group: request.application_group.clone(),
        modified: None,
        callable: Some(request.callable.to_string_lossy().into_owned()),
    }
}

/// Has the application answer the request, on a thread of its own, which then ends: what applications keep for each
/// thread (Django's database connections) ends with it, and is in no process that is forked later.
pub(super) fn run(request: &WarmUp, host: &Host, log: Log, config: &GroupConfig) {
    let target = Target {
        script: ScriptFile {
            path: request.script.as_os_str().as_bytes(),
            modified: file_version::version(&request.script),
            reloading: Reloading::Never,
            case_sensitive: config.python.case_sensitive,
            replacement: None,
        },
        callable: request.callable.as_bytes(),
        application_group: request.application_group.as_bytes(),
        main_interpreter: config.main_interpreter(),
        is_elsewhere: false,
    };
    let stack = config.limits.stack_size;
    let mut exchange = WarmUpExchange { request, log, status: None, whole: false };
    let began = Instant::now();
    let served = thread::scope(|scope| {
        let thread = thread::Builder::new().name("wsgi-warm-up".to_owned());
        let thread = thread.stack_size(stack.unwrap_or_else(sys::stack_size));
        let asked = thread.spawn_scoped(scope, || {
            let served = host.serve(&target, &mut exchange);
            host.release_thread();
            served
        });
        asked.ok().and_then(|asked| asked.join().ok())
    });
    let (level, outcome) = match (served, exchange.status) {
        (Some(Served::Done), Some(status)) if exchange.whole && status < 500 => {
            (Level::Info, format!("{status}"))
        }
        (Some(Served::Done), Some(status)) if exchange.whole => {
            (Level::Warning, format!("{status}"))
        }
        (Some(Served::Failed(status) | Served::LoadFailed(status)), _) => {
            (Level::Warning, format!("{status}"))
        }
        _ => (Level::Warning, "no whole answer".to_owned()),
    };
    let path = String::from_utf8_lossy(
        &[request.script_name.as_bytes(), request.path_info.as_bytes()].concat(),
    )
    .into_owned();
    let took = began.elapsed().as_millis();
    log.write(level, format!("warm-up: GET {path}: {outcome}, after {took} ms").as_bytes());
}

/// The request, and what is noted of the response.
struct WarmUpExchange<'a> {
    request: &'a WarmUp,
    log: Log,
    status: Option<u16>,
    whole: bool,
}

impl Exchange for WarmUpExchange<'_> {
    fn environ(&mut self, environ: &mut dyn Environ) {
        let it = self.request;
        let [script_name, path_info] = [it.script_name.as_bytes(), it.path_info.as_bytes()];
        let query = it.query.as_bytes();
        let port = it.port.to_string();
        let scheme: &[u8] = if it.secure { b"https" } else { b"http" };
        let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
        let usual = it.port == if it.secure { 443 } else { 80 };
        let mut host = it.host.as_bytes().to_vec();
        if !usual {
            host.push(b':');
            host.extend_from_slice(port.as_bytes());
        }
        let uri = [script_name, path_info, mark, query].concat();
        let pairs: [(Key, &[u8]); 14] = [
            (Key::RequestMethod, b"GET"),
            (Key::ScriptName, script_name),
            (Key::PathInfo, path_info),
            (Key::QueryString, query),
            (Key::RequestUri, &uri),
            (Key::RequestScheme, scheme),
            (Key::UrlScheme, scheme),
            (Key::ServerProtocol, b"HTTP/1.1"),
            (Key::ServerName, it.host.as_bytes()),
            (Key::ServerPort, port.as_bytes()),
            (Key::ServerAddr, b"127.0.0.1"),
            (Key::RemoteAddr, b"127.0.0.1"),
            (Key::ScriptFilename, it.script.as_os_str().as_bytes()),
            (Key::HttpHost, &host),
        ];
        pairs.into_iter().for_each(|(key, value)| environ.set(key, value));
        if it.secure {
            environ.other(b"HTTPS", b"on");
        }
        environ.header(b"User-Agent", b"mod_wsgi_rs (warm-up)");
        let now = wsgi::epoch_micros();
        [Key::RequestStart, Key::DaemonStart].into_iter().for_each(|key| environ.time(key, now));
    }

    fn read(&mut self, _: &mut [u8]) -> Result<usize, ReadError> {
        Ok(0)
    }

    fn send(&mut self, output: Output<'_>) -> Result<(), SendError> {
        if let Some(head) = output.head {
            self.status = Some(head.status());
        }
        self.whole = output.then != wsgi::Then::Flush;
        Ok(())
    }

    fn wants_body(&self) -> bool {
        true
    }

    fn cut(&mut self) {
        self.whole = false;
    }

    fn log(&mut self, level: Level, line: &[u8]) {
        self.log.write(level, line);
    }
}
