//! What is surely not meant so in how the configuration divides work among processes, for configtest to say. It
//! knows the lines that were written and never a request: where a request may decide, nothing is sure.
#![forbid(unsafe_code)]

use crate::aliases_of::AliasesOf;
use crate::config::{DaemonProcess, ProcessConfig, ScriptAlias, visibility};

/// One sentence for each mistake.
pub(crate) fn group_hints(
    process: &ProcessConfig,
    groups: &[DaemonProcess],
    servers: &[AliasesOf<'_>],
) -> Vec<String> {
    let mentions = process.group_mentions.iter();
    let mut hints: Vec<_> = mentions.filter_map(|it| it.undefined_hint(groups)).collect();
    let expanded = process.group_references.iter().any(|reference| reference.is_expanded());
    if expanded || process.dispatch_scripts > 0 {
        return hints;
    }
    let unused = groups.iter().filter(|group| is_unused(process, group));
    hints.extend(unused.map(|group| unused_hint(group, process, servers)));
    hints.extend(refused_hint(process, servers));
    hints.extend(python_path_hint(process, servers));
    hints
}

/// Whether no line sends anything to the group.
fn is_unused(process: &ProcessConfig, group: &DaemonProcess) -> bool {
    let named = process.group_references.iter().any(|reference| reference.name == group.name);
    let imports = process.import_scripts.iter().any(|script| script.process_group == group.name);
    !named && !imports
}

fn unused_hint(
    group: &DaemonProcess,
    process: &ProcessConfig,
    servers: &[AliasesOf<'_>],
) -> String {
    let name = String::from_utf8_lossy(&group.name);
    let mut hint = format!(
        "the process group '{name}' serves no request: neither WSGIProcessGroup nor process-group= names it"
    );
    let only = process.daemon_processes.len() == 1;
    let visible = |server: &AliasesOf<'_>| visibility(&group.server, Some(server.name)).is_ok();
    let alias = embedded_aliases(process, servers).find(|(server, _)| visible(server));
    if let Some((_, alias)) = alias.filter(|_| only) {
        hint += &format!(
            "; the script alias for {} runs in Apache's own processes, and 'WSGIProcessGroup {name}' has it \
             run there",
            String::from_utf8_lossy(&alias.target)
        );
    }
    hint
}

/// Without embedded mode, an alias that names no group.
fn refused_hint(process: &ProcessConfig, servers: &[AliasesOf<'_>]) -> Option<String> {
    process.restrict_embedded.filter(|restricted| *restricted)?;
    let (_, alias) = embedded_aliases(process, servers).next()?;
    Some(format!(
        "every request for the script alias for {} is refused: it names no process group, and \
         WSGIRestrictEmbedded is On",
        String::from_utf8_lossy(&alias.target)
    ))
}

/// `WSGIPythonPath` beside groups only.
fn python_path_hint(process: &ProcessConfig, servers: &[AliasesOf<'_>]) -> Option<String> {
    process.interpreter.python_path.as_ref().filter(|path| !path.is_empty())?;
    let sections = &process.interpreter_sections;
    let others = process.groups_in_sections + process.access_scripts + process.handler_scripts > 0
        || process.import_scripts.iter().any(|script| script.process_group.is_empty())
        || sections.iter().any(|section| section.options.python_path.is_some());
    let mut groups = servers
        .iter()
        .flat_map(|server| server.aliases.iter().map(move |alias| group_of(server, alias)));
    if others || groups.clone().any(<[u8]>::is_empty) {
        return None;
    }
    let without_path = |name: &[u8]| {
        let mut all = process.daemon_processes.iter();
        all.any(|group| *group.name == *name && group.config.python.path.is_empty())
    };
    let name = String::from_utf8_lossy(groups.find(|name| without_path(name))?).into_owned();
    Some(format!(
        "WSGIPythonPath has no effect in daemon mode, in which each script alias runs: for the process group \
         '{name}' it is python-path= of WSGIDaemonProcess"
    ))
}

/// The aliases that name no process group, where no section can name one for them either.
fn embedded_aliases<'a, 's>(
    process: &ProcessConfig,
    servers: &'s [AliasesOf<'a>],
) -> impl Iterator<Item = (&'s AliasesOf<'a>, &'a ScriptAlias)> {
    let sure = process.groups_in_sections == 0;
    let servers = servers.iter().filter(move |server| sure && server.process_group.is_none());
    servers.flat_map(|server| {
        let silent = server.aliases.iter().filter(|alias| alias.process_group.is_none());
        silent.map(move |alias| (server, *alias))
    })
}

fn group_of<'s>(server: &'s AliasesOf<'_>, alias: &'s ScriptAlias) -> &'s [u8] {
    alias.process_group.as_deref().or(server.process_group).unwrap_or_default()
}
