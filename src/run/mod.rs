//! Carries tasks out: processes that leave nothing behind, in order and in parallel, each with its
//! log, and its result recorded as soon as it is known.

mod environment;
mod log;
mod order;
pub mod process;
mod tasks;
mod work_tree;

pub use environment::{INHERITED, image_variable, inherited};
pub use tasks::{TaskReport, TaskRunner, run_tasks};
pub use work_tree::WorkTree;
