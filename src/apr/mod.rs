//! The Apache Portable Runtime made safe. It contains no `ap_*`, so that it can be tested against the
//! real library, and knows nothing of requests.
#![allow(unsafe_code, reason = "this room is the fence around APR")]

mod brigade;
mod c_string;
mod digest;
mod guard;
mod pool;
mod status;
mod table;

pub(crate) use brigade::{Brigade, Bucket, FileFlags};
pub(crate) use c_string::bytes;
pub(crate) use digest::sha1_in_base64;
pub(crate) use guard::guard;
pub(crate) use pool::Pool;
pub(crate) use status::Status;
pub(crate) use table::Table;

// Unit tests run against the real APR. The module is not linked to it: httpd has its own, in whatever file.
#[cfg(test)]
#[link(name = "apr-1")]
#[link(name = "aprutil-1")]
unsafe extern "C" {}
