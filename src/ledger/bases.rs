//! The base that is written and its upstream, read as one.

use std::collections::{BTreeMap, BTreeSet};

use super::store::unreadable_taint;
use super::{BuiltRecord, FailedRecord, Ledger, LedgerError, Recorded, Standing, TaintRecord};
use crate::model::{CommitId, Key, ProjectName};
use crate::plan::{Found, Lookup, Place};

/// The base that is written and, where one is given, the upstream, which is read after it and
/// never written.
#[derive(Clone)]
pub struct Bases {
    /// Written and read.
    pub registry: Ledger,
    /// Read only.
    pub upstream: Option<Ledger>,
}

/// A taint with where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenTaint {
    /// What it says.
    pub taint: TaintRecord,
    /// The base that holds it.
    pub place: Place,
    /// When it was written, RFC 3339; `None` where it cannot be read.
    pub created: Option<String>,
}

impl Bases {
    /// The ledger of a place.
    ///
    /// A place is only ever named for what was found there; without an upstream everything is in
    /// the registry.
    #[must_use]
    pub fn ledger(&self, place: Place) -> &Ledger {
        match (place, &self.upstream) {
            (Place::Upstream, Some(upstream)) => upstream,
            _ => &self.registry,
        }
    }

    /// The places, in the order in which they are read.
    pub fn places(&self) -> impl Iterator<Item = (Place, &Ledger)> {
        let upstream = self.upstream.iter().map(|ledger| (Place::Upstream, ledger));
        std::iter::once((Place::Registry, &self.registry)).chain(upstream)
    }

    /// What stands for each key: the registry's answer, and the upstream's where it has none.
    pub async fn built_many(
        &self,
        wanted: &BTreeMap<Key, ProjectName>,
    ) -> Result<BTreeMap<Key, Lookup>, LedgerError> {
        let mut found: BTreeMap<Key, Lookup> =
            wanted.keys().map(|key| (*key, Lookup::Absent)).collect();
        for (place, ledger) in self.places() {
            let open: BTreeMap<Key, ProjectName> = wanted
                .iter()
                .filter(|(key, _)| found.get(key) == Some(&Lookup::Absent))
                .map(|(key, project)| (*key, project.clone()))
                .collect();
            let answers = ledger.built_many(&open).await?;
            found.extend(
                answers
                    .into_iter()
                    .map(|(key, standing)| (key, lookup(standing, place))),
            );
        }
        Ok(found)
    }

    /// What stands for one key.
    pub async fn built(&self, key: Key, project: &ProjectName) -> Result<Lookup, LedgerError> {
        let wanted = BTreeMap::from([(key, project.clone())]);
        Ok(self
            .built_many(&wanted)
            .await?
            .remove(&key)
            .unwrap_or(Lookup::Absent))
    }

    /// Every tainted key of either base.
    pub async fn tainted_keys(&self) -> Result<BTreeSet<Key>, LedgerError> {
        let mut keys = self.registry.tainted_keys().await?;
        if let Some(upstream) = &self.upstream {
            keys.extend(upstream.tainted_keys().await?);
        }
        Ok(keys)
    }

    /// A taint that a listing showed. `commit` stands in where the taint cannot be read.
    pub async fn taint(&self, key: Key, commit: CommitId) -> Result<TaintRecord, LedgerError> {
        Ok(self.written_taint(key, commit).await?.taint)
    }

    /// A taint that a listing showed, as [`Self::taint`] reads it, with where it stands and when
    /// it was written.
    pub async fn written_taint(
        &self,
        key: Key,
        commit: CommitId,
    ) -> Result<WrittenTaint, LedgerError> {
        for (place, ledger) in self.places() {
            let (taint, created) = match ledger.written_taint(key).await? {
                Standing::Absent => continue,
                Standing::Record((taint, created)) => (taint, Some(created)),
                Standing::Unreadable(why) => (unreadable_taint(&why, commit), None),
            };
            return Ok(WrittenTaint {
                taint,
                place,
                created,
            });
        }
        Ok(WrittenTaint {
            taint: unreadable_taint("it was listed and is not there", commit),
            place: Place::Registry,
            created: None,
        })
    }

    /// The whole record of a build, from the base that has it.
    pub async fn built_record(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<(Place, Recorded<BuiltRecord>)>, LedgerError> {
        for (place, ledger) in self.places() {
            if let Some(record) = ledger.built_record(key, project).await? {
                return Ok(Some((place, record)));
            }
        }
        Ok(None)
    }

    /// The last failure under a key, from the base that has one.
    pub async fn failed(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<FailedRecord>>, LedgerError> {
        for (_, ledger) in self.places() {
            if let Some(record) = ledger.failed(key, project).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

fn lookup<F>(standing: Standing<F>, place: Place) -> Lookup
where
    F: Into<super::BuiltFacts>,
{
    match standing {
        Standing::Absent => Lookup::Absent,
        Standing::Record(facts) => Lookup::Found(Found {
            facts: facts.into(),
            place,
        }),
        Standing::Unreadable(why) => Lookup::Unreadable { why },
    }
}
