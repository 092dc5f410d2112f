//! What a plan can fail of, beyond the errors of git and the ledger.

use crate::manifest::Manifest;
use crate::model::{CommitId, ProjectName, RepoPath};
use crate::problem::{Class, Diagnose, Problem};

/// What a plan can fail of, beyond the errors of git and the ledger.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The commit, or the work tree, holds no manifest.
    #[error("there is no manifest {}: tried {}", place(*commit), names(tried))]
    NoManifest {
        /// The commit; none for the work tree.
        commit: Option<CommitId>,
        /// The paths that were tried.
        tried: Vec<RepoPath>,
    },
    /// A project was named that the manifest does not have.
    #[error("there is no project '{name}' in the manifest at commit {}", commit.short())]
    UnknownProject {
        /// The name as given.
        name: String,
        /// The commit.
        commit: CommitId,
        /// The name that was meant, perhaps.
        suggestion: Option<ProjectName>,
    },
    /// A project was asked to be built that has nothing to build.
    #[error("{name} cannot be built at commit {}: {why}", commit.short())]
    NothingToBuild {
        /// The project.
        name: ProjectName,
        /// The commit.
        commit: CommitId,
        /// What is missing.
        why: &'static str,
    },
    /// A waybill was named that does not stand.
    #[error("there is no waybill {tag}")]
    NoWaybill {
        /// Its tag in the ledger.
        tag: String,
    },
    /// A carried plan has another key for a project than the commit.
    #[error("the plan has another key for {name} than this commit")]
    PlanOfOtherKeys {
        /// The project.
        name: ProjectName,
    },
    /// A carried plan was made for other projects.
    #[error("{name} is not in the plan")]
    NotInPlan {
        /// The project.
        name: ProjectName,
    },
    /// A carried plan was made for something else.
    #[error("the plan was made for {what} {planned}, and this is {here}")]
    PlanOfAnother {
        /// What differs: `commit`, `registry`, …
        what: &'static str,
        /// What the plan says.
        planned: String,
        /// What it is here.
        here: String,
    },
    /// Nothing is ever sealed in a base that was made with an upstream.
    #[error("{base} was made with an upstream: nothing in it is ever sealed")]
    NeverSealed {
        /// The base.
        base: String,
    },
    /// Taking replaced records into account did not come to an end.
    #[error("the plan did not settle: records keep contradicting each other")]
    Unsettled,
}

impl GatherError {
    /// The project of that name in the manifest of `commit`.
    ///
    /// # Errors
    ///
    /// It has none: [`GatherError::UnknownProject`], with the name that was meant, perhaps.
    pub fn require_project(
        name: &str,
        manifest: &Manifest,
        commit: CommitId,
    ) -> Result<ProjectName, Self> {
        let known = manifest.projects.get_key_value(name);
        known
            .map(|(known, _)| known.clone())
            .ok_or_else(|| Self::UnknownProject {
                name: name.to_owned(),
                commit,
                suggestion: nearest(name, manifest.projects.keys()),
            })
    }
}

/// The known name that is most like a wrong one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a ProjectName>) -> Option<ProjectName> {
    known
        .map(|known| (strsim::jaro_winkler(name, known.as_str()), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.clone())
}

fn place(commit: Option<CommitId>) -> String {
    commit.map_or_else(
        || "in the work tree".to_owned(),
        |commit| format!("at commit {}", commit.short()),
    )
}

fn names(paths: &[RepoPath]) -> String {
    let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl Diagnose for GatherError {
    fn class(&self) -> Class {
        match self {
            Self::Unsettled => Class::Unreachable,
            Self::NeverSealed { .. } => Class::Gate,
            _ => Class::Usage,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |code| Problem::error(code, self.to_string());
        vec![match self {
            Self::NoManifest { commit: None, .. } => {
                problem("no-manifest").hint("`waybill init` writes a first one")
            }
            Self::NoManifest { .. } => problem("no-manifest").hint(
                "`waybill init` writes a first one; commit it, since waybill reads the commit and \
                 not the work tree",
            ),
            Self::UnknownProject {
                suggestion: Some(name),
                ..
            } => problem("unknown-project").hint(format!("did you mean '{name}'?")),
            Self::UnknownProject { .. } => problem("unknown-project")
                .hint("`waybill plan --all` lists the projects of the commit"),
            Self::NothingToBuild { name, .. } => problem("nothing-to-build").project(name).hint(
                "add what is missing, or take the project out of the manifest; \
                 `waybill check` says more",
            ),
            Self::NoWaybill { .. } => problem("no-waybill")
                .hint("`waybill status --commit REV` lists the waybills of a commit"),
            Self::PlanOfOtherKeys { name } => problem("plan-mismatch").project(name).hint(
                "it was made by another version of waybill, or changed since: make it again with \
                 `waybill plan -o FILE`",
            ),
            Self::NotInPlan { name } => problem("plan-mismatch")
                .project(name)
                .hint("make the plan of all projects: `waybill plan -o FILE`"),
            Self::PlanOfAnother { .. } => {
                problem("plan-mismatch").hint("make it again here with `waybill plan -o FILE`")
            }
            Self::NeverSealed { .. } => problem("base-with-upstream").hint(
                "what merged is built once more by a job of a trusted ref, which writes the base \
                 that deployments read: `--registry <base> --upstream none` there",
            ),
            Self::Unsettled => {
                problem("plan-unsettled").hint("other runs may be writing records: try again")
            }
        }]
    }
}
