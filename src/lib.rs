#![allow(dead_code)]
mod bindings { #![allow(warnings, clippy::all)] include!(concat!(env!("OUT_DIR"), "/bindings.rs")); }
