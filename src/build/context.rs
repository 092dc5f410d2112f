//! The build context: which files of the commit go to the engine (design, section 6).

use std::collections::{BTreeMap, HashSet};

use super::error::ContextError;
use super::tar::TarWriter;
use crate::dockerfile::IgnoreFile;
use crate::gather::{CommitFacts, read_located};
use crate::git::{GitError, Repository, Snapshot};
use crate::manifest::Project;
use crate::model::{CommitId, Entry, Mode, ObjectId, ProjectName, RepoPath};
use crate::problem::{Class, Failure, Problem};

/// The files of a context, ready to be streamed: nothing is read but trees and the small blobs
/// that may be LFS pointers.
#[derive(Debug)]
pub struct Context {
    files: Vec<ContextFile>,
    /// Repositories of submodules, by their path, with the commit that counts.
    submodules: BTreeMap<RepoPath, CommitId>,
}

#[derive(Debug)]
struct ContextFile {
    /// Relative to the context's root.
    path: Vec<u8>,
    mode: Mode,
    id: ObjectId,
    /// The submodule that holds the blob.
    submodule: Option<RepoPath>,
}

/// The largest that an LFS pointer can be (git-lfs specification: less than 1024 bytes).
const MAX_POINTER: u64 = 1024;

impl Context {
    /// Finds the files below the project's build directory at the commit, through the ignore file,
    /// and with `hermetic` only those that the project's key covers.
    pub fn find(
        repository: &Repository,
        facts: &CommitFacts,
        project: &Project,
    ) -> Result<Self, Failure> {
        let Some(own) = facts.projects.get(&project.name) else {
            return Ok(Self {
                files: Vec::new(),
                submodules: BTreeMap::new(),
            });
        };
        let ignore = read_ignore_file(repository, facts, &project.name)?;
        let snapshot = repository.snapshot_of_tree(facts.commit.tree)?;
        let root = &own.inputs.recipe.build_dir;
        let coverage = project.hermetic.then(|| Coverage::of(facts, &project.name));
        let mut finder = Finder {
            repository,
            root,
            coverage: coverage.as_ref(),
            files: Vec::new(),
            submodules: BTreeMap::new(),
        };
        finder.find(&snapshot, &ignore)?;
        let (files, submodules) = (finder.files, finder.submodules);
        if let Some(coverage) = &coverage {
            check_links(repository, &snapshot, root, coverage, &files)?;
        }
        let context = Self { files, submodules };
        context.fetch(repository)?;
        Ok(context)
    }

    /// How many files, links included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the files: raw blobs, and for an LFS pointer its object.
    pub fn write(&self, repository: &Repository, out: &mut TarWriter<'_>) -> Result<(), Failure> {
        let mut opened: BTreeMap<&RepoPath, Repository> = BTreeMap::new();
        for path in self.submodules.keys() {
            opened.insert(path, repository.submodule(path)?);
        }
        for file in &self.files {
            let holder = file.submodule.as_ref().and_then(|path| opened.get(path));
            write_file(holder.unwrap_or(repository), file, out)?;
        }
        Ok(())
    }

    /// What a partial clone lacks is fetched in one batch.
    fn fetch(&self, repository: &Repository) -> Result<(), GitError> {
        if !repository.is_partial() {
            return Ok(());
        }
        let own = self.files.iter().filter(|file| file.submodule.is_none());
        repository.prefetch(&own.map(|file| file.id).collect::<Vec<_>>())
    }
}

/// What the key of a project covers: its own sources, those of its dependencies, and `rebuildAll`.
struct Coverage {
    files: HashSet<Vec<u8>>,
    directories: HashSet<Vec<u8>>,
}

impl Coverage {
    fn of(facts: &CommitFacts, name: &ProjectName) -> Self {
        let mut coverage = Self {
            files: HashSet::new(),
            directories: HashSet::new(),
        };
        for covered in facts.graph.closure([name]) {
            let Some(project) = facts.projects.get(&covered) else {
                continue;
            };
            let recipe = &project.inputs.recipe;
            let files = recipe
                .dockerfile
                .iter()
                .chain(&recipe.ignore_file)
                .chain(&recipe.links);
            for source in project.inputs.sources.iter().chain(files) {
                let path = source.path.as_bytes().to_vec();
                match source.entry.mode {
                    Mode::Tree => coverage.directories.insert(path),
                    _ => coverage.files.insert(path),
                };
            }
        }
        coverage
    }

    /// Whether a file, link or submodule is covered, by itself or by a directory above it.
    fn covers(&self, path: &RepoPath) -> bool {
        let bytes = path.as_bytes();
        if self.files.contains(bytes) || self.directories.contains(bytes) {
            return true;
        }
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        self.directories.contains(&b""[..])
            || slashes
                .into_iter()
                .any(|(end, _)| self.directories.contains(&bytes[..end]))
    }

    /// Whether anything below a directory is covered.
    fn reaches_below(&self, directory: &RepoPath) -> bool {
        let prefix = directory.as_prefix();
        self.covers(directory)
            || self
                .files
                .iter()
                .chain(&self.directories)
                .any(|path| path.starts_with(&prefix))
    }
}

struct Finder<'a> {
    repository: &'a Repository,
    root: &'a RepoPath,
    coverage: Option<&'a Coverage>,
    files: Vec<ContextFile>,
    submodules: BTreeMap<RepoPath, CommitId>,
}

impl Finder<'_> {
    fn find(&mut self, snapshot: &Snapshot<'_>, ignore: &IgnoreFile) -> Result<(), Failure> {
        let mut leaves: Vec<(RepoPath, Entry)> = Vec::new();
        let mut walk = ignore.walk();
        let start = self.root.as_prefix().len();
        snapshot.walk(self.root, &mut |path, entry| {
            let relative = path.get(start..).unwrap_or_default();
            // A submodule is looked into, since a rule may bring back something inside it.
            if entry.mode == Mode::Submodule || !walk.is_ignored(relative) {
                leaves.push((RepoPath::from_git(path), entry));
            }
        })?;
        for (path, entry) in leaves {
            if self
                .coverage
                .is_some_and(|coverage| !coverage.covers(&path))
            {
                continue;
            }
            if entry.mode == Mode::Submodule {
                self.enter(&path, CommitId(entry.id), ignore)?;
            } else {
                self.take(&path, entry, None);
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &RepoPath, entry: Entry, submodule: Option<&RepoPath>) {
        let relative = path.relative_to(self.root).unwrap_or_default();
        let submodule = submodule.cloned();
        let file = ContextFile {
            path: relative.to_vec(),
            mode: entry.mode,
            id: entry.id,
            submodule,
        };
        self.files.push(file);
    }

    /// The files of a submodule, at the commit that the tree names. One whose objects are not in
    /// this clone is an error: an empty directory in its place would be another image.
    fn enter(
        &mut self,
        path: &RepoPath,
        commit: CommitId,
        ignore: &IgnoreFile,
    ) -> Result<(), Failure> {
        let missing = |_| ContextError::Submodule {
            path: path.clone(),
            commit,
        };
        let submodule = self.repository.submodule(path).map_err(missing)?;
        let snapshot = submodule.snapshot(commit).map_err(missing)?;
        let mut walk = ignore.walk();
        let mut inner = Vec::new();
        let mut nested = None;
        snapshot.walk(&RepoPath::root(), &mut |below, entry| {
            let mut whole = path.as_prefix();
            whole.extend_from_slice(below);
            let whole = RepoPath::from_git(whole);
            let relative = whole.relative_to(self.root).unwrap_or_default();
            if walk.is_ignored(relative) {
                return;
            }
            if entry.mode == Mode::Submodule {
                nested.get_or_insert((whole, CommitId(entry.id)));
            } else {
                inner.push((whole, entry));
            }
        })?;
        if let Some((path, commit)) = nested {
            return Err(ContextError::NestedSubmodule { path, commit }.into());
        }
        for (whole, entry) in inner {
            self.take(&whole, entry, Some(path));
        }
        self.submodules.insert(path.clone(), commit);
        Ok(())
    }
}

fn read_ignore_file(
    repository: &Repository,
    facts: &CommitFacts,
    name: &ProjectName,
) -> Result<IgnoreFile, Failure> {
    let located = facts
        .projects
        .get(name)
        .and_then(|facts| facts.ignore_file.as_ref());
    let Some(located) = located else {
        return Ok(IgnoreFile::default());
    };
    if repository.is_partial() && located.source.entry.mode.is_file() {
        repository.prefetch(&[located.source.entry.id])?;
    }
    let Some(bytes) = read_located(repository, located)? else {
        return Ok(IgnoreFile::default());
    };
    IgnoreFile::parse(&bytes)
        .map_err(|error| Failure::new(Class::Usage, error.problem(&located.path).project(name)))
}

/// With `hermetic`, a link to a path of the repository that the key does not cover would smuggle
/// in what cannot trigger a rebuild.
fn check_links(
    repository: &Repository,
    snapshot: &Snapshot<'_>,
    root: &RepoPath,
    coverage: &Coverage,
    files: &[ContextFile],
) -> Result<(), Failure> {
    let links = files
        .iter()
        .filter(|file| file.mode == Mode::Link && file.submodule.is_none());
    let links: Vec<&ContextFile> = links.collect();
    if repository.is_partial() {
        repository.prefetch(&links.iter().map(|link| link.id).collect::<Vec<_>>())?;
    }
    let mut problems: Vec<Problem> = Vec::new();
    for link in links {
        let Some(path) = root.join(&link.path) else {
            continue;
        };
        let target = repository.blob(link.id)?;
        let Some(target) = path.parent().and_then(|directory| directory.join(&target)) else {
            continue;
        };
        let covered = match snapshot.entry(&target)? {
            None => true,
            Some(entry) if entry.mode == Mode::Tree => coverage.reaches_below(&target),
            Some(_) => coverage.covers(&target),
        };
        if !covered {
            problems.push(ContextError::LinkOutside { path, target }.problem());
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure {
            class: Class::Usage,
            problems,
        })
    }
}

fn write_file(
    repository: &Repository,
    file: &ContextFile,
    out: &mut TarWriter<'_>,
) -> Result<(), Failure> {
    if file.mode == Mode::Link {
        return out.link(&file.path, &repository.blob(file.id)?);
    }
    let executable = file.mode == Mode::Executable;
    let size = repository.blob_size(file.id)?;
    if size < MAX_POINTER {
        let bytes = repository.blob(file.id)?;
        let Some(pointer) = lfs_pointer(&bytes) else {
            return out.bytes(&file.path, executable, &bytes);
        };
        return write_lfs(repository, file, &pointer, out);
    }
    out.file(&file.path, size, executable, |writer| {
        repository.copy_blob(file.id, writer)?;
        Ok(())
    })
}

/// A git-lfs pointer (git-lfs specification, "The Pointer").
struct LfsPointer {
    oid: String,
    size: u64,
}

fn lfs_pointer(bytes: &[u8]) -> Option<LfsPointer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    if lines.next()? != "version https://git-lfs.github.com/spec/v1" {
        return None;
    }
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let oid = field("oid")?.strip_prefix("sha256:")?;
    let is_hex = oid.len() == 64 && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = field("size")?.parse().ok()?;
    is_hex.then(|| LfsPointer {
        oid: oid.to_owned(),
        size,
    })
}

fn write_lfs(
    repository: &Repository,
    file: &ContextFile,
    pointer: &LfsPointer,
    out: &mut TarWriter<'_>,
) -> Result<(), Failure> {
    let missing = || ContextError::LfsObject {
        path: RepoPath::from_git(file.path.clone()),
        oid: pointer.oid.clone(),
    };
    let object = repository.lfs_object(&pointer.oid).ok_or_else(missing)?;
    let mut content = std::fs::File::open(object).map_err(|_| missing())?;
    let executable = file.mode == Mode::Executable;
    out.file(&file.path, pointer.size, executable, |writer| {
        std::io::copy(&mut content, writer).map_err(|_| missing())?;
        Ok(())
    })
}
