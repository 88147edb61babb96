//! Development: files are watched, the application is loaded anew, browsers are told. No Python here.
#![forbid(unsafe_code)]

mod changes;
mod channel;
mod inotify;
mod loading;
mod polling;
mod tree;
mod watcher;

pub(crate) use changes::{Change, Patterns};
pub(crate) use channel::Channel;
pub(crate) use loading::{Loaded, Loading};
pub(crate) use watcher::Watcher;
