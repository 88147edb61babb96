//! `reload=On`: in which state the scripts of the configuration were when a worker was last started, so that another one is
//! started once they have changed, before a pause is over. It must never know a worker.
#![forbid(unsafe_code)]

use group_config::GroupConfig;
use wsgi::ExactVersion;

/// The versions of the scripts; `None` where there is no file.
#[derive(Default, PartialEq)]
pub(super) struct TriedScripts(Vec<Option<ExactVersion>>);

impl TriedScripts {
    /// The scripts as they are now.
    pub(super) fn now(config: &GroupConfig) -> Self {
        let version = |path: &std::path::Path| path.metadata().ok().map(|it| ExactVersion::of(&it));
        Self(config.import_scripts.iter().map(|script| version(&script.path)).collect())
    }
}
