//! Integration tests, in one binary: a module for each part of the program.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod adoption;
mod architecture;
mod bad_input;
mod build;
mod check;
mod corpus;
mod ecr;
mod engine;
mod explain;
mod first_steps;
mod front;
mod git;
mod plan_if;
mod platforms;
mod processes;
mod program;
mod registry;
mod repo;
mod schemas;
mod seal;
mod search;
mod servers;
mod task_kinds;
mod tasks;
mod world;
