//! A slow request that ends, and its thread with it, between the moment it is found and the moment its stack is read
//! (`warm-up=` with `WSGISlowRequests`).
//!
//! The stack belongs to a thread state that CPython has freed by then. The test runs in a process of its own, under
//! CPython's debug allocator, which fills freed memory, so that following a stale pointer ends the process.

#![allow(clippy::unwrap_used, reason = "a test: whatever fails ends it")]

#[path = "options/host_options.rs"]
mod host_options;

use host::{Host, Reloading, ScriptFile, Served, ServerLog, Target};
use host_options::options;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wsgi::{Environ, Exchange, Key, Level, Output, ReadError, SendError};

const INSIDE: &str = "HOST_TEST_INSIDE";
const LONG: Duration = Duration::from_secs(20);

#[test]
fn slow_request_whose_thread_has_gone_is_not_read() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("slow_request_whose_thread_has_gone_is_not_read").arg("--nocapture");
    let output = command.env(INSIDE, "1").env("PYTHONMALLOC", "malloc_debug").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

fn inside() {
    let script = std::env::temp_dir().join(format!("slow-{}.wsgi", std::process::id()));
    let code = "def application(environ, start_response):\n    \
                start_response('200 OK', [])\n    \
                return [environ['wsgi.input'].read()]\n";
    std::fs::write(&script, code).unwrap();
    let ((reported, is_reported), (go_on, goes_on)) = (channel(), channel());
    let (finished, is_finished) = channel();
    let log =
        BlockingLog { state: Mutex::new((reported, goes_on)), finished: Mutex::new(finished) };
    let host = Host::start(options(Some(Duration::from_millis(20))), Arc::new(log)).unwrap();
    let (release, is_released) = channel();
    std::thread::scope(|scope| {
        let (host, script) = (&host, script.as_os_str().as_encoded_bytes());
        let warm_up = scope.spawn(move || {
            let target = Target {
                script: ScriptFile {
                    path: script,
                    modified: None,
                    reloading: Reloading::Never,
                    case_sensitive: true,
                    replacement: None,
                },
                callable: b"application",
                application_group: b"",
                main_interpreter: true,
                is_elsewhere: false,
            };
            // It reads until the slow request has been found: meanwhile the request's own log is in use.
            let served = host.serve(&target, &mut BlockingExchange(is_released));
            assert_eq!(served, Served::Done);
            host.release_thread();
        });
        is_reported.recv_timeout(LONG).unwrap();
        release.send(()).unwrap();
        warm_up.join().unwrap();
        go_on.send(()).unwrap();
    });
    // The thread that looks for slow requests has read the stack or left it alone.
    host.stop("");
    assert!(is_finished.try_iter().all(|line: String| !line.contains("File ")));
    std::fs::remove_file(script).unwrap();
}

/// Blocks at the first line about the slow request.
struct BlockingLog {
    state: Mutex<(Sender<()>, Receiver<()>)>,
    finished: Mutex<Sender<String>>,
}

impl ServerLog for BlockingLog {
    fn log(&self, _: Level, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        if line.contains("slow request") {
            let state = self.state.lock().unwrap();
            let _ = state.0.send(());
            let _ = state.1.recv_timeout(LONG);
        }
        let _ = self.finished.lock().unwrap().send(line);
    }
}

/// A request whose body comes when it is released.
struct BlockingExchange(Receiver<()>);

impl Exchange for BlockingExchange {
    fn environ(&mut self, environ: &mut dyn Environ) {
        environ.set(Key::RequestMethod, b"POST");
    }

    fn read(&mut self, _: &mut [u8]) -> Result<usize, ReadError> {
        let _ = self.0.recv_timeout(LONG);
        Ok(0)
    }

    fn send(&mut self, _: Output<'_>) -> Result<(), SendError> {
        Ok(())
    }

    fn wants_body(&self) -> bool {
        true
    }

    fn cut(&mut self) {}

    fn log(&mut self, _: Level, _: &[u8]) {}
}
