//! The base that is written and its upstream, read as one.

use std::collections::{BTreeMap, BTreeSet};

use super::store::unreadable_taint;
use super::{
    BuiltFacts, BuiltRecord, FailedRecord, Ledger, LedgerError, Recorded, Release, Standing,
    TaintRecord,
};
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

/// Records that are known from a waybill or a carried plan, and need not be asked for.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<(Place, Key), BuiltFacts>);

impl Known {
    /// What a waybill of this base says.
    #[must_use]
    pub fn from_release(place: Place, release: &Release) -> Self {
        let built = release.built().into_iter();
        built.map(|(key, facts)| ((place, key), facts)).collect()
    }

    fn built(&self, place: Place, key: Key) -> Option<&BuiltFacts> {
        self.0.get(&(place, key))
    }
}

impl FromIterator<((Place, Key), BuiltFacts)> for Known {
    fn from_iter<I: IntoIterator<Item = ((Place, Key), BuiltFacts)>>(records: I) -> Self {
        Self(records.into_iter().collect())
    }
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

    /// The base whose waybills may be read: one that was made without an upstream. In any other
    /// nothing is ever sealed.
    #[must_use]
    pub fn sealed(&self) -> Option<(Place, &Ledger)> {
        self.places().find(|(_, ledger)| !ledger.marker().upstream)
    }

    /// What stands for each key: the registry's answer, and the upstream's where it has none. What
    /// is `known` of a base is taken for its answer.
    pub async fn built_many(
        &self,
        wanted: &BTreeMap<Key, ProjectName>,
        known: &Known,
    ) -> Result<BTreeMap<Key, Lookup>, LedgerError> {
        let mut found: BTreeMap<Key, Lookup> =
            wanted.keys().map(|key| (*key, Lookup::Absent)).collect();
        for (place, ledger) in self.places() {
            let mut open: BTreeMap<Key, ProjectName> = wanted
                .iter()
                .filter(|(key, _)| found.get(key) == Some(&Lookup::Absent))
                .map(|(key, project)| (*key, project.clone()))
                .collect();
            open.retain(|key, _| match known.built(place, *key) {
                Some(facts) => {
                    let facts = facts.clone();
                    found.insert(*key, Lookup::Found(Found { facts, place }));
                    false
                }
                None => true,
            });
            if open.is_empty() {
                continue;
            }
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
            .built_many(&wanted, &Known::default())
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

    /// Whether a taint of this key stands in either base, asked by name. One that cannot be read is
    /// a taint all the same.
    pub async fn is_tainted(&self, key: Key) -> Result<bool, LedgerError> {
        for (_, ledger) in self.places() {
            if ledger.taint(key).await? != Standing::Absent {
                return Ok(true);
            }
        }
        Ok(false)
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
