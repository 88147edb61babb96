//! The options that Python starts with in a worker, from the group's.
#![forbid(unsafe_code)]

use crate::time_limit;
use group_config::{GroupConfig, Interpreter, Python, Telemetry};
use host::{ApacheFacts, HashSeed, HostOptions, InterpreterOptions, TelemetryOptions};
use std::path::PathBuf;
use wsgi::Level;

/// The options Python starts with.
pub(super) fn host_options(config: &GroupConfig) -> HostOptions {
    let python = &config.python;
    let processes = i64::from(config.processes.most);
    let threads = i64::from(config.threads);
    let named = python
        .interpreters
        .iter()
        .map(|own| (own.application_group.clone(), named_interpreter(config, own)));
    HostOptions {
        python_home: python.home.clone(),
        home: config.identity.home.clone(),
        locale_utf8_mode: None,
        interpreter: common_interpreter(config),
        named_interpreters: named.collect(),
        free_threading: python.free_threading,
        python_eggs: python.eggs.clone(),
        optimize: python.optimize,
        warnings: python.warnings.clone(),
        hash_seed: Some(python.hash_seed.map_or(HashSeed::Random, HashSeed::Fixed)),
        write_bytecode: python.write_bytecode,
        destroy_interpreters: python.destroy_interpreters,
        observable: time_limit::enabled(config.timers.request_timeout).is_some(),
        slow_requests: python.slow_requests.filter(|limit| !limit.is_zero()),
        telemetry: python.telemetry.as_ref().map(telemetry),
        single_process: false,
        process_group: config.name.clone(),
        multithread: threads != 1,
        multiprocess: config.processes.given || processes != 1,
        run_once: false,
        // Apache's scoreboard is memory of Apache's own processes.
        server_status: None,
        maximum_processes: processes,
        threads_per_process: threads,
        apache: python.apache.as_ref().map(apache),
    }
}

/// What holds for every interpreter that has no options of its own.
fn common_interpreter(config: &GroupConfig) -> InterpreterOptions {
    let python = &config.python;
    InterpreterOptions {
        python_path: layers(python, &python.path_layers),
        switch_interval: python.switch_interval,
        interval_is_its_own: false,
        restrict_stdin: python.restrict_stdin,
        restrict_stdout: python.restrict_stdout,
        print_level: Level::from_number(python.print_level),
        json_records: python.json_records,
        restrict_signal: python.restrict_signal && may_restrict_signal(config),
        own_gil: python.own_gil,
    }
}

fn named_interpreter(config: &GroupConfig, own: &Interpreter) -> InterpreterOptions {
    InterpreterOptions {
        python_path: layers(&config.python, &own.path_layers),
        switch_interval: own.switch_interval,
        interval_is_its_own: own.interval_is_its_own,
        restrict_stdin: own.restrict_stdin,
        restrict_stdout: own.restrict_stdout,
        print_level: Level::from_number(own.print_level),
        json_records: own.json_records,
        restrict_signal: own.restrict_signal && may_restrict_signal(config),
        own_gil: own.own_gil,
    }
}

/// A service script has the process for itself, and its signals.
fn may_restrict_signal(config: &GroupConfig) -> bool {
    !config.is_service()
}

fn layers(python: &Python, more: &[Vec<PathBuf>]) -> Vec<Vec<PathBuf>> {
    let mut layers = vec![python.path.clone()];
    layers.extend_from_slice(more);
    layers
}

fn telemetry(telemetry: &Telemetry) -> TelemetryOptions {
    TelemetryOptions {
        service: telemetry.service.clone(),
        interval: telemetry.interval,
        capture_user_agent: telemetry.capture_user_agent,
        server: telemetry.server,
    }
}

fn apache(apache: &group_config::Apache) -> ApacheFacts {
    ApacheFacts {
        version: apache.version,
        description: apache.description.clone(),
        mpm_name: apache.mpm_name.clone(),
        build_date: apache.build_date.clone(),
        maximum_processes: apache.maximum_processes,
        threads_per_process: apache.threads_per_process,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use group_config::Processes;

    #[test]
    fn number_of_processes_that_was_written_makes_a_group_multiprocess() {
        let mut config = GroupConfig::default();
        assert!(!host_options(&config).multiprocess);
        config.processes = Processes::new(1, 1).unwrap();
        assert!(host_options(&config).multiprocess);
    }

    #[test]
    fn service_script_may_set_signal_handlers() {
        let config = GroupConfig { threads: 0, ..GroupConfig::default() };
        assert!(!host_options(&config).interpreter.restrict_signal);
    }
}
