//! Who changed a path last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use super::history::{Commits, Node};
use super::objects::Objects;
use super::tree::Tree;
use super::{GitError, Repository};
use crate::model::{CommitId, Entry, Mode, ObjectId, RepoPath};

/// The walk gives up after this many commits; what was not found by then is left out.
const MAX_COMMITS: usize = 20_000;

/// How much memory the walk may use to keep trees, in bytes.
const TREE_CACHE: usize = 32 << 20;

/// The commit that changed a path last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// The commit.
    pub commit: CommitId,
    /// Its author's name.
    pub author: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// The first line of its message.
    pub subject: String,
}

impl Repository {
    /// For each path (file or directory) the newest commit that changed it, among those reachable
    /// from `from` and not from `until`. A merge counts where it differs from its first parent.
    ///
    /// Commits are taken newest first by their time, as `git log` does. Paths for which there is
    /// no such commit are absent; so are those whose history this clone does not have.
    pub fn last_changes(
        &self,
        from: CommitId,
        until: Option<CommitId>,
        paths: &[RepoPath],
    ) -> Result<BTreeMap<RepoPath, LastChange>, GitError> {
        let found = self.with_objects(|objects| {
            // The trees of a commit are those of the next one's parent.
            objects.handle.object_cache_size(TREE_CACHE);
            let found = newest_changes(self, objects, from, until, paths);
            objects.handle.object_cache_size(None);
            found
        })?;
        let mut changes = BTreeMap::new();
        for (path, id) in found {
            let commit = self.commit(id)?;
            let change = LastChange {
                commit: id,
                time: commit.time,
                subject: commit.subject().to_owned(),
                author: commit.author,
            };
            changes.insert(path, change);
        }
        Ok(changes)
    }
}

fn newest_changes(
    repository: &Repository,
    objects: &Objects<'_>,
    from: CommitId,
    until: Option<CommitId>,
    paths: &[RepoPath],
) -> Result<BTreeMap<RepoPath, CommitId>, GitError> {
    let commits = Commits::new(repository, objects)?;
    let mut walk = Walk::new(&commits);
    if !walk.push(from, false)? {
        return Err(repository.missing(from.0, "the commit"));
    }
    if let Some(until) = until {
        walk.push(until, true)?;
    }
    let mut pending: BTreeSet<&RepoPath> = paths.iter().collect();
    let mut found = BTreeMap::new();
    for _ in 0..MAX_COMMITS {
        if pending.is_empty() {
            break;
        }
        let Some((id, old, new)) = walk.next()? else {
            break;
        };
        let wanted: Vec<_> = pending
            .iter()
            .map(|path| (*path, path.as_bytes()))
            .collect();
        let mut changed = Vec::new();
        match compare(objects, old, new, &wanted, &mut changed) {
            // A partial clone may lack old trees. What lies behind them cannot be the newest for
            // sure.
            Err(GitError::Missing { .. }) => break,
            outcome => outcome?,
        }
        for path in changed {
            pending.remove(path);
            found.insert(path.clone(), id);
        }
    }
    Ok(found)
}

/// Puts the wanted paths that differ between two entries into `changed`; each comes with what is
/// left of it below these entries.
fn compare<'p>(
    objects: &Objects<'_>,
    old: Option<Entry>,
    new: Option<Entry>,
    wanted: &[(&'p RepoPath, &[u8])],
    changed: &mut Vec<&'p RepoPath>,
) -> Result<(), GitError> {
    if old == new {
        return Ok(());
    }
    let (here, below): (Vec<_>, Vec<_>) = wanted
        .iter()
        .copied()
        .partition(|(_, rest)| rest.is_empty());
    changed.extend(here.into_iter().map(|(path, _)| path));
    if below.is_empty() {
        return Ok(());
    }
    let (old, new) = (tree_at(objects, old)?, tree_at(objects, new)?);
    let entry = |tree: &Option<Tree>, name| tree.as_ref().and_then(|tree| tree.find(name));
    for group in below.chunk_by(|(_, left), (_, right)| split(left).0 == split(right).0) {
        let name = split(group[0].1).0;
        let group: Vec<_> = group
            .iter()
            .map(|(path, rest)| (*path, split(rest).1))
            .collect();
        compare(
            objects,
            entry(&old, name),
            entry(&new, name),
            &group,
            changed,
        )?;
    }
    Ok(())
}

fn tree_at(objects: &Objects<'_>, entry: Option<Entry>) -> Result<Option<Tree>, GitError> {
    entry
        .filter(|entry| entry.mode == Mode::Tree)
        .map(|entry| Tree::read(objects, entry.id))
        .transpose()
}

/// The first component of a path, and the rest.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, &[]),
    }
}

/// Commits newest first, without those that are hidden.
struct Walk<'c> {
    commits: &'c Commits<'c>,
    /// By time, then in the order in which they were met.
    queue: BinaryHeap<(i64, Reverse<usize>, CommitId)>,
    met: HashMap<CommitId, Met>,
    /// How many commits of the queue are not hidden.
    visible: usize,
}

/// A commit that is or was in the queue of a [`Walk`].
struct Met {
    node: Node,
    hidden: bool,
    queued: bool,
}

/// A commit, the root of its first parent, and its own root.
type Step = (CommitId, Option<Entry>, Option<Entry>);

impl<'c> Walk<'c> {
    fn new(commits: &'c Commits<'c>) -> Self {
        Self {
            commits,
            queue: BinaryHeap::new(),
            met: HashMap::new(),
            visible: 0,
        }
    }

    /// Puts a commit in the queue, or hides it where it is. False if this clone lacks it.
    fn push(&mut self, id: CommitId, hidden: bool) -> Result<bool, GitError> {
        if let Some(met) = self.met.get_mut(&id) {
            if hidden && !met.hidden {
                met.hidden = true;
                self.visible -= usize::from(met.queued);
            }
            return Ok(true);
        }
        let Some(node) = self.commits.node(id)? else {
            return Ok(false);
        };
        self.queue.push((node.time, Reverse(self.met.len()), id));
        self.visible += usize::from(!hidden);
        let met = Met {
            node,
            hidden,
            queued: true,
        };
        self.met.insert(id, met);
        Ok(true)
    }

    /// `None` at the end, and where this clone lacks what comes next: of what lies further back
    /// nobody can say that it is the newest.
    fn next(&mut self) -> Result<Option<Step>, GitError> {
        while self.visible > 0 {
            let Some((_, _, id)) = self.queue.pop() else {
                break;
            };
            let Some(met) = self.met.get_mut(&id) else {
                break;
            };
            met.queued = false;
            let (hidden, tree, cut) = (met.hidden, met.node.tree, met.node.cut);
            let parents = met.node.walkable().to_vec();
            self.visible -= usize::from(!hidden);
            let mut complete = !cut;
            for parent in &parents {
                complete &= self.push(*parent, hidden)?;
            }
            if hidden {
                continue;
            }
            if !complete {
                break;
            }
            let old = parents.first().and_then(|parent| self.met.get(parent));
            let old = old.map(|parent| root(parent.node.tree));
            return Ok(Some((id, old, Some(root(tree)))));
        }
        Ok(None)
    }
}

fn root(tree: ObjectId) -> Entry {
    Entry {
        mode: Mode::Tree,
        id: tree,
    }
}
