//! `mod_ssl.is_https` and `mod_ssl.var_lookup`: the client's TLS connection, for access and authentication scripts.

use crate::cpython::{Arguments, Class, ExceptionKind, Instance, Method, Object, Raised, Result};
use crate::gateway::lease::Lease;
use std::ffi::CStr;
use std::sync::Arc;

/// The object whose bound methods are `mod_ssl.is_https` and `mod_ssl.var_lookup` of an environ.
pub(crate) struct Auth {
    pub(crate) lease: Arc<Lease>,
}

impl Class for Auth {
    const NAME: &'static CStr = c"mod_wsgi.Auth";
    const METHODS: &'static [Method<Self>] = &[
        Method { name: c"is_https", call: is_https },
        Method { name: c"var_lookup", call: var_lookup },
    ];
}

type This<'a, 'py> = Instance<'a, 'py, Auth>;

fn is_https<'py>(this: &This<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Result<'py, Object<'py>> {
    arguments.expect("is_https", 0, 0)?;
    let py = this.py();
    let encrypted = this.lease.with(py, |response| response.exchange.is_encrypted());
    py.int(encrypted.ok_or_else(|| ended(this))?.into())
}

fn var_lookup<'py>(
    this: &This<'_, 'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<'py, Object<'py>> {
    arguments.expect("var_lookup", 1, 1)?;
    let py = this.py();
    let Some(name) = arguments.get(0) else { return Ok(py.none()) };
    let name = if name.is_str() {
        name.with_latin1(<[u8]>::to_vec)?
    } else if let Some(bytes) = name.as_bytes() {
        bytes.to_vec()
    } else {
        let text = format!("var_lookup() argument must be str, not {}", name.type_name());
        return Err(py.raise(ExceptionKind::Type, &text));
    };
    let value = this.lease.with_detached(py, |response| response.exchange.tls_variable(&name));
    match value.ok_or_else(|| ended(this))? {
        Some(value) => py.latin1(&value),
        None => Ok(py.none()),
    }
}

fn ended<'py>(this: &This<'_, 'py>) -> Raised<'py> {
    this.py().raise(ExceptionKind::Runtime, "mod_ssl is asked about a request that has ended")
}
