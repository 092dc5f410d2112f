//! What `check` says about a project's Dockerfile.

mod context;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::manifest::Project;
use crate::model::{Platform, RepoPath};
use crate::problem::Problem;

use super::{
    Declaration, Dockerfile, Fault, IgnoreFile, Image, ImageName, Instruction, Reference,
    ReferenceRules, Text, Values,
};

use context::Context;

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
/// `secret-in-build-arg`, `remote-frontend`, `onbuild-reference`.
#[must_use]
pub fn lint(inputs: &LintInputs<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(remote_frontend(inputs.dockerfile));
    problems.extend(secrets(inputs.dockerfile));
    problems.extend(triggers(inputs.dockerfile));
    let context = Context::new(inputs);
    for platform in &inputs.project.platforms {
        let values = values(inputs.project, platform);
        let mut found = references(inputs, &values);
        found.extend(context.lint(&values));
        // Most is the same for every platform, and said once.
        found.retain(|problem| !problems.contains(problem));
        problems.extend(found);
    }
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
        Instruction::Files { .. } | Instruction::Triggers(_) => &[],
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

fn triggers(dockerfile: &Dockerfile) -> Vec<Problem> {
    let instructions = dockerfile
        .stages()
        .iter()
        .flat_map(|stage| &stage.instructions);
    let names = instructions.filter_map(|instruction| match instruction {
        Instruction::Triggers(names) => Some(names),
        _ => None,
    });
    names
        .flatten()
        .map(|name| trigger(dockerfile, name))
        .collect()
}

fn trigger(dockerfile: &Dockerfile, name: &Text) -> Problem {
    let message = format!(
        "'{}' is used by ONBUILD, in the builds of other images, and no digest is put there",
        name.text
    );
    Problem::warning("onbuild-reference", message)
        .at(dockerfile.location(name.span.start))
        .hint("write the instruction in the Dockerfiles that it is for")
}

fn references(inputs: &LintInputs<'_>, values: &Values<'_>) -> Vec<Problem> {
    let target = inputs.project.target.as_deref();
    match inputs.dockerfile.references(values, target) {
        Ok(references) => references
            .iter()
            .filter(|reference| reference.needed)
            .flat_map(|reference| reference_problems(inputs, reference))
            .collect(),
        Err(error) => error.faults().iter().map(Fault::problem).collect(),
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
