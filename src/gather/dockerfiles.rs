//! The Dockerfiles of a work tree, for a first manifest.

use std::collections::BTreeMap;

use crate::dockerfile::{Dockerfile, DockerfileError, Place, Values};
use crate::git::{GitError, Repository};
use crate::manifest::FoundDockerfile;
use crate::model::{Platform, RepoPath, Tree as _};
use crate::problem::{Diagnose as _, Problem};

/// Every Dockerfile of the work tree that git does not ignore, with the images that it names. One
/// that cannot be read as such names none, and is a warning.
pub fn find_dockerfiles(
    repository: &Repository,
) -> Result<(Vec<FoundDockerfile>, Vec<Problem>), GitError> {
    let files = repository.work_tree()?;
    let mut paths = Vec::new();
    files.walk(&RepoPath::root(), &mut |path, entry| {
        let path = RepoPath::from_git(path);
        if entry.mode.is_file() && is_dockerfile(path.file_name()) {
            paths.push((path, entry.id));
        }
    })?;
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    for (path, id) in paths {
        let images = images(&path, &files.blob(id)?).unwrap_or_else(|error| {
            warnings.extend(error.problems().into_iter().map(|problem| Problem {
                severity: crate::problem::Severity::Warning,
                ..problem
            }));
            Images::default()
        });
        found.push(FoundDockerfile {
            path,
            from_images: images.from,
            copy_from_images: images.copied,
        });
    }
    Ok((found, warnings))
}

fn is_dockerfile(name: &[u8]) -> bool {
    let is_named = name == b"Dockerfile"
        || name == b"Containerfile"
        || name.starts_with(b"Dockerfile.")
        || name.ends_with(b".Dockerfile");
    is_named && !name.ends_with(b".dockerignore")
}

/// The images that a Dockerfile names, by place.
#[derive(Default)]
struct Images {
    from: Vec<String>,
    copied: Vec<String>,
}

fn images(path: &RepoPath, bytes: &[u8]) -> Result<Images, DockerfileError> {
    let platform = Platform::default();
    let values = Values {
        build_args: &BTreeMap::new(),
        platform: &platform,
        engine_platform: Some(&platform),
    };
    let mut images = Images::default();
    for reference in Dockerfile::parse(path, bytes)?.references(&values, None)? {
        match reference.place {
            Place::From => images.from.push(reference.text),
            Place::Copy | Place::Mount => images.copied.push(reference.text),
        }
    }
    Ok(images)
}
