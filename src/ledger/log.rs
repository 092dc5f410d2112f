//! The logs that records carry, compressed with gzip.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// The most of a log that is unpacked, in bytes: more than a build keeps.
const MAX_UNPACKED: u64 = 256 << 20;

/// The text of a log as the build wrote it, secrets masked; of one that is far too long, the
/// beginning.
///
/// # Errors
///
/// It is not compressed with gzip, or damaged.
pub fn unpack_log(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(compressed)
        .take(MAX_UNPACKED)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// The most that is kept of the end of a log of which not everything is kept, in bytes.
const MAX_TAIL: usize = 256 << 10;

/// A log that is compressed as it comes. Of one that is too long, the beginning and the end are
/// kept, and what was between is counted.
#[derive(Debug)]
pub struct PackedLog {
    kept: GzEncoder<Vec<u8>>,
    /// How many bytes may still come before only the end is kept.
    room: usize,
    tail: Vec<u8>,
    /// How many bytes were dropped before `tail`.
    dropped: u64,
}

impl PackedLog {
    /// An empty log, of which `room` bytes are kept before compression, and the end.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            kept: GzEncoder::new(Vec::new(), Compression::default()),
            room,
            tail: Vec::new(),
            dropped: 0,
        }
    }

    /// Takes what comes next.
    pub fn keep(&mut self, bytes: &[u8]) {
        let (fits, rest) = bytes.split_at(self.room.min(bytes.len()));
        self.room -= fits.len();
        // Writing to memory does not fail.
        let _ = self.kept.write_all(fits);
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * MAX_TAIL {
            let cut = self.tail.len() - MAX_TAIL;
            self.tail.drain(..cut);
            self.dropped += cut as u64;
        }
    }

    /// The log, compressed with gzip.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        if self.dropped > 0 {
            let note = format!("\n… {} bytes were not kept …\n", self.dropped);
            let _ = self.kept.write_all(note.as_bytes());
        }
        let _ = self.kept.write_all(&self.tail);
        self.kept.finish().unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_beginning_and_the_end_are_kept() {
        let mut log = PackedLog::new(10);
        log.keep(b"0123456");
        log.keep(b"789abc");
        let short = unpack_log(&log.finish()).unwrap();
        assert_eq!(short, b"0123456789abc");

        let mut log = PackedLog::new(10);
        log.keep(b"beginning\n");
        for _ in 0..3 * MAX_TAIL / 8 {
            log.keep(b"01234567");
        }
        log.keep(b"the end");
        let long = unpack_log(&log.finish()).unwrap();
        let text = String::from_utf8(long).unwrap();
        assert!(text.starts_with("beginning\n\n… ") && text.ends_with("the end"));
        assert!(text.contains(" bytes were not kept …\n") && text.len() < 3 * MAX_TAIL);
    }
}
