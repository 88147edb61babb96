//! The Python stacks of a process whose threads come and go, run and wait, and hold Python's lock: read a thousand times
//! by a thread that never takes a lock, of all threads in a copy that stands still, and of one that goes on. One process,
//! because Python is started once.

#![allow(clippy::unwrap_used, reason = "a test: whatever fails ends it")]

use host::{
    Host, HostOptions, InterpreterOptions, Reloading, ScriptFile, ServerLog, StackFrame, Target,
    ThreadStack,
};
use std::io::Write;
use std::os::unix::thread::JoinHandleExt;
use std::path::Path;
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

/// Runs in a thread of this program while it is loaded.
const BUSY: &str = r#"
import os, time

def is_over(*_):
    return os.path.exists(__file__ + ".over")

def wäits():
    while not is_over():
        time.sleep(
            0.02
        )

class Page:
    def computes(self, until):
        total = 0
        while time.monotonic() < until:
            total += sum(
                number * number
                for number in range(200))
        return total

    def recurses(self, depth):
        try:
            raise KeyError(depth)
        except KeyError:
            return wäits() if depth == 0 else self.recurses(depth - 1)

exec(compile("def od漢d(page):\n    page.recurses(9)\n", "a\nb\x1b\u202e.py", "exec"))
Page().computes(time.monotonic() + 3)
od漢d(Page())
def computes():
    pass
"#;

#[test]
fn stacks_of_all_threads_are_read_and_the_process_lives() {
    let script = std::env::temp_dir().join(format!("stacks-{}.wsgi", std::process::id()));
    std::fs::write(&script, CODE).unwrap();
    let host = Arc::new(Host::start(options(), Arc::new(Log)).unwrap());
    for group in ["", "shop"] {
        assert!(load(&host, &script, b"churns", group));
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
    thread_is_read_while_it_goes_on(&host, &script.with_extension("busy.wsgi"));
    lock_is_not_needed(&host, &script);
    std::fs::remove_file(script).unwrap();
}

fn load(host: &Host, script: &Path, callable: &[u8], group: &str) -> bool {
    host.preload(&Target {
        script: ScriptFile {
            path: script.as_os_str().as_encoded_bytes(),
            modified: None,
            reloading: Reloading::Never,
            case_sensitive: true,
            replacement: None,
        },
        callable,
        application_group: group.as_bytes(),
        main_interpreter: false,
        is_elsewhere: false,
    })
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

/// A thread of this program computes, waits and recurses in Python; what it executes is what a copy of it executes.
fn thread_is_read_while_it_goes_on(host: &Arc<Host>, script: &Path) {
    std::fs::write(script, BUSY).unwrap();
    let (own, path) = (Arc::clone(host), script.to_owned());
    let thread = std::thread::spawn(move || load(&own, &path, b"computes", "shop"));
    #[allow(clippy::unnecessary_cast, reason = "it has 32 bits on some machines")]
    let ident = thread.as_pthread_t() as u64;
    let mut memory = sys::OwnMemory::new().unwrap();
    let mut read = |address: usize, into: &mut [u8]| memory.read(address, into);
    let mut live = || host.live_stack(ident, &mut read);
    let until = Instant::now() + LONG;
    let has = |stack: &Option<(Vec<StackFrame>, bool)>, function: &str| {
        stack.iter().flat_map(|(frames, _)| frames).any(|it| it.function.ends_with(function))
    };
    let (mut computing, mut read_at_all) = (0, 0);
    let waiting = loop {
        let stack = live();
        computing += usize::from(has(&stack, "computes"));
        read_at_all += usize::from(stack.is_some());
        if has(&stack, "od\u{6f22}d") {
            break stack.unwrap();
        }
        assert!(Instant::now() < until, "{stack:#?}");
    };
    // What changes each time that it is looked at is left out; the outer frames do not.
    assert!(computing >= 100 && read_at_all >= computing, "{computing} {read_at_all}");
    assert!(waiting.1);
    let copied = || {
        let (stacks, _) = host.stacks(sys::run_in_frozen_copy).unwrap();
        stacks.into_iter().find(|it| it.ident == ident && !it.frames.is_empty()).unwrap()
    };
    let same = (0..100).any(|_| live().is_some_and(|(frames, _)| frames == copied().frames));
    assert!(same, "{:#?} {:#?}", live(), copied());
    let lines: Vec<_> = waiting.0.iter().map(|frame| frame.line).collect();
    let odd = waiting.0.iter().position(|it| it.function == "od\u{6f22}d").unwrap();
    assert_eq!(
        (waiting.0[odd].line, waiting.0[odd].file.as_str()),
        (2, "a\\u000ab\\u001b\\u202e.py")
    );
    assert_eq!(lines.iter().filter(|line| **line == 26).count(), 10, "{waiting:#?}");
    std::fs::write(script.with_extension("wsgi.over"), "").unwrap();
    assert!(thread.join().unwrap());
    assert!(live().is_none());
    std::fs::remove_file(script).unwrap();
    std::fs::remove_file(script.with_extension("wsgi.over")).unwrap();
}

/// A thread calls a function of C that keeps the lock for 0.9 s: until then nothing else of Python runs.
fn lock_is_not_needed(host: &Host, script: &Path) {
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
            json_records: false,
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
