//! Dockerfiles: whatever is read is rewritten in its references and nowhere else.

use std::collections::BTreeMap;

use waybill::dockerfile::{Dockerfile, Reference, Values};
use waybill::model::{Platform, RepoPath};

/// Takes the place of every reference, as the digests of a plan do.
const IMAGE: &str =
    "r.example/p@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The input is the file.
pub(super) fn run(data: &[u8]) {
    let path = RepoPath::from("Dockerfile");
    let Ok(dockerfile) = Dockerfile::parse(&path, data) else {
        return;
    };
    let Some(references) = references(&dockerfile) else {
        return;
    };
    assert!(
        dockerfile.rewrite(&[]) == data,
        "a byte changed that no reference holds"
    );
    for reference in &references {
        assert!(
            data.get(reference.span.clone()).is_some(),
            "a reference outside the file"
        );
    }
    let replacements: Vec<_> = references
        .iter()
        .map(|reference| (reference, IMAGE.to_owned()))
        .collect();
    let rewritten = dockerfile.rewrite(&replacements);
    let Ok(again) = Dockerfile::parse(&path, &rewritten) else {
        panic!("the rewritten file cannot be read");
    };
    let texts = self::references(&again)
        .map(|references| references.into_iter().map(|reference| reference.text));
    let all_replaced = texts.is_some_and(|mut texts| {
        texts.len() == references.len() && texts.all(|text| text == IMAGE)
    });
    assert!(all_replaced, "the rewritten file has other references");
}

fn references(dockerfile: &Dockerfile) -> Option<Vec<Reference>> {
    let build_args = BTreeMap::from([("BASE".to_owned(), "base:1".to_owned())]);
    let values = Values {
        build_args: &build_args,
        platform: &Platform::default(),
        engine_platform: None,
    };
    dockerfile.references(&values, None).ok()
}
