//! What a directive may ask about the world around its line: Apache, its servers, the accounts of the system.
//! It never knows where the answers come from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What a setter may ask of the world. Apache answers; in unit tests a stub does.
pub(crate) trait ParseContext {
    /// `path` below `ServerRoot` when it is relative (httpd: `ap_server_root_relative`).
    fn server_root_relative(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// An extended regular expression, by Apache's own engine. `None`: it could not be compiled.
    fn compile(&self, pattern: &[u8]) -> Option<Arc<dyn Pattern>>;

    /// Whether the line stands in a `<Directory>`, `<Location>`, `<Files>` or `<If>` section.
    fn in_section(&self) -> bool;

    /// The server the line stands in.
    fn server(&self) -> ServerIdentity;

    /// `file:line` of the line.
    fn place(&self) -> String;

    /// One line at `warn` in the error log.
    fn warn(&self, sentence: &str);

    /// One line at `info` in the error log.
    fn notice(&self, sentence: &str);

    /// The uid of a user name, or of `#uid` when such a user exists.
    fn user_id(&self, name: &[u8]) -> Option<u32>;

    /// The gid of a group name, or of `#gid`.
    fn group_id(&self, name: &[u8]) -> Option<u32>;

    /// Whether this process may change its root directory and its user.
    fn is_root(&self) -> bool;
}

/// A compiled regular expression.
pub(crate) trait Pattern: Send + Sync + fmt::Debug {
    /// The span of the match and of each of its groups, the whole match first.
    fn find(&self, subject: &[u8]) -> Option<Vec<Option<Range<usize>>>>;
}

/// Which server a line stands in, as far as the configuration has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    /// `ServerName` as configured, without its port.
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) is_virtual: bool,
    pub(crate) port: u16,
    /// `file:line` of its `<VirtualHost>`, or of the main server's file.
    pub(crate) defined_at: String,
}
