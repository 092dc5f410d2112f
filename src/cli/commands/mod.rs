//! A file per command: gather, decide, execute, render.

pub(super) mod build;
pub(super) mod debug;
pub(super) mod plan;
