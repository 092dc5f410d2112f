//! How things look: plans, progress, reports, for people and for machines.

pub(super) mod plan;
pub(super) mod progress;
pub(super) mod report;
