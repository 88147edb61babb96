//! Django under ASGI without asynchronous code: what ASGI costs there buys nothing.

use crate::doctor::django::Project;
use crate::doctor::findings::Report;
use crate::doctor::groups::Script;
use crate::doctor::server::Server;
use crate::text_file;

const CHECK: &str = "django-asgi";

pub(super) fn check(server: &Server, report: &mut Report) {
    for script in Script::all(server).into_iter().filter(|script| script.is_asgi) {
        // Scripts that cannot be read are told of by another check.
        let Ok(text) = text_file::text(&script.path) else { continue };
        let Some(project) = Project::find(&script, text).filter(Project::is_plain_asgi) else {
            continue;
        };
        match project.is_synchronous() {
            Some(true) => report.warn(
                CHECK,
                format!(
                    "{} serves Django by ASGI, and no file of the project has asynchronous code: each request goes \
                     through an event loop into a thread and back; WSGIScriptAlias with the project's wsgi.py serves \
                     the same with less work ({})",
                    script.path.display(),
                    script.place
                ),
            ),
            Some(false) => {}
            None => report.unseen(
                CHECK,
                format!("whether the project of {} has asynchronous code", script.path.display()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn django_by_asgi_without_asynchronous_code_is_told() {
        let root = std::env::temp_dir().join(format!("doctor-asgi-{}", std::process::id()));
        std::fs::create_dir_all(root.join("mysite")).unwrap();
        let plain = "from django.core.asgi import get_asgi_application\n\
                     os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n\
                     application = get_asgi_application()\n";
        std::fs::write(root.join("mysite/settings.py"), "DEBUG = False\n").unwrap();
        let said = |alias: &str, script: &str, views: &str| {
            std::fs::write(root.join("mysite/asgi.py"), script).unwrap();
            std::fs::write(root.join("mysite/views.py"), views).unwrap();
            let lines = format!(
                "WSGIDaemonProcess a\nWSGIProcessGroup a\n{alias} / {}/mysite/asgi.py",
                root.display()
            );
            let mut report = Report::default();
            check(&Server::of(&lines, &[]), &mut report);
            report.sentences().join("; ")
        };
        let synchronous = "def view(request): pass\n";
        let mounted = format!("{plain}app = Starlette(routes)\n");
        let found = [
            said("ASGIScriptAlias", plain, synchronous),
            said("ASGIScriptAlias", plain, "async def view(request): pass\n"),
            said("ASGIScriptAlias", &mounted, synchronous),
            said("ASGIScriptAlias", "application = Starlette()\n", synchronous),
            said("WSGIScriptAlias", plain, synchronous),
        ];
        std::fs::remove_dir_all(&root).unwrap();
        assert!(found[0].contains("asgi.py serves Django by ASGI, and no file"), "{found:?}");
        assert!(found[1..].iter().all(String::is_empty), "{found:?}");
    }
}
