//! The names of everything that waybill keeps in a registry (design, section 4).

use crate::model::{CommitId, Key, Platform, ProjectName};

/// The repository of the records of builds, below the base.
pub const LEDGER: &str = "waybill-ledger";
/// The repository of the taints, which a plan lists whole.
pub const TAINTS: &str = "waybill-taints";
/// The repository of results that come and go: failures, and passed tasks.
pub const RUNS: &str = "waybill-runs";

/// The tag of the marker, in the ledger and in the taints.
pub const MARKER: &str = "v1-ledger";

/// The label of an image that holds its key.
pub const KEY_LABEL: &str = "io.waybill.key";

/// The namespace of the embedded base, and of what the engine keeps of its images.
pub const EMBEDDED: &str = "waybill";

/// The most characters of a tag (OCI distribution spec, "Pulling manifests").
const LONGEST_TAG: usize = 128;

/// What every record's tag of this version begins with.
const VERSION_PREFIX: &str = "v1-";

/// The tag of the image of a key, in the project's own repository.
#[must_use]
pub fn image(key: Key) -> String {
    format!("in-{key}")
}

/// The alias of an image at the commit that built it, in the project's own repository.
#[must_use]
pub fn alias(commit: CommitId) -> String {
    format!("cache-{commit}")
}

/// The name under which the engine keeps an image that was built into the embedded base, whose
/// port is another with each run.
#[must_use]
pub fn kept(project: &ProjectName, commit: CommitId) -> String {
    format!("{EMBEDDED}/{project}:{commit}")
}

/// The commit that an alias names; `None` for any other tag.
#[must_use]
pub fn alias_commit(tag: &str) -> Option<CommitId> {
    tag.strip_prefix("cache-")?.parse().ok()
}

/// The tag of the layer cache of a named stage that is built for `platforms`, in the project's own
/// repository. A stage whose name begins with `_` is kept nowhere; nor is one whose name does not
/// fit a tag, those of its platforms included.
#[must_use]
pub fn stage(key: Key, stage: &str, platforms: &[Platform]) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if stage.starts_with('_') || !stage.bytes().all(fits) {
        return None;
    }
    let tag = format!("stage-{key}-{}", stage.to_ascii_lowercase());
    let own = platforms.iter().filter(|_| platforms.len() > 1);
    let own = own.map(|platform| of_platform(&tag, platform).len());
    (own.max().unwrap_or(tag.len()) <= LONGEST_TAG).then_some(tag)
}

/// The tag of one platform's image of those that stand together under `tag`, the image's or a
/// stage's. An engine pushes only under a tag; one that moves from platform to platform would be
/// refused where tags are immutable, and would name a part as if it were the whole meanwhile.
#[must_use]
pub fn of_platform(tag: &str, platform: &Platform) -> String {
    format!("{tag}-{}", platform.to_string().replace('/', "-"))
}

/// The tag of the record of a build.
#[must_use]
pub fn built(key: Key) -> String {
    format!("{VERSION_PREFIX}built-{key}")
}

/// The tag of a taint.
#[must_use]
pub fn taint(key: Key) -> String {
    format!("{VERSION_PREFIX}taint-{key}")
}

/// The key that a taint's tag names; `None` for any other tag.
#[must_use]
pub fn taint_key(tag: &str) -> Option<Key> {
    tag.strip_prefix(VERSION_PREFIX)?
        .strip_prefix("taint-")?
        .parse()
        .ok()
}

/// The tag of an edition of a commit's waybill; editions count from 1.
#[must_use]
pub fn release(commit: CommitId, edition: u32) -> String {
    let first = format!("{VERSION_PREFIX}release-{commit}");
    if edition > 1 {
        format!("{first}-{edition}")
    } else {
        first
    }
}

/// The commit and edition that a waybill's tag names; `None` for any other tag.
#[must_use]
pub fn release_edition(tag: &str) -> Option<(CommitId, u32)> {
    let rest = tag.strip_prefix(VERSION_PREFIX)?.strip_prefix("release-")?;
    match rest.split_once('-') {
        None => Some((rest.parse().ok()?, 1)),
        Some((commit, edition)) => {
            let edition = edition.parse().ok().filter(|edition| *edition > 1)?;
            Some((commit.parse().ok()?, edition))
        }
    }
}

/// The tag of the record of a task that passed.
#[must_use]
pub fn passed(key: Key) -> String {
    format!("{VERSION_PREFIX}passed-{key}")
}

/// The tag of the last failure under a key, a project's or a task's.
#[must_use]
pub fn failed(key: Key) -> String {
    format!("{VERSION_PREFIX}failed-{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_a_tag_if_those_of_its_platforms_fit() {
        let key: Key = "0".repeat(64).parse().unwrap();
        let amd: Platform = "linux/amd64".parse().unwrap();
        let arm: Platform = "linux/arm64".parse().unwrap();
        let one = [amd.clone()];
        let two = [amd, arm.clone()];
        assert_eq!(
            stage(key, "Build", &two),
            Some(format!("stage-{key}-build"))
        );
        assert_eq!(stage(key, "_scratch", &one), None);
        assert_eq!(stage(key, "a b", &one), None);
        let longest = "s".repeat(128 - "stage-".len() - 64 - 1);
        assert!(stage(key, &longest, &one).is_some_and(|tag| tag.len() == 128));
        assert_eq!(stage(key, &format!("{longest}s"), &one), None);
        assert_eq!(stage(key, &longest, &two), None);
        let shorter = &longest["-linux-arm64".len()..];
        let tag = stage(key, shorter, &two).unwrap();
        assert_eq!(of_platform(&tag, &arm).len(), 128);
    }
}
