//! `DEBUG = True` in the settings of a Django site that an alias leads to. Files are read as text.

use crate::doctor::django::Project;
use crate::doctor::findings::Report;
use crate::doctor::groups::Script;
use crate::doctor::server::Server;
use crate::text_file;

const CHECK: &str = "django-debug";

pub(super) fn check(server: &Server, report: &mut Report) {
    for script in Script::all(server) {
        if script.path.is_dir() {
            continue;
        }
        let Ok(text) = text_file::text(&script.path) else {
            let sentence = format!("whether {} has Django with DEBUG on", script.path.display());
            report.unseen(CHECK, sentence);
            continue;
        };
        let found = Project::find(&script, text)
            .map(|project| project.settings)
            .filter(|file| text_file::text(file).is_ok_and(|text| is_on(&text)));
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
        std::fs::write(root.join("mysite/asgi.py"), wsgi).unwrap();
        let loader = "application = import_module(\"mysite.wsgi\").application\n";
        std::fs::write(root.join("server/application.wsgi"), loader).unwrap();
        let said = |script: &str, settings: &str| {
            std::fs::write(root.join("mysite/settings.py"), settings).unwrap();
            let root = root.display();
            let alias = if script.contains("asgi") { "ASGIScriptAlias" } else { "WSGIScriptAlias" };
            let lines = format!(
                "WSGIDaemonProcess a home={root}\nWSGIProcessGroup a\n{alias} / {root}/{script}"
            );
            let mut report = Report::default();
            check(&Server::of(&lines, &[]), &mut report);
            report.sentences().len()
        };
        let found = [
            said("mysite/wsgi.py", "DEBUG = True\n"),
            said("mysite/asgi.py", "DEBUG = True\n"),
            said("server/application.wsgi", "DEBUG = True  # for now\n"),
            said("mysite/wsgi.py", "DEBUG = True\nDEBUG = False\n"),
            said("mysite/wsgi.py", "DEBUG = os.environ.get('DEBUG')\n"),
        ];
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [1, 1, 1, 0, 0]);
    }
}
