//! How much of everything a peer may declare before we stop listening.
//! It must never know where the administrator wrote the numbers.

/// Ceilings on what a peer makes us hold in memory. FastCGI 1.0 itself has none.
///
/// A record needs no ceiling here: 64 KiB is the most it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all params of a request together, lengths included.
    /// Default 1 MiB: some 100 headers of Apache's `LimitRequestFieldSize` and room beside.
    pub params_bytes: usize,
    /// Name-value pairs of a request. Default 16384: far beyond what any server lets in that its
    /// administrator has not told to (Apache's `LimitRequestFields` is 100).
    pub params_pairs: usize,
    /// Bytes of one name. Default 16 KiB: twice the longest header name Apache lets in.
    pub name_bytes: usize,
    /// Bytes of one line on STDERR; longer ones are cut in pieces. Default 8192, the length at
    /// which Apache itself cuts a line of its error log.
    pub stderr_line_bytes: usize,
    /// Bytes of one line of the answer's head, line end not counted.
    /// Default 32768, as mod_wsgi's `header-buffer-size`.
    pub head_line_bytes: usize,
    /// Bytes of the answer's head, line ends counted. Default 1 MiB.
    pub head_bytes: usize,
    /// Fields in the answer's head. Default 4096.
    pub head_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            params_bytes: 1 << 20,
            params_pairs: 16384,
            name_bytes: 16 << 10,
            stderr_line_bytes: 8192,
            head_line_bytes: 32768,
            head_bytes: 1 << 20,
            head_fields: 4096,
        }
    }
}
