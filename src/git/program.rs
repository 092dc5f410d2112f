//! Running the `git` program.

use std::ffi::OsStr;
use std::io::{Read, Seek as _, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::remote::without_credentials;
use super::{GitError, Repository};
use crate::model::ObjectId;

/// What git exports to hooks and aliases to say which repository is meant; here the directory that
/// the command names decides.
const REPOSITORY_VARIABLES: [&str; 12] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Larger blobs are streamed instead of being read into memory.
const LARGE_BLOB: u64 = 4 << 20;

/// How many lines of git's complaints go into an error.
const ERROR_LINES: usize = 20;

impl Repository {
    /// Writes a blob to `writer` and returns its size in bytes. A large one is never in memory
    /// whole. The bytes are those of the object; no filter is applied. Never fetches.
    pub fn copy_blob(&self, id: ObjectId, writer: &mut dyn Write) -> Result<u64, GitError> {
        let size = self.blob_size(id)?;
        if size > LARGE_BLOB {
            return self.stream_blob(id, size, writer);
        }
        let content = self.blob(id)?;
        writer
            .write_all(&content)
            .map_err(|source| GitError::Write { id, source })?;
        Ok(size)
    }

    fn stream_blob(
        &self,
        id: ObjectId,
        size: u64,
        writer: &mut dyn Write,
    ) -> Result<u64, GitError> {
        let name = "git cat-file";
        let failed = |error: std::io::Error| program_error(name, error.to_string());
        let mut command = self.git(&["cat-file", "blob", &id.to_string()]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let copied = match child.stdout.take() {
            Some(output) => copy(id, output, writer),
            None => Ok(0),
        };
        if copied.is_err() {
            // The output's end is closed by now; this only spares git some work.
            let _ = child.kill();
        }
        let output = child.wait_with_output().map_err(failed)?;
        let copied = copied?;
        check(name, &output)?;
        if copied != size {
            let detail = format!("it gave {copied} of {size} bytes of {id}");
            return Err(program_error(name, detail));
        }
        Ok(copied)
    }

    /// Runs `git` with these arguments and this input, and returns its output. `name` is what the
    /// error calls it.
    pub(super) fn run_git<S: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: &[S],
        input: &[u8],
    ) -> Result<Vec<u8>, GitError> {
        self.run_git_with(name, arguments, input, &[])
    }

    /// [`Self::run_git`], with more variables in its environment.
    pub(super) fn run_git_with<S: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: &[S],
        input: &[u8],
        environment: &[(&str, &OsStr)],
    ) -> Result<Vec<u8>, GitError> {
        let failed = |error: std::io::Error| program_error(name, error.to_string());
        let stdin = if input.is_empty() {
            Stdio::null()
        } else {
            // A file, not a pipe: nobody has to write while another reads.
            let mut file = tempfile::tempfile().map_err(failed)?;
            file.write_all(input).map_err(failed)?;
            file.rewind().map_err(failed)?;
            file.into()
        };
        let mut command = self.git(arguments);
        command.envs(environment.iter().copied());
        let output = command.stdin(stdin).output().map_err(failed)?;
        check(name, &output)?;
        Ok(output.stdout)
    }

    fn git<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = git_in(self.root());
        if self.work_dir().is_none() {
            // Found without looking, so it works with safe.bareRepository=explicit as well.
            command.arg("--git-dir=.");
        }
        command.args(arguments);
        command
    }
}

/// Whether git is willing to work in the repository around this directory.
pub(super) fn git_trusts(directory: &Path) -> bool {
    let output = git_in(directory).args(["rev-parse", "--git-dir"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn git_in(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory);
    for variable in REPOSITORY_VARIABLES {
        command.env_remove(variable);
    }
    command
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1");
    command
}

fn copy(id: ObjectId, mut from: impl Read, to: &mut dyn Write) -> Result<u64, GitError> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(program_error("git cat-file", error.to_string())),
        };
        to.write_all(&buffer[..count])
            .map_err(|source| GitError::Write { id, source })?;
        copied += u64::try_from(count).unwrap_or_default();
    }
}

fn check(name: &str, output: &Output) -> Result<(), GitError> {
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let words = lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n");
    let detail = if words.is_empty() {
        output.status.to_string()
    } else {
        without_credentials(&words)
    };
    Err(program_error(name, detail))
}

fn program_error(name: &str, detail: String) -> GitError {
    GitError::Program {
        command: name.to_owned(),
        detail,
    }
}
