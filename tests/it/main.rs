//! Integration tests, in one binary: a module for each part of the program.

mod corpus;
mod engine;
//! Integration tests, one module per part of the program.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod engine;
mod git;
mod repo;
