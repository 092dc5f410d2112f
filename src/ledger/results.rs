//! The results of tasks: what has passed, and the last failures.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::artifact::Kind;
use super::names::{self, RUNS};
use super::record::{FailedTaskRecord, PassedFacts, PassedRecord};
use super::{Bases, Ledger, LedgerError, Recorded, Standing};
use crate::model::{Key, ProjectName};

impl Ledger {
    /// What has passed, of the tasks of these keys. A record that cannot be read counts as none:
    /// the task is run again.
    pub async fn passed_many(
        &self,
        wanted: &BTreeMap<Key, ProjectName>,
    ) -> Result<BTreeMap<Key, PassedFacts>, LedgerError> {
        let tags: Vec<String> = wanted.keys().map(|key| names::passed(*key)).collect();
        let manifests = self.client.manifests(RUNS, &tags).await?;
        let mut found = BTreeMap::new();
        for (key, project) in wanted {
            let envelope =
                self.envelope(names::passed(*key), Kind::Passed, Some(project), Some(*key));
            let manifest = manifests.get(&envelope.tag);
            if let Standing::Record(header) = self.decoded(RUNS, &envelope, manifest)? {
                found.insert(*key, header.facts);
            }
        }
        Ok(found)
    }

    /// The whole record of a task that passed, with its log.
    pub async fn passed_record(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<PassedRecord>>, LedgerError> {
        let envelope = self.envelope(names::passed(key), Kind::Passed, Some(project), Some(key));
        self.whole::<PassedFacts, _>(RUNS, &envelope).await
    }

    /// Writes that a task passed, and reads it back.
    pub async fn write_passed(
        &self,
        key: Key,
        project: &ProjectName,
        record: &PassedRecord,
        log: Option<Bytes>,
        now: &str,
    ) -> Result<(), LedgerError> {
        let envelope = self.envelope(names::passed(key), Kind::Passed, Some(project), Some(key));
        self.write(RUNS, &envelope, now, &record.facts, record, log)
            .await?;
        let wanted = BTreeMap::from([(key, project.clone())]);
        if self.passed_many(&wanted).await?.contains_key(&key) {
            return Ok(());
        }
        Err(LedgerError::WriteLost {
            name: self.name(RUNS, &envelope.tag),
        })
    }

    /// The last failure of a task, with its log.
    pub async fn failed_task(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<FailedTaskRecord>>, LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        self.whole::<serde_json::Value, _>(RUNS, &envelope).await
    }

    /// What the last failure of a task states: one request, without its log. One that cannot be
    /// read says nothing.
    pub async fn task_failure(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<FailedTaskRecord>, LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        Ok(match self.header(RUNS, &envelope).await? {
            Standing::Record(header) => Some(header.facts),
            Standing::Absent | Standing::Unreadable(_) => None,
        })
    }

    /// Writes the last failure of a task.
    pub async fn write_failed_task(
        &self,
        key: Key,
        project: &ProjectName,
        record: &FailedTaskRecord,
        log: Option<Bytes>,
        now: &str,
    ) -> Result<(), LedgerError> {
        let envelope = self.envelope(names::failed(key), Kind::Failed, Some(project), Some(key));
        self.write(RUNS, &envelope, now, record, record, log).await
    }
}

impl Bases {
    /// What has passed, of the tasks of these keys, in the base that is written or its upstream.
    pub async fn passed_many(
        &self,
        wanted: &BTreeMap<Key, ProjectName>,
    ) -> Result<BTreeMap<Key, PassedFacts>, LedgerError> {
        let mut found = BTreeMap::new();
        for (_, ledger) in self.places() {
            let mut open = wanted.clone();
            open.retain(|key, _| !found.contains_key(key));
            if !open.is_empty() {
                found.extend(ledger.passed_many(&open).await?);
            }
        }
        Ok(found)
    }

    /// The whole record of a task that passed, from the base that has it.
    pub async fn passed_record(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<PassedRecord>>, LedgerError> {
        for (_, ledger) in self.places() {
            if let Some(record) = ledger.passed_record(key, project).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// What the last failure of a task states, from the base that has one.
    pub async fn task_failure(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<FailedTaskRecord>, LedgerError> {
        for (_, ledger) in self.places() {
            if let Some(failure) = ledger.task_failure(key, project).await? {
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    /// The last failure of a task, with its log, from the base that has one.
    pub async fn failed_task(
        &self,
        key: Key,
        project: &ProjectName,
    ) -> Result<Option<Recorded<FailedTaskRecord>>, LedgerError> {
        for (_, ledger) in self.places() {
            if let Some(record) = ledger.failed_task(key, project).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
