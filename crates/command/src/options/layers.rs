//! Values of options that are not arguments: from the environment, `--env-file` and pyproject.toml, in this order. They
//! become the defaults of the command line, so that an argument stands above all of them.

use super::env_file::{self, words};
use crate::failure::Failure;
use crate::text_file;
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the name of an option's variable begins with.
const PREFIX: &str = "MOD_WSGI_RS_";

/// Values of options by their names.
type Options = BTreeMap<String, Vec<String>>;

/// Values from outside the command line.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The environment, and below it the variables of `--env-file`.
    variables: BTreeMap<String, String>,
    /// The variables of `--env-file` alone, which applications get.
    pub(crate) from_files: Vec<(String, String)>,
    /// `[tool.mod_wsgi_rs]`, names with hyphens.
    project: Options,
    /// A sentence about a pyproject.toml whose options are not used.
    pub(crate) note: Option<String>,
}

impl Layers {
    /// Reads what there is. `arguments`: those of the command line, which may name files with variables. `serves`: the
    /// command is to serve the application of the folder. Any other command is also called in folders of other users, by
    /// root among others, and runs programs that options name.
    pub(crate) fn read(
        arguments: &[String],
        environment: impl Iterator<Item = (String, String)>,
        folder: &Path,
        serves: bool,
    ) -> Result<Self, Failure> {
        let environment: BTreeMap<String, String> = environment.collect();
        let (project, note) = project(folder, serves)?;
        let mut from_files: Vec<(String, String)> = Vec::new();
        for file in env_files(arguments, &environment, &project) {
            // A variable that is set stands above those of the files, and of these the later one.
            let known = |name: &str| {
                let before = || from_files.iter().rev().find(|(known, _)| known == name);
                environment.get(name).cloned().or_else(|| before().map(|(_, value)| value.clone()))
            };
            let found = env_file::read(&folder.join(file), &known)?;
            from_files.extend(found);
        }
        let mut variables: BTreeMap<String, String> = from_files.iter().cloned().collect();
        variables.extend(environment);
        Ok(Self { variables, from_files, project, note })
    }

    /// Gives the options of a command their values from outside.
    pub(crate) fn apply(&self, command: Command) -> Command {
        command.mut_args(|arg| {
            let found = match arg.get_long() {
                Some("help" | "version") | None => None,
                Some(long) => self.values(&arg, long),
            };
            match found {
                Some((_, values)) if !values.is_empty() => arg.default_values(values),
                _ => arg,
            }
        })
    }

    /// Where the value of an option comes from, if not from an argument and not from its default.
    pub(crate) fn origin(&self, command: &Command, long: &str) -> Option<String> {
        self.values(option(command, long)?, long).map(|(origin, _)| origin)
    }

    /// Whether `value` is one that the option has from outside.
    pub(crate) fn has(&self, command: Option<&Command>, long: &str, value: &str) -> bool {
        let arg = command.and_then(|command| option(command, long));
        let values = arg.and_then(|arg| self.values(arg, long));
        values.is_some_and(|(_, values)| values.iter().any(|known| known == value))
    }

    fn values(&self, arg: &Arg, long: &str) -> Option<(String, Vec<String>)> {
        let own = format!("{PREFIX}{}", long.replace('-', "_").to_ascii_uppercase());
        let common = match long {
            "port" => Some("PORT"),
            "processes" => Some("WEB_CONCURRENCY"),
            "httpd-executable" => Some("HTTPD"),
            _ => None,
        };
        for name in [Some(own.as_str()), common].into_iter().flatten() {
            if let Some(value) = self.variables.get(name).filter(|value| !value.is_empty()) {
                return Some((format!("the variable {name}"), split(arg, value)));
            }
        }
        let values = self.project.get(long)?;
        let values = if is_flag(arg) && values[..] == ["false"] { vec![] } else { values.clone() };
        Some((format!("{long} in pyproject.toml"), values))
    }

    /// The first name in pyproject.toml that is an option of none of these commands: all of them read the same table.
    pub(crate) fn unknown(&self, commands: &Command) -> Option<&str> {
        let is_of = |name: &str| commands.get_subcommands().any(|it| option(it, name).is_some());
        self.project.keys().map(String::as_str).find(|name| !is_of(name))
    }
}

/// The option of a command with this name.
fn option<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(long))
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// A variable's value as those of an option: several words for one that may be repeated.
fn split(arg: &Arg, value: &str) -> Vec<String> {
    if is_flag(arg) {
        let off =
            ["0", "false", "no", "off", "n", "f"].contains(&value.to_ascii_lowercase().as_str());
        return if off { vec![] } else { vec!["true".to_owned()] };
    }
    if matches!(arg.get_action(), ArgAction::Append) {
        return words(value);
    }
    vec![value.to_owned()]
}

/// The files that `--env-file` names, wherever it stands.
fn env_files(
    arguments: &[String],
    environment: &BTreeMap<String, String>,
    project: &Options,
) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        } else if argument == "--env-file" {
            files.extend(rest.next().map(PathBuf::from));
        } else if let Some(file) = argument.strip_prefix("--env-file=") {
            files.push(file.into());
        }
    }
    if files.is_empty() {
        match environment.get("MOD_WSGI_RS_ENV_FILE").filter(|value| !value.is_empty()) {
            Some(value) => files.extend(words(value).into_iter().map(PathBuf::from)),
            None => files.extend(project.get("env-file").into_iter().flatten().map(PathBuf::from)),
        }
    }
    files
}

/// `[tool.mod_wsgi_rs]` of the pyproject.toml in this folder, or a sentence that says why it is not used.
fn project(folder: &Path, serves: bool) -> Result<(Options, Option<String>), Failure> {
    let path = folder.join("pyproject.toml");
    let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let (text, owner) = match text_and_owner(&path) {
        Ok(found) => found,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok((Options::new(), None)),
        Err(why) => return Err(failed(why.to_string())),
    };
    if serves || owner == 0 || owner == sys::effective_uid() {
        return Ok((section(&text).map_err(failed)?, None));
    }
    let has_options = section(&text).is_ok_and(|options| !options.is_empty());
    let note = format!("{} is another user's: its options are not used", path.display());
    Ok((Options::new(), has_options.then_some(note)))
}

/// What a file holds, and the user whose file it is.
fn text_and_owner(path: &Path) -> io::Result<(String, u32)> {
    let (bytes, about) = text_file::bytes(path)?;
    Ok((text_file::as_text(bytes)?, about.uid()))
}

fn section(text: &str) -> Result<Options, String> {
    let document: toml::Table = text.parse().map_err(|why: toml::de::Error| why.to_string())?;
    let found = document.get("tool").and_then(|tool| tool.get("mod_wsgi_rs"));
    let Some(found) = found else { return Ok(Options::new()) };
    let table = found.as_table().ok_or("tool.mod_wsgi_rs is not a table")?;
    let mut options = Options::new();
    for (name, value) in table {
        let values = flat(value).ok_or_else(|| {
            format!(
                "tool.mod_wsgi_rs.{name} is not a text, a number, true, false, or a list of these"
            )
        })?;
        options.insert(name.replace('_', "-"), values);
    }
    Ok(options)
}

/// A value as words: a list of pairs and a table become their elements in a row.
fn flat(value: &toml::Value) -> Option<Vec<String>> {
    Some(match value {
        toml::Value::String(text) => vec![text.clone()],
        toml::Value::Integer(number) => vec![number.to_string()],
        toml::Value::Float(number) => vec![number.to_string()],
        toml::Value::Boolean(flag) => vec![flag.to_string()],
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(values) => {
            values.iter().map(flat).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()
        }
        toml::Value::Table(table) => {
            let mut words = Vec::new();
            for (name, value) in table {
                words.push(name.clone());
                words.extend(flat(value)?);
            }
            words
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_has_texts_numbers_flags_lists_and_tables() {
        let text = "[tool.mod_wsgi_rs]\nport = 8001\nreload = true\nserver_alias = ['a', 'b']\n\
                    telemetry-interval = 0.5\n[tool.mod_wsgi_rs.setenv]\nA = '1'\n";
        let found = section(text).unwrap();
        assert_eq!(found["port"], ["8001"]);
        assert_eq!(found["reload"], ["true"]);
        assert_eq!(found["server-alias"], ["a", "b"]);
        assert_eq!(found["telemetry-interval"], ["0.5"]);
        assert_eq!(found["setenv"], ["A", "1"]);
        assert!(section("[tool.other]\nx = 1\n").unwrap().is_empty());
        assert!(section("[tool]\nmod_wsgi_rs = 1\n").unwrap_err().contains("not a table"));
        assert!(section("x = ").is_err());
        assert!(section("[tool.mod_wsgi_rs]\nport = 2020-01-01\n").unwrap_err().contains("port"));
    }

    #[test]
    fn name_in_the_file_is_unknown_if_no_command_has_the_option() {
        let command = |name: &'static str, long: &'static str| {
            Command::new(name).arg(Arg::new(long).long(long))
        };
        let commands = Command::new("all")
            .subcommand(command("start-server", "port"))
            .subcommand(command("status", "runtime-dir"));
        let unknown = |lines: &str| {
            let project = section(&format!("[tool.mod_wsgi_rs]\n{lines}")).unwrap();
            let layers = Layers { project, ..Layers::default() };
            layers.unknown(&commands).map(str::to_owned)
        };
        assert_eq!(unknown("port = 1\nruntime_dir = '/run/wsgi'\n"), None);
        assert_eq!(unknown("port = 1\nprot = 2\n"), Some("prot".to_owned()));
    }

    #[test]
    fn env_file_is_found_before_other_options_are_read() {
        let named = |arguments: &[&str], environment: &[(&str, &str)]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            let environment =
                environment.iter().map(|&(name, value)| (name.into(), value.into())).collect();
            env_files(&arguments, &environment, &BTreeMap::new())
        };
        let variable = [("MOD_WSGI_RS_ENV_FILE", "c d")];
        assert_eq!(
            named(&["x", "--env-file", "a", "--env-file=b"], &variable),
            [PathBuf::from("a"), "b".into()]
        );
        assert_eq!(named(&["x"], &variable), [PathBuf::from("c"), "d".into()]);
        assert!(named(&["--", "--env-file=b"], &[]).is_empty());
    }
}
