//! Integration tests, in one binary: a module for each part of the program.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod corpus;
mod engine;
mod explain;
mod front;
mod git;
mod registry;
mod repo;
mod servers;
mod world;
