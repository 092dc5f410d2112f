//! How things look: plans, progress, reports, for people and for machines.

pub(super) mod diff;
pub(super) mod history;
pub(super) mod plain;
pub(super) mod plan;
pub(super) mod progress;
pub(super) mod report;
pub(super) mod status;
pub(super) mod tasks;
pub(super) mod why;
