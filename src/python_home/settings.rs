//! `pyvenv.cfg`: what makes a directory a virtual environment. It must never know a file.

use std::path::Path;

/// The settings of a virtual environment.
#[derive(Debug)]
pub(super) struct Settings(String);

impl Settings {
    /// The paths in the file need not be UTF-8.
    pub(super) fn new(content: &[u8]) -> Self {
        Self(String::from_utf8_lossy(content).into_owned())
    }

    /// The version of its Python, such as `3.11`.
    pub(super) fn version(&self) -> Option<String> {
        let whole = self.get("version").or_else(|| self.get("version_info"))?;
        Some(whole.split('.').take(2).collect::<Vec<_>>().join("."))
    }

    /// The directory of the program it was made with.
    pub(super) fn base(&self) -> Option<&Path> {
        self.get("home").map(Path::new).filter(|base| base.is_absolute())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_base_are_read_whatever_surrounds_them() {
        let settings = Settings::new(b"# \xff\nhome = /opt/bin \nversion_info=3.14.0.final.0\n");
        assert_eq!(settings.version().as_deref(), Some("3.14"));
        assert_eq!(settings.base(), Some(Path::new("/opt/bin")));
        let relative = Settings::new(b"home = bin\n");
        assert_eq!((relative.version(), relative.base()), (None, None));
    }
}
