//! Building images: the context as a stream, and the engine that builds from it.

pub mod engine;
pub mod tar;
