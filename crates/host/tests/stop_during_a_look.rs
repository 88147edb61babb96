//! A process that ends while a thread waits for the lock in order to look at Python, as a report of stacks does.

#![allow(clippy::unwrap_used, reason = "a test: whatever fails ends it")]

#[path = "options/host_options.rs"]
mod host_options;

use host::{Host, Reloading, ScriptFile, Served, ServerLog, Target};
use host_options::options;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use wsgi::{Environ, Exchange, Key, Level, Output, ReadError, SendError};

/// Its thread holds the lock from when there is `go` until a writer opens `fifo`.
const SCRIPT: &str = "
import atexit, ctypes, os, sys, threading, time
FOLDER = os.path.dirname(__file__)

def hold():
    libc = ctypes.PyDLL(None)
    while not os.path.exists(FOLDER + '/go'):
        time.sleep(0.01)
    # No other thread asks for the lock before the FIFO is opened.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    libc.mkdir(os.fsencode(FOLDER + '/held'), 0o755)
    libc.open(os.fsencode(FOLDER + '/fifo'), os.O_RDONLY)
    sys.setswitchinterval(interval)

def application(environ, start_response):
    atexit.register(os.mkdir, FOLDER + '/finalised')
    threading.Thread(target=hold).start()
    start_response('200 OK', [])
    return []
";

#[test]
fn python_is_finalised_although_a_thread_waits_to_look_at_it() {
    let folder = std::env::temp_dir().join(format!("look-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("app.py"), SCRIPT).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
    let log = Arc::new(Lines::default());
    let host = Host::start(options(None), Arc::<Lines>::clone(&log)).unwrap();
    thread::scope(|scope| {
        let (host, folder) = (&host, &folder);
        let serving = scope.spawn(move || {
            assert_eq!(host.serve(&target(&folder.join("app.py")), &mut Bodiless), Served::Done);
            host.release_thread();
        });
        serving.join().unwrap();
        fs::create_dir(folder.join("go")).unwrap();
        wait_until(|| folder.join("held").exists());
        let (begins, has_begun) = channel();
        let look = scope.spawn(move || {
            begins.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
            host.thread_names()
        });
        let stat = Path::new("/proc").join(has_begun.recv().unwrap()).join("stat");
        // It sleeps where it waits for the lock.
        wait_until(|| fs::read_to_string(&stat).unwrap().contains(") S "));
        assert!(!look.is_finished());
        let release = scope.spawn(move || {
            fs::OpenOptions::new().write(true).open(folder.join("fifo")).unwrap();
        });
        host.stop("");
        release.join().unwrap();
        look.join().unwrap();
    });
    let lines = log.0.lock().unwrap();
    assert!(folder.join("finalised").exists(), "{lines:?}");
    fs::remove_dir_all(folder).unwrap();
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until);
        sleep(Duration::from_millis(5));
    }
}

fn target(script: &Path) -> Target<'_> {
    Target {
        script: ScriptFile {
            path: script.as_os_str().as_encoded_bytes(),
            modified: None,
            reloading: Reloading::Never,
            case_sensitive: true,
            replacement: None,
        },
        callable: b"application",
        application_group: b"",
        main_interpreter: true,
        is_elsewhere: false,
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl ServerLog for Lines {
    fn log(&self, _: Level, line: &[u8]) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
    }
}

/// A request without a body, whose response is not looked at.
struct Bodiless;

impl Exchange for Bodiless {
    fn environ(&mut self, environ: &mut dyn Environ) {
        environ.set(Key::RequestMethod, b"GET");
    }

    fn read(&mut self, _: &mut [u8]) -> Result<usize, ReadError> {
        Ok(0)
    }

    fn send(&mut self, _: Output<'_>) -> Result<(), SendError> {
        Ok(())
    }

    fn wants_body(&self) -> bool {
        false
    }

    fn cut(&mut self) {}

    fn log(&mut self, _: Level, _: &[u8]) {}
}
