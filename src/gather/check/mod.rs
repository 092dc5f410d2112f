//! Everything that is wrong with a manifest and the Dockerfiles that it names, at once.

mod coverage;
mod patterns;
mod radius;

use std::collections::{BTreeMap, BTreeSet};

use super::commit::{Source, facts_problems};
use super::files::{Files, read_manifest};
use crate::dockerfile::{
    Dockerfile, IgnoreFile, Image, LintInputs, Reference, ReferenceRules, Values, lint,
};
use crate::git::{GitError, Repository};
use crate::graph::{Edges, Graph};
use crate::key::{FactsError, Matcher, ProjectFacts, project_facts};
use crate::manifest::{Manifest, Project, Raw};
use crate::model::{CommitId, Mode, ProjectName, RepoPath};
use crate::problem::{Diagnose as _, Failure, Problem, Severity};
use coverage::Coverage;

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where the manifest stands.
    pub manifest: RepoPath,
    /// How many projects the manifest has.
    pub project_count: usize,
    /// The projects, by name; none if the manifest has errors.
    pub projects: Vec<CheckedProject>,
    /// Errors and warnings: those of the manifest first, then those of other files, by place.
    pub problems: Vec<Problem>,
}

/// A project and what it depends on.
#[derive(Clone, Debug)]
pub struct CheckedProject {
    /// The project.
    pub name: ProjectName,
    /// Where its Dockerfile is, if there is one.
    pub dockerfile: Option<RepoPath>,
    /// Projects whose images go in.
    pub uses: BTreeSet<ProjectName>,
    /// Direct dependencies whose images do not go in.
    pub triggers: BTreeSet<ProjectName>,
}

impl Check {
    /// How many problems are this bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    }
}

/// Checks the work tree as it is, committed or not. `path` is the manifest's.
pub fn check_work_tree(repository: &Repository, path: Option<&RepoPath>) -> Result<Check, Failure> {
    check(&repository.work_tree()?, path, None)
}

/// Checks a commit. `path` is the manifest's.
pub fn check_commit(
    repository: &Repository,
    id: CommitId,
    path: Option<&RepoPath>,
) -> Result<Check, Failure> {
    check(&Source::of_commit(repository, id, true)?, path, Some(id))
}

fn check(
    files: &impl Files,
    path: Option<&RepoPath>,
    commit: Option<CommitId>,
) -> Result<Check, Failure> {
    let (raw, checked) = match read_manifest(files, path, commit)? {
        Ok(read) => read,
        Err(problems) => return Ok(unreadable(problems)),
    };
    let mut check = Check {
        manifest: raw.path().clone(),
        project_count: raw.project_count(),
        projects: Vec::new(),
        problems: checked.problems,
    };
    if let Some(manifest) = &checked.manifest {
        Checker::new(files, &raw, manifest)?.check(&mut check)?;
    }
    let file = check.manifest.to_string();
    check.problems.sort_by_key(|problem| {
        let place = problem.location.clone();
        let elsewhere = place.as_ref().is_none_or(|place| place.file != file);
        (elsewhere, place)
    });
    Ok(check)
}

/// A manifest that is no JSON or YAML: its projects are not known.
fn unreadable(problems: Vec<Problem>) -> Check {
    let place = problems
        .first()
        .and_then(|problem| problem.location.as_ref());
    Check {
        manifest: place.map_or_else(RepoPath::root, |place| RepoPath::from(place.file.as_str())),
        project_count: 0,
        projects: Vec::new(),
        problems,
    }
}

/// A valid manifest, and all that its projects are held against.
struct Checker<'a, F> {
    files: &'a F,
    raw: &'a Raw,
    manifest: &'a Manifest,
    graph: Graph,
    /// Every leaf of the tree, sorted.
    paths: Vec<RepoPath>,
    facts: BTreeMap<ProjectName, ProjectFacts>,
    coverage: Coverage,
    /// What kept facts from being told.
    problems: Vec<Problem>,
}

impl<'a, F: Files> Checker<'a, F> {
    fn new(files: &'a F, raw: &'a Raw, manifest: &'a Manifest) -> Result<Self, Failure> {
        let mut leaves = Vec::new();
        files.walk(&RepoPath::root(), &mut |path, entry| {
            leaves.push((RepoPath::from_git(path), entry.mode == Mode::Submodule));
        })?;
        let mut facts = BTreeMap::new();
        let mut problems = Vec::new();
        let matcher = Matcher::new(files, &manifest.rebuild_all);
        for project in manifest.projects.values() {
            match project_facts(&matcher, manifest, project, None, &|_| Ok(false)) {
                Ok(found) => {
                    facts.insert(project.name.clone(), found);
                }
                Err(error) => {
                    let field = match error {
                        FactsError::Tree(_) => "buildDir",
                        FactsError::Outside { .. } | FactsError::Ambiguous { .. } => "dockerfile",
                    };
                    let place = raw.place(Some(&project.name), field, None);
                    let found = facts_problems(&error, &place, &project.name);
                    let place = |problem: Problem| match problem.location {
                        Some(_) => problem,
                        None => problem.at(place.clone()),
                    };
                    problems.extend(found.into_iter().map(place));
                }
            }
        }
        let coverage = Coverage::new(&leaves, manifest, &facts);
        Ok(Self {
            files,
            raw,
            manifest,
            graph: Graph::new(manifest),
            paths: leaves.into_iter().map(|(path, _)| path).collect(),
            facts,
            coverage,
            problems,
        })
    }

    fn check(mut self, check: &mut Check) -> Result<(), Failure> {
        check.problems.append(&mut self.problems);
        check.problems.extend(self.unmatched_patterns());
        let mut uses = BTreeMap::new();
        for project in self.manifest.projects.values() {
            check.problems.extend(self.presence(project)?);
            let (images, problems) = self.dockerfile(project)?;
            uses.insert(project.name.clone(), images);
            check.problems.extend(problems);
        }
        // Uses that are no dependencies are among the problems already, and not among these.
        let edges = self.graph.edges(&uses)?;
        check.problems.extend(self.wide_files(&edges));
        let names = self.manifest.projects.keys();
        check.projects = names.map(|name| self.checked(name, &edges)).collect();
        Ok(())
    }

    fn checked(&self, name: &ProjectName, edges: &Edges) -> CheckedProject {
        let edges = edges.of(name).cloned().unwrap_or_default();
        let dockerfile = self.facts.get(name);
        let dockerfile = dockerfile.and_then(|facts| facts.dockerfile.as_ref());
        CheckedProject {
            name: name.clone(),
            dockerfile: dockerfile.map(|located| located.path.clone()),
            uses: edges.uses,
            triggers: edges.triggers,
        }
    }

    /// What a project lacks: one warning if it lacks everything, and none if that is expected.
    fn presence(&self, project: &Project) -> Result<Vec<Problem>, GitError> {
        let Some(facts) = self.facts.get(&project.name) else {
            return Ok(Vec::new());
        };
        if self.manifest.expect_absent.contains(&project.name) {
            return Ok(Vec::new());
        }
        let warn = |code, message: String, field, hint: &str| {
            Problem::warning(code, message)
                .project(&project.name)
                .at(self.raw.place(Some(&project.name), field, None))
                .hint(hint)
        };
        if facts.dockerfile.is_none() && !facts.has_sources {
            let message = "there is neither a Dockerfile nor any file that its patterns match";
            let hint = "remove the project, or list it in `expect.absent`";
            return Ok(vec![warn("dead-project", message.into(), "", hint)]);
        }
        let mut problems = Vec::new();
        let build_dir = &facts.inputs.recipe.build_dir;
        if self.files.entry(build_dir)?.is_none() && !self.is_in_submodule(build_dir)? {
            let message = format!("there is no directory '{build_dir}' to build in");
            let hint = "correct `buildDir`";
            problems.push(warn("missing-build-dir", message, "buildDir", hint));
        }
        if facts.dockerfile.is_none() {
            let message = format!("there is no Dockerfile '{}'", project.dockerfile);
            let hint = "`dockerfile` is relative to `buildDir` or `projectDir`";
            problems.push(warn("missing-dockerfile", message, "dockerfile", hint));
        }
        let is_said = project.patterns.as_ref().is_some_and(|patterns| {
            let mut patterns = patterns.iter();
            patterns.all(|pattern| self.coverage.matches(pattern).is_empty())
        });
        if !facts.has_sources && !is_said {
            let message = "no file matches its patterns, so it is never built".to_owned();
            let hint = "correct `rebuildPatterns` or `projectDir`";
            problems.push(warn("no-sources", message, "rebuildPatterns", hint));
        }
        Ok(problems)
    }

    fn is_in_submodule(&self, path: &RepoPath) -> Result<bool, GitError> {
        Ok(self.files.resolve(path)?.submodule.is_some())
    }

    /// The projects whose images a Dockerfile uses, and what there is to say about it.
    fn dockerfile(
        &self,
        project: &Project,
    ) -> Result<(BTreeSet<ProjectName>, Vec<Problem>), GitError> {
        let nothing = BTreeSet::new();
        let facts = self.facts.get(&project.name);
        let Some((facts, located)) =
            facts.and_then(|facts| Some((facts, facts.dockerfile.as_ref()?)))
        else {
            return Ok((nothing, Vec::new()));
        };
        let Some(bytes) = self.files.located(located)? else {
            return Ok((nothing, Vec::new()));
        };
        let (ignore, mut problems) = self.ignore_file(project, facts)?;
        let dockerfile = match Dockerfile::parse(&located.path, &bytes) {
            Ok(dockerfile) => dockerfile,
            Err(error) => {
                let found = error.problems().into_iter();
                problems.extend(found.map(|problem| problem.project(&project.name)));
                return Ok((nothing, problems));
            }
        };
        let dependencies = self.graph.all_dependencies(&project.name);
        let covering = self.coverage.of(dependencies.iter().chain([&project.name]));
        let rules = ReferenceRules::new(self.manifest, dependencies);
        problems.extend(lint(&LintInputs {
            dockerfile: &dockerfile,
            project,
            build_dir: &facts.inputs.recipe.build_dir,
            files: &self.paths,
            ignore: &ignore,
            covers: &|path| {
                let index = self.paths.binary_search(path);
                index.is_ok_and(|index| covering.contains(index))
            },
            rules: &rules,
        }));
        let (used, found) = used_projects(self.manifest, &dockerfile, project, &rules);
        let found = found.into_iter();
        problems.extend(found.map(|problem| problem.project(&project.name)));
        Ok((used, problems))
    }

    /// The ignore file in force; one that cannot be read ignores nothing, and is a problem.
    fn ignore_file(
        &self,
        project: &Project,
        facts: &ProjectFacts,
    ) -> Result<(IgnoreFile, Vec<Problem>), GitError> {
        let Some(located) = &facts.ignore_file else {
            return Ok((IgnoreFile::default(), Vec::new()));
        };
        let bytes = self.files.located(located)?.unwrap_or_default();
        Ok(match IgnoreFile::parse(&bytes) {
            Ok(ignore) => (ignore, Vec::new()),
            Err(error) => {
                let problem = error.problem(&located.path).project(&project.name);
                (IgnoreFile::default(), vec![problem])
            }
        })
    }
}

/// The projects that the needed references name, and what there is to say about their platforms;
/// what is wrong with the others is a lint's to say.
fn used_projects(
    manifest: &Manifest,
    dockerfile: &Dockerfile,
    project: &Project,
    rules: &ReferenceRules,
) -> (BTreeSet<ProjectName>, Vec<Problem>) {
    let mut used = BTreeSet::new();
    let mut problems = Vec::new();
    for platform in &project.platforms {
        let needed = |engine_platform| {
            let values = Values {
                build_args: &project.build_args,
                platform,
                engine_platform,
            };
            let found = dockerfile.references(&values, project.target.as_deref());
            let found = found.unwrap_or_default().into_iter();
            found.filter(|reference| reference.needed)
        };
        used.extend(needed(Some(platform)).filter_map(|reference| named(rules, &reference)));
        // Which platform is the engine's cannot be told here: what is wanted for it is left out.
        for reference in needed(None) {
            let Ok(image) = rules.classify(&reference) else {
                continue;
            };
            let offered = match &image {
                Image::Project(name) => manifest.projects.get(name),
                Image::External(_) => None,
            };
            let offered = offered.map(|used| used.platforms.as_slice());
            problems.extend(reference.platform_problem(&image, platform, offered));
        }
    }
    (used, problems)
}

/// The project that a reference names.
fn named(rules: &ReferenceRules, reference: &Reference) -> Option<ProjectName> {
    match rules.classify(reference) {
        Ok(Image::Project(name)) => Some(name),
        Ok(Image::External(_)) | Err(_) => None,
    }
}
