//! Building images: the context as a stream, the Dockerfile with digests in it, and the engine
//! that builds from both.

mod asked;
mod bases;
mod context;
pub mod engine;
mod error;
mod external;
mod image;
mod publish;
mod step;
pub mod tar;

pub use context::Context;
pub use error::ContextError;
pub use external::{ExternalImages, check_reach};
pub(crate) use external::{host_of, login};
pub use image::{ImageBuilder, Keep};
