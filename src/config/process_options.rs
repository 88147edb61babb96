//! The process-wide settings with every default applied, for the start of the server. It never
//! starts anything.

use std::time::Duration;

use super::interface;
use super::{
    Bytes, DaemonProcess, HashSeed, ImportScript, InterpreterOptions, InterpreterSettings,
    ProcessConfig, Section, TelemetryOptions, TelemetryService,
};

/// What the process is to be. The defaults of [`ProcessConfig`] stand here and nowhere else.
#[derive(Debug, Clone)]
pub(crate) struct ProcessOptions {
    /// A virtual environment or a Python installation; `None` leaves it to Python.
    pub(crate) python_home: Option<Bytes>,
    /// Where eggs are unpacked in embedded mode; `None` leaves it to Python.
    pub(crate) python_eggs: Option<Bytes>,
    pub(crate) python_warnings: Vec<Bytes>,
    pub(crate) python_optimize: u32,
    pub(crate) hash_seed: HashSeed,
    pub(crate) write_bytecode: bool,
    pub(crate) destroy_interpreter: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) restrict_embedded: bool,
    /// Whether Apache's own processes start Python: for applications, or for scripts of the server's.
    pub(crate) embedded_python: bool,
    /// `None` is `wsgi` in Apache's run-time directory.
    pub(crate) socket_prefix: Option<Bytes>,
    /// Whether each restart gives the groups new sockets.
    pub(crate) socket_rotation: bool,
    pub(crate) server_metrics: bool,
    /// `None`: no request is slow.
    pub(crate) slow_requests: Option<Duration>,
    /// `None`: nothing is sent.
    pub(crate) telemetry_service: Option<TelemetryService>,
    pub(crate) telemetry_options: TelemetryOptions,
    /// Named uniquely, those of virtual hosts among them.
    pub(crate) daemon_processes: Vec<DaemonProcess>,
    import_scripts: Vec<ImportScript>,
    interpreter: InterpreterOptions,
    interpreter_sections: Vec<Section>,
}

impl ProcessOptions {
    pub(crate) fn resolve(config: &ProcessConfig) -> Self {
        let ProcessConfig {
            python_home,
            python_eggs,
            python_warnings,
            python_optimize,
            hash_seed,
            dont_write_bytecode,
            destroy_interpreter,
            case_sensitivity,
            restrict_embedded,
            interpreter,
            interpreter_sections,
            daemon_processes,
            import_scripts,
            socket_prefix,
            socket_rotation,
            server_metrics,
            slow_requests,
            telemetry_service,
            telemetry_options,
            groups_in_sections: _,
            process_groups_in_sections: _,
            group_references: _,
            interface_references,
            group_mentions: _,
            repeated_groups: _,
            access_scripts,
            dispatch_scripts,
            handler_scripts: _,
        } = config;
        let mut daemon_processes = daemon_processes.clone();
        interface::apply(interface_references, &mut daemon_processes);
        Self {
            python_home: python_home.clone(),
            python_eggs: python_eggs.clone(),
            python_warnings: python_warnings.clone(),
            python_optimize: python_optimize.unwrap_or(0),
            hash_seed: hash_seed.unwrap_or(HashSeed::Random),
            write_bytecode: !dont_write_bytecode.unwrap_or(false),
            destroy_interpreter: destroy_interpreter.unwrap_or(true),
            case_sensitive: case_sensitivity.unwrap_or(!cfg!(target_os = "macos")),
            restrict_embedded: restrict_embedded.unwrap_or(false),
            embedded_python: !restrict_embedded.unwrap_or(false)
                || access_scripts + dispatch_scripts > 0
                || import_scripts.iter().any(|script| script.process_group.is_empty()),
            socket_prefix: socket_prefix.clone(),
            socket_rotation: socket_rotation.unwrap_or(false),
            server_metrics: server_metrics.unwrap_or(false),
            slow_requests: slow_requests.filter(|limit| !limit.is_zero()),
            telemetry_service: telemetry_service.clone(),
            telemetry_options: telemetry_options.unwrap_or_default(),
            daemon_processes,
            import_scripts: import_scripts.clone(),
            interpreter: interpreter.clone(),
            interpreter_sections: interpreter_sections.clone(),
        }
    }

    /// What holds for one interpreter; without an application group, for all that no block names. Empty
    /// names: embedded mode, the main interpreter.
    pub(crate) fn interpreter(
        &self,
        process_group: &[u8],
        application_group: Option<&[u8]>,
    ) -> InterpreterSettings {
        InterpreterSettings::resolve(
            &self.interpreter,
            &self.interpreter_sections,
            process_group,
            application_group,
        )
    }

    /// The application groups of `process_group` that blocks name.
    pub(crate) fn named_interpreters(&self, process_group: &[u8]) -> Vec<&[u8]> {
        super::interpreter::named(&self.interpreter_sections, process_group)
    }

    /// The scripts to load when a process of `process_group` starts. Empty: embedded mode.
    pub(crate) fn import_scripts(
        &self,
        process_group: &[u8],
    ) -> impl Iterator<Item = &ImportScript> {
        let scripts = self.import_scripts.iter();
        scripts.filter(move |script| *script.process_group == *process_group)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::configuration;
    use super::*;

    #[cfg(feature = "embedded")]
    #[test]
    fn python_is_kept_out_of_apaches_processes_unless_a_script_of_the_server_needs_it() {
        let starts =
            |lines: &[&str]| ProcessOptions::resolve(&configuration(lines).process).embedded_python;
        let off = "WSGIRestrictEmbedded On";
        assert!(!starts(&[off]));
        assert!(!starts(&[off, "WSGIHandlerScript name /h.wsgi"]));
        for line in [
            "WSGIAccessScript /a",
            "WSGIAuthUserScript /a",
            "WSGIAuthGroupScript /a",
            "WSGIDispatchScript /a",
        ] {
            assert!(starts(&[off, line]), "{line}");
        }
    }

    #[test]
    fn what_nobody_wrote_has_mod_wsgis_default() {
        let options = ProcessOptions::resolve(&ProcessConfig::default());
        assert_eq!(options.python_optimize, 0);
        assert_eq!(options.hash_seed, HashSeed::Random);
        assert!(options.write_bytecode && options.destroy_interpreter && options.case_sensitive);
        assert!(!options.socket_rotation && !options.restrict_embedded && !options.server_metrics);
        assert!(options.embedded_python);
        assert_eq!(options.slow_requests, None);
        let interpreter = options.interpreter(b"", None);
        assert!(interpreter.restrict_signal);
        assert!(
            !interpreter.restrict_stdin && !interpreter.restrict_stdout && !interpreter.own_gil
        );
    }
}
