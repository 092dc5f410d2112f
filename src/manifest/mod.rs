//! The manifest: what the file says (`raw`), what it means ([`Manifest`]), and everything that is
//! wrong with it, all at once, with positions.
//!
//! No I/O: the caller reads the manifest and the pattern files out of the commit or the work tree.

mod model;
mod pattern;

pub use model::{LayerCache, Manifest, Project, Shape, TreeFile};
pub use pattern::{Pattern, PatternError};
