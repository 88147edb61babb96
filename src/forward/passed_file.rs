//! A file that a worker has passed within a response that no thread of httpd serves: it is looked at, read and closed by the
//! threads of its group ([`FileReaders`]), a piece at a time. It must never know the response.
#![forbid(unsafe_code)]

use super::closer::Closer;
use super::connection_error::ConnectionError;
use super::file_readers::{FileReaders, Ticket};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a file that are read at once.
const PIECE: u64 = 32 * 1024;

/// The part of a file that goes to a client. No call waits for the file, and neither does dropping it.
pub(super) struct PassedFile {
    readers: Arc<FileReaders>,
    file: Arc<Closing>,
    /// What has not been taken yet.
    part: Range<u64>,
    /// How long the file has to be, until that has been looked at.
    wanted_length: Option<u64>,
    reading: Option<Reading>,
}

/// Why a file cannot be sent.
#[derive(Debug)]
pub(super) enum PassedFileError {
    Wrong(WrongFile),
    Io(io::Error),
}

/// What is wrong with what a file record refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongFile {
    /// It is not a regular file that can be read.
    NotRegular,
    /// It has fewer bytes than the record says.
    TooShort,
}

/// A descriptor that is closed by its group's closer.
struct Closing {
    descriptor: Option<File>,
    closer: Arc<Closer>,
}

/// A piece of a file, or why there is none.
type PieceRead = Result<Vec<u8>, PassedFileError>;

/// What a thread has been asked for.
struct Reading {
    ticket: Ticket,
    since: Instant,
    result: Arc<Mutex<Option<PieceRead>>>,
}

impl PassedFile {
    /// `part` of a descriptor that has come, which is to be a file of at least `wanted_length` bytes.
    pub(super) fn new(
        file: OwnedFd,
        part: Range<u64>,
        wanted_length: u64,
        readers: Arc<FileReaders>,
        closer: Arc<Closer>,
    ) -> Self {
        let file = Arc::new(Closing { descriptor: Some(File::from(file)), closer });
        Self { readers, file, part, wanted_length: Some(wanted_length), reading: None }
    }

    /// Has the next piece read, unless that has been asked for. `wake` is called once [`Self::take`] has something.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub(super) fn read_on(
        &mut self,
        now: Instant,
        wake: impl FnOnce() + Send + 'static,
    ) -> Result<(), PassedFileError> {
        if self.reading.is_some() {
            return Ok(());
        }
        let result = Arc::<Mutex<_>>::default();
        let (file, kept) = (Arc::clone(&self.file), Arc::clone(&result));
        let (wanted_length, start) = (self.wanted_length.take(), self.part.start);
        let length = (self.part.end - start).min(PIECE);
        let work = move || {
            let read = file.read(wanted_length, start, usize::try_from(length).unwrap_or(0));
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
            wake();
        };
        let ticket = self.readers.submit(work).map_err(PassedFileError::Io)?;
        self.reading = Some(Reading { ticket, since: now, result });
        Ok(())
    }

    /// Takes the piece that has been read; `None`: there is none yet.
    pub(super) fn take(&mut self) -> Option<PieceRead> {
        let reading = self.reading.as_ref()?;
        let read = reading.result.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.reading = None;
        if let Ok(piece) = &read {
            self.part.start += piece.len() as u64;
        }
        Some(read)
    }

    /// Whether all of it has been taken.
    pub(super) const fn is_at_end(&self) -> bool {
        self.part.start >= self.part.end && self.wanted_length.is_none()
    }

    /// When what is being read is to have come, where it may take `limit`.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        self.reading.as_ref().map(|reading| reading.since + limit)
    }
}

impl Drop for PassedFile {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.readers.cancel(reading.ticket);
        }
    }
}

impl Closing {
    /// Reads `length` bytes from `start` on; before that looks at the file, where it has to have so many bytes.
    fn read(&self, wanted_length: Option<u64>, start: u64, length: usize) -> PieceRead {
        let Some(file) = &self.descriptor else { return Err(WrongFile::NotRegular.into()) };
        if let Some(wanted) = wanted_length {
            let has = sys::readable_length(file.as_fd()).ok_or(WrongFile::NotRegular)?;
            if has < wanted {
                return Err(WrongFile::TooShort.into());
            }
        }
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, start).map_err(PassedFileError::Io)?;
        Ok(piece)
    }
}

impl From<WrongFile> for PassedFileError {
    fn from(what: WrongFile) -> Self {
        Self::Wrong(what)
    }
}

impl From<WrongFile> for ConnectionError {
    fn from(what: WrongFile) -> Self {
        Self::Malformed(match what {
            WrongFile::NotRegular => "file record refers to what is no regular file".to_owned(),
            WrongFile::TooShort => {
                "file record refers to bytes that the file does not have".to_owned()
            }
        })
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.closer.close(self.descriptor.take().map(OwnedFd::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_secs(20);

    fn passed(descriptor: impl Into<OwnedFd>, part: Range<u64>, wanted: u64) -> PassedFile {
        PassedFile::new(descriptor.into(), part, wanted, Arc::default(), Arc::default())
    }

    /// The next piece, which is waited for.
    fn next(file: &mut PassedFile) -> PieceRead {
        let (done, is_done) = channel();
        file.read_on(Instant::now(), move || done.send(()).unwrap()).unwrap();
        is_done.recv_timeout(SOON).unwrap();
        file.take().unwrap()
    }

    fn file_of(length: usize) -> File {
        File::from(sys::memory_file(&vec![b'#'; length]).unwrap())
    }

    #[test]
    fn part_of_a_file_comes_in_pieces_and_once() {
        let mut file = passed(file_of(100_000), 10..90_000, 90_000);
        assert!(file.take().is_none());
        let mut length = 0;
        while !file.is_at_end() {
            let piece = next(&mut file).unwrap();
            assert!(!piece.is_empty() && piece.len() as u64 <= PIECE);
            length += piece.len();
        }
        assert_eq!(length, 89_990);
        // A response that gets nothing of the file is refused one that is too short all the same.
        let mut file = passed(file_of(10), 0..0, 10);
        assert!(!file.is_at_end());
        assert!(next(&mut file).unwrap().is_empty() && file.is_at_end());
    }

    #[test]
    fn what_is_no_file_or_too_short_a_one_is_told_so() {
        let mut file = passed(file_of(10), 0..5, 11);
        assert!(matches!(next(&mut file), Err(PassedFileError::Wrong(WrongFile::TooShort))));
        let (_here, there) = UnixStream::pair().unwrap();
        let mut file = passed(there, 0..5, 5);
        assert!(matches!(next(&mut file), Err(PassedFileError::Wrong(WrongFile::NotRegular))));
    }

    #[test]
    fn descriptor_is_closed_with_what_it_belongs_to_also_before_it_has_been_read() {
        let (mut here, there) = UnixStream::pair().unwrap();
        drop(passed(there, 0..5, 5));
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut file = passed(there, 0..5, 5);
        file.read_on(Instant::now(), || {}).unwrap();
        drop(file);
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
    }
}
