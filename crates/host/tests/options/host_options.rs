//! Options of a process for tests.

use host::{HostOptions, InterpreterOptions};
use std::time::Duration;
use wsgi::Level;

/// A process of one thread, which looks for requests that take longer than `slow_requests`.
pub(crate) fn options(slow_requests: Option<Duration>) -> HostOptions {
    HostOptions {
        python_home: None,
        home: None,
        locale_utf8_mode: None,
        python_eggs: None,
        optimize: 0,
        warnings: Vec::new(),
        hash_seed: None,
        write_bytecode: true,
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
        free_threading: false,
        destroy_interpreters: true,
        observable: false,
        single_process: false,
        slow_requests,
        telemetry: None,
        process_group: String::new(),
        multithread: false,
        multiprocess: false,
        run_once: false,
        maximum_processes: 1,
        threads_per_process: 1,
        apache: None,
        server_status: None,
    }
}
