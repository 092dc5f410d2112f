//! What `check` says about a project's Dockerfile.

use std::collections::BTreeSet;

use crate::manifest::Project;
use crate::model::{Platform, RepoPath};
use crate::problem::Problem;

use super::glob::{Candidate, Glob, clean};
use super::variables::Scope;
use super::{
    ContextSource, Declaration, Dockerfile, IgnoreFile, Image, ImageName, Instruction, Reference,
    ReferenceRules, SourceKind, Values,
};

/// All that the lints look at; the caller has read it.
pub struct LintInputs<'a> {
    /// The project's Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// Its manifest entry.
    pub project: &'a Project,
    /// `buildDir` after symbolic links were followed.
    pub build_dir: &'a RepoPath,
    /// The files of the tree, sorted; those outside the build directory are skipped.
    pub files: &'a [RepoPath],
    /// The ignore file in force; the default one ignores nothing.
    pub ignore: &'a IgnoreFile,
    /// Whether a change of this file changes the project's key: by its own patterns,
    /// `rebuildAll`'s, or those of its dependencies, direct and transitive.
    pub covers: &'a dyn Fn(&RepoPath) -> bool,
    /// Which images are projects.
    pub rules: &'a ReferenceRules,
}

/// Everything worth saying, in the order of the file.
///
/// Errors are those of [`Dockerfile::references`] and [`ReferenceRules::classify`]. Warnings:
/// `source-missing`, `source-outside-patterns`, `floating-base`, `undeclared-reference`,
/// `secret-in-build-arg`, `remote-frontend`.
#[must_use]
pub fn lint(inputs: &LintInputs<'_>) -> Vec<Problem> {
    let platform = inputs
        .project
        .platforms
        .first()
        .cloned()
        .unwrap_or_default();
    let values = values(inputs.project, &platform);
    let mut problems = Vec::new();
    problems.extend(remote_frontend(inputs.dockerfile));
    problems.extend(secrets(inputs.dockerfile));
    problems.extend(references(inputs, &values));
    problems.extend(Context::new(inputs).lint(&values));
    problems.sort_by(|one, other| one.location.cmp(&other.location));
    let named = problems.into_iter();
    named
        .map(|problem| problem.project(&inputs.project.name))
        .collect()
}

/// The engine's platform is not known here; the target's stands for it, so that a name which a
/// build can tell is no error.
fn values<'a>(project: &'a Project, platform: &'a Platform) -> Values<'a> {
    Values {
        build_args: &project.build_args,
        platform,
        engine_platform: Some(platform),
    }
}

fn remote_frontend(dockerfile: &Dockerfile) -> Option<Problem> {
    let syntax = dockerfile.syntax()?;
    let message = format!(
        "the file is read by the frontend image '{}', fetched from its registry for each build",
        syntax.text
    );
    let problem = Problem::warning("remote-frontend", message)
        .at(dockerfile.location(syntax.span.start))
        .hint("leave `# syntax=` out if the engine's own frontend is enough, or pin its digest");
    Some(problem)
}

fn secrets(dockerfile: &Dockerfile) -> Vec<Problem> {
    let in_stages = dockerfile
        .stages()
        .iter()
        .flat_map(|stage| &stage.instructions);
    let in_stages = in_stages.flat_map(|instruction| match instruction {
        Instruction::Arguments(declarations) | Instruction::Variables(declarations) => {
            declarations.as_slice()
        }
        Instruction::Files { .. } => &[],
    });
    let mut seen = BTreeSet::new();
    let declarations = dockerfile.global_arguments().iter().chain(in_stages);
    declarations
        .filter(|declaration| is_secret(&declaration.name) && seen.insert(&declaration.name))
        .map(|declaration| secret(dockerfile, declaration))
        .collect()
}

fn secret(dockerfile: &Dockerfile, declaration: &Declaration) -> Problem {
    let message = format!(
        "'{}' is named like a secret, and what ARG and ENV hold can be read from the image",
        declaration.name
    );
    Problem::warning("secret-in-build-arg", message)
        .at(dockerfile.location(declaration.offset))
        .hint("list it in `secrets` and use `RUN --mount=type=secret,id=…`")
}

/// Whether a variable's name says that it holds a secret.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "secrets",
        "token",
    ];
    const KEYS: [&str; 6] = ["access", "api", "deploy", "private", "signing", "ssh"];
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split('_').collect();
    let is_key = |pair: &[&str]| pair[1] == "key" && KEYS.contains(&pair[0]);
    !words.contains(&"public")
        && (words.iter().any(|word| WORDS.contains(word)) || words.windows(2).any(is_key))
}

fn references(inputs: &LintInputs<'_>, values: &Values<'_>) -> Vec<Problem> {
    let target = inputs.project.target.as_deref();
    match inputs.dockerfile.references(values, target) {
        Ok(references) => references
            .iter()
            .filter(|reference| reference.needed)
            .flat_map(|reference| reference_problems(inputs, reference))
            .collect(),
        Err(error) => error.faults().iter().map(super::Fault::problem).collect(),
    }
}

fn reference_problems(inputs: &LintInputs<'_>, reference: &Reference) -> Vec<Problem> {
    let name = match inputs.rules.classify(reference) {
        Ok(Image::External(name)) => name,
        Ok(Image::Project(_)) => return Vec::new(),
        Err(fault) => return vec![fault.problem()],
    };
    let mut problems = Vec::new();
    let resembled = inputs.rules.resembles(reference);
    if let Some(project) = resembled.filter(|project| **project != inputs.project.name) {
        let message = format!(
            "'{name}' is taken from a registry as it stands there: '{project}' is a project, \
             but not among the dependencies"
        );
        let problem = Problem::warning("undeclared-reference", message)
            .at(reference.location.clone())
            .hint(format!(
                "if the project's image is meant, add '{project}' to `dependencies`"
            ));
        problems.push(problem);
    }
    if ImageName::parse(&name).is_ok_and(|name| name.digest.is_none()) {
        let message = format!("'{name}' can change without any change in the repository");
        let problem = Problem::warning("floating-base", message)
            .at(reference.location.clone())
            .hint("pin it as name:tag@sha256:…, or make it a project that others depend on");
        problems.push(problem);
    }
    problems
}

/// The build context, to hold sources against.
struct Context<'a> {
    inputs: &'a LintInputs<'a>,
    /// Path below the build directory, and in the repository.
    files: Vec<(&'a [u8], &'a RepoPath)>,
    /// Those that the ignore file leaves out.
    ignored: Vec<&'a [u8]>,
}

impl<'a> Context<'a> {
    fn new(inputs: &'a LintInputs<'a>) -> Self {
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
    fn lint(&self, values: &Values<'_>) -> Vec<Problem> {
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

#[cfg(test)]
mod tests;
