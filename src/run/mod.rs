//! Carries tasks out.

pub mod process;
