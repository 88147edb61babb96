//! The line `WSGIDaemonProcess`: a name and options. It never knows what an option means.

use super::daemon_options::DAEMON_OPTIONS;
use super::options::Options;
use super::{ConfigError, DaemonProcess, Line};

/// `name [option=value …]`
pub(super) fn parse(line: &Line<'_>) -> Result<DaemonProcess, ConfigError> {
    let mut words = line.words();
    let Some(name) = words.next_word().filter(|name| !name.is_empty()) else {
        return Err(line.error("needs the name of the process group"));
    };
    let mut group = DaemonProcess::new(&name, line.context.server());
    let mut options = Options::new(line, words, DAEMON_OPTIONS.iter().map(|option| option.name));
    while let Some(value) = options.next_option()? {
        if let Some(option) = DAEMON_OPTIONS.iter().find(|option| option.name == value.name) {
            (option.set)(&mut group, &value)?;
        }
    }
    if group.forwarding.script_user.is_some() && group.forwarding.script_group.is_some() {
        return Err(line.error("takes only one of script-user= and script-group="));
    }
    warn_ineffective_options(&group, line);
    Ok(group)
}

/// Options that have no effect in a daemon process are never accepted in silence.
fn warn_ineffective_options(group: &DaemonProcess, line: &Line<'_>) {
    if group.forwarding.server_metrics {
        line.context.warn(&format!(
            "{} server-metrics=On has no effect: a daemon process has none of Apache's memory, and \
             mod_wsgi.server_metrics() returns None there",
            line.name()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerIdentity;
    use super::super::stub::{Configuration, configuration};
    use super::*;

    #[test]
    fn a_group_needs_a_name_and_takes_known_options() {
        for (arguments, refusal) in [
            ("", "needs the name of the process group"),
            ("\"\" threads=5", "needs the name of the process group"),
            (
                "site script-user=alice script-group=staff",
                "takes only one of script-user= and script-group=",
            ),
        ] {
            let sentence =
                Configuration::default().refusal(&format!("WSGIDaemonProcess {arguments}"));
            assert_eq!(sentence, format!("WSGIDaemonProcess {refusal}"));
        }
        let sentence = Configuration::default().refusal("WSGIDaemonProcess site thread=5");
        assert!(sentence.starts_with(
            "WSGIDaemonProcess has no option \"thread\" (did you mean \"threads\"?); it takes \
             name=value with one of these names: user, group, "
        ));
    }

    #[test]
    fn a_group_of_which_only_the_name_is_written_is_new() {
        let written = configuration(&["WSGIDaemonProcess 'my site'"]);
        let expected = DaemonProcess::new(b"my site", ServerIdentity::default());
        assert_eq!(written.process.daemon_processes, [expected]);
    }
}
