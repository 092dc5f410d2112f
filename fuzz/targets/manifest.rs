//! Manifests: what is wrong is named with its place, and what is right has no error.

use std::collections::BTreeMap;

use waybill::manifest;
use waybill::model::RepoPath;
use waybill::problem::Problem;

/// The input is the manifest, in YAML if it begins with `#` and in JSON else, and, after a NUL
/// byte, what every pattern file holds.
pub(super) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let patterns = parts.next();
    let name = if text.first() == Some(&b'#') {
        "build_manifest.yml"
    } else {
        "build_manifest.json"
    };
    let raw = match manifest::read(&RepoPath::from(name), text) {
        Ok(raw) => raw,
        Err(problems) => return assert_told(&problems),
    };
    let files: BTreeMap<RepoPath, Option<Vec<u8>>> = raw
        .pattern_files()
        .into_iter()
        .map(|path| (path, patterns.map(<[u8]>::to_vec)))
        .collect();
    let checked = raw.check(&files);
    assert_told(&checked.problems);
}

fn assert_told(problems: &[Problem]) {
    for problem in problems {
        assert!(!problem.message.is_empty(), "a problem without words");
        let counts_from_one = |number: Option<usize>| number != Some(0);
        if let Some(location) = &problem.location {
            assert!(counts_from_one(location.line) && counts_from_one(location.column));
        }
    }
}
