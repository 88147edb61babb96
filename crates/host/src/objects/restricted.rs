//! The replacement of `sys.stdin` or `sys.stdout` where the configuration forbids them.

use crate::cpython::{Class, ExceptionKind, Instance, Object, Result, Slots};
use std::ffi::CStr;

/// An object every attribute of which raises (`WSGIRestrictStdin`, `WSGIRestrictStdout`), but for
/// `closed`: CPython flushes `sys.stdout` on its way out unless that is true.
pub(crate) struct Restricted {
    /// `sys.stdin` or `sys.stdout`.
    pub(crate) name: &'static str,
}

impl Class for Restricted {
    const NAME: &'static CStr = c"mod_wsgi.Restricted";
    const SLOTS: Slots<Self> = Slots { attribute: Some(attribute), ..Slots::NONE };
}

fn attribute<'py>(
    this: &Instance<'_, 'py, Restricted>,
    name: &Object<'py>,
) -> Result<'py, Object<'py>> {
    if name.to_text()? == "closed" {
        return Ok(this.py().bool(true));
    }
    let text = format!("{} access restricted by mod_wsgi", this.name);
    Err(this.py().raise(ExceptionKind::Os, &text))
}
