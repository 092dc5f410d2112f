//! Why a project is built, as JSON.

use serde_json::{Value, json};

use super::lasting;
use crate::cli::output::problem_json;
use crate::cli::session::{OpenBases, timestamp};
use crate::gather::{Proof, StandingTaint, Stored, Told, Why};
use crate::git::Commit;
use crate::key::{KeyInputs, VERSION};

/// The explanation as the document `waybill.why/1`.
pub(in crate::cli) fn document(why: &Why, bases: &OpenBases, with_inputs: bool) -> Value {
    let planned = &why.planned;
    let warnings: Vec<Value> = planned.warnings.iter().map(problem_json).collect();
    let taints: Vec<Value> = why
        .taints
        .iter()
        .map(|taint| taint_json(taint, bases))
        .collect();
    json!({
        "schema": "waybill.why/1",
        "commit": why.commit.id,
        "project": planned.name,
        "action": planned.action.name(),
        "key": planned.key.key,
        "tainted": planned.key.chain,
        "reason": why.told.reason,
        "reasonCommit": commit_json(why.told.commit.as_ref()),
        "lastChanges": last_changes_json(&why.told),
        "taints": taints,
        "image": why.proof.as_ref().map(|proof| lasting(why, proof, bases)),
        "proof": why.proof.as_ref().map(|proof| proof_json(proof, bases)),
        "inputs": with_inputs.then(|| inputs_json(&why.inputs)),
        "warnings": warnings,
    })
}

/// The inputs of a key, whole: what `docs/key.md` computes the key from.
fn inputs_json(inputs: &KeyInputs) -> Value {
    let mut value = json!(inputs);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("keyVersion".to_owned(), json!(VERSION));
    }
    value
}

/// For each file of a reason, the commit that changed it last.
pub(in crate::cli::render) fn last_changes_json(told: &Told) -> Value {
    let changes = told.last_changes.iter().map(|(path, change)| {
        json!({
            "path": path,
            "commit": change.commit,
            "author": change.author,
            "time": timestamp(change.time),
            "subject": change.subject,
        })
    });
    changes.collect()
}

fn commit_json(commit: Option<&Commit>) -> Value {
    json!(commit.map(|commit| {
        json!({
            "commit": commit.id,
            "author": commit.author,
            "time": timestamp(commit.time),
            "subject": commit.subject(),
        })
    }))
}

fn taint_json(taint: &StandingTaint, bases: &OpenBases) -> Value {
    json!({
        "project": taint.project,
        "key": taint.key,
        "reason": taint.told.reason,
        "reasonCommit": commit_json(taint.told.commit.as_ref()),
        "base": taint.place.map(|place| bases.name(place)),
        "written": taint.created,
    })
}

fn proof_json(proof: &Proof, bases: &OpenBases) -> Value {
    let uses = proof.uses.iter().map(|used| {
        json!({
            "project": used.project,
            "recorded": used.recorded,
            "current": used.current,
        })
    });
    json!({
        "name": format!("{}/{}", bases.name(proof.place), proof.name),
        "base": bases.name(proof.place),
        "commit": proof.commit,
        "builtAt": commit_json(proof.built_at.as_ref()),
        "isAncestor": proof.is_ancestor,
        "uses": uses.collect::<Vec<_>>(),
        "record": proof.stored.as_ref().map(stored_json),
    })
}

fn stored_json(stored: &Stored) -> Value {
    let record = &stored.record;
    json!({
        "written": stored.created,
        "adopted": record.facts.adopted,
        "reason": stored.told.reason,
        "reasonCommit": commit_json(stored.told.commit.as_ref()),
        "lastChanges": last_changes_json(&stored.told),
        "external": record.external,
        "durations": record.durations,
        "builder": record.builder,
    })
}
