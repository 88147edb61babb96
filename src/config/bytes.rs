//! Configured values as they are kept.

use std::sync::Arc;

/// A configured value. Paths and names need not be UTF-8; a clone is a reference count.
pub(crate) type Bytes = Arc<[u8]>;
