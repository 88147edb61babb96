//! Which interface an application has, from the object that its script names. It never calls an application, nor does it
//! know how one is served.
#![forbid(unsafe_code)]

use crate::cpython::{Object, Result};

/// In Python, because it looks at Python objects. Run once for each application whose configuration does not say.
const SOURCE: &str = include_str!("interface.py");

/// The interface of an application, as its callable shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationInterface {
    /// PEP 3333.
    Wsgi,
    /// ASGI 3.
    Asgi,
    /// ASGI 2: two callables, the first of which takes the scope alone. Not served.
    Asgi2,
}

/// That of `application`.
pub(crate) fn interface_of<'py>(application: &Object<'py>) -> Result<'py, ApplicationInterface> {
    let py = application.py();
    let names = py.dict()?;
    let builtins = py.import(c"builtins")?;
    names.set_item(&py.interned("__builtins__")?, &builtins)?;
    builtins.call_method(c"exec", [&py.str(SOURCE)?, &names])?;
    let Some(function) = names.item(&py.interned("interface")?)? else {
        return Ok(ApplicationInterface::Wsgi);
    };
    Ok(match function.call([application])?.text().as_str() {
        "asgi" => ApplicationInterface::Asgi,
        "asgi2" => ApplicationInterface::Asgi2,
        _ => ApplicationInterface::Wsgi,
    })
}
