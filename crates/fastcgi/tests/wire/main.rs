//! The crate as its callers see it: whole conversations, in every split, well formed or not.
//! It must never know what is private to the crate.

mod client;
mod conversation;
mod head;
mod hostile;
mod playback;
mod server;
