//! Carries tasks out: processes that leave nothing behind, in order and in parallel, each with its
//! log, and its result recorded as soon as it is known.

pub mod attend;
mod attended;
mod containers;
mod environment;
mod log;
mod order;
mod prepare;
pub mod process;
mod tasks;
mod work_tree;

pub use containers::Containers;
pub use environment::{INHERITED, image_variable, inherited};
pub use tasks::{TaskReport, TaskRunner, run_tasks};
pub use work_tree::WorkTree;
