//! The fuzzer: one program for all targets, since linking is what takes the time.
//!
//! `WAYBILL_FUZZ_TARGET` names the target. With `WAYBILL_FUZZ_PLANTED` set, a panic is planted
//! behind four bytes that the fuzzer has to find one by one: it shows that panics are found here,
//! and that the fuzzer sees which of its inputs lead further.

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
static PLANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("WAYBILL_FUZZ_PLANTED").is_some());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if *PLANTED {
        planted(data);
    }
    (TARGET.run)(data);
});

/// One branch for each byte, or the fuzzer would have to guess all four at once.
fn planted(data: &[u8]) {
    let mut found = 0;
    for (byte, expected) in data.iter().zip(b"FUZZ") {
        if byte != expected {
            return;
        }
        found += 1;
        reached(found);
    }
}

/// A place of its own for each number, so that each is something new to the fuzzer.
#[inline(never)]
fn reached(found: usize) {
    match found {
        1 => std::hint::black_box("the first byte"),
        2 => std::hint::black_box("the second"),
        3 => std::hint::black_box("the third"),
        _ => panic!("the planted panic"),
    };
}
