//! waybill: a container-image build orchestrator whose only state is the container registry.

pub mod build;
pub mod dockerfile;
pub mod event;
pub mod execute;
pub mod git;
pub mod graph;
pub mod key;
pub mod ledger;
pub mod manifest;
pub mod mask;
pub mod model;
pub mod plan;
pub mod problem;
pub mod registry;
pub mod schema;
