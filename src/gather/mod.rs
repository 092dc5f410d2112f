//! The facts that a plan is decided from, gathered from git and the ledger, and the loop that asks
//! for more of them until the decision stands.
//!
//! Everything here is I/O in the service of [`crate::plan`], which decides; nothing here does.

mod adopt;
mod commit;
mod error;
mod explain;
mod history;
mod planner;
mod uses;
mod why;

pub use commit::{
    CommitFacts, CommitOptions, LoadedManifest, MANIFEST_NAMES, RELEASE_TAG_ARGUMENT,
    load_manifest, read_located,
};
pub use error::GatherError;
pub use history::{HistoryLine, HistoryRequest, Stand, history};
pub use planner::{Keys, PlanRequest, Planning, plan};
pub use uses::{ProjectUses, project_uses};
pub use why::{Compared, Proof, StandingTaint, Stored, Told, Why, why};
