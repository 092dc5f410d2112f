//! The manifest: what the file says ([`Raw`]), what it means ([`Manifest`]), and everything that is
//! wrong with it, all at once, with positions.
//!
//! No I/O: the caller reads the manifest and the pattern files out of the commit or the work tree.

mod check;
mod fields;
mod init;
mod literal;
mod model;
mod node;
mod parse;
mod pattern;
mod report;
mod schema;
mod structure;
mod task;

pub use check::Checked;
pub use fields::{KeyRole, manifest_fields};
pub use init::{Draft, FoundDockerfile, draft};
pub use model::{LayerCache, Manifest, Project, Shape, TreeFile};
pub use parse::{Raw, read};
pub use pattern::{Pattern, PatternError};
pub use schema::manifest_schema;
pub use task::{Action, CONVENTION, ContainerImage, Need, Run, Task};

#[cfg(test)]
mod tests;
