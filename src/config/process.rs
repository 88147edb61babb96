//! What was written about the whole server process: Python's start, the daemon groups, the scripts
//! to load. It never knows a virtual host's or a directory's own settings.

use std::time::Duration;

use super::{
    Bytes, DaemonProcess, DirectoryConfig, GroupReference, ImportScript, InterfaceReference,
    InterpreterOptions, Line, RepeatedGroup, Section, TelemetryOptions, TelemetryService,
};

/// The process-wide settings, as written. There is one; virtual hosts do not inherit it, they add
/// to its lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessConfig {
    pub(crate) python_home: Option<Bytes>,
    pub(crate) python_eggs: Option<Bytes>,
    /// Each as after `python -W`, in the order written.
    pub(crate) python_warnings: Vec<Bytes>,
    pub(crate) python_optimize: Option<u32>,
    pub(crate) hash_seed: Option<HashSeed>,
    pub(crate) dont_write_bytecode: Option<bool>,
    pub(crate) destroy_interpreter: Option<bool>,
    pub(crate) case_sensitivity: Option<bool>,
    pub(crate) restrict_embedded: Option<bool>,
    /// What holds for every interpreter a block does not say otherwise for.
    pub(crate) interpreter: InterpreterOptions,
    /// The `<WSGIInterpreterOptions>` blocks, in the order written.
    pub(crate) interpreter_sections: Vec<Section>,
    /// Also those of virtual hosts, in the order written. Names are unique.
    pub(crate) daemon_processes: Vec<DaemonProcess>,
    /// Also those of virtual hosts, and of script aliases whose groups are fully named.
    pub(crate) import_scripts: Vec<ImportScript>,
    /// Every line that sends requests to a process group, in the order written.
    pub(crate) group_references: Vec<GroupReference>,
    /// The aliases that lead to a process group, with their interfaces.
    pub(crate) interface_references: Vec<InterfaceReference>,
    /// The lines that say something about a process group and send nothing to it.
    pub(crate) group_mentions: Vec<GroupReference>,
    /// The lines that define a process group again, as it is.
    pub(crate) repeated_groups: Vec<RepeatedGroup>,
    pub(crate) socket_prefix: Option<Bytes>,
    pub(crate) socket_rotation: Option<bool>,
    pub(crate) server_metrics: Option<bool>,
    /// `Some(0)` was written to turn it off.
    pub(crate) slow_requests: Option<Duration>,
    pub(crate) telemetry_service: Option<TelemetryService>,
    pub(crate) telemetry_options: Option<TelemetryOptions>,
    /// How many lines of `WSGIApplicationGroup` and `WSGIProcessGroup` stand in a section such as
    /// `<Location>`: with them it cannot be told which requests an alias leads where.
    pub(crate) groups_in_sections: usize,
    /// How many of them are lines of `WSGIProcessGroup`.
    pub(crate) process_groups_in_sections: usize,
    /// How many access and authentication scripts there are, `.htaccess` files apart.
    pub(crate) access_scripts: usize,
    /// How many dispatch scripts there are.
    pub(crate) dispatch_scripts: usize,
    /// How many handler scripts there are.
    pub(crate) handler_scripts: usize,
}

impl ProcessConfig {
    /// Notes a line that has just been read into `directory`, if it says something about the whole process.
    pub(super) fn note(&mut self, line: &Line<'_>, directory: &DirectoryConfig) {
        let group = match line.name() {
            "WSGIProcessGroup" => directory.process_group.as_deref(),
            // The script of the line is the first.
            "WSGIHandlerScript" => directory
                .handler_scripts
                .as_ref()
                .and_then(|scripts| scripts.first()?.process_group.as_deref()),
            _ => None,
        };
        self.group_references.extend(GroupReference::of(line, group));
        if line.name() == "WSGIRestrictProcess" {
            let names = directory.restrict_process.iter().flat_map(|names| names.iter());
            let mentions = names.filter_map(|name| GroupReference::of(line, Some(name)));
            self.group_mentions.extend(mentions);
        }
        match line.name() {
            "WSGIAccessScript" | "WSGIAuthUserScript" | "WSGIAuthGroupScript" => {
                self.access_scripts += 1;
            }
            "WSGIDispatchScript" => self.dispatch_scripts += 1,
            "WSGIHandlerScript" => self.handler_scripts += 1,
            "WSGIApplicationGroup" | "WSGIProcessGroup" if line.context.in_section() => {
                self.groups_in_sections += 1;
                self.process_groups_in_sections += usize::from(line.name() == "WSGIProcessGroup");
            }
            _ => {}
        }
    }
}

/// Where the hashes of Python strings start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashSeed {
    /// Another one in each process. (mod_wsgi takes the word for the number 0.)
    Random,
    Fixed(u32),
}

impl ProcessConfig {
    /// Where the line's interpreter settings go: the block it stands in, or the top level.
    pub(super) fn interpreter_at(&mut self, line: &Line<'_>) -> &mut InterpreterOptions {
        let Self { interpreter, interpreter_sections, .. } = self;
        match (line.section, interpreter_sections.last_mut()) {
            (Some(_), Some(section)) => &mut section.options,
            _ => interpreter,
        }
    }
}
