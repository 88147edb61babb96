//! The Python stacks of a process whose threads come and go, run and wait, and hold Python's lock: read a thousand times
//! by a thread that never takes a lock. One process, because Python is started once.

#![allow(clippy::unwrap_used, reason = "a test: whatever fails ends it")]

use host::{
    Host, HostOptions, InterpreterOptions, Reloading, ScriptFile, ServerLog, Target, ThreadStack,
};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wsgi::Level;

const DUMPS: usize = 1000;
const LONG: Duration = Duration::from_secs(60);

const CODE: &str = r#"
import ctypes, os, threading, time
stop = threading.Event()

class Waiter:
    def waits_in_here(self):
        stop.wait()

def recurses(depth):
    return stop.wait() if depth == 0 else recurses(depth - 1)

def short_lived(depth):
    return depth and short_lived(depth - 1)

def churns():
    while not stop.is_set():
        threads = [threading.Thread(target=short_lived, args=(9,)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]

def computes():
    while not stop.is_set():
        sum(i * i for i in range(300))

def holds_the_lock():
    while not os.path.exists(__file__ + ".hold"):
        time.sleep(0.005)
    # A function of C that is called without giving up the lock.
    ctypes.PyDLL(None).usleep(900000)
    stop.set()

odd = compile("def odd\u00e9():\n    stop.wait()\n", "a\nb\x1b\u202e.py", "exec")
exec(odd)
targets = [Waiter().waits_in_here, lambda: recurses(150), churns, churns, computes, oddé]
threads = [threading.Thread(target=target, name="thread %d" % number, daemon=True)
           for number, target in enumerate(targets)]
threads.append(threading.Thread(target=holds_the_lock, daemon=True))
[thread.start() for thread in threads]
"#;

#[test]
fn stacks_of_all_threads_are_read_and_the_process_lives() {
    let script = std::env::temp_dir().join(format!("stacks-{}.wsgi", std::process::id()));
    std::fs::write(&script, CODE).unwrap();
    let host = Host::start(options(), Arc::new(Log)).unwrap();
    for group in ["", "shop"] {
        let loaded = host.preload(&Target {
            script: ScriptFile {
                path: script.as_os_str().as_encoded_bytes(),
                modified: None,
                reloading: Reloading::Never,
                case_sensitive: true,
                replacement: None,
            },
            callable: b"churns",
            application_group: group.as_bytes(),
            main_interpreter: false,
            is_elsewhere: false,
        });
        assert!(loaded);
    }
    read_until_all_are_where_they_are_expected(&host);
    names_are_those_of_the_application(&host);
    let mut whole = 0;
    for _ in 0..DUMPS {
        let (stacks, is_whole) = host.stacks(sys::run_in_frozen_copy).unwrap();
        whole += usize::from(is_whole);
        assert!(stacks.iter().flat_map(|it| &it.frames).all(|it| !it.file.contains('\x1b')));
    }
    // Memory that is being changed while a copy is made is looked at again, and that three times in a row is rare.
    assert!(whole * 100 >= DUMPS * 95, "{whole} of {DUMPS} are complete");
    lock_is_not_needed(&host, &script);
    std::fs::remove_file(script).unwrap();
}

fn named<'s>(stacks: &'s [ThreadStack], group: &str, function: &str) -> Option<&'s ThreadStack> {
    stacks.iter().find(|stack| {
        stack.application_group.as_deref() == Some(group)
            && stack.frames.iter().any(|frame| frame.function == function)
    })
}

/// The names of functions have those of their classes from 3.11 on.
fn method() -> &'static str {
    if host::PYTHON_VERSION.starts_with("3.10") { "waits_in_here" } else { "Waiter.waits_in_here" }
}

fn read_until_all_are_where_they_are_expected(host: &Host) {
    let until = Instant::now() + LONG;
    loop {
        let (stacks, is_whole) = host.stacks(sys::run_in_frozen_copy).unwrap();
        let is_there = |group: &str| {
            [method(), "recurses", "computes", "odd\u{e9}", "holds_the_lock"]
                .iter()
                .all(|function| named(&stacks, group, function).is_some())
        };
        if is_whole && is_there("") && is_there("shop") {
            return check(&stacks);
        }
        assert!(Instant::now() < until, "{stacks:#?}");
    }
}

fn check(stacks: &[ThreadStack]) {
    for group in ["", "shop"] {
        let waiter = named(stacks, group, method()).unwrap();
        let at = waiter.frames.iter().position(|frame| frame.function == method()).unwrap();
        assert!(waiter.frames[at].file.ends_with(".wsgi"));
        assert_eq!(waiter.frames[at].line, 7, "{waiter:#?}");
        // What has called it comes behind.
        assert!(waiter.frames[at + 1].file.ends_with("threading.py"), "{waiter:#?}");
        let deep = named(stacks, group, "recurses").unwrap();
        assert!(deep.frames.len() == 100 && deep.left_out >= 51, "{deep:#?}");
        let odd = named(stacks, group, "odd\u{e9}").unwrap();
        let files: Vec<_> = odd.frames.iter().map(|frame| frame.file.as_str()).collect();
        assert!(files.contains(&"a\\u000ab\\u001b\\u202e.py"), "{files:?}");
        assert_eq!(waiter.native_id.is_some(), !host::PYTHON_VERSION.starts_with("3.10"));
    }
}

fn names_are_those_of_the_application(host: &Host) {
    let names = host.thread_names();
    let (stacks, _) = host.stacks(sys::run_in_frozen_copy).unwrap();
    for group in ["", "shop"] {
        let waiter = named(&stacks, group, method()).unwrap();
        let name = names
            .iter()
            .find(|name| name.ident == waiter.ident && name.application_group == group)
            .unwrap();
        assert_eq!(name.name, "thread 0");
    }
}

/// A thread calls a function of C that keeps the lock for 0.9 s: until then nothing else of Python runs.
fn lock_is_not_needed(host: &Host, script: &std::path::Path) {
    let hold = script.with_extension("wsgi.hold");
    std::fs::write(&hold, "").unwrap();
    let until = Instant::now() + LONG;
    loop {
        let (stacks, _) = host.stacks(sys::run_in_frozen_copy).unwrap();
        let holder = named(&stacks, "", "holds_the_lock").unwrap();
        // The call of the function of C.
        if holder.frames[0].function == "holds_the_lock" && holder.frames[0].line == 29 {
            break;
        }
        assert!(Instant::now() < until, "{holder:#?}");
    }
    std::fs::remove_file(hold).unwrap();
}

fn options() -> HostOptions {
    HostOptions {
        python_home: None,
        home: None,
        locale_utf8_mode: None,
        python_eggs: None,
        optimize: 0,
        warnings: Vec::new(),
        hash_seed: None,
        write_bytecode: false,
        interpreter: InterpreterOptions {
            python_path: Vec::new(),
            switch_interval: None,
            interval_is_its_own: false,
            restrict_stdin: false,
            restrict_stdout: false,
            print_level: Level::Error,
            restrict_signal: true,
            own_gil: false,
        },
        named_interpreters: Vec::new(),
        free_threading: true,
        destroy_interpreters: false,
        observable: false,
        single_process: false,
        slow_requests: None,
        telemetry: None,
        process_group: String::new(),
        multithread: true,
        multiprocess: false,
        run_once: false,
        maximum_processes: 1,
        threads_per_process: 1,
        apache: None,
        server_status: None,
    }
}

struct Log;

impl ServerLog for Log {
    fn log(&self, level: Level, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let _ = writeln!(std::io::stderr(), "{level:?} {line}");
    }
}
