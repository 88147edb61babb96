//! start-server: from options to a server that is supervised.

use super::log_pipes::LogPipe;
use super::supervise::{Supervisor, Watch};
use super::{apache_process, port};
use crate::failure::Failure;
use crate::lines::Output;
use crate::machine::addresses;
use crate::options::ServerOptions;
use crate::reload::{Channel, Ignored, Loading, Patterns, Watcher};
use crate::server::{self, Purpose, Setup};
use std::process::ExitCode;

/// That of `--https` where no option names one.
const HTTPS_PORT: u16 = 8443;

/// Serves until the end is asked for.
pub(crate) fn start(options: &ServerOptions) -> Result<ExitCode, Failure> {
    let mut options = options.clone();
    let is_development = options.development.is_on();
    if is_development && options.listener.host.is_none() {
        // Not reachable from the network, unless that was asked for.
        options.listener.host = Some("127.0.0.1".to_owned());
    }
    let may_move = is_development && !options.development.strict_port;
    let port = port::choose(options.listener.host.as_deref(), options.listener.port, may_move)?;
    options.listener.port = port.number;
    let mut ports = vec![port];
    let is_of_development = options.listener.https;
    let usual = is_of_development.then_some(HTTPS_PORT);
    if let Some(wanted) = options.listener.https_port.or(usual) {
        let may_move = is_of_development && options.listener.https_port.is_none();
        let port = port::choose(options.listener.host.as_deref(), wanted, may_move)?;
        options.listener.https_port = Some(port.number);
        ports.push(port);
    }
    let mut output = Output::new(&options.logs);
    for port in &ports {
        if let Some(note) = &port.note {
            output.warn(&format!("{note}; using {}", port.number));
        }
    }
    let setup = server::write(&options, Purpose::Start)?;
    let done = serve(&options, &setup, output);
    setup.root.remove_if_temporary();
    done
}

fn serve(options: &ServerOptions, setup: &Setup, mut output: Output) -> Result<ExitCode, Failure> {
    for line in server::what_was_chosen(setup).lines() {
        output.say(line);
    }
    if let Some(note) = &setup.note {
        output.warn(note);
    }
    if let Some(trust) = &setup.trust {
        output.say(trust);
    }
    let pipes = match &setup.pipes {
        Some(pipes) => Some((LogPipe::make(&pipes.errors)?, LogPipe::make(&pipes.requests)?)),
        None => None,
    };
    let watch = match &setup.script {
        Some(_) => Some(watch(options, setup, &mut output)?),
        None => None,
    };
    let mut supervisor = Supervisor::new(options, setup, output, pipes, watch)?;
    let pid = apache_process::spawn(&setup.root.join("apachectl"), &options.variables)?;
    supervisor.run(pid)
}

/// What development needs.
fn watch(options: &ServerOptions, setup: &Setup, output: &mut Output) -> Result<Watch, Failure> {
    let failed = |what: &str, why: std::io::Error| Failure::server(format!("{what}: {why}"));
    let development = &options.development;
    let mut roots = vec![setup.working_directory.clone()];
    roots.extend(development.reload_dir.iter().cloned());
    let patterns = Patterns {
        include: development.reload_include.clone(),
        exclude: development.reload_exclude.clone(),
        ignored: Ignored::below(&roots),
    };
    let mut watcher = Watcher::new(&roots, patterns);
    if let Some(note) = watcher.note() {
        output.warn(&note);
    }
    let channel = match &setup.channel {
        Some(path) => {
            Some(Channel::open(path).map_err(|why| failed("the channel to browsers", why))?)
        }
        None => None,
    };
    let listener = &options.listener;
    let address = addresses::local(listener.host.as_deref());
    let host = listener.server_name.clone().unwrap_or_else(|| "localhost".to_owned());
    let loading =
        Loading::new(address, listener.port, host).map_err(|why| failed("a socket pair", why))?;
    Ok(Watch { watcher, channel, loading, pages: Vec::new(), again: None })
}
