//! Python types whose instances hold a Rust value: heap types, made once per interpreter.
//!
//! Every C function CPython calls back into this crate is one of the trampolines at the end of this
//! file, each monomorphised over the class; a panic in Rust becomes a Python exception there.

use super::{Attached, ExceptionKind, Object, Persistent, Raised, Result};
use pyo3_ffi as ffi;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;

/// A Rust value that Python sees as an instance of a type of its own. Methods get `&Self`, because
/// any thread of the interpreter may call them while another is in a call that lets others run.
pub(crate) trait Class: Sized + Send + Sync + 'static {
    /// `module.Name`, as `repr` shows it.
    const NAME: &'static CStr;
    /// At most [`MAX_METHODS`] rows.
    const METHODS: &'static [Method<Self>] = &[];
    /// At most [`MAX_PROPERTIES`] rows.
    const PROPERTIES: &'static [Property<Self>] = &[];
    /// What else the type can do.
    const SLOTS: Slots<Self> = Slots::NONE;
    /// Subclassable or not.
    const FLAGS: TypeFlags = TypeFlags::Final;
    /// Gives back the references to Python objects that the value keeps, before it is dropped.
    fn release(&mut self, _py: Attached<'_>) {}
}

/// Whether Python code may derive from a class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeFlags {
    Final,
    Subclassable,
}

/// One method of a class: positional arguments only.
pub(crate) struct Method<T> {
    pub(crate) name: &'static CStr,
    pub(crate) call:
        for<'py> fn(&Instance<'_, 'py, T>, &Arguments<'_, 'py>) -> Result<'py, Object<'py>>,
}

/// One read-only attribute of a class.
pub(crate) struct Property<T> {
    pub(crate) name: &'static CStr,
    pub(crate) get: for<'py> fn(&Instance<'_, 'py, T>) -> Result<'py, Object<'py>>,
}

/// The special methods of a class.
#[allow(
    clippy::type_complexity,
    reason = "each is one function type, written out where it is used"
)]
pub(crate) struct Slots<T> {
    /// `__new__(cls, *args, **kwargs)`.
    pub(crate) new: Option<for<'py> fn(&Object<'py>, Option<&Object<'py>>) -> Result<'py, T>>,
    /// `__call__(*args)`.
    pub(crate) call:
        Option<for<'py> fn(&Instance<'_, 'py, T>, &Object<'py>) -> Result<'py, Object<'py>>>,
    /// `__next__`, `None` at the end; `__iter__` then is the object itself.
    pub(crate) next: Option<for<'py> fn(&Instance<'_, 'py, T>) -> Result<'py, Option<Object<'py>>>>,
    /// `__getattribute__`, for a class that answers every attribute itself.
    pub(crate) attribute:
        Option<for<'py> fn(&Instance<'_, 'py, T>, &Object<'py>) -> Result<'py, Object<'py>>>,
}

impl<T> Slots<T> {
    pub(crate) const NONE: Self = Self { new: None, call: None, next: None, attribute: None };
}

/// The type object of `T` in one interpreter.
pub(crate) struct ClassObject<'py, T>(Object<'py>, PhantomData<fn() -> T>);

impl<'py, T: Class> ClassObject<'py, T> {
    /// As an object, for Python code to see.
    pub(crate) const fn object(&self) -> &Object<'py> {
        &self.0
    }

    /// A reference that outlives the attachment.
    pub(crate) fn persist(self) -> ClassRef<T> {
        ClassRef(Persistent::new(self.0), PhantomData)
    }

    /// A new instance that holds `value`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn instantiate(&self, value: T) -> Result<'py, Object<'py>> {
        // SAFETY: only `Attached::class` makes a `ClassObject`, of a type that lays its instances out as `Layout<T>`.
        unsafe { place(self.0.py(), self.0.as_ptr().cast(), value) }
    }
}

/// As [`Persistent`], for the type object of `T`.
pub(crate) struct ClassRef<T>(Persistent, PhantomData<fn() -> T>);

impl<T: Class> ClassRef<T> {
    /// The type object, under an attachment to the interpreter it was made in.
    pub(crate) fn get<'py>(&self, py: Attached<'py>) -> ClassObject<'py, T> {
        ClassObject(self.0.get(py), PhantomData)
    }
}

/// An object known to be an instance of `T`'s class.
pub(crate) struct Instance<'a, 'py, T> {
    object: &'a Object<'py>,
    class: PhantomData<&'a T>,
}

impl<'a, 'py, T: Class> Instance<'a, 'py, T> {
    /// `object` as an instance of `class` or of a subclass.
    pub(crate) fn of(object: &'a Object<'py>, class: &ClassObject<'py, T>) -> Option<Self> {
        let class = class.0.as_ptr().cast();
        // SAFETY: the tokens of both prove the attachment; `class` is a type object, which its reference keeps.
        let is = unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class) != 0 };
        is.then_some(Self { object, class: PhantomData })
    }

    /// The token the object lives under.
    pub(crate) const fn py(&self) -> Attached<'py> {
        self.object.py()
    }

    /// The object itself.
    pub(crate) const fn object(&self) -> &'a Object<'py> {
        self.object
    }
}

impl<T: Class> Deref for Instance<'_, '_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: only made of objects whose memory was laid out by `instantiate` or `new`, and the
        // value in it is only reached through shared references until it is deallocated.
        unsafe { &(*self.object.as_ptr().cast::<Layout<T>>()).value }
    }
}

/// The positional arguments of a call, borrowed from CPython for its length.
pub(crate) struct Arguments<'a, 'py> {
    raw: &'a [*mut ffi::PyObject],
    py: Attached<'py>,
}

impl<'py> Arguments<'_, 'py> {
    /// The token they live under.
    pub(crate) const fn py(&self) -> Attached<'py> {
        self.py
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.raw.len()
    }

    /// The one at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<Object<'py>> {
        // SAFETY: the caller of a METH_FASTCALL function keeps the arguments until it returns, and `self` does not outlive it.
        self.raw.get(index).map(|&raw| unsafe { Object::from_borrowed(self.py, raw) })
    }

    /// Raises `TypeError` unless there are at least `least` and at most `most`.
    pub(crate) fn expect(&self, name: &str, least: usize, most: usize) -> Result<'py, ()> {
        if (least..=most).contains(&self.len()) {
            return Ok(());
        }
        let (bound, number) = if self.len() < least { ("least", least) } else { ("most", most) };
        let plural = if number == 1 { "" } else { "s" };
        let given = self.len();
        let text = format!("{name}() takes at {bound} {number} argument{plural} ({given} given)");
        Err(self.py.raise(ExceptionKind::Type, &text))
    }
}

/// What an instance looks like in memory.
#[repr(C)]
struct Layout<T> {
    base: ffi::PyObject,
    value: T,
}

/// How many methods a class may have; each gets a trampoline of its own.
pub(crate) const MAX_METHODS: usize = 13;
/// How many properties a class may have.
pub(crate) const MAX_PROPERTIES: usize = 8;

impl<'py> Attached<'py> {
    /// Makes the type object of `T` for the current interpreter. Its method tables live as long as
    /// the process: interpreters are few.
    pub(crate) fn class<T: Class>(self) -> Result<'py, ClassObject<'py, T>> {
        assert!(T::METHODS.len() <= MAX_METHODS && T::PROPERTIES.len() <= MAX_PROPERTIES);
        let mut slots = vec![slot(ffi::Py_tp_dealloc, dealloc::<T> as *const c_void)];
        let methods = method_table::<T>();
        if !T::METHODS.is_empty() {
            slots.push(slot(ffi::Py_tp_methods, Vec::leak(methods).as_ptr().cast()));
        }
        if !T::PROPERTIES.is_empty() {
            slots.push(slot(ffi::Py_tp_getset, Vec::leak(property_table::<T>()).as_ptr().cast()));
        }
        if T::SLOTS.new.is_some() {
            slots.push(slot(ffi::Py_tp_new, new::<T> as *const c_void));
        }
        if T::SLOTS.call.is_some() {
            slots.push(slot(ffi::Py_tp_call, call::<T> as *const c_void));
        }
        if T::SLOTS.next.is_some() {
            slots.push(slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void));
            slots.push(slot(ffi::Py_tp_iternext, next::<T> as *const c_void));
        }
        if T::SLOTS.attribute.is_some() {
            slots.push(slot(ffi::Py_tp_getattro, attribute::<T> as *const c_void));
        }
        slots.push(slot(0, std::ptr::null()));
        let mut flags = ffi::Py_TPFLAGS_DEFAULT;
        if T::FLAGS == TypeFlags::Subclassable {
            flags |= ffi::Py_TPFLAGS_BASETYPE;
        }
        if T::SLOTS.new.is_none() {
            flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: c_int::try_from(size_of::<Layout<T>>()).unwrap_or(c_int::MAX),
            itemsize: 0,
            flags: flags as c_uint,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the token proves that this thread is attached; the slots are terminated, the name is static, the tables are leaked.
        let class = unsafe { Object::from_owned(self, ffi::PyType_FromSpec(&raw mut spec)) };
        class.map(|class| ClassObject(class, PhantomData))
    }
}

/// # Safety
/// `class` is the type made for `T` or a subtype of it.
unsafe fn place<'py, T: Class>(
    py: Attached<'py>,
    class: *mut ffi::PyTypeObject,
    value: T,
) -> Result<'py, Object<'py>> {
    // SAFETY: the allocated memory has room for `Layout<T>` by the caller's promise; the value is
    // written before the object is returned, so before any other code can see it.
    unsafe {
        let object = Object::from_owned(py, ffi::PyType_GenericAlloc(class, 0))?;
        (&raw mut (*object.as_ptr().cast::<Layout<T>>()).value).write(value);
        Ok(object)
    }
}

const fn slot(number: c_int, function: *const c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: number, pfunc: function.cast_mut() }
}

fn method_table<T: Class>() -> Vec<ffi::PyMethodDef> {
    let trampolines: [ffi::PyCFunctionFast; MAX_METHODS] = [
        method::<T, 0>,
        method::<T, 1>,
        method::<T, 2>,
        method::<T, 3>,
        method::<T, 4>,
        method::<T, 5>,
        method::<T, 6>,
        method::<T, 7>,
        method::<T, 8>,
        method::<T, 9>,
        method::<T, 10>,
        method::<T, 11>,
        method::<T, 12>,
    ];
    let mut table: Vec<_> = std::iter::zip(T::METHODS, trampolines)
        .map(|(row, trampoline)| ffi::PyMethodDef {
            ml_name: row.name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: trampoline },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: std::ptr::null(),
        })
        .collect();
    table.push(ffi::PyMethodDef::zeroed());
    table
}

fn property_table<T: Class>() -> Vec<ffi::PyGetSetDef> {
    let trampolines: [ffi::getter; MAX_PROPERTIES] = [
        property::<T, 0>,
        property::<T, 1>,
        property::<T, 2>,
        property::<T, 3>,
        property::<T, 4>,
        property::<T, 5>,
        property::<T, 6>,
        property::<T, 7>,
    ];
    let mut table: Vec<_> = std::iter::zip(T::PROPERTIES, trampolines)
        .map(|(row, trampoline)| ffi::PyGetSetDef {
            name: row.name.as_ptr(),
            get: Some(trampoline),
            ..ffi::PyGetSetDef::default()
        })
        .collect();
    table.push(ffi::PyGetSetDef::default());
    table
}

/// Runs Rust code for CPython: an error stays set and becomes `failure`, and so does a panic, which
/// must not unwind into C (design.md section 5).
fn contain<'py, R>(py: Attached<'py>, failure: R, body: impl FnOnce() -> Result<'py, R>) -> R {
    #[allow(clippy::disallowed_methods, reason = "the one guard between CPython and this crate")]
    match std::panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(_set)) => failure,
        Err(_panic) => {
            // The panic hook has logged message and place.
            let _set = py.raise(ExceptionKind::System, "internal error in mod_wsgi, see the log");
            failure
        }
    }
}

/// # Safety
/// CPython calls with an attached thread state and an instance of `T`'s class.
unsafe extern "C" fn method<T: Class, const INDEX: usize>(
    this: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the calling convention METH_FASTCALL: `count` live references at `arguments`.
    let (py, this, raw) = unsafe {
        let py = Attached::assume();
        let count = usize::try_from(count).unwrap_or(0);
        let raw = if count == 0 { &[] } else { std::slice::from_raw_parts(arguments, count) };
        (py, Object::from_borrowed(py, this), raw)
    };
    contain(py, std::ptr::null_mut(), || {
        let row = T::METHODS.get(INDEX).ok_or_else(|| missing(py))?;
        let instance = Instance { object: &this, class: PhantomData };
        (row.call)(&instance, &Arguments { raw, py }).map(Object::into_raw)
    })
}

/// # Safety
/// CPython calls with an attached thread state and an instance of `T`'s class.
unsafe extern "C" fn property<T: Class, const INDEX: usize>(
    this: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's convention for a getter: an instance of the type, which the caller keeps for the call.
    let (py, this) = unsafe {
        let py = Attached::assume();
        (py, Object::from_borrowed(py, this))
    };
    contain(py, std::ptr::null_mut(), || {
        let row = T::PROPERTIES.get(INDEX).ok_or_else(|| missing(py))?;
        (row.get)(&Instance { object: &this, class: PhantomData }).map(Object::into_raw)
    })
}

/// # Safety
/// CPython calls `tp_new` with the type or a subtype, a tuple, and a dict or null.
unsafe extern "C" fn new<T: Class>(
    class: *mut ffi::PyTypeObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's convention for `tp_new`: the caller keeps the tuple, and the dict if there is one, for the call.
    let (py, arguments, keywords) = unsafe {
        let py = Attached::assume();
        let keywords = (!keywords.is_null()).then(|| Object::from_borrowed(py, keywords));
        (py, Object::from_borrowed(py, arguments), keywords)
    };
    contain(py, std::ptr::null_mut(), || {
        let make = T::SLOTS.new.ok_or_else(|| missing(py))?;
        let value = make(&arguments, keywords.as_ref())?;
        // SAFETY: CPython only passes types that inherit this function.
        unsafe { place(py, class, value) }.map(Object::into_raw)
    })
}

/// # Safety
/// CPython calls `tp_call` with an instance of `T`'s class and a tuple.
unsafe extern "C" fn call<T: Class>(
    this: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's convention for `tp_call`: the caller keeps the instance and the tuple for the call.
    let (py, this, arguments) = unsafe {
        let py = Attached::assume();
        (py, Object::from_borrowed(py, this), Object::from_borrowed(py, arguments))
    };
    contain(py, std::ptr::null_mut(), || {
        let body = T::SLOTS.call.ok_or_else(|| missing(py))?;
        body(&Instance { object: &this, class: PhantomData }, &arguments).map(Object::into_raw)
    })
}

/// # Safety
/// CPython calls `tp_iternext` with an instance of `T`'s class.
unsafe extern "C" fn next<T: Class>(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython's convention for `tp_iternext`: the caller keeps the instance for the call.
    let (py, this) = unsafe {
        let py = Attached::assume();
        (py, Object::from_borrowed(py, this))
    };
    contain(py, std::ptr::null_mut(), || {
        let body = T::SLOTS.next.ok_or_else(|| missing(py))?;
        // Null without an exception is how an iterator ends.
        Ok(body(&Instance { object: &this, class: PhantomData })?
            .map_or(std::ptr::null_mut(), Object::into_raw))
    })
}

/// # Safety
/// CPython calls `tp_getattro` with an instance of `T`'s class and a str.
unsafe extern "C" fn attribute<T: Class>(
    this: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython's convention for `tp_getattro`: the caller keeps the instance and the name for the call.
    let (py, this, name) = unsafe {
        let py = Attached::assume();
        (py, Object::from_borrowed(py, this), Object::from_borrowed(py, name))
    };
    contain(py, std::ptr::null_mut(), || {
        let body = T::SLOTS.attribute.ok_or_else(|| missing(py))?;
        body(&Instance { object: &this, class: PhantomData }, &name).map(Object::into_raw)
    })
}

/// # Safety
/// CPython calls `tp_dealloc` once, when the last reference is gone.
unsafe extern "C" fn dealloc<T: Class>(this: *mut ffi::PyObject) {
    // SAFETY: the value was written by `place` and is dropped once; a heap type's instance owns a
    // reference to its type, given back after the memory.
    unsafe {
        let class = ffi::Py_TYPE(this);
        let py = Attached::assume();
        contain(py, (), || {
            let value = &raw mut (*this.cast::<Layout<T>>()).value;
            (*value).release(py);
            std::ptr::drop_in_place(value);
            Ok(())
        });
        if let Some(free) = (*class).tp_free {
            free(this.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

fn missing(py: Attached<'_>) -> Raised<'_> {
    py.raise(ExceptionKind::System, "a type of mod_wsgi has no such slot")
}
