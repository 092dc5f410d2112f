//! Following symbolic links inside a repository, be it a commit or the work tree.

use super::GitError;
use crate::model::{Entry, Mode, RepoPath, Resolved};

/// More symbolic links than this on the way to one path are taken for a loop, as Linux does.
const MAX_LINKS: usize = 40;

/// What paths are resolved in.
pub(super) trait Directories {
    /// The root directory.
    fn root(&self) -> Entry;

    /// What a directory holds under a name; `None` if nothing.
    fn child(&self, directory: Entry, name: &[u8]) -> Result<Option<Entry>, GitError>;

    /// The target of the link at this path.
    fn target(&self, path: &RepoPath, link: Entry) -> Result<Vec<u8>, GitError>;
}

/// Follows the symbolic links of every component of a path.
///
/// A link that leaves the repository and a loop of links are errors; a link whose target is not
/// there is an answer without entry.
pub(super) fn resolve(
    directories: &impl Directories,
    asked: &RepoPath,
) -> Result<Resolved, GitError> {
    let mut pending: Vec<_> = asked.components().map(<[u8]>::to_vec).collect();
    pending.reverse();
    let resolution = Resolution {
        directories,
        asked,
        pending,
        gone: Vec::new(),
        links: Vec::new(),
        target: Vec::new(),
    };
    resolution.run()
}

/// A path in the middle of being resolved.
struct Resolution<'d, D> {
    directories: &'d D,
    asked: &'d RepoPath,
    /// The components still to go, the next one last.
    pending: Vec<Vec<u8>>,
    /// The components gone, each with what is there (`None` once nothing is).
    gone: Vec<(Vec<u8>, Option<Entry>)>,
    links: Vec<(RepoPath, Entry)>,
    /// The target of the last link, for the error.
    target: Vec<u8>,
}

impl<D: Directories> Resolution<'_, D> {
    fn run(mut self) -> Result<Resolved, GitError> {
        while let Some(component) = self.pending.pop() {
            match component.as_slice() {
                b"" | b"." => {}
                b".." => {
                    self.gone.pop().ok_or_else(|| self.leaves())?;
                }
                _ => self.step(component)?,
            }
        }
        Ok(Resolved {
            path: self.path(),
            entry: self.here(),
            submodule: self.submodule(),
            links: self.links,
        })
    }

    /// Goes one component down, or turns off along a link.
    fn step(&mut self, component: Vec<u8>) -> Result<(), GitError> {
        let entry = match self.here() {
            Some(here) if here.mode == Mode::Tree => self.directories.child(here, &component)?,
            _ => None,
        };
        self.gone.push((component, entry));
        match entry {
            Some(link) if link.mode == Mode::Link => self.follow(link),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, link: Entry) -> Result<(), GitError> {
        let path = self.path();
        if self.links.len() == MAX_LINKS {
            return Err(GitError::LinkLoop {
                path: self.asked.clone(),
                link: path,
            });
        }
        self.target = self.directories.target(&path, link)?;
        self.links.push((path, link));
        if self.target.first() == Some(&b'/') {
            return Err(self.leaves());
        }
        if self.target.is_empty() {
            // No system opens such a link: nothing is there.
            if let Some(last) = self.gone.last_mut() {
                last.1 = None;
            }
            return Ok(());
        }
        self.gone.pop();
        let components = self.target.rsplit(|byte| *byte == b'/');
        self.pending.extend(components.map(<[u8]>::to_vec));
        Ok(())
    }

    fn here(&self) -> Option<Entry> {
        match self.gone.last() {
            Some((_, entry)) => *entry,
            None => Some(self.directories.root()),
        }
    }

    fn path(&self) -> RepoPath {
        join(self.gone.iter())
    }

    fn submodule(&self) -> Option<(RepoPath, Entry)> {
        let is_submodule =
            |entry: &Option<Entry>| entry.is_some_and(|entry| entry.mode == Mode::Submodule);
        let index = self
            .gone
            .iter()
            .position(|(_, entry)| is_submodule(entry))?;
        let entry = self.gone[index].1?;
        Some((join(self.gone[..=index].iter()), entry))
    }

    fn leaves(&self) -> GitError {
        GitError::LinkLeaves {
            link: self
                .links
                .last()
                .map_or_else(|| self.asked.clone(), |(path, _)| path.clone()),
            target: String::from_utf8_lossy(&self.target).into_owned(),
        }
    }
}

fn join<'a>(components: impl Iterator<Item = &'a (Vec<u8>, Option<Entry>)>) -> RepoPath {
    let names: Vec<&[u8]> = components.map(|(name, _)| name.as_slice()).collect();
    RepoPath::from_git(names.join(&b'/'))
}
