//! Which application a request is for, read from its params. It never looks at what the client sent.
#![forbid(unsafe_code)]

use crate::config::GroupConfig;
use crate::exchange::Facts;
use fastcgi::Params;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the params of a request ask for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) script: Vec<u8>,
    pub(crate) modified: Option<i64>,
    pub(crate) callable: Vec<u8>,
    pub(crate) application_group: Vec<u8>,
    /// Whether a changed script is to be noticed.
    pub(crate) reloading: bool,
    /// When the requesting end began to look for a worker, in microseconds.
    pub(crate) queued: Option<u64>,
    /// What is written to the log, where that is not the group's own level.
    pub(crate) log_level: Option<u8>,
    /// Whether the request keeps the worker from being idle (`WSGIIgnoreActivity`).
    pub(crate) is_activity: bool,
    wants_body: bool,
    from_module: bool,
}

impl Asked {
    /// Reads them; the application of `config`, if it has one, goes before what they name.
    pub(crate) fn read(params: Params<'_>, config: &GroupConfig) -> Self {
        let mut asked =
            Self { reloading: true, wants_body: true, is_activity: true, ..Self::default() };
        let mut filename: &[u8] = &[];
        for (name, value) in params {
            match name {
                b"mod_wsgi.x-script" => {
                    asked.script = value.to_vec();
                    asked.from_module = true;
                }
                b"mod_wsgi.x-modified" => asked.modified = number(value),
                b"mod_wsgi.x-reloading" => asked.reloading = value != b"0",
                b"mod_wsgi.x-header-only" => asked.wants_body = value != b"1",
                b"mod_wsgi.x-ignore-activity" => asked.is_activity = value != b"1",
                b"mod_wsgi.x-log-level" => asked.log_level = number(value),
                b"mod_wsgi.callable_object" => asked.callable = value.to_vec(),
                b"mod_wsgi.application_group" => asked.application_group = value.to_vec(),
                b"mod_wsgi.queue_start" => asked.queued = number(value),
                b"SCRIPT_FILENAME" => filename = value,
                b"REQUEST_METHOD" if value == b"HEAD" => asked.wants_body = false,
                _ => {}
            }
        }
        if let Some(application) = &config.application {
            asked.script = application.script.as_os_str().as_bytes().to_vec();
            asked.callable = application.callable.as_bytes().to_vec();
            asked.application_group.clear();
            asked.modified = None;
        } else if !asked.from_module {
            asked.script = filename.to_vec();
        }
        if asked.callable.is_empty() {
            asked.callable = b"application".to_vec();
        }
        if asked.modified.is_none() {
            asked.modified = modified(Path::new(std::ffi::OsStr::from_bytes(&asked.script)));
        }
        asked
    }

    /// What the exchange has to know.
    pub(crate) fn facts(&self, config: &GroupConfig) -> Facts {
        Facts {
            wants_body: self.wants_body,
            from_module: self.from_module,
            mounted_at_root: config.application.is_some(),
            log_level: self.log_level.unwrap_or(config.log_level),
        }
    }
}

/// When a file was last modified, in microseconds.
pub(crate) fn modified(path: &Path) -> Option<i64> {
    let found = path.metadata().ok()?;
    Some(found.mtime() * 1_000_000 + found.mtime_nsec() / 1000)
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Application;
    use fastcgi::Limits;

    fn asked(pairs: &[(&str, &str)], config: &GroupConfig) -> Asked {
        let mut block = Vec::new();
        for (name, value) in pairs {
            block.extend([name.len() as u8, value.len() as u8]);
            block.extend([name.as_bytes(), value.as_bytes()].concat());
        }
        Asked::read(Params::parse(&block, &Limits::default()).unwrap(), config)
    }

    #[test]
    fn the_module_names_the_script_and_others_have_script_filename() {
        let config = GroupConfig::default();
        let ours = [("SCRIPT_FILENAME", "/a"), ("mod_wsgi.x-script", "/b")];
        let it = asked(&ours, &config);
        assert_eq!(
            (it.script, it.from_module, it.callable),
            (b"/b".into(), true, b"application".into())
        );
        let it = asked(&[("SCRIPT_FILENAME", "/a"), ("REQUEST_METHOD", "HEAD")], &config);
        assert_eq!((it.script, it.wants_body), (b"/a".into(), false));
    }

    #[test]
    fn the_one_application_is_served_whatever_is_asked() {
        let application = Application { script: "/srv/app.py".into(), callable: "main".into() };
        let config = GroupConfig { application: Some(application), ..GroupConfig::default() };
        let it =
            asked(&[("mod_wsgi.x-script", "/b"), ("mod_wsgi.application_group", "x")], &config);
        assert_eq!((it.script, it.callable), (b"/srv/app.py".into(), b"main".into()));
        assert!(it.application_group.is_empty());
    }
}
