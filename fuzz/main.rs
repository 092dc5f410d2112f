//! The fuzzer: one program for all targets, since linking is what takes the time.
//!
//! `WAYBILL_FUZZ_TARGET` names the target. With `WAYBILL_FUZZ_PLANTED` set, a panic is planted
//! behind a word that no input holds: it shows that the fuzzer sees into the program, and that it
//! reports a panic.

#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("WAYBILL_FUZZ_TARGET").unwrap_or_default();
    *targets::TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("WAYBILL_FUZZ_TARGET names no target: '{name}'"))
});
const PLANTED_WORD: u32 = u32::from_le_bytes(*b"FUZZ");
static PLANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("WAYBILL_FUZZ_PLANTED").is_some());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if *PLANTED {
        planted(data);
    }
    (TARGET.run)(data);
});

/// Nobody guesses four bytes: the fuzzer has to read them off the comparison.
fn planted(data: &[u8]) {
    let first = data.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    assert!(first != Some(PLANTED_WORD), "the planted panic");
}
