//! A repository's settings as ECR takes them (ECR user guide, "Lifecycle policies", "Image tag
//! mutability").

use serde_json::{Value, json};

use crate::registry::upkeep::{Keep, Upkeep};

/// More images than a repository may hold (its quota is 100,000): a rule that keeps so many removes
/// none, and keeps later rules from removing them.
const ALL: u32 = 1_000_000;

/// Everything that ECR is told of a repository.
pub(in crate::registry) fn settings(upkeep: &Upkeep) -> Value {
    let filters: Vec<Value> = upkeep
        .moving
        .iter()
        .map(|filter| json!({"filterType": "WILDCARD", "filter": filter}))
        .collect();
    let mut settings = json!({
        "imageTagMutability": mutability(upkeep),
        "imageTagMutabilityExclusionFilters": filters,
        "imageScanningConfiguration": {"scanOnPush": upkeep.scan},
    });
    if let Some(policy) = lifecycle(upkeep) {
        settings["lifecyclePolicy"] = policy;
    }
    settings
}

/// Which tags may be moved.
pub(super) const fn mutability(upkeep: &Upkeep) -> &'static str {
    if upkeep.moving.is_empty() {
        "IMMUTABLE"
    } else {
        "IMMUTABLE_WITH_EXCLUSION"
    }
}

/// The lifecycle policy; `None` where nothing is ever removed. A rule holds one pattern: several
/// would all have to match.
pub(super) fn lifecycle(upkeep: &Upkeep) -> Option<Value> {
    let keeps_all = upkeep.keep.iter().all(|keep| matches!(keep, Keep::All(_)));
    if keeps_all {
        return None;
    }
    let rules = upkeep.keep.iter().zip(1..).map(rule);
    Some(json!({"rules": rules.collect::<Vec<Value>>()}))
}

fn rule((keep, priority): (&Keep, u32)) -> Value {
    let (description, selection) = match keep {
        Keep::All(pattern) => (
            format!("waybill: {pattern} is kept, whatever later rules say"),
            tagged(pattern, ALL),
        ),
        Keep::Newest(pattern, count) => (
            format!("waybill: the newest {count} of {pattern} are kept"),
            tagged(pattern, *count),
        ),
        Keep::UntaggedDays(days) => (
            format!("waybill: what has no tag is kept for {days} days"),
            json!({
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": days,
            }),
        ),
    };
    json!({
        "rulePriority": priority,
        "description": description,
        "selection": selection,
        "action": {"type": "expire"},
    })
}

fn tagged(pattern: &str, count: u32) -> Value {
    json!({
        "tagStatus": "tagged",
        "tagPatternList": [pattern],
        "countType": "imageCountMoreThan",
        "countNumber": count,
    })
}
