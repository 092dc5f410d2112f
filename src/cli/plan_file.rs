//! A plan carried in a file from one job to the next: `plan -o FILE`, `build --plan FILE`.

use std::fmt::Display;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::session::{OpenBases, Session};
use crate::gather::{GatherError, Planning};
use crate::plan::{CarriedPlan, Place};
use crate::problem::{Class, Failure, Problem};

/// What the file begins with.
const SCHEMA: &str = "waybill.plan-file/1";

#[derive(Serialize, Deserialize)]
struct PlanFile {
    schema: String,
    #[serde(flatten)]
    plan: CarriedPlan,
}

/// Writes a plan into a file.
pub(super) fn write(
    path: &Path,
    planning: &Planning,
    session: &Session,
    bases: &OpenBases,
) -> Result<(), Failure> {
    let (registry, upstream) = names(bases);
    let keys = planning.keys.values();
    let tag = session.settings.tag.clone();
    let file = PlanFile {
        schema: SCHEMA.to_owned(),
        plan: CarriedPlan::of(&planning.plan, keys, registry, upstream, tag),
    };
    let failed = |error: &dyn Display| failure(path, &format!("cannot be written: {error}"));
    let mut text = serde_json::to_vec_pretty(&file).map_err(|error| failed(&error))?;
    text.push(b'\n');
    std::fs::write(path, text).map_err(|error| failed(&error))
}

/// Reads the plan in a file.
///
/// # Errors
///
/// It cannot be read, is no plan, or was made for another commit, base or tag.
pub(super) fn read(
    path: &Path,
    session: &Session,
    bases: &OpenBases,
) -> Result<CarriedPlan, Failure> {
    let bytes =
        std::fs::read(path).map_err(|error| failure(path, &format!("cannot be read: {error}")))?;
    let file: PlanFile = serde_json::from_slice(&bytes)
        .map_err(|error| failure(path, &format!("holds no plan: {error}")))?;
    if file.schema != SCHEMA {
        return Err(failure(
            path,
            &format!("holds no plan of the form {SCHEMA}"),
        ));
    }
    let plan = file.plan;
    let (registry, upstream) = names(bases);
    let or_none = |text: Option<&String>| text.cloned().unwrap_or_else(|| "none".to_owned());
    let (here, tag) = (session.commit.to_string(), session.settings.tag.as_ref());
    let compared = [
        ("commit", plan.commit.to_string(), here),
        ("registry", plan.registry.clone(), registry),
        (
            "upstream",
            or_none(plan.upstream.as_ref()),
            or_none(upstream.as_ref()),
        ),
        ("tag", or_none(plan.tag.as_ref()), or_none(tag)),
    ];
    for (what, planned, here) in compared {
        if planned != here {
            return Err(GatherError::PlanOfAnother {
                what,
                planned,
                here,
            }
            .into());
        }
    }
    Ok(plan)
}

/// The names of the base that is written and of its upstream.
fn names(bases: &OpenBases) -> (String, Option<String>) {
    let upstream = bases.bases.upstream.as_ref();
    (
        bases.name(Place::Registry),
        upstream.map(|_| bases.name(Place::Upstream)),
    )
}

fn failure(path: &Path, what: &str) -> Failure {
    let message = format!("the plan file {} {what}", path.display());
    let hint = "`waybill plan -o FILE` writes one";
    Failure {
        class: Class::Usage,
        problems: vec![Problem::error("plan-file", message).hint(hint)],
    }
}
