//! Files, folders, programs and users of the server.

use super::facts::Facts;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
pub(super) struct Places {
    user: String,
    group: String,
    group_name: String,
    is_root: bool,
    server_root: String,
    httpd_conf: String,
    envvars: String,
    variables_file: String,
    envvars_script: Option<String>,
    variables: Vec<(String, String)>,
    apachectl: String,
    unit: String,
    pub(super) unit_name: String,
    in_tmp: bool,
    pub(super) pid_file: String,
    httpd: String,
    shell: String,
    process_name: String,
    startup_log: String,
    mime_types: String,
    include_files: Vec<String>,
}

impl Places {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let (options, root) = (facts.options, facts.root.path());
        let identity = &options.identity;
        let path = |path: &std::path::PathBuf| Facts::path(path);
        let unit_name = format!("{}.service", unit_stem(root));
        let name = identity.process_name.as_deref();
        let usual_shell = if name.is_some() { "/bin/bash" } else { "/bin/sh" };
        Self {
            user: facts.account.user.clone(),
            group: facts.account.group.clone(),
            group_name: facts.account.group.trim_start_matches('#').to_owned(),
            is_root: sys::is_root(),
            server_root: root.display().to_string(),
            httpd_conf: facts.in_root("httpd.conf"),
            envvars: facts.in_root("envvars"),
            variables_file: facts.in_root("variables"),
            envvars_script: identity.envvars_script.as_ref().map(path),
            variables: options.variables.clone(),
            apachectl: facts.in_root("apachectl"),
            unit: facts.in_root(&unit_name),
            unit_name,
            in_tmp: root.starts_with("/tmp") || root.starts_with("/var/tmp"),
            pid_file: identity.pid_file.as_ref().map_or_else(|| facts.in_root("httpd.pid"), path),
            httpd: facts.apache.httpd.display().to_string(),
            shell: identity.shell_executable.as_ref().map_or_else(|| usual_shell.to_owned(), path),
            process_name: name
                .map_or_else(String::new, |name| format!("-a '{}' ", name.replace('\'', "'\\''"))),
            startup_log: match options.logs.startup_log {
                true => {
                    let folder = options
                        .logs
                        .log_directory
                        .as_ref()
                        .map_or_else(|| root.display().to_string(), path);
                    format!("-E '{folder}/{}' ", options.logs.startup_log_name)
                }
                false => String::new(),
            },
            mime_types: facts.mime_types(),
            include_files: identity.include_file.iter().map(path).collect(),
        }
    }
}

/// A name for the unit, from that of the folder.
fn unit_stem(root: &Path) -> String {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let valid = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    let stem: String =
        name.chars().map(|character| if valid(character) { character } else { '-' }).collect();
    if stem.starts_with("mod_wsgi_rs") { stem } else { format!("mod_wsgi_rs-{stem}") }
}
