//! What a changed file means, by its name.

use super::ignored::Ignored;
use std::path::Path;

/// What a change asks for; the greater one stands above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Only browsers need to know: a style sheet, a picture.
    Page,
    /// The application is loaded anew.
    Code,
}

/// Suffixes of files that an application reads once.
const CODE: [&str; 14] = [
    "py", "pyi", "so", "html", "htm", "jinja", "jinja2", "j2", "mako", "toml", "ini", "cfg", "env",
    "mo",
];
/// Suffixes of files that browsers get.
const PAGE: [&str; 15] = [
    "css", "js", "mjs", "map", "svg", "png", "jpg", "jpeg", "gif", "webp", "avif", "ico", "woff",
    "woff2", "json",
];
/// Folders that are never watched.
const FOLDERS: [&str; 10] = [
    "__pycache__",
    "node_modules",
    "site-packages",
    "venv",
    "env",
    "target",
    "htmlcov",
    "dist",
    "build",
    "media",
];

/// What is watched, beside what always is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns {
    /// Names of files that are code.
    pub(crate) include: Vec<String>,
    /// Names of files and folders that are left out.
    pub(crate) exclude: Vec<String>,
    /// What `.gitignore` leaves out, of which `include` takes some back.
    pub(crate) ignored: Ignored,
}

impl Patterns {
    /// What a changed file asks for.
    pub(crate) fn change(&self, path: &Path) -> Option<Change> {
        let name = path.file_name()?.to_str()?;
        if self.exclude.iter().any(|pattern| matches(pattern, name)) {
            return None;
        }
        if self.include.iter().any(|pattern| matches(pattern, name)) {
            return Some(Change::Code);
        }
        // Settings of this machine alone, which repositories leave out, are read by the application all the same.
        if name != ".env" && self.ignored.has(path, false) {
            return None;
        }
        // Files that editors make beside the one that is edited.
        if name.starts_with('.') || name.ends_with('~') {
            return (name == ".env").then_some(Change::Code);
        }
        let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
        if CODE.contains(&suffix.as_str()) {
            return Some(Change::Code);
        }
        PAGE.contains(&suffix.as_str()).then_some(Change::Page)
    }

    /// Whether a folder is watched.
    pub(crate) fn enters(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        !name.starts_with('.')
            && !FOLDERS.contains(&name)
            && !name.ends_with(".egg-info")
            && !self.exclude.iter().any(|pattern| matches(pattern, name))
            && !path.join("pyvenv.cfg").exists()
            && !self.ignored.has(path, true)
    }
}

/// Whether a name fits a pattern, in which `*` is any text and `?` any character.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern.as_str();
            let ends = name.char_indices().map(|(start, _)| start).chain([name.len()]);
            ends.into_iter().any(|start| matches(rest, &name[start..]))
        }
        Some(wanted) => {
            let mut characters = name.chars();
            let found = characters.next();
            found.is_some_and(|found| wanted == '?' || wanted == found)
                && matches(pattern.as_str(), characters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_follows_from_the_name() {
        let patterns = Patterns {
            include: vec!["*.yaml".into()],
            exclude: vec!["test_*".into(), "generated".into()],
            ..Patterns::default()
        };
        let cases = [
            ("a/views.py", Some(Change::Code)),
            ("a/page.HTML", Some(Change::Code)),
            ("a/site.css", Some(Change::Page)),
            ("a/conf.yaml", Some(Change::Code)),
            ("a/.env", Some(Change::Code)),
            ("a/test_views.py", None),
            ("a/.views.py.swp", None),
            ("a/views.py~", None),
            ("a/db.sqlite3", None),
            ("a/README", None),
        ];
        for (path, expected) in cases {
            assert_eq!(patterns.change(Path::new(path)), expected, "{path}");
        }
        for (folder, expected) in
            [("a/app", true), ("a/.git", false), ("a/node_modules", false), ("a/generated", false)]
        {
            assert_eq!(patterns.enters(Path::new(folder)), expected, "{folder}");
        }
        assert!(matches("*a?c*", "xxabcyy") && !matches("a?c", "ac"));
    }
}
