//! Files that Apache serves, variables of requests, scripts of access control.

use super::facts::Facts;
use crate::application::Kind;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Serialize)]
pub(super) struct ContentValues {
    setenv: Vec<(String, String)>,
    error_documents: Vec<(String, String)>,
    scripts: AccessScripts,
    document_root: String,
    files_first: bool,
    rewrite_rules: Option<String>,
    allow_override: String,
    /// Extensions of files and their handler scripts.
    handlers: Vec<(String, String)>,
    aliases: Vec<Alias>,
}

#[derive(Debug, Serialize)]
struct AccessScripts {
    host_access: Option<String>,
    auth_user: Option<String>,
    auth_group: Option<String>,
}

#[derive(Debug, Serialize)]
struct Alias {
    url: String,
    target: String,
    folder: String,
    file: Option<String>,
}

/// The values of an option that takes two, in pairs.
pub(super) fn pairs(values: &[String]) -> Vec<(String, String)> {
    values
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[first, second]| (first.clone(), second.clone()))
        .collect()
}

impl ContentValues {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let options = facts.options;
        let (content, access) = (&options.content, &options.access);
        let path = |path: &Option<PathBuf>| path.as_deref().map(Facts::path);
        let handlers: Vec<_> = pairs(&content.add_handler)
            .into_iter()
            .map(|(extension, script)| (extension, Facts::path(script.as_ref())))
            .collect();
        let files_first = !matches!(facts.application.kind, Kind::Static(_))
            && (content.document_root.is_some()
                || options.identity.rewrite_rules.is_some()
                || content.with_cgi
                || !handlers.is_empty());
        Self {
            setenv: pairs(&options.identity.setenv),
            error_documents: pairs(&content.error_document),
            scripts: AccessScripts {
                host_access: path(&access.host_access_script),
                auth_user: path(&access.auth_user_script),
                auth_group: path(&access.auth_group_script),
            },
            document_root: facts.document_root().display().to_string(),
            files_first,
            rewrite_rules: path(&options.identity.rewrite_rules),
            allow_override: match content.allow_override.is_empty() {
                true => "None".to_owned(),
                false => content.allow_override.join(" "),
            },
            handlers,
            aliases: aliases(facts),
        }
    }
}

/// Longer URL paths stand first, because the first one that fits is taken.
fn aliases(facts: &Facts<'_>) -> Vec<Alias> {
    let content = &facts.options.content;
    let mut wanted = pairs(&content.url_alias);
    if let Some(url) = &content.health_url {
        wanted.push((url.clone(), facts.in_root("health.txt")));
    }
    wanted.sort();
    wanted.reverse();
    let alias = |(url, target): (String, String)| {
        let path = std::path::absolute(&target).unwrap_or_else(|_| PathBuf::from(&target));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_file = path.is_file();
        let folder = if is_file { path.parent().unwrap_or(&path) } else { &path };
        let folder = folder.display().to_string();
        // Apache joins what follows the URL path to the target, so that both end with a slash, or none does.
        let ends = if url.ends_with('/') && !is_file { "/" } else { "" };
        let target = format!("{}{ends}", path.display().to_string().trim_end_matches('/'));
        Alias { url, target, folder, file: name.filter(|_| is_file) }
    };
    wanted.into_iter().map(alias).collect()
}
