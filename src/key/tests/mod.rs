//! The key's encoding, frozen; what it covers; and what it means, over random trees.

mod encoding;
mod fields;
mod naive;
mod properties;
mod world;
