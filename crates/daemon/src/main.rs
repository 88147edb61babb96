//! The program `wsgi-daemon-X.Y`. All of it is in the library beside.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    wsgi_daemon::main()
}
