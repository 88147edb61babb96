//! Which scripts the workers of a group have loaded, for their successors.
#![forbid(unsafe_code)]

use crate::message::Loaded;

/// Scripts that successors are told of.
const SCRIPTS: usize = 64;

/// Remembers that a worker has loaded a script.
pub(super) fn note(scripts: &mut Vec<Loaded>, mut loaded: Loaded) {
    let same = |other: &Loaded| {
        other.path == loaded.path && other.application_group == loaded.application_group
    };
    if let Some(at) = scripts.iter().position(same) {
        // A worker that has only started does not know what is called in it; others may.
        let known = scripts.remove(at).callable;
        loaded.callable = loaded.callable.or(known);
    }
    if scripts.len() < SCRIPTS {
        scripts.push(loaded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_in_a_script_is_not_forgotten() {
        let loaded = |group: &str, modified, callable: Option<&str>| Loaded {
            path: "/srv/app.py".into(),
            application_group: group.to_owned(),
            modified: Some(modified),
            callable: callable.map(str::to_owned),
        };
        let mut scripts = Vec::new();
        for one in [
            loaded("", 1, None),
            loaded("", 2, Some("main")),
            loaded("other", 2, None),
            loaded("", 3, None),
        ] {
            note(&mut scripts, one);
        }
        assert_eq!(scripts, [loaded("other", 2, None), loaded("", 3, Some("main"))]);
    }
}
