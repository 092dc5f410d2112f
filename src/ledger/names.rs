//! The names of everything that waybill keeps in a registry (design, section 4).

use crate::model::{CommitId, Key, Platform};

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

/// The commit that an alias names; `None` for any other tag.
#[must_use]
pub fn alias_commit(tag: &str) -> Option<CommitId> {
    tag.strip_prefix("cache-")?.parse().ok()
}

/// The tag of the layer cache of a named stage, in the project's own repository. Stage names that
/// do not fit a tag have none.
#[must_use]
pub fn stage(key: Key, stage: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let tag = format!("stage-{key}-{}", stage.to_ascii_lowercase());
    (stage.bytes().all(fits) && tag.len() <= 128).then_some(tag)
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

/// The key that a built record's tag names; `None` for any other tag.
#[must_use]
pub fn built_key(tag: &str) -> Option<Key> {
    tag.strip_prefix(VERSION_PREFIX)?
        .strip_prefix("built-")?
        .parse()
        .ok()
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

/// The tag of the last failure under a key.
#[must_use]
pub fn failed(key: Key) -> String {
    format!("{VERSION_PREFIX}failed-{key}")
}
