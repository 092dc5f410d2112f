//! Patterns that are nothing but literals at the ends of the path: most are, and need no regex
//! engine, which costs more to set up than a project has files.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What a path must be like to match.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// `^a$`
    Is(Vec<u8>),
    /// `^a`
    Starts(Vec<u8>),
    /// `a$`
    Ends(Vec<u8>),
    /// `^a.*b$`; the two do not overlap.
    StartsAndEnds(Vec<u8>, Vec<u8>),
}

impl Literal {
    /// The pattern as literals; `None` where it is more than that.
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let parts = match hir.kind() {
            HirKind::Concat(parts) => parts.as_slice(),
            _ => std::slice::from_ref(hir),
        };
        let (starts, parts) = match parts {
            [first, rest @ ..] if is_look(first, Look::Start) => (true, rest),
            parts => (false, parts),
        };
        let (ends, parts) = match parts {
            [rest @ .., last] if is_look(last, Look::End) => (true, rest),
            parts => (false, parts),
        };
        match (starts, parts, ends) {
            (true, [only], true) => Some(Self::Is(literal(only)?)),
            (true, [only], false) => Some(Self::Starts(literal(only)?)),
            (false, [only], true) => Some(Self::Ends(literal(only)?)),
            (true, [first, gap, last], true) if is_anything(gap) => {
                Some(Self::StartsAndEnds(literal(first)?, literal(last)?))
            }
            _ => None,
        }
    }

    /// Whether a path is like that.
    pub(super) fn is_match(&self, path: &[u8]) -> bool {
        match self {
            Self::Is(whole) => path == whole,
            Self::Starts(start) => path.starts_with(start),
            Self::Ends(end) => path.ends_with(end),
            Self::StartsAndEnds(start, end) => path
                .strip_prefix(start.as_slice())
                .is_some_and(|rest| rest.ends_with(end)),
        }
    }
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

fn literal(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_vec()),
        _ => None,
    }
}

/// `.*`, where a dot is any byte.
fn is_anything(hir: &Hir) -> bool {
    let HirKind::Repetition(repetition) = hir.kind() else {
        return false;
    };
    let HirKind::Class(Class::Bytes(class)) = repetition.sub.kind() else {
        return false;
    };
    let is_any_byte =
        matches!(class.ranges(), [range] if (range.start(), range.end()) == (0, u8::MAX));
    repetition.min == 0 && repetition.max.is_none() && is_any_byte
}
