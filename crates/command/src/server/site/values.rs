//! All values of a server together, as the templates know them: `site.name`.

use super::app::{App, Script};
use super::behind::Behind;
use super::content::ContentValues;
use super::facts::Facts;
use super::logs::LogFiles;
use super::names::Names;
use super::network::Network;
use super::places::Places;
use super::python::PythonValues;
use crate::failure::Failure;
use serde::Serialize;

/// See the templates.
#[derive(Debug, Serialize)]
pub(crate) struct Site {
    #[serde(flatten)]
    names: Names,
    #[serde(flatten)]
    places: Places,
    #[serde(flatten)]
    network: Network,
    logs: LogFiles,
    #[serde(flatten)]
    python: PythonValues,
    #[serde(flatten)]
    content: ContentValues,
    #[serde(flatten)]
    behind: Behind,
    script: Option<Script>,
}

impl Site {
    /// # Errors
    /// Where Apache lacks a module.
    pub(crate) fn new(facts: &Facts<'_>, app: &App) -> Result<Self, Failure> {
        Ok(Self {
            names: Names::new(facts),
            places: Places::new(facts),
            network: Network::new(facts)?,
            logs: LogFiles::new(facts),
            python: PythonValues::new(facts),
            content: ContentValues::new(facts),
            behind: Behind::new(facts),
            script: app.target(facts),
        })
    }

    /// The URLs of the server.
    pub(crate) fn urls(&self) -> Vec<String> {
        std::iter::once(self.names.url.clone()).chain(self.names.https_url.clone()).collect()
    }

    /// The file with Apache's process id.
    pub(crate) fn pid_file(&self) -> std::path::PathBuf {
        std::path::PathBuf::from(&self.places.pid_file)
    }

    /// The name of the unit of systemd.
    pub(crate) fn unit_file(&self) -> &str {
        &self.places.unit_name
    }
}
