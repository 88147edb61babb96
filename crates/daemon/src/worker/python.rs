//! Python as it is before a worker serves: started, with scripts loaded. It knows no thread that serves.
#![forbid(unsafe_code)]

use crate::log::Log;
use crate::message::Loaded;
use crate::worker::error::WorkerError;
use crate::worker::file_version;
use crate::worker::host_options::host_options;
use crate::worker::warm_up;
use group_config::{GroupConfig, ImportScript};
use host::{Host, Reloading, RunningPython, ScriptFile, Target};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The Python of a process, as far as it is.
pub(crate) enum Python {
    /// It is still to be started in this process.
    ToStart,
    /// The program of the process is a Python, which has started.
    Running(RunningPython),
    /// A template has prepared it.
    Prepared(Box<PreparedPython>),
}

/// Python that has been started, and the scripts that have been loaded.
pub(crate) struct PreparedPython {
    pub(super) host: Host,
    pub(super) scripts: Vec<Loaded>,
    /// A script did not load.
    pub(super) failed: bool,
    /// The request of `warm-up=` has been answered.
    is_warm: bool,
}

impl Python {
    /// Starts Python, unless it has been started.
    pub(super) fn prepare(
        self,
        config: &GroupConfig,
        log: &Log,
    ) -> Result<PreparedPython, WorkerError> {
        if config.reload {
            host::record_imports();
        }
        let (options, log) = (host_options(config), Arc::new(*log));
        let host = match self {
            Self::Prepared(prepared) => return Ok(*prepared),
            Self::ToStart => Host::start(options, log),
            Self::Running(running) => Host::adopt(options, log, running),
        }
        .map_err(WorkerError::Python)?;
        Ok(PreparedPython { host, scripts: Vec::new(), failed: false, is_warm: false })
    }
}

impl PreparedPython {
    /// Has the application answer the request of `warm-up=`, once, if all scripts have loaded.
    pub(super) fn warm_up(&mut self, config: &GroupConfig, log: &Log) {
        // The request of an application of ASGI needs its event loop.
        if self.is_warm || self.failed || config.is_asgi() {
            return;
        }
        self.is_warm = true;
        if let Some(request) = &config.warm_up {
            warm_up::run(request, &self.host, *log, config);
        }
    }

    /// Whether a script of the configuration has been loaded, with its application.
    pub(super) fn has_loaded(&self, script: &ImportScript) -> bool {
        let (path, group) =
            (script.path.as_os_str().as_bytes(), script.application_group.as_bytes());
        self.scripts.iter().any(|loaded| loaded.is_script(path, group))
    }

    /// Loads those of `scripts` that are not loaded yet.
    pub(super) fn import(&mut self, config: &GroupConfig, scripts: Vec<Loaded>) {
        for mut script in scripts {
            if self.scripts.iter().any(|loaded| loaded.is_same_script(&script)) {
                continue;
            }
            let now = file_version::version(&script.path);
            // A script that has not changed and does not load any more is no reason to refuse newer code.
            let is_unchanged = script.modified.is_some() && script.modified == now;
            script.modified = now;
            let loaded = self.host.preload(&Target {
                script: ScriptFile {
                    path: script.path.as_os_str().as_bytes(),
                    modified: script.modified,
                    reloading: Reloading::Never,
                    case_sensitive: config.python.case_sensitive,
                    replacement: None,
                },
                callable: script.callable.as_deref().unwrap_or_default().as_bytes(),
                application_group: script.application_group.as_bytes(),
                main_interpreter: config.main_interpreter(),
                is_elsewhere: false,
            });
            self.failed |= !loaded && !is_unchanged;
            if loaded {
                self.scripts.push(script);
            }
        }
    }
}
