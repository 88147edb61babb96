//! What a directive is: a row of plain data and the one way to run a line of it. It never knows a
//! particular directive.

use std::ffi::CStr;

use super::{
    Args, ConfigError, DirectoryConfig, Line, ParseContext, ProcessConfig, SectionSelector,
    ServerConfig,
};

/// One row of the directive table.
#[derive(Debug)]
pub(crate) struct Directive {
    /// As administrators write it; a container begins with `<`.
    pub(crate) name: &'static CStr,
    /// One line; Apache appends it to its own argument errors.
    pub(crate) help: &'static CStr,
    pub(crate) contexts: Contexts,
    pub(crate) form: Form,
    pub(crate) apply: Apply,
    pub(crate) support: Support,
    /// Whether it may also stand inside `<WSGIInterpreterOptions>`.
    pub(crate) in_section: bool,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contexts {
    /// The main server only: it is about the whole process.
    GlobalOnly,
    /// The main server and virtual hosts.
    Server,
    /// Also `<Directory>`, `<Location>`, `<Files>` and `<If>`, but not `.htaccess`.
    Everywhere,
    /// Also `.htaccess` under `AllowOverride FileInfo`.
    EverywhereFileInfo,
    /// Directory sections, and `.htaccess` under `AllowOverride AuthConfig`.
    DirectoryAuthConfig,
}

/// How Apache hands over the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Split by Apache.
    Words,
    /// The rest of the line; we split it.
    Raw,
    /// The rest of the line, and it opens a container.
    Section,
}

/// What a line writes to. A setter receives exactly the config it may touch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Apply {
    Process(fn(&mut ProcessConfig, &Line<'_>) -> Result<(), ConfigError>),
    Server(fn(&mut ServerConfig, &mut ProcessConfig, &Line<'_>) -> Result<(), ConfigError>),
    Directory(fn(&mut DirectoryConfig, &Line<'_>) -> Result<(), ConfigError>),
}

/// How far this version of the module carries a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    Works,
    /// Needs Python in Apache's own processes, which this build of the module does not have.
    NeedsPython,
    /// Gone from mod_wsgi; accepted without effect, with a warning that gives the reason.
    Obsolete(&'static str),
}

/// The configs a line can write to.
pub(crate) enum Scope<'a> {
    /// While the server's own files are read.
    ServerFiles {
        process: &'a mut ProcessConfig,
        server: &'a mut ServerConfig,
        directory: &'a mut DirectoryConfig,
    },
    /// In a `.htaccess` file, while requests are being served.
    Htaccess { directory: &'a mut DirectoryConfig },
}

impl Directive {
    pub(super) const fn new(
        name: &'static CStr,
        contexts: Contexts,
        form: Form,
        help: &'static CStr,
        apply: Apply,
    ) -> Self {
        Self { name, help, contexts, form, apply, support: Support::Works, in_section: false }
    }

    pub(super) const fn support(mut self, support: Support) -> Self {
        self.support = support;
        self
    }

    pub(super) const fn in_section(mut self) -> Self {
        self.in_section = true;
        self
    }

    /// The name for a sentence and for documents, without the `<` of a container.
    pub(crate) fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default().trim_start_matches('<')
    }

    /// The one-line help for a sentence.
    pub(crate) fn help(&self) -> &'static str {
        self.help.to_str().unwrap_or_default()
    }

    /// A line of this directive.
    pub(crate) fn line<'a>(
        &self,
        args: Args<'a>,
        context: &'a dyn ParseContext,
        section: Option<&'a SectionSelector>,
    ) -> Line<'a> {
        Line { name: self.name(), help: self.help(), args, context, section }
    }

    /// Reads one line of this directive into the config it belongs to. Every line goes through
    /// here.
    pub(crate) fn run(&self, scope: Scope<'_>, line: &Line<'_>) -> Result<(), ConfigError> {
        self.check_place(line)?;
        match (self.apply, scope) {
            (Apply::Process(set), Scope::ServerFiles { process, .. }) => set(process, line)?,
            (Apply::Server(set), Scope::ServerFiles { server, process, .. }) => {
                set(server, process, line)?;
            }
            (Apply::Directory(set), Scope::ServerFiles { directory, process, .. }) => {
                set(directory, line)?;
                process.note(line, directory);
            }
            (Apply::Directory(set), Scope::Htaccess { directory }) => set(directory, line)?,
            (Apply::Process(_) | Apply::Server(_), Scope::Htaccess { .. }) => {
                return Err(line.error("is not allowed in .htaccess files"));
            }
        }
        self.answer(line)
    }

    /// What Apache's context flags cannot say.
    fn check_place(&self, line: &Line<'_>) -> Result<(), ConfigError> {
        if self.contexts == Contexts::GlobalOnly && line.context.server().is_virtual {
            return Err(line.error("cannot occur within <VirtualHost> section"));
        }
        if line.section.is_some() && !self.in_section {
            return Err(line.error("cannot occur within <WSGIInterpreterOptions> section"));
        }
        Ok(())
    }

    /// After a line has been checked: is it carried out, refused or only noted?
    fn answer(&self, line: &Line<'_>) -> Result<(), ConfigError> {
        match self.support {
            Support::Works => Ok(()),
            Support::NeedsPython => Err(ConfigError::without_python(self.name())),
            Support::Obsolete(reason) => {
                line.context.warn(&format!("{} has no effect: {reason}", self.name()));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ScriptReloading;
    use super::super::stub::{Configuration, configuration, directive, with_line};
    use super::*;

    #[cfg(not(feature = "embedded"))]
    #[test]
    fn what_needs_python_is_refused_by_a_module_without_it() {
        for line in ["WSGIAccessScript /a", "WSGIAuthUserScript /a", "WSGIDispatchScript /a"] {
            let sentence = Configuration::default().refusal(line);
            assert!(sentence.contains("this module was built without it"), "{sentence}");
        }
        let line = "WSGIImportScript /a process-group=%{GLOBAL} application-group=%{GLOBAL}";
        assert!(Configuration::default().refusal(line).contains("built without it"));
    }

    #[test]
    fn what_is_about_the_process_cannot_stand_in_a_virtual_host() {
        let mut configuration = Configuration::default();
        configuration.apache.server.is_virtual = true;
        assert_eq!(
            configuration.refusal("WSGIPythonHome /srv/venv"),
            "WSGIPythonHome cannot occur within <VirtualHost> section"
        );
        configuration.read_all(&["WSGIScriptAlias / /srv/app.wsgi", "WSGIScriptReloading Off"]);
    }

    #[test]
    fn only_settings_of_an_interpreter_can_stand_in_its_section() {
        let mut configuration = configuration(&["<WSGIInterpreterOptions>"]);
        assert_eq!(
            configuration.refusal("WSGIPythonHome /srv/venv"),
            "WSGIPythonHome cannot occur within <WSGIInterpreterOptions> section"
        );
        configuration.read_all(&["WSGIRestrictStdin On", "</WSGIInterpreterOptions>"]);
        configuration.read_all(&["WSGIPythonHome /srv/venv"]);
    }

    #[test]
    fn what_is_gone_is_accepted_with_a_warning() {
        for line in [
            "WSGILazyInitialization On",
            "WSGIPy3kWarningFlag Off",
            "WSGINewRelicConfigFile /etc/newrelic.ini",
            "WSGINewRelicEnvironment production",
            "WSGIUserAuthoritative On",
        ] {
            let warnings = configuration(&[line]).warnings();
            let name = line.split(' ').next().unwrap();
            assert!(warnings[0].starts_with(&format!("{name} has no effect: ")), "{warnings:?}");
        }
    }

    #[test]
    fn a_htaccess_file_reaches_the_directory_config_and_nothing_else() {
        let configuration = Configuration::default();
        let run = |text: &str| {
            let mut directory = DirectoryConfig::default();
            with_line(&configuration.apache, None, text, |directive, line| {
                directive.run(Scope::Htaccess { directory: &mut directory }, line)
            })?;
            Ok::<_, ConfigError>(directory)
        };
        assert_eq!(
            run("WSGIScriptReloading Off").unwrap().script_reloading,
            Some(ScriptReloading::Off)
        );
        for text in ["WSGIScriptAlias / /srv/app.wsgi", "WSGIPythonOptimize 1"] {
            let sentence = run(text).unwrap_err().to_string();
            assert!(sentence.ends_with("is not allowed in .htaccess files"), "{sentence}");
        }
    }

    #[test]
    fn contexts_are_those_of_mod_wsgi() {
        for (name, contexts) in [
            ("WSGIScriptAlias", Contexts::Server),
            ("WSGIPythonHome", Contexts::GlobalOnly),
            ("WSGIProcessGroup", Contexts::Everywhere),
            ("WSGIDispatchScript", Contexts::Everywhere),
            ("WSGICallableObject", Contexts::EverywhereFileInfo),
            ("WSGIAccessScript", Contexts::DirectoryAuthConfig),
        ] {
            assert_eq!(directive(name).contexts, contexts, "{name}");
        }
    }
}
