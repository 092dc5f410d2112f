//! What is fuzzed: each target takes any bytes, and panics if waybill does not hold what it
//! promises about them.
//!
//! The fuzzer runs them on inputs that it makes up; the tests run them on `fuzz/corpus`.

mod dockerfile;
mod ignore;
mod manifest;
mod record;

/// A function that must return, whatever bytes it is given.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The target's name, and that of its folder in `fuzz/corpus`.
    pub(crate) name: &'static str,
    /// Runs it on one input.
    pub(crate) run: fn(&[u8]),
}

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "dockerfile",
        run: dockerfile::run,
    },
    Target {
        name: "ignore",
        run: ignore::run,
    },
    Target {
        name: "manifest",
        run: manifest::run,
    },
    Target {
        name: "record",
        run: record::run,
    },
];
