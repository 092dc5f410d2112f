//! A file per command: gather, decide, execute, render.

pub(super) mod build;
pub(super) mod debug;
pub(super) mod history;
pub(super) mod image;
pub(super) mod log;
pub(super) mod plan;
pub(super) mod taint;
pub(super) mod why;
