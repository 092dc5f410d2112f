//! Git repositories for tests: real ones, made by the `git` program, the same at every run.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The time of the repository before its first commit; each commit is a minute younger.
const FIRST_COMMIT: u64 = 1_700_000_000;

/// What makes commits, and so moves the clock.
const COMMITTING: [&str; 5] = ["commit", "merge", "revert", "cherry-pick", "commit-tree"];

/// A repository in a temporary directory, with a home directory of its own.
pub(crate) struct Repo {
    home: TempDir,
    dir: PathBuf,
    minute: Cell<u64>,
}

impl Repo {
    /// An empty repository with a work tree, on the branch `main`.
    pub(crate) fn new() -> Self {
        let repo = Self::nowhere();
        repo.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repo
    }

    /// Projects `p0`, `p1`, …, committed. Each has a file, and depends on some of those before it:
    /// on the image of one, or (`false`) on its change alone.
    pub(crate) fn numbered(projects: &[Vec<(usize, bool)>]) -> Self {
        let repo = Self::new();
        let mut entries = Vec::new();
        for (number, dependencies) in projects.iter().enumerate() {
            let names = dependencies
                .iter()
                .map(|(other, _)| format!(r#""p{other}""#));
            entries.push(format!(
                r#""p{number}": {{"buildDir": "p{number}", "dependencies": [{}]}}"#,
                names.collect::<Vec<_>>().join(", ")
            ));
            let used = dependencies.iter().filter(|(_, used)| *used);
            let copies = used.map(|(other, _)| format!("COPY --from=p{other} / /\n"));
            let dockerfile = format!("FROM scratch\nCOPY . /\n{}", copies.collect::<String>());
            repo.write(format!("p{number}/Dockerfile"), dockerfile);
            repo.write(format!("p{number}/file"), "0");
        }
        let entries = entries.join(", ");
        let manifest = format!(r#"{{"version": 1, "projects": {{{entries}}}}}"#);
        repo.write("build_manifest.json", manifest);
        repo.commit("First");
        repo
    }

    /// A repository that is there already, and stays when this is dropped.
    pub(crate) fn existing(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ..Self::nowhere()
        }
    }

    /// A clone over `file://` (so that depth and filters count), made with further arguments.
    pub(crate) fn clone_with(&self, arguments: &[&str]) -> Self {
        self.git(&["config", "uploadpack.allowFilter", "true"]);
        self.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let clone = Self::nowhere();
        clone.minute.set(self.minute.get());
        let source = format!("file://{}", self.dir.display());
        clone.git(&[&["clone", "--quiet"], arguments, &[&source, "."]].concat());
        clone
    }

    /// The work tree's root; symbolic links resolved.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// A directory beside the repository, for anything else a test needs.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a plain file.
    pub(crate) fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        std::fs::write(self.make_way(path.as_ref()), content).unwrap();
    }

    /// Writes an executable file.
    pub(crate) fn write_executable(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.make_way(path.as_ref());
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        symlink(
            OsStr::from_bytes(target.as_ref()),
            self.make_way(path.as_ref()),
        )
        .unwrap();
    }

    /// Removes a file, a link or a whole directory.
    pub(crate) fn remove(&self, path: impl AsRef<[u8]>) {
        let path = self.at(path.as_ref());
        if path.symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Commits everything in the work tree, changed or not, and returns the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.head()
    }

    /// The id of the commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git and returns its output as text, without white space at the end.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = String::from_utf8(self.git_bytes(arguments, b"")).unwrap();
        output.trim_end().to_owned()
    }

    /// Runs git with an input and returns its output.
    pub(crate) fn git_bytes<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Vec<u8> {
        let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        if words
            .iter()
            .any(|word| COMMITTING.iter().any(|name| word == name))
        {
            self.minute.set(self.minute.get() + 1);
        }
        let mut child = self
            .command("git")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        });
        assert!(
            output.status.success(),
            "git {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// A command that sees nothing of this machine but its programs; in the work tree, with the
    /// time of the last commit.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let date = format!("{} +0000", FIRST_COMMIT + 60 * self.minute.get());
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date);
        command
    }

    fn nowhere() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().canonicalize().unwrap().join("repo");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(home.path().join(".gitconfig"), CONFIG).unwrap();
        Self {
            home,
            dir,
            minute: Cell::new(0),
        }
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(path))
    }

    fn make_way(&self, path: &[u8]) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

const CONFIG: &str = "\
[user]
    name = Ada
    email = ada@example.com
[protocol \"file\"]
    allow = always
[gc]
    auto = 0
[maintenance]
    auto = false
[advice]
    detachedHead = false
";
