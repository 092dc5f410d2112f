//! The facts that a plan is decided from, gathered from git and the ledger, and the loop that asks
//! for more of them until the decision stands.
//!
//! Everything here is I/O in the service of [`crate::plan`], which decides; nothing here does.

mod adopt;
mod assemble;
mod basis;
mod check;
mod commit;
mod diff;
mod dockerfiles;
mod error;
mod explain;
mod files;
mod history;
mod manifests;
mod parallel;
mod planner;
mod request;
mod sealed;
mod status;
mod tasks;
mod tell;
mod uses;
mod why;

pub use check::{Check, CheckedProject, check_commit, check_work_tree};
pub use commit::{CommitFacts, CommitOptions, RELEASE_TAG_ARGUMENT, load_manifest, read_located};
pub use diff::{DiffKind, DiffLine, DiffSide, diff};
pub use dockerfiles::find_dockerfiles;
pub use error::GatherError;
pub use files::{Files, MANIFEST_NAMES};
pub use history::{HistoryLine, HistoryRequest, Stand, history};
pub use manifests::{LoadedManifest, Manifests};
pub use planner::{Keys, Planning, plan};
pub use request::PlanRequest;
pub use status::{Status, seal, status};
pub use tasks::{TaskRequest, find_tasks, required_tasks, task_projects};
pub use tell::Told;
pub use uses::{ProjectUses, project_uses};
pub use why::{Compared, Proof, StandingTaint, Stored, Why, why};
