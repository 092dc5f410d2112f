//! The work tree as a tree: what a commit of everything in it would hold.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::links::{self, Directories};
use super::{GitError, Repository};
use crate::model::{Entry, Mode, ObjectId, RepoPath, Resolved, Tree};

/// The files of the work tree that git tracks, and those that it neither tracks nor ignores, as
/// they were listed when this was made.
///
/// The object ids are this listing's own: they tell entries apart, and name nothing in git.
pub struct WorkTree<'r> {
    repository: &'r Repository,
    root: PathBuf,
    /// What the ids stand for, by number; the first is the root directory.
    nodes: Vec<Node>,
}

/// What an id stands for.
enum Node {
    /// Its entries; the names of directories end in `/`, which puts everything below in the order
    /// of whole paths.
    Directory(BTreeMap<Vec<u8>, Entry>),
    /// A file or link on the disk, or a submodule.
    OnDisk(RepoPath),
    /// A tracked file that a sparse checkout leaves out of the work tree.
    Tracked(ObjectId),
}

const ROOT: Entry = Entry {
    mode: Mode::Tree,
    id: ObjectId::new([0; 20]),
};

impl Repository {
    /// The files of the work tree. Works without any commit, too.
    pub fn work_tree(&self) -> Result<WorkTree<'_>, GitError> {
        let Some(root) = self.work_dir() else {
            return Err(GitError::NoWorkTree {
                directory: self.root().to_owned(),
            });
        };
        let mut files = WorkTree {
            repository: self,
            root: root.to_owned(),
            nodes: vec![Node::Directory(BTreeMap::new())],
        };
        let mut disk = Disk {
            root,
            directories: HashMap::new(),
        };
        let tracked = ["ls-files", "-z", "-t", "--stage"];
        for line in lines(&self.run_git("git ls-files", &tracked, b"")?) {
            files.add_tracked(line, &mut disk)?;
        }
        let others = ["ls-files", "-z", "--others", "--exclude-standard"];
        for line in lines(&self.run_git("git ls-files", &others, b"")?) {
            // Another repository inside this one ends in `/`.
            let path = RepoPath::from_git(line.strip_suffix(b"/").unwrap_or(line));
            if let Some(mode) = disk.mode(&path)? {
                files.insert(&path, mode, Node::OnDisk(path.clone()));
            }
        }
        Ok(files)
    }
}

impl WorkTree<'_> {
    /// The content of a file, or a link's target.
    pub fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        match self.node(id) {
            Some(Node::OnDisk(path)) => {
                let on_disk = self.root.join(OsStr::from_bytes(path.as_bytes()));
                let is_link = std::fs::symlink_metadata(&on_disk)
                    .is_ok_and(|metadata| metadata.file_type().is_symlink());
                let content = if is_link {
                    std::fs::read_link(&on_disk).map(|target| target.into_os_string().into_vec())
                } else {
                    std::fs::read(&on_disk)
                };
                content.map_err(|source| file_error(path, source))
            }
            Some(Node::Tracked(id)) => self.repository.blob(*id),
            Some(Node::Directory(_)) | None => Ok(Vec::new()),
        }
    }

    /// The content of a file inside a submodule that is checked out; `None` if it is not there.
    pub fn submodule_file(&self, path: &RepoPath) -> Result<Option<Vec<u8>>, GitError> {
        match std::fs::read(self.root.join(OsStr::from_bytes(path.as_bytes()))) {
            Ok(content) => Ok(Some(content)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(file_error(path, error)),
        }
    }

    /// Adds what `git ls-files -t --stage` says: tag, mode, id and stage, a tab, the path.
    fn add_tracked(&mut self, line: &[u8], disk: &mut Disk<'_>) -> Result<(), GitError> {
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else {
            return Ok(());
        };
        let facts = String::from_utf8_lossy(&line[..tab]);
        let facts: Vec<&str> = facts.split(' ').collect();
        let [tag, mode, id, _stage] = facts[..] else {
            return Ok(());
        };
        let path = RepoPath::from_git(&line[tab + 1..]);
        let (tracked, id) = (git_mode(mode), id.parse());
        match (disk.mode(&path)?, tracked, id) {
            // A file whose place a directory took: what is in there is listed by itself.
            (Some(Mode::Submodule), Some(tracked), _) if tracked != Mode::Submodule => {}
            (Some(mode), _, _) => self.insert(&path, mode, Node::OnDisk(path.clone())),
            (None, Some(mode), Ok(id)) if tag == "S" => {
                self.insert(&path, mode, Node::Tracked(id));
            }
            (None, _, _) => {}
        }
        Ok(())
    }

    fn insert(&mut self, path: &RepoPath, mode: Mode, node: Node) {
        let mut directory = ROOT.id;
        let mut components: Vec<&[u8]> = path.components().collect();
        let Some(name) = components.pop() else {
            return;
        };
        for component in components {
            let name = [component, b"/"].concat();
            directory = match self.find(directory, &name) {
                Some(entry) => entry.id,
                None => self.add(
                    directory,
                    name,
                    Mode::Tree,
                    Node::Directory(BTreeMap::new()),
                ),
            };
        }
        // Each side of a conflict is listed.
        if self.find(directory, name).is_none() {
            self.add(directory, name.to_vec(), mode, node);
        }
    }

    fn add(&mut self, directory: ObjectId, name: Vec<u8>, mode: Mode, node: Node) -> ObjectId {
        let id = id_of(self.nodes.len());
        self.nodes.push(node);
        let index = index_of(directory);
        if let Some(Node::Directory(entries)) = self.nodes.get_mut(index) {
            entries.insert(name, Entry { mode, id });
        }
        id
    }

    fn find(&self, directory: ObjectId, name: &[u8]) -> Option<Entry> {
        match self.node(directory) {
            Some(Node::Directory(entries)) => entries.get(name).copied(),
            _ => None,
        }
    }

    fn node(&self, id: ObjectId) -> Option<&Node> {
        self.nodes.get(index_of(id))
    }

    fn walk_below(&self, directory: ObjectId, prefix: &[u8], visit: &mut dyn FnMut(&[u8], Entry)) {
        let Some(Node::Directory(entries)) = self.node(directory) else {
            return;
        };
        for (name, entry) in entries {
            let path = [prefix, name].concat();
            if entry.mode == Mode::Tree {
                self.walk_below(entry.id, &path, visit);
            } else {
                visit(&path, *entry);
            }
        }
    }
}

impl Directories for WorkTree<'_> {
    fn root(&self) -> Entry {
        ROOT
    }

    fn child(&self, directory: Entry, name: &[u8]) -> Result<Option<Entry>, GitError> {
        let leaf = self.find(directory.id, name);
        Ok(leaf.or_else(|| self.find(directory.id, &[name, b"/"].concat())))
    }

    fn target(&self, _path: &RepoPath, link: Entry) -> Result<Vec<u8>, GitError> {
        self.blob(link.id)
    }
}

impl Tree for WorkTree<'_> {
    type Error = GitError;

    fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        let mut entry = ROOT;
        for component in path.components() {
            if entry.mode != Mode::Tree {
                return Ok(None);
            }
            match self.child(entry, component)? {
                Some(found) => entry = found,
                None => return Ok(None),
            }
        }
        Ok(Some(entry))
    }

    fn resolve(&self, path: &RepoPath) -> Result<Resolved, GitError> {
        links::resolve(self, path)
    }

    fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        if let Some(entry) = self.entry(directory)? {
            self.walk_below(entry.id, &directory.as_prefix(), visit);
        }
        Ok(())
    }
}

/// The file system below the work tree's root.
struct Disk<'r> {
    root: &'r Path,
    /// Whether each is a directory of its own, reached through no link.
    directories: HashMap<RepoPath, bool>,
}

impl Disk<'_> {
    /// What is at a path; `None` if nothing is, or nothing that git could hold. A directory stands
    /// for a submodule: git lists no others.
    fn mode(&mut self, path: &RepoPath) -> Result<Option<Mode>, GitError> {
        if path.parent().is_some_and(|parent| !self.is_real(parent)) {
            return Ok(None);
        }
        Ok(self.metadata(path)?.and_then(|metadata| {
            let kind = metadata.file_type();
            if kind.is_symlink() {
                Some(Mode::Link)
            } else if kind.is_dir() {
                Some(Mode::Submodule)
            } else if !kind.is_file() {
                None
            } else if metadata.permissions().mode() & 0o100 != 0 {
                Some(Mode::Executable)
            } else {
                Some(Mode::File)
            }
        }))
    }

    fn is_real(&mut self, directory: RepoPath) -> bool {
        if let Some(known) = self.directories.get(&directory) {
            return *known;
        }
        let above = directory.parent().is_none_or(|above| self.is_real(above));
        let here = above
            && (directory.is_root()
                || matches!(self.metadata(&directory), Ok(Some(found)) if found.is_dir()));
        self.directories.insert(directory, here);
        here
    }

    fn metadata(&self, path: &RepoPath) -> Result<Option<Metadata>, GitError> {
        let on_disk = self.root.join(OsStr::from_bytes(path.as_bytes()));
        match std::fs::symlink_metadata(on_disk) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(file_error(path, error)),
        }
    }
}

fn lines(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
}

fn git_mode(octal: &str) -> Option<Mode> {
    let modes = [Mode::File, Mode::Executable, Mode::Link, Mode::Submodule];
    modes.into_iter().find(|mode| mode.octal() == octal)
}

fn id_of(index: usize) -> ObjectId {
    let mut bytes = [0; 20];
    bytes[..size_of::<usize>()].copy_from_slice(&index.to_be_bytes());
    ObjectId::new(bytes)
}

fn index_of(id: ObjectId) -> usize {
    let mut bytes = [0; size_of::<usize>()];
    bytes.copy_from_slice(&id.as_bytes()[..size_of::<usize>()]);
    usize::from_be_bytes(bytes)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn file_error(path: &RepoPath, source: std::io::Error) -> GitError {
    GitError::File {
        path: path.clone(),
        source,
    }
}
