//! What a task comes to before it runs: a command of the host, or containers to be attended.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::attend::{AttendError, Container, Program, Services, Work};
use super::attended::Attended;
use super::environment;
use super::process::{Command, Ended, GRACE, Stream, Supervisor};
use super::tasks::TaskRunner;
use crate::build::engine::Engine;
use crate::manifest::{Action, ContainerImage, Run};
use crate::model::{Digest, ProjectName, RepoPath};
use crate::plan::FoundTask;
use crate::problem::{Class, Failure, Problem};

/// What runs command lines, on the host and in containers.
const SHELL: &str = "sh";

/// What takes part in a task.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) runner: &'a TaskRunner,
    pub(super) task: &'a FoundTask,
    /// By project: full references and digests.
    pub(super) images: &'a BTreeMap<ProjectName, (String, Digest)>,
}

/// A task that can run.
pub(super) enum Prepared<'a> {
    Host(Command),
    Attended(Attended<'a>),
}

impl Prepared<'_> {
    /// Runs it once, as [`Supervisor::run`] runs a command.
    pub(super) async fn run(
        &self,
        supervisor: &Supervisor,
        limit: Option<Duration>,
        stop: &CancellationToken,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Ended, Failure> {
        match self {
            Self::Host(command) => Ok(supervisor.run(command, limit, stop, output).await?),
            Self::Attended(attended) => attended.run(supervisor, limit, stop, output).await,
        }
    }
}

impl<'a> Parts<'a> {
    /// Makes a task ready: the engine that it needs answers then, and has its images. `folder` is
    /// the task's own.
    pub(super) async fn prepare(self, folder: &'a TempDir) -> Result<Prepared<'a>, Failure> {
        let artifacts = folder.path().join("artifacts");
        make_open(&artifacts).map_err(|error| no_folder(&error))?;
        let own = self.variables(&artifacts)?;
        let (engine, work) = match &self.task.task.action {
            Action::Script(run) => return Ok(Prepared::Host(self.command(run, own))),
            Action::Container { image, run } => {
                self.container(image, run.as_ref(), artifacts).await?
            }
            Action::Compose { service, .. } => self.services(service.as_deref()).await?,
        };
        Ok(Prepared::Attended(Attended {
            engine,
            work,
            inherited: &self.runner.environment,
            own,
            folder,
        }))
    }

    /// What a task is told, with its secrets.
    fn variables(self, artifacts: &Path) -> Result<BTreeMap<OsString, OsString>, Failure> {
        let references = self.images.iter();
        let references = references.map(|(name, (image, _))| (name.clone(), image.clone()));
        let mut variables = environment::own(self.task, self.runner.commit, &references.collect());
        variables.insert("WAYBILL_ARTIFACTS".into(), artifacts.into());
        for id in &self.task.task.secrets {
            let value = self.runner.secrets.get(id);
            let value = value.ok_or_else(|| missing_secret(id))?;
            variables.insert(id.into(), OsString::from_vec(value.reveal().to_vec()));
        }
        Ok(variables)
    }

    fn arguments(self) -> &'a [String] {
        &self.task.inputs.definition.args
    }

    fn command(self, run: &Run, own: BTreeMap<OsString, OsString>) -> Command {
        let (program, arguments) = match run {
            Run::File(_) => (self.file().into_os_string(), self.arguments().to_vec()),
            Run::Line(line) => (SHELL.into(), self.line(line)),
        };
        let mut environment = self.runner.environment.clone();
        environment.extend(own);
        Command {
            program,
            arguments: arguments.into_iter().map(OsString::from).collect(),
            directory: self.path(&self.task.directory),
            environment,
            grace: GRACE,
        }
    }

    /// What the shell is given to run a line with the task's arguments.
    fn line(self, line: &str) -> Vec<String> {
        let given = self.arguments();
        let line = if given.is_empty() {
            line.to_owned()
        } else {
            format!("{line} \"$@\"")
        };
        let name = self.task.id.task.as_str().to_owned();
        let words = ["-c".to_owned(), line, name].into_iter();
        words.chain(given.iter().cloned()).collect()
    }

    async fn container(
        self,
        image: &ContainerImage,
        run: Option<&Run>,
        artifacts: PathBuf,
    ) -> Result<(&'a Engine, Work), Failure> {
        let reference = match image {
            ContainerImage::Project(name) => self.images.get(name).map(|(image, _)| image),
            ContainerImage::Reference(reference) => Some(reference),
        };
        let reference = reference.cloned().unwrap_or_default();
        let engine = self.engine().await?;
        self.runner.containers.provide(&reference).await?;
        let work = Work::Container(Container {
            name: String::new(),
            task: self.task.id.to_string(),
            image: reference,
            program: match run {
                None => Program::Own,
                Some(Run::Line(line)) => {
                    let shell = std::iter::once(SHELL.to_owned());
                    Program::Words(shell.chain(self.line(line)).collect())
                }
                Some(Run::File(_)) => Program::File(self.file()),
            },
            arguments: self.arguments().to_vec(),
            artifacts: engine.is_local().then_some(artifacts),
        });
        Ok((engine, work))
    }

    /// The engine, which must see this machine's files where artifacts are asked for.
    async fn engine(self) -> Result<&'a Engine, Failure> {
        let engine = self.runner.containers.engine().await?;
        if engine.is_local() || self.task.task.artifacts.is_empty() {
            return Ok(engine);
        }
        let address = engine.info().address.clone();
        Err(AttendError::NoArtifacts { address }.into())
    }

    async fn services(self, service: Option<&str>) -> Result<(&'a Engine, Work), Failure> {
        let engine = self.engine().await?;
        for (reference, _) in self.images.values() {
            self.runner.containers.provide(reference).await?;
        }
        let service = service.unwrap_or(self.task.id.project.as_str());
        let work = Work::Services(Services {
            name: String::new(),
            file: self.file(),
            directory: self.path(&self.task.directory),
            service: service.to_owned(),
        });
        Ok((engine, work))
    }

    /// The file of the repository that the task names.
    fn file(self) -> PathBuf {
        let file = self.task.file.as_ref();
        file.map(|file| self.path(file)).unwrap_or_default()
    }

    fn path(self, path: &RepoPath) -> PathBuf {
        self.runner
            .directory
            .join(OsStr::from_bytes(path.as_bytes()))
    }
}

/// Makes a directory that every user may write, for a container may run as any; it is in one that
/// others do not see.
fn make_open(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(0o777))
}

fn missing_secret(id: &str) -> Failure {
    let problem = Problem::error("secret-missing", format!("no value for secret '{id}'")).hint(
        format!("give --secret id={id},env=VARIABLE or id={id},src=FILE"),
    );
    Failure::new(Class::Usage, problem)
}

/// The failure that there is no place for what a task makes.
pub(super) fn no_folder(error: &std::io::Error) -> Failure {
    let message = format!("there is no folder for artifacts: {error}");
    let problem = Problem::error("no-artifact-folder", message)
        .hint("look whether the directory that TMPDIR names can be written");
    Failure::new(Class::Usage, problem)
}
