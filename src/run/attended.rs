//! A task whose containers an attendant sees to, from waybill's side.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::attend::{ATTEND, Assignment, AttendError, Outcome, Work, read_outcome};
use super::process::{Command, Ended, MAX_GRACE, Stream, Supervisor};
use crate::build::engine::{Engine, unique_id};
use crate::problem::Failure;

/// A task whose containers an attendant sees to.
pub(super) struct Attended<'a> {
    /// The engine that has its images.
    pub(super) engine: &'a Engine,
    /// What is run; its name is a new one each time.
    pub(super) work: Work,
    /// The environment of the attendant itself.
    pub(super) inherited: &'a BTreeMap<OsString, OsString>,
    /// That of the task.
    pub(super) own: BTreeMap<OsString, OsString>,
    /// A directory that nobody else sees.
    pub(super) folder: &'a TempDir,
}

impl Attended<'_> {
    /// Runs it once, as [`Supervisor::run`] runs a command. Nothing of it is left in the engine
    /// when this returns.
    pub(super) async fn run(
        &self,
        supervisor: &Supervisor,
        limit: Option<Duration>,
        stop: &CancellationToken,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Ended, Failure> {
        let id = unique_id()?;
        let outcome = self.folder.path().join(&id);
        let work = self.work.clone().named(format!("waybill-{}", &id[..16]));
        let command = self.command(supervisor, work.clone(), outcome.clone())?;
        let ended = supervisor.run(&command, limit, stop, output).await;
        let told = read_outcome(&outcome);
        if told.is_none() {
            work.sweep(self.engine).await?;
        }
        match (ended?, told) {
            (ended @ (Ended::TimedOut | Ended::Stopped), _) => Ok(ended),
            (Ended::Code(_), Some(Outcome::Ended(code))) => {
                Ok(Ended::Code(i32::try_from(code).unwrap_or(i32::MAX)))
            }
            (_, Some(Outcome::Failed(error))) => Err(error.into()),
            (Ended::Code(_) | Ended::Signal(_), _) => Err(AttendError::Lost.into()),
        }
    }

    fn command(
        &self,
        supervisor: &Supervisor,
        work: Work,
        outcome: PathBuf,
    ) -> Result<Command, Failure> {
        let assignment = Assignment { outcome, work };
        Ok(Command {
            program: supervisor.program().into(),
            arguments: vec![ATTEND.into()],
            directory: self.folder.path().to_owned(),
            environment: assignment.environment(self.inherited, self.own.clone())?,
            // Containers end at once; what was between them goes only after them.
            grace: MAX_GRACE,
        })
    }
}
