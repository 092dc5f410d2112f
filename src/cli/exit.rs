//! The one place where a class of failure becomes an exit code.

use crate::problem::Class;

/// Done.
pub(super) const DONE: u8 = 0;
/// `check --strict` found something to warn of.
pub(super) const FAILED: u8 = code(Class::Failed);
/// `plan --exit-code`: something would be built.
pub(super) const WOULD_BUILD: u8 = 10;

/// The documented exit code of a class of failure.
pub(super) const fn code(class: Class) -> u8 {
    match class {
        Class::Failed => 1,
        Class::Usage => 2,
        Class::Unreachable => 3,
        Class::Gate => 4,
        Class::Interrupted => 130,
    }
}
