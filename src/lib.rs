//! waybill: a container-image build orchestrator whose only state is the container registry.

pub mod build;
pub mod dockerfile;
pub mod git;
pub mod graph;
pub mod manifest;
pub mod model;
pub mod problem;
pub mod registry;
pub mod schema;
