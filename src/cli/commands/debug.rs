//! `waybill debug`: for benchmarks and tests.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::exit;
use crate::cli::session::{Session, now};
use crate::cli::stopped::Ended;
use crate::gather::CommitFacts;
use crate::key::effective_keys;
use crate::ledger::{BuiltFacts, BuiltRecord};
use crate::model::{Digest, Reason};
use crate::problem::Failure;

/// Computes every key, and prints their number and a digest over them.
pub(in crate::cli) fn keys(session: &Session) -> Ended {
    let facts = load(session)?;
    let keys = effective_keys(facts.in_order(), |_, _, _| false);
    let lines: Vec<String> = keys
        .iter()
        .map(|(name, key)| format!("{name} {}\n", key.key))
        .collect();
    let digest = Digest::of(lines.concat().as_bytes());
    session.output.data(&format!("{} {digest}\n", keys.len()))?;
    Ok(exit::DONE)
}

/// Writes a record for every key, each with the digest of its own key for an image.
pub(in crate::cli) async fn record_all(session: &Session) -> Ended {
    let facts = load(session)?;
    let keys = effective_keys(facts.in_order(), |_, _, _| false);
    let bases = session.bases().await?;
    let ledger = &bases.bases.registry;
    stream::iter(&keys)
        .map(|(name, key)| async move {
            let record = BuiltRecord {
                facts: BuiltFacts {
                    image: Digest::of(key.key.as_bytes()),
                    commit: session.commit,
                    uses: BTreeMap::new(),
                    adopted: false,
                },
                reason: Reason::NeverBuilt {
                    searched: 0,
                    limit_reached: false,
                },
                inputs: serde_json::Value::Null,
                external: BTreeMap::new(),
                durations: BTreeMap::new(),
                builder: "waybill debug record-all".to_owned(),
            };
            ledger
                .write_built(key.key, name, &record, None, &now())
                .await?;
            Ok::<(), Failure>(())
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
    session
        .output
        .data(&format!("{} records written\n", keys.len()))?;
    bases.close().await;
    Ok(exit::DONE)
}

fn load(session: &Session) -> Result<CommitFacts, Failure> {
    CommitFacts::load(
        &session.repository,
        session.commit,
        &session.commit_options(),
        None,
        true,
    )
}
