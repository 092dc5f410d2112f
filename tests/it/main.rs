//! Integration tests, in one binary: a module for each part of the program.

mod corpus;
mod engine;
//! Integration tests, one module per part of the program.

mod git;
mod repo;
