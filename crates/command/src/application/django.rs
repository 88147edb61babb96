//! Django projects: what manage.py and the settings say, as text.

use super::source::text_after;
use crate::options::Interface;
use crate::text_file;
use std::path::{Path, PathBuf};

/// A project that manage.py belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// The module of the settings.
    pub(crate) settings: String,
    /// `module:callable` of `WSGI_APPLICATION`, or of the wsgi.py beside the settings; those of ASGI where that is wanted.
    pub(crate) application: Option<(String, String)>,
}

/// The project in this folder.
pub(crate) fn project(folder: &Path, interface: Interface) -> Option<Project> {
    let text = text_file::text(&folder.join("manage.py")).ok()?;
    let settings = std::env::var("DJANGO_SETTINGS_MODULE")
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| text_after(&text, "DJANGO_SETTINGS_MODULE"))?;
    let source = module_file(folder, &settings)
        .and_then(|file| text_file::text(&file).ok())
        .unwrap_or_default();
    let (setting, module) = match interface {
        Interface::Asgi => ("ASGI_APPLICATION", "asgi"),
        Interface::Wsgi | Interface::Auto => ("WSGI_APPLICATION", "wsgi"),
    };
    let named = text_after(&source, setting)
        .and_then(|name| name.rsplit_once('.').map(|(module, name)| (module.into(), name.into())));
    let beside = || {
        // mysite.settings.production belongs to mysite as mysite.settings does.
        let packages = settings.match_indices('.').map(|(end, _)| &settings[..end]);
        let modules = packages.map(|package| format!("{package}.{module}"));
        let found = modules.into_iter().find(|module| module_file(folder, module).is_some());
        found.map(|module| (module, "application".to_owned()))
    };
    let application = named.or_else(beside);
    Some(Project { settings, application })
}

/// The file of a module below a folder.
pub(crate) fn module_file(folder: &Path, module: &str) -> Option<PathBuf> {
    let path = folder.join(module.replace('.', "/"));
    [path.with_extension("py"), path.join("__init__.py")].into_iter().find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_is_that_of_manage_py_and_its_settings() {
        let root = std::env::temp_dir().join(format!("django-{}", std::process::id()));
        std::fs::create_dir_all(root.join("mysite/settings")).unwrap();
        let manage = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings.local')\n";
        std::fs::write(root.join("manage.py"), manage).unwrap();
        std::fs::write(root.join("mysite/wsgi.py"), "").unwrap();
        std::fs::write(root.join("mysite/asgi.py"), "").unwrap();
        let without = project(&root, Interface::Auto).unwrap();
        let asgi = project(&root, Interface::Asgi).unwrap();
        let settings = root.join("mysite/settings/local.py");
        std::fs::write(settings, "WSGI_APPLICATION = 'other.web.application'\n").unwrap();
        let with = project(&root, Interface::Auto).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(without.settings, "mysite.settings.local");
        assert_eq!(without.application, Some(("mysite.wsgi".into(), "application".into())));
        assert_eq!(asgi.application, Some(("mysite.asgi".into(), "application".into())));
        assert_eq!(with.application, Some(("other.web".into(), "application".into())));
    }
}
