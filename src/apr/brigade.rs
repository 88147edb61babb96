//! Bucket brigades.

use super::{Pool, Status};
use crate::bindings::{
    apr_brigade_cleanup, apr_brigade_create, apr_brigade_insert_file, apr_brigade_to_iovec,
    apr_bucket, apr_bucket_alloc_t, apr_bucket_brigade, apr_bucket_eos_create,
    apr_bucket_file_enable_mmap, apr_bucket_file_set_buf_size, apr_bucket_flush_create,
    apr_bucket_transient_create, apr_file_dup, apr_file_t, apr_os_file_put, apr_os_file_t, iovec,
    shim_brigade_append, shim_brigade_empty, shim_brigade_first, shim_bucket_delete,
    shim_bucket_is_eos, shim_bucket_is_metadata, shim_bucket_read, shim_bucket_remove,
    shim_bucket_setaside, shim_bucket_split,
};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A brigade of a pool that lives at least as long as `'p`.
pub(crate) struct Brigade<'p> {
    raw: *mut apr_bucket_brigade,
    pool: Pool<'p>,
    allocator: *mut apr_bucket_alloc_t,
    lives: PhantomData<&'p apr_bucket_brigade>,
}

/// Bytes of a file to read at once.
const READ: usize = 128 * 1024;

/// The data of a bucket, which is read from its source where it has one.
///
/// # Safety
/// The bucket is live, and stays as it is for `'b`.
unsafe fn read<'b>(bucket: *mut apr_bucket) -> Result<&'b [u8], Status> {
    let (mut data, mut length) = (std::ptr::null(), 0);
    // SAFETY: the caller's promise; on success the bucket owns `length` bytes at `data` until it is changed. APR may leave
    // `data` null where there are none.
    unsafe {
        let status = Status(shim_bucket_read(bucket, &raw mut data, &raw mut length));
        if !status.is_success() {
            return Err(status);
        }
        Ok(if length == 0 { &[] } else { std::slice::from_raw_parts(data.cast(), length) })
    }
}

/// What stands first in a brigade.
pub(crate) enum Bucket<'b> {
    /// Data, not empty.
    Data(&'b [u8]),
    /// The end of the stream.
    End,
}

impl<'p> Brigade<'p> {
    /// An empty brigade.
    ///
    /// # Safety
    /// `allocator` lives as long as the pool.
    pub(crate) unsafe fn new(pool: Pool<'p>, allocator: *mut apr_bucket_alloc_t) -> Self {
        // SAFETY: the pool is live, the allocator by the caller's promise.
        let raw = unsafe { apr_brigade_create(pool.as_ptr(), allocator) };
        Self { raw, pool, allocator, lives: PhantomData }
    }

    /// The brigade that [`Brigade::as_ptr`] gave.
    ///
    /// # Safety
    /// `raw` was made by [`Brigade::new`] with this pool and this allocator, both of which live as long as `'p`, and no
    /// other handle to it is used meanwhile.
    pub(crate) const unsafe fn from_raw(
        raw: *mut apr_bucket_brigade,
        pool: Pool<'p>,
        allocator: *mut apr_bucket_alloc_t,
    ) -> Self {
        Self { raw, pool, allocator, lives: PhantomData }
    }

    pub(crate) const fn as_ptr(&self) -> *mut apr_bucket_brigade {
        self.raw
    }

    /// Appends bytes without copying them.
    ///
    /// # Safety
    /// The bytes stay as they are until the brigade has been passed on or cleared; a filter that
    /// keeps them longer copies them (a transient bucket).
    pub(crate) unsafe fn append_transient(&mut self, data: &[u8]) {
        // SAFETY: the allocator is live; the caller's promise about the bytes.
        unsafe {
            let bucket =
                apr_bucket_transient_create(data.as_ptr().cast(), data.len(), self.allocator);
            self.append(bucket);
        }
    }

    /// Appends part of a file. The descriptor is duplicated; the copy is closed with the pool.
    pub(crate) fn append_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: FileFlags,
    ) -> Result<(), Status> {
        let mut descriptor: apr_os_file_t = file.as_raw_fd();
        let mut lent: *mut apr_file_t = std::ptr::null_mut();
        let mut own: *mut apr_file_t = std::ptr::null_mut();
        let mut open = crate::bindings::APR_FOPEN_READ as i32;
        if flags.sendfile {
            open |= crate::bindings::APR_FOPEN_SENDFILE_ENABLED as i32;
        }
        // SAFETY: the pool and the allocator are live, and the descriptor is open. apr_os_file_put
        // makes an apr_file_t that does not own it; apr_file_dup one that owns a copy.
        unsafe {
            let pool = self.pool.as_ptr();
            for status in [
                apr_os_file_put(&raw mut lent, &raw mut descriptor, open, pool),
                apr_file_dup(&raw mut own, lent, pool),
            ] {
                if status != 0 {
                    return Err(Status(status));
                }
            }
            let (offset, length) = (offset.cast_signed(), length.cast_signed());
            let bucket = apr_brigade_insert_file(self.raw, own, offset, length, pool);
            if !flags.mmap {
                apr_bucket_file_enable_mmap(bucket, 0);
                // What is not mapped is read, 8 KB at a time unless more is asked for.
                apr_bucket_file_set_buf_size(bucket, READ);
            }
        }
        Ok(())
    }

    /// Appends "the client is to get what there is now".
    pub(crate) fn append_flush(&mut self) {
        // SAFETY: the allocator outlives the brigade (`new`); the bucket is made with it and goes nowhere else.
        unsafe { self.append(apr_bucket_flush_create(self.allocator)) };
    }

    /// Appends "there is no more".
    pub(crate) fn append_end(&mut self) {
        // SAFETY: the allocator outlives the brigade (`new`); the bucket is made with it and goes nowhere else.
        unsafe { self.append(apr_bucket_eos_create(self.allocator)) };
    }

    /// Appends a bucket.
    ///
    /// # Safety
    /// It was made with this brigade's allocator and is in no other brigade.
    pub(crate) unsafe fn append(&mut self, bucket: *mut apr_bucket) {
        // SAFETY: the caller's promise.
        unsafe { shim_brigade_append(self.raw, bucket) };
    }

    pub(crate) const fn allocator(&self) -> *mut apr_bucket_alloc_t {
        self.allocator
    }

    /// Whether there is no bucket in it.
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: the brigade lives as long as its pool, which outlives `self` (`new`).
        unsafe { shim_brigade_empty(self.raw) != 0 }
    }

    /// What stands first; `None` when the brigade is empty. Metadata and empty buckets are passed
    /// over. May block where a bucket has to be read from somewhere.
    pub(crate) fn first(&mut self) -> Result<Option<Bucket<'_>>, Status> {
        loop {
            // SAFETY: the brigade is live; the first bucket is one of its own, and data that was read
            // lives until the bucket is changed, which takes `&mut self`.
            unsafe {
                if shim_brigade_empty(self.raw) != 0 {
                    return Ok(None);
                }
                let bucket = shim_brigade_first(self.raw);
                if shim_bucket_is_eos(bucket) != 0 {
                    return Ok(Some(Bucket::End));
                }
                if shim_bucket_is_metadata(bucket) == 0 {
                    let data = read(bucket)?;
                    if !data.is_empty() {
                        return Ok(Some(Bucket::Data(data)));
                    }
                }
                shim_bucket_delete(bucket);
            }
        }
    }

    /// Moves the data of its buckets to `into`, up to one that stands for a source of unknown length, such as a socket:
    /// nothing is read from there.
    pub(crate) fn take_known(&mut self, into: &mut Vec<u8>) -> Result<(), Status> {
        // SAFETY: the brigade is live, and each bucket one of its own, to which nothing refers when it is deleted; the
        // bytes are copied before that.
        unsafe {
            while shim_brigade_empty(self.raw) == 0 {
                let bucket = shim_brigade_first(self.raw);
                // APR's mark of an unknown length: (apr_size_t)-1.
                if (*bucket).length == usize::MAX {
                    break;
                }
                into.extend_from_slice(read(bucket)?);
                shim_bucket_delete(bucket);
            }
        }
        Ok(())
    }

    /// Has the first bucket end after `count` bytes of the data that [`Brigade::first`] showed, and gives it.
    fn split_first(&mut self, count: usize) -> Result<*mut apr_bucket, Status> {
        // SAFETY: the brigade is not empty, as `first` has just shown data; splitting at the end of a
        // bucket is refused by APR for some kinds, so one that is wanted whole stays as it is.
        unsafe {
            let bucket = shim_brigade_first(self.raw);
            if count < (*bucket).length {
                let status = Status(shim_bucket_split(bucket, count));
                if !status.is_success() {
                    return Err(status);
                }
            }
            Ok(bucket)
        }
    }

    /// Removes `count` bytes of the data that [`Brigade::first`] showed.
    pub(crate) fn consume(&mut self, count: usize) -> Result<(), Status> {
        let bucket = self.split_first(count)?;
        // SAFETY: a bucket of this brigade, to which nothing refers any more.
        unsafe { shim_bucket_delete(bucket) };
        Ok(())
    }

    /// Moves `count` bytes of the data that [`Brigade::first`] showed to the end of `to`, where they outlive
    /// whatever happens to this brigade. They are not copied, unless the bucket is a transient one.
    pub(crate) fn move_front_to(&mut self, count: usize, to: &mut Self) -> Result<(), Status> {
        let bucket = self.split_first(count)?;
        // SAFETY: a bucket of this brigade. One that is set aside lives as long as the pool it is given. Both
        // brigades are of one connection, whose allocator made it.
        unsafe {
            let status = Status(shim_bucket_setaside(bucket, to.pool.as_ptr()));
            if !status.is_success() {
                return Err(status);
            }
            shim_bucket_remove(bucket);
            shim_brigade_append(to.raw, bucket);
        }
        Ok(())
    }

    /// The bytes of its first `most` buckets. For brigades that [`Brigade::move_front_to`] has filled, where
    /// nothing has to be read any more.
    pub(crate) fn slices(&self, most: usize) -> Result<Vec<&[u8]>, Status> {
        let mut places = vec![iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; most];
        let mut count = i32::try_from(most).unwrap_or(i32::MAX);
        // SAFETY: the brigade is live, and there are as many places as `count` says, which then says how
        // many were used.
        let status =
            Status(unsafe { apr_brigade_to_iovec(self.raw, places.as_mut_ptr(), &raw mut count) });
        if !status.is_success() {
            return Err(status);
        }
        let used = places.iter().take(usize::try_from(count).unwrap_or(0));
        let filled = used.filter(|place| place.iov_len > 0);
        // SAFETY: data that was read lives until its bucket is changed, which takes `&mut self`.
        let slice = |place: &iovec| unsafe {
            std::slice::from_raw_parts(place.iov_base.cast::<u8>(), place.iov_len)
        };
        Ok(filled.map(slice).collect())
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the brigade lives as long as its pool, which outlives `self` (`new`).
        unsafe { apr_brigade_cleanup(self.raw.cast()) };
    }
}

/// How a file may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileFlags {
    /// By `sendfile(2)`.
    pub(crate) sendfile: bool,
    /// By mapping it into memory, where it has to be read.
    pub(crate) mmap: bool,
}
