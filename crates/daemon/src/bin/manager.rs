//! The program `wsgi-daemon-manager`: the manager of a group without a Python in it, which costs a fifth of the
//! memory. It has `wsgi-daemon-X.Y` run for each worker. All of it is in the library beside.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    wsgi_daemon::manage()
}
