//! Which groups are meant.

use super::group::Group;
use super::places;
use super::printable::printable;
use super::several::ask_each;
use crate::failure::Failure;
use crate::options::Control;
use group_config::AdminSocketName;
use std::path::PathBuf;
use std::time::Duration;

/// How long a manager may take to say its name.
const NAME_LIMIT: Duration = Duration::from_secs(2);

/// All groups, or those of the name `only`; there is at least one.
pub(crate) fn groups(options: &Control, only: Option<&str>) -> Result<Vec<Group>, Failure> {
    let mut found = Vec::new();
    let folders = match places::named(options) {
        Some(named) => {
            let [folder] = &named[..] else {
                return Err(Failure::usage("--runtime-dir: one folder"));
            };
            let readable = std::fs::read_dir(folder);
            readable.map_err(|why| {
                Failure::server(format!("--runtime-dir {}: {why}", folder.display()))
            })?;
            named
        }
        None => places::known(options),
    };
    found.extend(in_folders(&folders, only));
    let mut servers: Vec<String> =
        found.iter().map(|group| group.name.server.to_string()).collect();
    servers.dedup();
    if let Some(server) = options.server {
        found.retain(|group| group.name.server == server);
    }
    if found.is_empty() {
        return Err(Failure::server(match options.server {
            Some(pid) if !servers.is_empty() => {
                format!("no process group of server {pid} is found; there are the servers {}", servers.join(", "))
            }
            _ => "no process group is found; name the folder of its sockets with --runtime-dir, or be root or the \
                  user of the server"
                .to_owned(),
        }));
    }
    let Some(only) = only else { return Ok(found) };
    let (named, mut others): (Vec<Group>, Vec<Group>) =
        found.into_iter().partition(|group| group.name.group == only.as_bytes());
    if named.is_empty() {
        resolve(&mut others, |_| true);
        let names: Vec<String> = others.iter().map(|group| printable(&group.name())).collect();
        return Err(Failure::server(format!(
            "there is no process group '{only}'; there are: {}",
            names.join(", ")
        )));
    }
    Ok(named)
}

/// The group of that name, of which there must be one only.
pub(crate) fn group(options: &Control, name: &str) -> Result<Group, Failure> {
    let mut found = groups(options, Some(name))?;
    match (found.pop(), &found[..]) {
        (Some(group), []) => Ok(group),
        (Some(last), others) => {
            let servers = others.iter().chain([&last]);
            let servers: Vec<String> =
                servers.map(|it| format!("{} ({})", it.name.server, it.path.display())).collect();
            Err(Failure::usage(format!(
                "several servers have a process group '{name}'; name one with --server PID: {}",
                printable(&servers.join(", "))
            )))
        }
        (None, _) => Err(Failure::server(format!("there is no process group '{name}'"))),
    }
}

/// The groups whose sockets are in the folders. Of those for which a hash stands only that of the name `only` is asked.
fn in_folders(folders: &[PathBuf], only: Option<&str>) -> Vec<Group> {
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut groups: Vec<Group> =
        entries.flatten().filter_map(|entry| Group::of_file(entry.path())).collect();
    match only.map(|name| AdminSocketName::hashed(name.as_bytes())) {
        None => resolve(&mut groups, |_| true),
        Some(Some(hash)) => resolve(&mut groups, |group| group.name.group == hash.as_bytes()),
        // No hash stands for this one.
        Some(None) => {}
    }
    groups.sort();
    groups
}

/// Asks groups for which a hash stands for their names, if they `may` be asked; where none comes the hash stays.
fn resolve(groups: &mut [Group], may: impl Fn(&Group) -> bool) {
    let hashed = groups.iter().enumerate().filter(|(_, group)| group.name.is_hashed());
    let asked = hashed.filter(|(_, group)| may(group)).map(|(place, group)| (place, group.clone()));
    let (places, asked): (Vec<usize>, Vec<Group>) = asked.unzip();
    let names = ask_each(&asked, |group| group.full_name(NAME_LIMIT));
    for (place, name) in places.into_iter().zip(names) {
        if let (Some(group), Some(name)) = (groups.get_mut(place), name.flatten()) {
            group.name.group = name;
        }
    }
}
