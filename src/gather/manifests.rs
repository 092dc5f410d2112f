//! The manifests of commits. One command asks for the same again and again: for the base's name,
//! for the facts of the commit, and at each ancestor.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{Files, check_manifest, find_manifest, find_pattern_files, read_text};
use crate::manifest::{Manifest, Raw};
use crate::model::{CommitId, Entry, ObjectId, RepoPath};
use crate::problem::{Class, Failure, Problem};

/// A commit's manifest, checked, with the warnings that it gave. Cheap to clone.
#[derive(Clone)]
pub struct LoadedManifest {
    /// Where positions of its fields are looked up.
    pub raw: Arc<Raw>,
    /// What it means.
    pub manifest: Arc<Manifest>,
    /// Warnings.
    pub warnings: Arc<[Problem]>,
}

/// The manifests that were read, each by its path, its blob and the files of patterns that it
/// names. Clones share them.
#[derive(Clone, Default)]
pub struct Manifests(Arc<Mutex<HashMap<(RepoPath, ObjectId), Text>>>);

/// A manifest's text, and what it came to with the files of patterns.
#[derive(Clone)]
struct Text {
    raw: Arc<Raw>,
    checked: Vec<(PatternFiles, LoadedManifest)>,
}

type PatternFiles = Vec<(RepoPath, Option<Entry>)>;

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manifests")
    }
}

impl Manifests {
    /// The manifest among these files, which are a commit's.
    pub(super) fn load(
        &self,
        files: &impl Files,
        path: Option<&RepoPath>,
        commit: CommitId,
    ) -> Result<LoadedManifest, Failure> {
        let found = find_manifest(files, path, Some(commit))?;
        let known = self.with(|texts| texts.get(&found).cloned());
        let text = match known {
            Some(text) => text,
            None => Text {
                raw: Arc::new(read_text(files, &found.0, found.1)?.map_err(usage)?),
                checked: Vec::new(),
            },
        };
        let pattern_files = find_pattern_files(files, &text.raw)?;
        let same = |(known, _): &&(PatternFiles, LoadedManifest)| *known == pattern_files;
        if let Some((_, loaded)) = text.checked.iter().find(same) {
            return Ok(loaded.clone());
        }
        let checked = check_manifest(files, &text.raw, pattern_files.clone())?;
        let Some(manifest) = checked.manifest else {
            return Err(usage(checked.problems));
        };
        let loaded = LoadedManifest {
            raw: Arc::clone(&text.raw),
            manifest: Arc::new(manifest),
            warnings: checked.problems.into(),
        };
        self.with(|texts| {
            let text = texts.entry(found).or_insert(text);
            text.checked.push((pattern_files, loaded.clone()));
        });
        Ok(loaded)
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<(RepoPath, ObjectId), Text>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn usage(problems: Vec<Problem>) -> Failure {
    Failure {
        class: Class::Usage,
        problems,
    }
}
