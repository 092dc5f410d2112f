//! What a Dockerfile takes from the build context, held against what is there and what counts.

use crate::model::RepoPath;
use crate::problem::Problem;

use super::super::glob::{Candidate, Glob, clean};
use super::super::variables::Scope;
use super::super::{ContextSource, Instruction, SourceKind, Values};
use super::LintInputs;

/// The build context, to hold sources against.
pub(super) struct Context<'a> {
    inputs: &'a LintInputs<'a>,
    /// Path below the build directory, and in the repository.
    files: Vec<(&'a [u8], &'a RepoPath)>,
    /// Those that the ignore file leaves out.
    ignored: Vec<&'a [u8]>,
}

impl<'a> Context<'a> {
    pub(super) fn new(inputs: &'a LintInputs<'a>) -> Self {
        let mut walk = inputs.ignore.walk();
        let mut context = Self {
            inputs,
            files: Vec::new(),
            ignored: Vec::new(),
        };
        for path in inputs.files {
            match path.relative_to(inputs.build_dir) {
                Some(relative) if walk.is_ignored(relative) => context.ignored.push(relative),
                Some(relative) => context.files.push((relative, path)),
                None => {}
            }
        }
        context
    }

    /// Looks at every source whose path can be told.
    pub(super) fn lint(&self, values: &Values<'_>) -> Vec<Problem> {
        let dockerfile = self.inputs.dockerfile;
        let global = Scope::global(dockerfile, values);
        let mut ends: Vec<Scope> = Vec::new();
        let mut problems = Vec::new();
        for stage in dockerfile.stages() {
            let base = dockerfile.base_stage(stage.index, &global);
            let base = base.and_then(|index| ends.get(index).cloned());
            let mut scope = base.unwrap_or_else(|| global.of_image());
            for instruction in &stage.instructions {
                scope.apply(instruction, values, &global);
                if let Instruction::Files { sources, .. } = instruction {
                    let found = sources
                        .iter()
                        .filter_map(|source| self.source(source, &scope));
                    problems.extend(found);
                }
            }
            ends.push(scope);
        }
        problems
    }

    fn source(&self, source: &ContextSource, scope: &Scope) -> Option<Problem> {
        let path = match scope.expand(&source.path.text) {
            Ok(path) if path.open.is_empty() => path.text,
            _ => return None,
        };
        let selection = Selection::new(&path, source.kind)?;
        let selected = self
            .files
            .iter()
            .filter(|(relative, _)| selection.holds(relative));
        let selected: Vec<&RepoPath> = selected.map(|(_, path)| *path).collect();
        let message = if selected.is_empty() {
            ("source-missing", self.missing(&path, &selection))
        } else {
            ("source-outside-patterns", self.outside(&path, &selected)?)
        };
        let hint = match message.0 {
            "source-missing" => "the context is what git holds: commit the file or drop the line",
            _ => "widen `rebuildPatterns`, or depend on the project that the files belong to",
        };
        let location = self.inputs.dockerfile.location(source.path.span.start);
        Some(
            Problem::warning(message.0, message.1)
                .at(location)
                .hint(hint),
        )
    }

    fn missing(&self, path: &str, selection: &Selection) -> String {
        let directory = self.inputs.build_dir;
        match self
            .ignored
            .iter()
            .find(|relative| selection.holds(relative))
        {
            Some(_) => format!("'{path}' is left out of the context by the ignore file"),
            None => format!("'{path}' matches no file below the build directory '{directory}'"),
        }
    }

    /// What to say of the files that do not count for the key, if there are any. A hermetic
    /// context does not hold them, which matters only where nothing else is left to copy.
    fn outside(&self, path: &str, selected: &[&RepoPath]) -> Option<String> {
        let outside: Vec<_> = selected.iter().filter(|file| !self.counts(file)).collect();
        let first = outside.first()?;
        let what = match (outside.len(), selected.len()) {
            (1, 1) => format!("'{path}' lies"),
            (count, all) if count == all => format!("'{path}' ({count} files, as '{first}') lies"),
            (count, all) => format!("{count} of the {all} files of '{path}', as '{first}', lie"),
        };
        match self.inputs.project.hermetic {
            true if outside.len() < selected.len() => None,
            true => Some(format!(
                "{what} outside the project's patterns, and a hermetic context does not hold it"
            )),
            false => Some(format!(
                "{what} outside the project's patterns: changes there rebuild nothing"
            )),
        }
    }

    /// Whether a file is part of the key; Dockerfile and ignore file always are.
    fn counts(&self, file: &RepoPath) -> bool {
        let dockerfile = self.inputs.dockerfile.path();
        let ignore_files = [
            [dockerfile.as_bytes(), b".dockerignore"].concat(),
            [
                self.inputs.build_dir.as_prefix().as_slice(),
                b".dockerignore",
            ]
            .concat(),
        ];
        file == dockerfile
            || ignore_files.iter().any(|ignore| ignore == file.as_bytes())
            || (self.inputs.covers)(file)
    }
}

/// The files that a source takes.
enum Selection {
    All,
    /// A file or directory.
    Path(Vec<u8>),
    Glob(Glob),
}

impl Selection {
    /// `None` where the path is no pattern that can be judged.
    fn new(path: &str, kind: SourceKind) -> Option<Self> {
        // Docker takes a path as if the context's root were the file system's.
        let path = clean(&[b"/", path.as_bytes()].concat());
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        if path.is_empty() {
            return Some(Self::All);
        }
        let is_glob = path.iter().any(|byte| b"*?[\\".contains(byte));
        if is_glob && kind != SourceKind::Mount {
            return Glob::parse(path).ok().map(Self::Glob);
        }
        Some(Self::Path(path.to_vec()))
    }

    /// Whether it takes a file, or a directory that the file lies in.
    fn holds(&self, relative: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Path(path) => relative
                .strip_prefix(path.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
            Self::Glob(glob) => {
                let slashes = relative
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'/');
                let ends = slashes.map(|(end, _)| end).chain([relative.len()]);
                let mut candidates = ends.map(|end| Candidate::new(&relative[..end]));
                candidates.any(|candidate| glob.matches(&candidate))
            }
        }
    }
}
