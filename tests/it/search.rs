//! A search for texts in everything that a run leaves behind: in files as they are, and in what
//! they hold compressed (with gzip as logs and layers, with zlib as git's objects).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// The files that hold one of the texts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// As they are.
    pub(crate) plain: Vec<PathBuf>,
    /// Once they are unpacked.
    pub(crate) packed: Vec<PathBuf>,
}

impl Found {
    /// Neither these nor those.
    pub(crate) fn is_nothing(&self) -> bool {
        self.plain.is_empty() && self.packed.is_empty()
    }
}

/// Looks for any of these texts in all files below a directory.
pub(crate) fn search(directory: &Path, texts: &[String]) -> Found {
    let mut found = Found::default();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            if holds_any(&unpacked(&bytes), texts) {
                found.packed.push(path.clone());
            }
            if holds_any(&bytes, texts) {
                found.plain.push(path);
            }
        }
    }
    found
}

/// What compressed bytes hold, as far as they can be unpacked; nothing, of others.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let read = match bytes {
        [0x1f, 0x8b, ..] => MultiGzDecoder::new(bytes).read_to_end(&mut content),
        [0x78, ..] => ZlibDecoder::new(bytes).read_to_end(&mut content),
        _ => Ok(0),
    };
    // Bytes that only look compressed end in an error.
    let _ = read;
    content
}

fn holds_any(haystack: &[u8], needles: &[String]) -> bool {
    needles.iter().any(|needle| {
        let mut windows = haystack.windows(needle.len());
        windows.any(|window| window == needle.as_bytes())
    })
}
