//! This process's own memory at addresses that may lead nowhere, or into what another thread is changing: the kernel
//! copies it, and an address without memory is an error and no crash. It must never know what is read.
//!
//! The bytes pass through a pipe, because `write` is permitted everywhere: process_vm_readv(2), which needs no pipe, is
//! among the calls for which filters of containers and of systemd end a process.
#![allow(unsafe_code, reason = "write(2) from an address that may have no memory")]

use crate::descriptors::set_nonblocking;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd};

/// As much as every pipe has room for: one page.
const PIECE: usize = 4096;

/// Reads memory of this process.
pub struct OwnMemory {
    output: PipeReader,
    input: PipeWriter,
}

impl OwnMemory {
    /// # Errors
    /// Where there is no pipe (pipe2(2)).
    pub fn new() -> io::Result<Self> {
        let (output, input) = io::pipe()?;
        // What finds no room is an error, although there always is some.
        set_nonblocking(input.as_fd())?;
        Ok(Self { output, input })
    }

    /// Copies memory from `address` on; whether all of it could be read. Other threads may change it meanwhile.
    pub fn read(&mut self, address: usize, into: &mut [u8]) -> bool {
        let mut at = address;
        for piece in into.chunks_mut(PIECE) {
            // SAFETY: the kernel reads `piece.len()` bytes for this call and checks each page; where there is none it
            // writes less, or fails with EFAULT. Nothing of this program is changed, and no reference is made.
            let count = unsafe { libc::write(self.input.as_raw_fd(), at as *const _, piece.len()) };
            let count = usize::try_from(count).unwrap_or(0);
            // What has been written is taken out in any case, or it would precede what is read next.
            let Some(got) = piece.get_mut(..count) else { return false };
            if self.output.read_exact(got).is_err() || count < piece.len() {
                return false;
            }
            at = at.wrapping_add(count);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_copied_and_an_address_without_memory_is_no_crash() {
        let text: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        let mut memory = OwnMemory::new().unwrap();
        let mut copy = vec![0; text.len()];
        assert!(memory.read(text.as_ptr() as usize, &mut copy));
        assert_eq!(copy, text);
        for address in [0, 8, usize::MAX - 3, usize::MAX / 2 + 1] {
            assert!(!memory.read(address, &mut [0; 16]), "{address:x}");
        }
        let mut four = [0; 4];
        assert!(memory.read(text.as_ptr() as usize + 1, &mut four));
        assert_eq!(four, [1, 2, 3, 4]);
    }

    #[test]
    fn part_that_precedes_a_hole_does_not_remain_for_the_next_read() {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
        let mut memory = OwnMemory::new().unwrap();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of two pages, of which the second may not be read from then on; nothing refers to it.
        let place = unsafe {
            let place =
                mmap_anonymous(std::ptr::null_mut(), 2 * PIECE, access, MapFlags::PRIVATE).unwrap();
            mprotect(place.byte_add(PIECE), PIECE, MprotectFlags::empty()).unwrap();
            place as usize
        };
        assert!(memory.read(place + PIECE - 8, &mut [0; 8]));
        assert!(!memory.read(place + PIECE - 8, &mut [0; 16]));
        let mut four = [0; 4];
        assert!(memory.read([1_u8, 2, 3, 4].as_ptr() as usize, &mut four));
        assert_eq!(four, [1, 2, 3, 4]);
        // SAFETY: the mapping of this test.
        unsafe { munmap(place as *mut _, 2 * PIECE) }.unwrap();
    }
}
