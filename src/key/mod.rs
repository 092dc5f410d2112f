//! The key: one digest over everything that decides what a project's image is (design, section 3).
//!
//! Pure: it reads the tree through the port [`crate::model::Tree`], and knows nothing of git, the
//! registry, the clock or the environment. The key is a function of the commit and the release tag
//! alone; taints are facts handed in.

mod inputs;
mod keys;
mod project;
mod sources;
mod task;

pub use inputs::{KeyInputs, OwnHash, Recipe, Source, VERSION, next_key};
pub use keys::{ProjectKey, effective_keys};
pub use project::{FactsError, Located, ProjectFacts, project_facts};
pub use sources::Matcher;
pub use task::{Definition, RestsOn, TASK_VERSION, TaskInputs};

#[cfg(test)]
mod tests;
