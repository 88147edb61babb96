//! `CONN_MAX_AGE` in the settings of a Django site that is served by ASGI. Files are read as text.

use crate::doctor::django::Project;
use crate::doctor::findings::Report;
use crate::doctor::groups::Script;
use crate::doctor::server::Server;
use crate::text_file;

const CHECK: &str = "django-connections";
const NAME: &str = "conn_max_age";

pub(super) fn check(server: &Server, report: &mut Report) {
    for script in Script::all(server).into_iter().filter(|script| script.is_asgi) {
        // Scripts that cannot be read are told of by another check.
        let Ok(text) = text_file::text(&script.path) else { continue };
        let found = Project::find(&script, text)
            .map(|project| project.settings)
            .filter(|file| text_file::text(file).is_ok_and(|text| is_persistent(&text)));
        if let Some(file) = found {
            report.warn(
                CHECK,
                format!(
                    "{} sets CONN_MAX_AGE, and {} serves Django by ASGI: each of its threads may keep a connection to the \
                     database, and nothing closes or shares them; leave it out, and use the pool of the database's \
                     backend (OPTIONS) or one beside the database, such as PgBouncer ({})",
                    file.display(),
                    script.path.display(),
                    script.place
                ),
            );
        }
    }
}

/// Whether a connection is kept behind a request: a number other than 0, or `None`, which is for ever. Other expressions are
/// not known.
fn is_persistent(settings: &str) -> bool {
    settings.lines().any(|line| {
        let code = line.split('#').next().unwrap_or_default().to_ascii_lowercase();
        let Some((before, rest)) = code.split_once(NAME) else { return false };
        if before.ends_with(|it: char| it.is_alphanumeric() || it == '_') {
            return false;
        }
        // As in `"CONN_MAX_AGE": 60,` and `config(conn_max_age=600)`, and not as in `CONN_MAX_AGE == 0`.
        let rest = rest.trim_start_matches(['"', '\'', ']']).trim_start();
        let Some(value) = rest.strip_prefix([':', '=']).map(str::trim_start) else { return false };
        let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '.');
        let (value, rest) = value.split_at(value.find(|it| !is_word(it)).unwrap_or(value.len()));
        let is_whole =
            rest.trim_start().is_empty() || rest.trim_start().starts_with([',', ')', '}']);
        let number = value.replace('_', "").parse::<u64>();
        is_whole && (value == "none" || number.is_ok_and(|seconds| seconds > 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_kept_are_seen_and_other_values_are_not() {
        for line in [
            "    'default': {'ENGINE': 'x', 'CONN_MAX_AGE': 60},",
            "\"CONN_MAX_AGE\" : 1_000,",
            "DATABASES['default']['CONN_MAX_AGE'] = None  # for ever",
            "DATABASES = {'default': dj_database_url.config(conn_max_age=600, ssl_require=True)}",
        ] {
            assert!(is_persistent(line), "{line}");
        }
        for line in [
            "'CONN_MAX_AGE': 0,",
            "# 'CONN_MAX_AGE': 60,",
            "'CONN_MAX_AGE': int(os.environ['AGE']),",
            "'CONN_MAX_AGE': AGE,",
            "'CONN_MAX_AGE': 60 * FACTOR,",
            "MY_CONN_MAX_AGE = 60",
            "if CONN_MAX_AGE == 60:",
            "",
        ] {
            assert!(!is_persistent(line), "{line}");
        }
    }
}
