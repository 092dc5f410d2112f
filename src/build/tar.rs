//! The build context as a stream of tar bytes, made in a thread of its own and never whole in
//! memory.
//!
//! The archive depends only on what is put in, in that order: times, owners and modes are
//! constant, and every directory stands before what is in it. Paths and link targets are bytes;
//! those too long for a header go into GNU long-name entries.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tar::{EntryType, Header};
use tokio::sync::mpsc;

use crate::problem::{Class, Failure, Problem};

/// The time of every entry, 2000-01-01T00:00:00Z in seconds: a constant, and late enough for
/// formats that cannot express a time before 1980, such as zip.
const MODIFIED: u64 = 946_684_800;

/// Bytes that are sent at once.
const CHUNK: usize = 256 * 1024;

/// Chunks that may wait for the reader.
const WAITING: usize = 4;

/// A tar stream that is written while it is read.
#[derive(Debug)]
pub struct ContextStream {
    parts: mpsc::Receiver<Part>,
    taken: Arc<AtomicU64>,
}

/// What the writing thread sends. Only `End` says that the archive is whole: a channel that closes
/// without it (the thread panicked) is an error.
#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    Failed(Failure),
    End,
}

impl ContextStream {
    /// Starts a thread that writes the archive with `write`, as fast as it is read. Whatever error
    /// `write` returns is what [`next`](Self::next) returns. To be called in a tokio runtime; the
    /// thread ends soon after this stream is dropped.
    pub fn spawn<F>(write: F) -> Self
    where
        F: FnOnce(&mut TarWriter<'_>) -> Result<(), Failure> + Send + 'static,
    {
        let (sender, parts) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            let last = match write_all(&sender, write) {
                Ok(()) => Part::End,
                Err(failure) => Part::Failed(failure),
            };
            // Nobody listens any more: the build was given up.
            let _ = sender.blocking_send(last);
        });
        Self {
            parts,
            taken: Arc::default(),
        }
    }

    /// The next bytes; `None` once the archive is whole.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match self.parts.recv().await {
            Some(Part::Bytes(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.taken.fetch_add(length, Ordering::Relaxed);
                Some(Ok(bytes))
            }
            Some(Part::Failed(failure)) => Some(Err(failure)),
            Some(Part::End) => {
                self.parts.close();
                None
            }
            None => Some(Err(failure("the context's writer stopped in the middle"))),
        }
    }

    /// Counts the bytes that were taken out so far, while another task reads the stream.
    #[must_use]
    pub fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }
}

fn write_all<F>(sender: &mpsc::Sender<Part>, write: F) -> Result<(), Failure>
where
    F: FnOnce(&mut TarWriter<'_>) -> Result<(), Failure>,
{
    let mut chunks = ChunkWriter {
        sender,
        buffer: Vec::with_capacity(CHUNK),
    };
    let mut writer = TarWriter::new(&mut chunks);
    write(&mut writer)?;
    writer.finish()?;
    chunks.flush().map_err(|error| not_written(&error))
}

/// Collects what is written into chunks and sends them, waiting while too many are unread.
struct ChunkWriter<'a> {
    sender: &'a mpsc::Sender<Part>,
    buffer: Vec<u8>,
}

impl Write for ChunkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Part::Bytes(full.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes the entries of an archive, in the order in which they are given.
///
/// Paths are relative, `/` between components, without `.`, `..` or an empty component; anything
/// else is an error. Directories that a path lies in are added before it.
pub struct TarWriter<'a> {
    out: &'a mut dyn Write,
    directories: HashSet<Vec<u8>>,
}

impl<'a> TarWriter<'a> {
    /// Writes to `out`; [`finish`](Self::finish) makes the archive whole.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            directories: HashSet::new(),
        }
    }

    /// A directory, mode 0755; nothing if it is there already.
    pub fn directory(&mut self, path: &[u8]) -> Result<(), Failure> {
        check_path(path)?;
        self.parents(path)?;
        self.one_directory(path)
    }

    /// A file of `size` bytes, mode 0644 or 0755, whose content `copy` writes. More or fewer bytes
    /// than `size` are an error.
    pub fn file(
        &mut self,
        path: &[u8],
        size: u64,
        executable: bool,
        copy: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        check_path(path)?;
        self.parents(path)?;
        let mode = if executable { 0o755 } else { 0o644 };
        self.header(EntryType::Regular, path, &[], size, mode)?;
        let mut content = Exactly {
            out: &mut *self.out,
            left: size,
        };
        copy(&mut content)?;
        if content.left > 0 {
            let path = String::from_utf8_lossy(path);
            let left = content.left;
            return Err(failure(format!(
                "'{path}' ended {left} bytes before its size of {size}"
            )));
        }
        self.pad(size)
    }

    /// A file whose content is at hand.
    pub fn bytes(&mut self, path: &[u8], executable: bool, content: &[u8]) -> Result<(), Failure> {
        self.file(path, length(content), executable, |out| {
            out.write_all(content).map_err(|error| not_written(&error))
        })
    }

    /// A symbolic link with this target, as it stands.
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Failure> {
        check_path(path)?;
        self.parents(path)?;
        self.header(EntryType::Symlink, path, target, 0, 0o777)
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<(), Failure> {
        write(self.out, &[0; 2 * BLOCK])
    }

    fn parents(&mut self, path: &[u8]) -> Result<(), Failure> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in ends {
            self.one_directory(&path[..end])?;
        }
        Ok(())
    }

    fn one_directory(&mut self, path: &[u8]) -> Result<(), Failure> {
        if self.directories.contains(path) {
            return Ok(());
        }
        self.directories.insert(path.to_vec());
        let name = [path, b"/"].concat();
        self.header(EntryType::Directory, &name, &[], 0, 0o755)
    }

    /// The header of an entry, after long-name entries for what does not fit into it (GNU tar's
    /// manual, "Basic Tar Format": types `L` and `K`).
    fn header(
        &mut self,
        kind: EntryType,
        path: &[u8],
        target: &[u8],
        size: u64,
        mode: u32,
    ) -> Result<(), Failure> {
        self.long_name(EntryType::GNULongName, path)?;
        self.long_name(EntryType::GNULongLink, target)?;
        self.block(kind, path, target, size, mode)
    }

    fn long_name(&mut self, kind: EntryType, name: &[u8]) -> Result<(), Failure> {
        if name.len() <= NAME {
            return Ok(());
        }
        // With the zero byte that ends it.
        let size = length(name) + 1;
        self.block(kind, b"././@LongLink", &[], size, 0o644)?;
        write(self.out, name)?;
        write(self.out, &[0])?;
        self.pad(size)
    }

    fn block(
        &mut self,
        kind: EntryType,
        path: &[u8],
        target: &[u8],
        size: u64,
        mode: u32,
    ) -> Result<(), Failure> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MODIFIED);
        let fields = header.as_old_mut();
        fill(&mut fields.name, path);
        fill(&mut fields.linkname, target);
        header.set_cksum();
        write(self.out, header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<(), Failure> {
        let used = usize::try_from(size % length(&[0; BLOCK])).unwrap_or(0);
        if used > 0 {
            write(self.out, &[0; BLOCK][used..])?;
        }
        Ok(())
    }
}

/// Everything in an archive is padded to blocks of this size.
const BLOCK: usize = 512;

/// The bytes that a header has for a name or a link's target.
const NAME: usize = 100;

/// Lets through as many bytes as a file was said to have, and no more.
struct Exactly<'a> {
    out: &'a mut dyn Write,
    left: u64,
}

impl Write for Exactly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.left = self
            .left
            .checked_sub(length(&bytes[..written]))
            .ok_or_else(|| io::Error::other("a file is larger than its size was said to be"))?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// As much of `bytes` as a header's field holds.
fn fill(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn check_path(path: &[u8]) -> Result<(), Failure> {
    let bad = |name: &[u8]| matches!(name, b"" | b"." | b"..") || name.contains(&0);
    if path.split(|byte| *byte == b'/').any(bad) {
        let path = String::from_utf8_lossy(path);
        return Err(failure(format!(
            "'{path}' is no path inside a build context"
        )));
    }
    Ok(())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes).map_err(|error| not_written(&error))
}

fn not_written(error: &io::Error) -> Failure {
    failure(format!("the context could not be written: {error}"))
}

fn failure(message: impl Into<String>) -> Failure {
    Failure::new(
        Class::Failed,
        Problem::error("context-failed", message)
            .hint("run the build again; if it stays, look at the file that is named"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(write: impl FnOnce(&mut TarWriter<'_>) -> Result<(), Failure>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = TarWriter::new(&mut out);
        write(&mut writer).unwrap();
        writer.finish().unwrap();
        out
    }

    /// Kind, path, target, mode, and size, as another reader sees them.
    type Seen = (EntryType, Vec<u8>, Option<Vec<u8>>, u32, u64);

    fn entries(archive: &[u8]) -> Vec<Seen> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let target = entry.link_name_bytes().map(|target| target.to_vec());
            let (header, path) = (entry.header(), entry.path_bytes().to_vec());
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), MODIFIED);
            (
                header.entry_type(),
                path,
                target,
                header.mode().unwrap(),
                entry.size(),
            )
        });
        entries.collect()
    }

    #[test]
    fn another_reader_sees_what_was_written() {
        let long = [b"d/".repeat(90), b"\xff".repeat(130)].concat();
        let archive = archive(|tar| {
            tar.bytes(b"a/b/run", true, b"content")?;
            tar.link(b"a/link", &b"t".repeat(101))?;
            tar.directory(b"a/b")?;
            tar.bytes(&b"n".repeat(100), false, &[0; 512])?;
            tar.bytes(&long, false, b"")
        });
        assert_eq!(archive.len() % BLOCK, 0);
        let entries = entries(&archive);
        let directory = |path: &[u8]| (EntryType::Directory, path.to_vec(), None, 0o755, 0);
        assert_eq!(entries[0], directory(b"a/"));
        assert_eq!(entries[1], directory(b"a/b/"));
        assert_eq!(
            entries[2],
            (EntryType::Regular, b"a/b/run".to_vec(), None, 0o755, 7)
        );
        let target = Some(b"t".repeat(101));
        assert_eq!(
            entries[3],
            (EntryType::Symlink, b"a/link".to_vec(), target, 0o777, 0)
        );
        assert_eq!(
            entries[4],
            (EntryType::Regular, b"n".repeat(100), None, 0o644, 512)
        );
        assert_eq!(entries.len(), 5 + 90 + 1, "each directory once");
        assert_eq!(entries[95], (EntryType::Regular, long, None, 0o644, 0));
    }

    #[test]
    fn the_same_entries_are_the_same_bytes() {
        let one = || archive(|tar| tar.bytes(b"a/b", false, b"x"));
        assert_eq!(one(), one());
    }

    #[test]
    fn paths_that_leave_the_context_are_refused() {
        let mut out = Vec::new();
        let mut writer = TarWriter::new(&mut out);
        for bad in [
            &b""[..],
            b"/a",
            b"a/",
            b"a//b",
            b"../a",
            b"a/../b",
            b"./a",
            b"a\0b",
        ] {
            assert!(writer.bytes(bad, false, b"").is_err(), "{bad:?}");
            assert!(writer.link(bad, b"x").is_err() && writer.directory(bad).is_err());
        }
    }

    #[tokio::test]
    async fn only_a_whole_archive_ends_without_an_error() {
        let mut stream = ContextStream::spawn(|tar| tar.bytes(b"a", false, &vec![1; 3 * CHUNK]));
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part.unwrap());
        }
        assert_eq!(entries(&bytes).len(), 1);
        assert_eq!(stream.taken().load(Ordering::Relaxed), length(&bytes));

        let mut stream = ContextStream::spawn(|_| panic!("as meant"));
        assert!(stream.next().await.unwrap().is_err());
    }
}
