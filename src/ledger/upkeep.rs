//! What is to be kept in the repositories of a base, for registries that are told so: one place for
//! the defaults.
//!
//! Rules go by the first that matches one of an image's tags: what runs somewhere, or ran, is kept
//! before anything else is looked at, and an image with a record is kept as long as the record is,
//! whatever other tags it has. What is bounded is what nothing rests on: layer caches, and images
//! that are known by their `cache-<commit>` tags alone.

use super::names::{LEDGER, RUNS, TAINTS};
use crate::registry::{Keep, Upkeep};

/// A project's images. `in-<key>` never moves. At most five patterns may: Amazon ECR takes no more.
const IMAGES: Upkeep = Upkeep {
    moving: &["cache-*", "stage-*", "next-*", "live-*", "prev-*"],
    keep: &[
        Keep::All("live-*"),
        Keep::All("next-*"),
        Keep::All("prev-*"),
        Keep::All("in-*"),
        Keep::Newest("cache-*", 500),
        Keep::Newest("stage-*", 200),
        Keep::UntaggedDays(14),
    ],
    scan: true,
};

/// The ledger: nothing is removed, and nothing moves but the hint at an environment's newest
/// deployment.
const RECORDS: Upkeep = Upkeep {
    moving: &["v1-env-*"],
    keep: &[Keep::All("*")],
    scan: false,
};

/// Taints: nothing is removed, and nothing moves.
const DISTRUST: Upkeep = Upkeep {
    moving: &[],
    keep: &[Keep::All("*")],
    scan: false,
};

/// Results: a task that has passed is not run again, so that its record is kept; the last failure
/// of a key is replaced by the next one.
const RESULTS: Upkeep = Upkeep {
    moving: &["v1-failed-*"],
    keep: &[
        Keep::All("v1-passed-*"),
        Keep::Newest("v1-failed-*", 2_000),
        Keep::UntaggedDays(14),
    ],
    scan: false,
};

/// The repositories that every base has, below it.
pub const OWN: [&str; 3] = [LEDGER, TAINTS, RUNS];

/// What is to be kept in a repository, by its name below the base.
#[must_use]
pub fn of(repository: &str) -> &'static Upkeep {
    match repository {
        LEDGER => &RECORDS,
        TAINTS => &DISTRUST,
        RUNS => &RESULTS,
        _ => &IMAGES,
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;
    use crate::model::{CommitId, Key};

    /// Whether a pattern with one `*` at its end covers a tag.
    fn covers(pattern: &str, tag: &str) -> bool {
        tag.starts_with(pattern.strip_suffix('*').unwrap())
    }

    #[test]
    fn what_is_written_once_cannot_be_moved_and_what_moves_can() {
        let key: Key = "0".repeat(64).parse().unwrap();
        let commit: CommitId = "0".repeat(40).parse().unwrap();
        let moves = |repository: &str, tag: &str| {
            of(repository)
                .moving
                .iter()
                .any(|pattern| covers(pattern, tag))
        };
        assert!(!moves("api", &names::image(key)));
        assert!(moves("api", &names::alias(commit)));
        assert!(moves("api", &names::stage(key, "build", &[]).unwrap()));
        assert!(!moves(LEDGER, &names::built(key)));
        assert!(!moves(LEDGER, names::MARKER) && !moves(TAINTS, names::MARKER));
        assert!(!moves(TAINTS, &names::taint(key)));
        assert!(moves(RUNS, &names::failed(key)));
    }

    #[test]
    fn settings_are_within_the_limits_of_ecr() {
        for repository in OWN.into_iter().chain(["api"]) {
            let upkeep = of(repository);
            let settings = upkeep.ecr_settings();
            assert!(upkeep.moving.len() <= 5 && upkeep.keep.len() <= 50);
            let filters = settings["imageTagMutabilityExclusionFilters"]
                .as_array()
                .unwrap();
            assert_eq!(filters.len(), upkeep.moving.len());
            let named = upkeep.moving.is_empty();
            assert_eq!(settings["imageTagMutability"] == "IMMUTABLE", named);
        }
    }

    #[test]
    fn records_and_taints_are_never_removed() {
        for repository in [LEDGER, TAINTS] {
            assert_eq!(of(repository).ecr_settings().get("lifecyclePolicy"), None);
        }
        // Of the results, those of tasks that have passed.
        let passed = RESULTS.keep.iter().find(|keep| match keep {
            Keep::All(pattern) | Keep::Newest(pattern, _) => covers(pattern, "v1-passed-1"),
            Keep::UntaggedDays(_) => false,
        });
        assert!(matches!(passed, Some(Keep::All(_))), "{passed:?}");
    }

    /// ECR's rules for an image with several tags: the first rule that matches one decides.
    #[test]
    fn what_runs_is_kept_before_anything_is_counted() {
        let policy = of("api").ecr_settings()["lifecyclePolicy"].clone();
        let rules = policy["rules"].as_array().unwrap();
        for (at, rule) in rules.iter().enumerate() {
            assert_eq!(rule["rulePriority"], at + 1);
            assert_eq!(rule["action"]["type"], "expire");
            let patterns = rule["selection"]["tagPatternList"].as_array();
            assert!(patterns.is_none_or(|patterns| patterns.len() == 1));
        }
        let first = |tags: &[&str]| {
            rules.iter().find(|rule| {
                let pattern = rule["selection"]["tagPatternList"][0].as_str();
                pattern.is_some_and(|pattern| tags.iter().any(|tag| covers(pattern, tag)))
            })
        };
        let count = |tags: &[&str]| first(tags).unwrap()["selection"]["countNumber"].clone();
        let pattern =
            |tags: &[&str]| first(tags).unwrap()["selection"]["tagPatternList"][0].clone();
        for protected in ["live-prod", "next-prod", "prev-prod"] {
            let tags = ["in-1", "cache-2", "stage-3-a", protected];
            assert!(covers(pattern(&tags).as_str().unwrap(), protected));
            assert_eq!(count(&tags), 1_000_000);
        }
        // An image with a record, or one platform's part of it, is kept as long as the record.
        for kept in [&["in-1", "cache-2"][..], &["in-1-linux-arm64"]] {
            assert_eq!(count(kept), 1_000_000, "{kept:?}");
        }
        assert_eq!(count(&["cache-2"]), 500);
        assert_eq!(count(&["stage-3-a"]), 200);
        assert_eq!(first(&["v1.2"]), None);
        assert_eq!(rules.last().unwrap()["selection"]["tagStatus"], "untagged");
    }
}
