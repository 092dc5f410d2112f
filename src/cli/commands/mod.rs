//! A file per command: gather, decide, execute, render.

pub(super) mod attend;
pub(super) mod build;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod debug;
pub(super) mod diff;
pub(super) mod history;
pub(super) mod image;
pub(super) mod init;
pub(super) mod log;
pub(super) mod plan;
pub(super) mod plan_if;
pub(super) mod registry;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod status;
pub(super) mod supervise;
pub(super) mod taint;
pub(super) mod why;
