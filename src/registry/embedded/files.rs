//! Files that are there whole or not at all, and file names that hold tags.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// What temporary names begin with: no tag, digest or repository does.
pub(super) const TEMPORARY: &str = ".new-";

/// Writes a file so that it is there whole, or not at all, whatever happens.
pub(super) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failure| failure.error)?;
    sync_directory(directory)
}

/// Makes a rename last.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()
    } else {
        Ok(())
    }
}

/// Removes a file, which need not be there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// The file name of a tag.
pub(super) fn file_of_tag(tag: &str) -> String {
    let mut file = String::with_capacity(tag.len());
    for character in tag.chars() {
        if character.is_ascii_uppercase() {
            file.push('+');
        }
        file.push(character.to_ascii_lowercase());
    }
    file
}

/// The tag of a file name; `None` for a name that no tag has.
pub(super) fn tag_of_file(file: &str) -> Option<String> {
    let mut tag = String::with_capacity(file.len());
    let mut characters = file.chars();
    while let Some(character) = characters.next() {
        match character {
            '+' => tag.push(characters.next()?.to_ascii_uppercase()),
            other => tag.push(other),
        }
    }
    Some(tag)
}
