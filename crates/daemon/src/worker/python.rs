//! Python as it is before a worker serves: started, with the scripts that it has loaded. It knows no
//! thread that serves.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::log::Log;
use crate::message::Loaded;
use crate::worker::file_time::modified;
use host::{Host, ScriptFile, Target};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Python that has been started, and the scripts it has loaded.
pub(crate) struct Prepared {
    pub(crate) host: Host,
    pub(super) scripts: Vec<Loaded>,
    pub(super) failed: bool,
    pub(super) warm: bool,
}

impl Prepared {
    /// Starts Python in this process.
    pub(crate) fn start(config: &GroupConfig, log: &Log) -> Result<Self, String> {
        let host = Host::start(config.host_options(), Arc::new(*log))
            .map_err(|why| format!("WSGI0036: Python cannot be started in this process: {why}"))?;
        Ok(Self { host, scripts: Vec::new(), failed: false, warm: false })
    }

    /// Whether a script did not load.
    pub(crate) const fn failed(&self) -> bool {
        self.failed
    }

    /// Has the application answer the request of `warm-up=`, once, if all scripts have loaded.
    pub(crate) fn warm_up(&mut self, config: &GroupConfig, log: &Log) {
        if self.warm || self.failed {
            return;
        }
        self.warm = true;
        if let Some(request) = &config.warm_up {
            request.run(&self.host, *log, config);
        }
    }

    /// Loads what the configuration and `scripts` say, and is not loaded already.
    pub(crate) fn import(&mut self, config: &GroupConfig, scripts: Vec<Loaded>) {
        for mut script in scripts {
            let same = |other: &Loaded| {
                other.path == script.path && other.application_group == script.application_group
            };
            if self.scripts.iter().any(same) {
                continue;
            }
            let now = modified(&script.path);
            // It is no fault of newer code if what has not changed does not load any more.
            let same = script.modified.is_some() && script.modified == now;
            script.modified = now;
            let loaded = self.host.preload(&Target {
                script: ScriptFile {
                    path: script.path.as_os_str().as_bytes(),
                    modified: script.modified,
                    reloading: false,
                    case_sensitive: config.python.case_sensitive,
                },
                callable: script.callable.as_deref().unwrap_or_default().as_bytes(),
                application_group: script.application_group.as_bytes(),
                main_interpreter: config.main_interpreter(),
            });
            self.failed |= !loaded && !same;
            if loaded {
                self.scripts.push(script);
            }
        }
    }
}
