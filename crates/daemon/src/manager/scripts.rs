//! Which scripts the workers of a group have loaded, so that the workers after them load these before they serve.
#![forbid(unsafe_code)]

use crate::message::Loaded;

/// The most scripts that are remembered.
const MAX_SCRIPTS: usize = 64;

/// Remembers that a worker has loaded a script.
pub(super) fn record(scripts: &mut Vec<Loaded>, mut loaded: Loaded) {
    if let Some(at) = scripts.iter().position(|script| script.is_same_script(&loaded)) {
        // A worker that has just started does not know which callable requests name; others may.
        let known = scripts.remove(at).callable;
        loaded.callable = loaded.callable.or(known);
    }
    if scripts.len() < MAX_SCRIPTS {
        scripts.push(loaded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callable_of_a_script_is_kept() {
        let loaded = |group: &str, modified, callable: Option<&str>| Loaded {
            path: "/srv/app.py".into(),
            application_group: group.to_owned(),
            modified: Some(wsgi::FileVersion { modified, size: 1, inode: 1 }),
            callable: callable.map(str::to_owned),
        };
        let mut scripts = Vec::new();
        for one in [
            loaded("", 1, None),
            loaded("", 2, Some("main")),
            loaded("other", 2, None),
            loaded("", 3, None),
        ] {
            record(&mut scripts, one);
        }
        assert_eq!(scripts, [loaded("other", 2, None), loaded("", 3, Some("main"))]);
    }
}
