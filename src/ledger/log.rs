//! The logs that records carry, compressed with gzip.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

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
