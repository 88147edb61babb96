//! `DEBUG = True` in the settings of a Django site that an alias leads to. Files are read as text.

use crate::application::{module_file, text_after};
use crate::doctor::findings::Report;
use crate::doctor::groups::Script;
use crate::doctor::server::Server;
use std::path::{Path, PathBuf};

const CHECK: &str = "django-debug";

pub(super) fn check(server: &Server, report: &mut Report) {
    for script in Script::all(server) {
        if script.path.is_dir() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&script.path) else {
            let sentence = format!("whether {} has Django with DEBUG on", script.path.display());
            report.unseen(CHECK, sentence);
            continue;
        };
        let folders = folders(&script);
        let found = settings(&text, &folders)
            .filter(|file| std::fs::read_to_string(file).is_ok_and(|text| is_on(&text)));
        if let Some(file) = found {
            report.warn(
                CHECK,
                format!(
                    "{} has DEBUG = True: every error page shows settings and code to its reader, and memory grows with \
                     each query; set it to False ({})",
                    file.display(),
                    script.place
                ),
            );
        }
    }
}

/// Where modules of the script may be.
fn folders(script: &Script) -> Vec<PathBuf> {
    let above = script.path.ancestors().skip(1).take(3).map(Path::to_owned);
    above.chain(script.group.home.clone()).chain(script.group.python_path.clone()).collect()
}

/// The file of the settings that the script names, itself or by the module that it loads.
fn settings(text: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let file = |name: &str| folders.iter().find_map(|folder| module_file(folder, name));
    let named =
        |text: &str| text_after(text, "DJANGO_SETTINGS_MODULE").and_then(|name| file(&name));
    named(text).or_else(|| {
        // As the scripts of setup-server do.
        let (_, rest) = text.split_once("import_module(\"")?;
        named(&std::fs::read_to_string(file(rest.split('"').next()?)?).ok()?)
    })
}

fn is_on(settings: &str) -> bool {
    let value = |line: &str| {
        let rest = line.strip_prefix("DEBUG")?.trim_start().strip_prefix('=')?;
        Some(rest.split('#').next()?.trim() == "True")
    };
    settings.lines().filter_map(value).next_back() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_seen_through_the_script_and_the_module_that_it_loads() {
        let root = std::env::temp_dir().join(format!("doctor-debug-{}", std::process::id()));
        std::fs::create_dir_all(root.join("mysite")).unwrap();
        std::fs::create_dir_all(root.join("server")).unwrap();
        let wsgi = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n";
        std::fs::write(root.join("mysite/wsgi.py"), wsgi).unwrap();
        let loader = "application = import_module(\"mysite.wsgi\").application\n";
        std::fs::write(root.join("server/application.wsgi"), loader).unwrap();
        let said = |script: &str, settings: &str| {
            std::fs::write(root.join("mysite/settings.py"), settings).unwrap();
            let root = root.display();
            let lines = format!(
                "WSGIDaemonProcess a home={root}\nWSGIProcessGroup a\nWSGIScriptAlias / {root}/{script}"
            );
            let mut report = Report::default();
            check(&Server::of(&lines, &[]), &mut report);
            report.sentences().len()
        };
        let found = [
            said("mysite/wsgi.py", "DEBUG = True\n"),
            said("server/application.wsgi", "DEBUG = True  # for now\n"),
            said("mysite/wsgi.py", "DEBUG = True\nDEBUG = False\n"),
            said("mysite/wsgi.py", "DEBUG = os.environ.get('DEBUG')\n"),
        ];
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [1, 1, 0, 0]);
    }
}
