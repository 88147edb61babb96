//! The interpreters of a process by application group, each made when it is first needed.
#![forbid(unsafe_code)]

use crate::failure::ErrorLocation;
use crate::interpreters::interpreter::Interpreter;
use crate::interpreters::prepare::Preparation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use wsgi::Level;

/// All interpreters of a process.
pub(crate) struct Registry {
    main: Arc<Interpreter>,
    /// By application group; the empty name is the main interpreter.
    table: RwLock<Table>,
    /// Held while an interpreter is made.
    creating: Mutex<()>,
    /// The group whose application runs in the main interpreter by design decision D5.
    group_of_main: Mutex<Option<Box<[u8]>>>,
}

type Table = HashMap<Box<[u8]>, Arc<Interpreter>>;

impl Registry {
    pub(crate) fn new(main: Interpreter) -> Self {
        let main = Arc::new(main);
        let table = RwLock::new(HashMap::from([(Box::default(), Arc::clone(&main))]));
        Self { main, table, creating: Mutex::default(), group_of_main: Mutex::default() }
    }

    /// The main interpreter.
    pub(crate) const fn main(&self) -> &Arc<Interpreter> {
        &self.main
    }

    /// The interpreter of an application group, made as `preparation` says if there is none; `main`: the group has the
    /// main one. `None`, and a line in the log, when it cannot be made.
    pub(crate) fn get(
        &self,
        group: &[u8],
        main: bool,
        preparation: &Preparation<'_>,
    ) -> Option<Arc<Interpreter>> {
        if main || group.is_empty() {
            self.set_group_of_main(group);
            return Some(Arc::clone(&self.main));
        }
        if let Some(known) = self.find(group) {
            return Some(known);
        }
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have made it while this one waited.
        self.find(group).or_else(|| self.create(group, preparation))
    }

    /// All interpreters, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Interpreter>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().map(Arc::clone).collect()
    }

    /// The same without waiting: none where one is just being added.
    pub(crate) fn all_now(&self) -> Vec<Arc<Interpreter>> {
        self.table
            .try_read()
            .map(|table| table.values().map(Arc::clone).collect())
            .unwrap_or_default()
    }

    /// Takes all interpreters out, the main one included.
    pub(crate) fn take_all(&self) -> Vec<Arc<Interpreter>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *table).into_values().collect()
    }

    fn find(&self, group: &[u8]) -> Option<Arc<Interpreter>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(group).map(Arc::clone)
    }

    fn create(&self, group: &[u8], preparation: &Preparation<'_>) -> Option<Arc<Interpreter>> {
        let name = String::from_utf8_lossy(group).into_owned();
        let options = preparation.options;
        let location =
            ErrorLocation { application_group: &name, process_group: &options.process_group };
        let own_gil = preparation.gil_mode.own_gil(options.interpreter(&name));
        let with = if own_gil { " with own GIL" } else { "" };
        let log = preparation.log;
        log.log(Level::Info, format!("Creating {location}{with}.").as_bytes());
        let Some(python) = self.main.python.new_sub_interpreter(own_gil) else {
            log.log(Level::Critical, format!("WSGI0035: cannot create {location}").as_bytes());
            return None;
        };
        let interpreter = Arc::new(preparation.interpreter(python, &name)?);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(group.into(), Arc::clone(&interpreter));
        Some(interpreter)
    }

    /// Sets the name of the group that the main interpreter serves in its `mod_wsgi` module.
    fn set_group_of_main(&self, group: &[u8]) {
        if group.is_empty() {
            return;
        }
        let mut group_of_main = self.group_of_main.lock().unwrap_or_else(PoisonError::into_inner);
        if group_of_main.as_deref() == Some(group) {
            return;
        }
        *group_of_main = Some(group.into());
        drop(group_of_main);
        let Some(attachment) = self.main.attach() else { return };
        let py = attachment.py();
        let module = self.main.state.module.get(py);
        let set =
            py.latin1(group).and_then(|name| module.set_attribute(c"application_group", &name));
        if let Err(raised) = set {
            raised.clear();
        }
    }
}
