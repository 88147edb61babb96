//! Development: files are watched, the application is loaded anew, browsers are told. No Python here.
#![forbid(unsafe_code)]

mod changes;
mod channel;
mod ignored;
mod inotify;
mod loading;
mod polling;
mod tree;
mod watcher;

pub(crate) use changes::{Change, Patterns};
pub(crate) use channel::Channel;
pub(crate) use ignored::Ignored;
pub(crate) use loading::{Loaded, Loading, Page};
pub(crate) use watcher::Watcher;
