//! The environment of a task: what it inherits, and what it is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::model::{CommitId, ProjectName};
use crate::plan::FoundTask;

/// What a task inherits from waybill's environment, and nothing else: how to find programs, who and
/// where it is, the language, and the container engine. No credential of waybill's own is among it.
pub const INHERITED: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TERM",
    "CI",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "XDG_RUNTIME_DIR",
];

/// The part of an environment that tasks inherit.
#[must_use]
pub fn inherited(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<OsString, OsString> {
    let is_inherited = |name: &OsStr| INHERITED.iter().any(|known| name == OsStr::new(known));
    all.into_iter()
        .filter(|(name, _)| is_inherited(name))
        .collect()
}

/// What a task is told of itself.
pub(super) fn own(
    task: &FoundTask,
    commit: CommitId,
    images: &BTreeMap<ProjectName, String>,
) -> BTreeMap<OsString, OsString> {
    let mut variables = BTreeMap::new();
    let mut set = |name: String, value: &str| {
        variables.insert(OsString::from(name), OsString::from(value));
    };
    set("WAYBILL_PROJECT".to_owned(), task.id.project.as_str());
    set("WAYBILL_TASK".to_owned(), task.id.task.as_str());
    set("WAYBILL_COMMIT".to_owned(), &commit.to_string());
    set("WAYBILL_KEY".to_owned(), &task.key.to_string());
    for (project, reference) in images {
        set(image_variable(project), reference);
    }
    if let Some(reference) = images.get(&task.id.project) {
        set("WAYBILL_IMAGE".to_owned(), reference);
    }
    for (name, value) in &task.task.env {
        set(name.clone(), value);
    }
    variables
}

/// The variable that holds the image of a project: `WAYBILL_IMAGE_` and its name in capitals, with
/// `_` for all but letters and digits.
#[must_use]
pub fn image_variable(project: &ProjectName) -> String {
    let word = |one: char| {
        if one.is_ascii_alphanumeric() {
            one.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = project.as_str().chars().map(word).collect();
    format!("WAYBILL_IMAGE_{name}")
}
