//! The program `mod_wsgi_rs`. All of it is in the library beside.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    wsgi_command::main()
}
