//! What an application's mistake is and how to mend it, where the cause is certain: a line below its traceback. How the
//! line is logged is not known here.
#![forbid(unsafe_code)]

use crate::cpython::{Exception, ExceptionKind, Object, Result};

/// In Python, because it looks at Python objects. Run at the first failure of each interpreter.
const SOURCE: &str = include_str!("hints.py");

/// The hint for an exception, if there is one. `variables`: the environ of the request, or what there is of it.
pub(crate) fn of_exception<'py>(
    exception: &Exception<'py>,
    script: &str,
    variables: Option<&Object<'py>>,
) -> Option<String> {
    let py = exception.value.py();
    let hint = || {
        let none = py.none();
        let script = py.str(script)?;
        let variables = variables.unwrap_or(&none);
        function(&exception.value, "of_exception")?.call([&exception.value, &script, variables])
    };
    text(hint())
}

/// The hint for a script, with this namespace, that has no callable of the name `wanted`.
pub(crate) fn of_callable(namespace: &Object<'_>, wanted: &str) -> Option<String> {
    let hint = || {
        let wanted = namespace.py().str(wanted)?;
        function(namespace, "of_callable")?.call([namespace, &wanted])
    };
    text(hint())
}

/// A function of the source, in the interpreter of `object`.
fn function<'py>(object: &Object<'py>, name: &str) -> Result<'py, Object<'py>> {
    let py = object.py();
    let missing = || py.raise(ExceptionKind::System, "no hints");
    let module =
        py.modules().item(&py.interned("mod_wsgi")?)?.ok_or_else(missing)?.module_dict()?;
    let key = py.interned("__hints__")?;
    let names = match module.item(&key)? {
        Some(names) => names,
        None => {
            let names = py.dict()?;
            let builtins = py.import(c"builtins")?;
            names.set_item(&py.interned("__builtins__")?, &builtins)?;
            builtins.call_method(c"exec", [&py.str(SOURCE)?, &names])?;
            module.set_item(&key, &names)?;
            names
        }
    };
    names.item(&py.str(name)?)?.ok_or_else(missing)
}

fn text(hint: Result<'_, Object<'_>>) -> Option<String> {
    match hint {
        Ok(hint) => hint.is_str().then(|| format!("Hint: {}.", hint.text())),
        // A failure of an application that cannot be explained is none of the hints.
        Err(raised) => {
            raised.clear();
            None
        }
    }
}
