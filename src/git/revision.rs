//! From names to commits, and back.

use gix::bstr::ByteSlice as _;
use gix::objs::Kind;
use gix::revision::spec::parse::{Error as ParseError, ObjectKindHint, Options};

use super::objects::{from_gix, to_gix, unreadable};
use super::{GitError, Repository};
use crate::model::{CommitId, ObjectId};

impl Repository {
    /// The commit that a revision names: `HEAD`, a branch, a tag, an id or its beginning, or
    /// anything else that `git rev-parse` takes for one commit.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, GitError> {
        self.with_objects(|objects| {
            let id = parse(&objects.handle, revision)?;
            let what = format!("the commit of '{revision}',");
            let failed = |error: gix::Error| {
                if error.is_not_found() {
                    self.missing(id, &what)
                } else {
                    unreadable(id, &what, error)
                }
            };
            let object = objects.handle.find_object(to_gix(id)).map_err(failed)?;
            let object = object.peel_tags_to_end().map_err(failed)?;
            match object.kind {
                Kind::Commit => Ok(CommitId(from_gix(&object.id))),
                kind => Err(GitError::NotACommit {
                    revision: revision.to_owned(),
                    kind: kind.to_string(),
                }),
            }
        })
    }

    /// The names of the tags that stand for this commit, directly or through tag objects, sorted.
    pub fn tags_at(&self, commit: CommitId) -> Result<Vec<String>, GitError> {
        let wanted = to_gix(commit.0);
        let store = |error: gix::Error| GitError::Store {
            what: "the tags",
            detail: error.to_string(),
        };
        self.with_objects(|objects| {
            let platform = objects.handle.references().map_err(store)?;
            let tags = platform
                .tags()
                .and_then(gix::reference::iter::Iter::peeled)
                .map_err(store)?;
            let mut names = Vec::new();
            for tag in tags {
                let tag = tag.map_err(store)?;
                if tag.try_id().is_some_and(|id| id == wanted) {
                    names.push(tag.name().shorten().to_string());
                }
            }
            names.sort_unstable();
            Ok(names)
        })
    }
}

fn parse(repository: &gix::Repository, revision: &str) -> Result<ObjectId, GitError> {
    // A whole id is an id, whatever references are called, and whether or not it is here.
    if let Ok(id) = revision.parse() {
        return Ok(id);
    }
    let options = Options {
        object_kind_hint: Some(ObjectKindHint::Committish),
        ..Options::default()
    };
    let spec = gix::revision::Spec::from_bstr(revision.as_bytes().as_bstr(), repository, options)
        .map_err(|error| parse_error(repository, revision, &error))?;
    let id = spec.single().ok_or_else(|| GitError::UnknownRevision {
        revision: revision.to_owned(),
        detail: "it names more than one commit".to_owned(),
    })?;
    Ok(from_gix(&id))
}

fn parse_error(repository: &gix::Repository, text: &str, error: &gix::Error) -> GitError {
    let revision = text.to_owned();
    if let Some(
        ambiguity @ (ParseError::AmbiguousPrefix { .. } | ParseError::AmbiguousRefAndObject { .. }),
    ) = error.downcast_any_ref()
    {
        let detail = ambiguity.to_string();
        return GitError::AmbiguousRevision { revision, detail };
    }
    let names_head = text.starts_with("HEAD") || text.starts_with('@');
    if names_head && repository.head().is_ok_and(|head| head.is_unborn()) {
        return GitError::UnbornHead { revision };
    }
    GitError::UnknownRevision {
        revision,
        detail: error.probable_cause().to_string(),
    }
}
