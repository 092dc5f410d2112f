//! The commits before a commit.

use std::collections::{HashSet, VecDeque};

use gix::objs::{CommitRefIter, Find as _, Kind};

use super::objects::{Objects, from_gix, to_gix, unreadable};
use super::{GitError, Repository};
use crate::model::{CommitId, ObjectId};

/// Commits, nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The start first, then by the number of steps from it; at one distance, a first parent
    /// before the others. Each commit once.
    pub commits: Vec<HistoryCommit>,
    /// Why there are no more.
    pub end: HistoryEnd,
}

/// One commit of a [`History`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryCommit {
    /// Its id.
    pub id: CommitId,
    /// Its root tree.
    pub tree: ObjectId,
    /// Its parents as it names them, whether or not this clone has them.
    pub parents: Vec<CommitId>,
}

/// Why a [`History`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryEnd {
    /// Everything was read.
    Root,
    /// As many commits as were asked for were read, and there are more.
    Limit,
    /// Everything that this clone has was read, and something is missing.
    Missing {
        /// The nearest commit whose parents this clone lacks.
        commit: CommitId,
    },
}

impl Repository {
    /// The commit and its ancestors, at most `limit`.
    pub fn history(&self, start: CommitId, limit: usize) -> Result<History, GitError> {
        self.with_objects(|objects| walk(&Commits::new(self, objects)?, start, limit, usize::MAX))
    }

    /// The commit and its ancestors through first parents only, at most `limit`.
    pub fn first_parents(&self, start: CommitId, limit: usize) -> Result<History, GitError> {
        self.with_objects(|objects| walk(&Commits::new(self, objects)?, start, limit, 1))
    }

    /// Whether one commit is an ancestor of the other, or is that commit. `None` where this clone
    /// has too little history to tell.
    pub fn is_ancestor(
        &self,
        ancestor: CommitId,
        descendant: CommitId,
    ) -> Result<Option<bool>, GitError> {
        self.with_objects(|objects| {
            let commits = Commits::new(self, objects)?;
            let floor = commits.generation(ancestor);
            let mut seen = HashSet::from([descendant]);
            let mut open = vec![descendant];
            let mut all_read = true;
            while let Some(id) = open.pop() {
                if id == ancestor {
                    return Ok(Some(true));
                }
                let Some(node) = commits.node(id)? else {
                    if id == descendant {
                        return Err(self.missing(id.0, "the commit"));
                    }
                    all_read = false;
                    continue;
                };
                all_read &= !node.cut;
                // What is not further from the roots than the ancestor cannot descend from it.
                let too_old =
                    matches!((node.generation, floor), (Some(it), Some(min)) if it <= min);
                if !too_old {
                    open.extend(node.walkable().iter().filter(|id| seen.insert(**id)));
                }
            }
            Ok(all_read.then_some(false))
        })
    }
}

fn walk(
    commits: &Commits<'_>,
    start: CommitId,
    limit: usize,
    parents: usize,
) -> Result<History, GitError> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([start]);
    // Each with the commit that names it as its parent.
    let mut queue = VecDeque::from([(start, start)]);
    let mut incomplete = None;
    while let Some((id, child)) = queue.pop_front() {
        let Some(node) = commits.node(id)? else {
            if id == start {
                return Err(commits.repository.missing(id.0, "the commit"));
            }
            incomplete.get_or_insert(child);
            continue;
        };
        if found.len() == limit {
            return Ok(History {
                commits: found,
                end: HistoryEnd::Limit,
            });
        }
        if node.cut {
            incomplete.get_or_insert(id);
        }
        let next = node.walkable().iter().take(parents);
        queue.extend(
            next.filter(|id| seen.insert(**id))
                .map(|parent| (*parent, id)),
        );
        found.push(HistoryCommit {
            id,
            tree: node.tree,
            parents: node.parents,
        });
    }
    Ok(History {
        commits: found,
        end: incomplete.map_or(HistoryEnd::Root, |commit| HistoryEnd::Missing { commit }),
    })
}

/// What a walk needs of a commit.
pub(super) struct Node {
    pub(super) tree: ObjectId,
    pub(super) parents: Vec<CommitId>,
    /// When it was committed, in seconds since 1970.
    pub(super) time: i64,
    /// Whether it has parents that a shallow clone left out.
    pub(super) cut: bool,
    /// The length of the longest way to a root, where the commit-graph knows it.
    generation: Option<u32>,
}

impl Node {
    /// The parents that may be walked to.
    pub(super) fn walkable(&self) -> &[CommitId] {
        if self.cut { &[] } else { &self.parents }
    }
}

/// Reads commits for walks: from git's commit-graph where there is one, else as objects.
pub(super) struct Commits<'o> {
    repository: &'o Repository,
    objects: &'o Objects<'o>,
    graph: Option<gix::commitgraph::Graph>,
    /// The commits whose parents were left out.
    boundary: HashSet<CommitId>,
}

impl<'o> Commits<'o> {
    pub(super) fn new(
        repository: &'o Repository,
        objects: &'o Objects<'o>,
    ) -> Result<Self, GitError> {
        let boundary = objects.handle.shallow_commits();
        let boundary = boundary.map_err(|error| GitError::Store {
            what: "the list of shallow commits",
            detail: error.to_string(),
        })?;
        let boundary: HashSet<_> = boundary
            .iter()
            .flat_map(|commits| commits.iter())
            .map(|id| CommitId(from_gix(id)))
            .collect();
        // A commit-graph may remember parents that a shallow clone no longer has. One that cannot
        // be read is no loss but time.
        let graph = boundary
            .is_empty()
            .then(|| objects.handle.commit_graph_if_enabled().ok().flatten())
            .flatten();
        Ok(Self {
            repository,
            objects,
            graph,
            boundary,
        })
    }

    /// `None` if this clone lacks the commit.
    pub(super) fn node(&self, id: CommitId) -> Result<Option<Node>, GitError> {
        let graph = self.graph.as_ref();
        if let Some(node) = graph.and_then(|graph| node_from_graph(graph, id)) {
            return Ok(Some(node));
        }
        let mut buffer = Vec::new();
        let broken = |error: gix::Error| unreadable(id.0, "the commit", error);
        let found = self.objects.try_find(&to_gix(id.0), &mut buffer);
        let Some(data) = found.map_err(broken)? else {
            return Ok(None);
        };
        if data.kind != Kind::Commit {
            return Err(unreadable(
                id.0,
                "the commit",
                format!("it is a {}", data.kind),
            ));
        }
        let mut commit = CommitRefIter::from_bytes(data.data, data.object_hash);
        let tree = from_gix(&commit.tree_id().map_err(broken)?);
        let parents: Vec<_> = commit
            .parent_ids()
            .map(|id| CommitId(from_gix(&id)))
            .collect();
        Ok(Some(Node {
            tree,
            time: commit.committer().map_err(broken)?.seconds(),
            cut: !parents.is_empty() && self.boundary.contains(&id),
            parents,
            generation: None,
        }))
    }

    fn generation(&self, id: CommitId) -> Option<u32> {
        let commit = self.graph.as_ref()?.commit_by_id(to_gix(id.0))?;
        usable_generation(commit.generation())
    }
}

/// `None` if the commit is not in the graph, or stands there with something that makes no sense.
fn node_from_graph(graph: &gix::commitgraph::Graph, id: CommitId) -> Option<Node> {
    let commit = graph.commit_by_id(to_gix(id.0))?;
    let parents: Result<Vec<_>, _> = commit
        .iter_parents()
        .map(|position| position.map(|position| CommitId(from_gix(graph.id_at(position)))))
        .collect();
    Some(Node {
        tree: from_gix(commit.root_tree_id()),
        parents: parents.ok()?,
        time: i64::try_from(commit.committer_timestamp()).ok()?,
        cut: false,
        generation: usable_generation(commit.generation()),
    })
}

/// Zero stands for "not computed", and the largest for "that or more".
fn usable_generation(generation: u32) -> Option<u32> {
    (1..gix::commitgraph::GENERATION_NUMBER_MAX)
        .contains(&generation)
        .then_some(generation)
}
