//! Ignore files: a walk that remembers says the same as one that does not.

use waybill::dockerfile::IgnoreFile;

/// The input is the ignore file and, after a NUL byte, paths to hold against it, a line each.
pub(super) fn run(data: &[u8]) {
    let (file, paths) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b"a\na/b\na/b/c.md\nDockerfile"[..]),
    };
    let Ok(file) = IgnoreFile::parse(file) else {
        return;
    };
    let mut walk = file.walk();
    // As git has them: no empty component, none that goes up.
    let is_path = |path: &&[u8]| {
        path.split(|byte| *byte == b'/')
            .all(|component| !matches!(component, b"" | b"." | b".."))
    };
    for path in paths.split(|byte| *byte == b'\n').filter(is_path) {
        assert_eq!(walk.is_ignored(path), file.is_ignored(path), "{path:?}");
    }
}
