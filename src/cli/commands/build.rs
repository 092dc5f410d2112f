//! `waybill build`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::build::engine::Engine;
use crate::build::{ExternalImages, ImageBuilder, Keep, check_reach};
use crate::cli::args::{BuildArgs, Global};
use crate::cli::plan_file;
use crate::cli::render::progress::Progress;
use crate::cli::session::{OpenBases, Session, now, timestamp};
use crate::cli::stopped::Ended;
use crate::cli::{exit, render, signal};
use crate::event::Verdict;
use crate::execute::{Executor, Options, Report, execute};
use crate::gather::{GatherError, Planning};
use crate::git::Repository;
use crate::ledger::breakdown;
use crate::mask::Secrets;
use crate::model::{ProjectName, Reason};
use crate::plan::{Action, Plan};
use crate::problem::{Class, Failure, Problem};

/// The most images that are built at once where nobody says how many.
const MAX_JOBS: usize = 8;

pub(in crate::cli) async fn run(session: Session, global: &Global, args: &BuildArgs) -> Ended {
    if args.worktree {
        let session = session.in_work_tree()?;
        return build_session(&session, global, args).await;
    }
    session.note_uncommitted();
    build_session(&session, global, args).await
}

async fn build_session(session: &Session, global: &Global, args: &BuildArgs) -> Ended {
    let secrets = read_secrets(&args.secrets)?;
    let mut request = session.request(&args.projects, args.history.limit)?;
    let bases = session.bases().await?;
    request.by = session.repository.identity();
    if args.force {
        request.force = request.projects.clone().unwrap_or_default();
    }
    if let Some(file) = &args.plan {
        request.carried = Some(Arc::new(plan_file::read(file, session, &bases)?));
    }
    let planning = session.plan(&bases, &request).await?;
    check_buildable(&planning.plan, &session.names(&args.projects)?)?;
    if args.dry_run {
        dry_run(session, &planning.plan, &bases)?;
        session.close(bases).await;
        return Ok(exit::DONE);
    }
    let progress = Progress::new(global.progress, session.output);
    let stop = signal::stop();
    let mut idle = idle_executor(&planning, &progress, &bases, &stop);
    idle.by.clone_from(&request.by);
    let report = if has_work(&planning.plan) {
        build(session, args, &bases, planning, secrets, idle).await?
    } else {
        execute(&planning.plan, &idle).await?
    };
    if args.worktree && !session.output.json {
        let named = session.names(&args.projects)?;
        session.output.data(&render::report::names(
            &named,
            &report,
            session.commit,
            &bases,
        ))?;
    }
    let ended = end(session, &report, &progress, &bases, stop.is_cancelled())?;
    session.close(bases).await;
    Ok(ended)
}

fn dry_run(session: &Session, plan: &Plan, bases: &OpenBases) -> Ended {
    if session.output.json {
        session
            .output
            .document(&render::plan::document(plan, bases))?;
    } else {
        session
            .output
            .data(&render::plan::text(plan, false, &session.output))?;
    }
    Ok(exit::DONE)
}

fn has_work(plan: &Plan) -> bool {
    plan.builds().next().is_some()
}

/// Asking to build what has nothing to build is an error.
fn check_buildable(plan: &Plan, named: &[ProjectName]) -> Result<(), GatherError> {
    for name in named {
        let Some(planned) = plan.projects.get(name) else {
            continue;
        };
        let why = match (&planned.action, &planned.reason) {
            (Action::None, Reason::NoDockerfile) => "it has no Dockerfile",
            (Action::None, _) => "no file matches its patterns",
            _ => continue,
        };
        return Err(GatherError::NothingToBuild {
            name: name.clone(),
            commit: plan.commit,
            why,
        });
    }
    Ok(())
}

async fn build(
    session: &Session,
    args: &BuildArgs,
    bases: &OpenBases,
    planning: Planning,
    secrets: BTreeMap<String, Vec<u8>>,
    idle: Executor,
) -> Result<Report, Failure> {
    let engine = Engine::connect().await?;
    let client = bases.bases.registry.client().clone();
    let upstream = bases.bases.upstream.as_ref();
    check_reach(&engine, &client).await?;
    let masked = Secrets::new(secrets.values().cloned());
    let plan = planning.plan;
    let created = timestamp(planning.facts.commit.time);
    let builder = ImageBuilder {
        repository: Arc::new(Repository::open(&session.settings.directory)?),
        facts: Arc::new(planning.facts),
        engine,
        client,
        upstream: upstream.map(|ledger| ledger.client().clone()),
        secrets,
        external: ExternalImages::new(session.settings.roots.clone()),
        keep: if bases.is_embedded() {
            Keep::Image
        } else {
            Keep::Nothing
        },
        created,
    };
    let executor = Executor {
        builder: Arc::new(builder),
        secrets: masked,
        options: Options {
            jobs: args.jobs.map_or_else(default_jobs, usize::from),
            fail_fast: args.fail_fast,
            timeout: args.timeout,
            layer_cache: !args.no_cache,
            ..Options::default()
        },
        ..idle
    };
    execute(&plan, &executor).await
}

/// An executor for a plan with nothing to build: it needs no engine.
fn idle_executor(
    planning: &Planning,
    progress: &Progress,
    bases: &OpenBases,
    stop: &CancellationToken,
) -> Executor {
    Executor {
        bases: bases.bases.clone(),
        builder: Arc::new(NoEngine),
        sink: Arc::clone(&progress.sink),
        secrets: Secrets::default(),
        stop: stop.clone(),
        now: Arc::new(now),
        by: String::new(),
        inputs: Arc::new(inputs(planning)),
        options: Options::default(),
    }
}

/// The inputs of every key that may be recorded.
fn inputs(planning: &Planning) -> BTreeMap<ProjectName, serde_json::Value> {
    let recorded = planning
        .plan
        .projects
        .values()
        .filter(|planned| match planned.action {
            Action::Build(_) => true,
            Action::Reuse { adopt, .. } => adopt,
            Action::None => false,
        });
    recorded
        .filter_map(|planned| {
            let inputs = planning.inputs(&planned.name)?;
            Some((planned.name.clone(), breakdown(&inputs)))
        })
        .collect()
}

/// Stands where nothing is to be built.
struct NoEngine;

#[async_trait::async_trait]
impl crate::execute::builder::Builder for NoEngine {
    async fn build(
        &self,
        job: &crate::execute::builder::Job,
        _progress: &(dyn Fn(crate::execute::builder::Progress) + Send + Sync),
    ) -> Result<crate::execute::builder::Pushed, crate::execute::builder::BuildError> {
        let message = format!(
            "{} was to be built by a plan with nothing to build",
            job.project
        );
        let problem = Problem::error("no-engine", message);
        let failure = Failure::new(Class::Unreachable, problem);
        Err(crate::execute::builder::BuildError::Other(failure))
    }
}

pub(super) fn default_jobs() -> usize {
    std::thread::available_parallelism()
        .map_or(2, NonZero::get)
        .min(MAX_JOBS)
}

fn end(
    session: &Session,
    report: &Report,
    progress: &Progress,
    bases: &OpenBases,
    interrupted: bool,
) -> Ended {
    if session.output.json {
        session
            .output
            .document(&render::report::document(report, session.commit, bases))?;
    }
    session
        .output
        .status(render::report::text(report, progress, &session.output));
    Ok(exit_code(report, interrupted))
}

/// 0 if everything succeeded; else of what went wrong the most telling.
fn exit_code(report: &Report, interrupted: bool) -> u8 {
    let verdicts = || report.verdicts.values().map(|(verdict, _)| verdict);
    let failed = verdicts().any(|verdict| matches!(verdict, Verdict::Failed { .. }));
    let classes = verdicts().filter_map(|verdict| match verdict {
        Verdict::Error { class, .. } => Some(*class),
        _ => None,
    });
    let blocked = verdicts().any(|verdict| matches!(verdict, Verdict::Blocked { .. }));
    exit_code_of(failed, classes.min(), interrupted, blocked)
}

/// The exit code of work of which some failed, some went wrong in a class, some was cut off or
/// blocked: of all that, the most telling.
pub(super) fn exit_code_of(
    failed: bool,
    class: Option<Class>,
    interrupted: bool,
    blocked: bool,
) -> u8 {
    match (failed, class) {
        (true, _) => exit::code(Class::Failed),
        (false, Some(class)) => exit::code(class),
        (false, None) if interrupted => exit::code(Class::Interrupted),
        (false, None) if blocked => exit::code(Class::Failed),
        (false, None) => exit::DONE,
    }
}

/// Reads `id=ID,env=VARIABLE` and `id=ID,src=FILE`, as `docker build --secret` has them.
pub(super) fn read_secrets(specs: &[String]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    specs.iter().map(|spec| read_secret(spec)).collect()
}

fn read_secret(spec: &str) -> Result<(String, Vec<u8>), Failure> {
    let wrong = |why: String| {
        let problem = Problem::error("invalid-secret", why)
            .hint("write --secret id=ID,env=VARIABLE or --secret id=ID,src=FILE");
        Failure::new(Class::Usage, problem)
    };
    let (mut id, mut env, mut file) = (None, None, None);
    for part in spec.split(',') {
        match part.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("env", value)) => env = Some(value),
            Some(("src" | "source", value)) => file = Some(value),
            Some(("type", "env" | "file")) => {}
            // The text may hold the secret itself, where somebody took this for id=value.
            _ => return Err(wrong("a part of --secret is not understood".to_owned())),
        }
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Err(wrong("--secret names no id".to_owned()));
    };
    let value = match (env, file) {
        (Some(name), None) => std::env::var_os(name)
            .map(std::os::unix::ffi::OsStringExt::into_vec)
            .ok_or_else(|| wrong(format!("the variable {name} of secret '{id}' is not set")))?,
        (None, Some(path)) => std::fs::read(path)
            .map_err(|error| wrong(format!("secret '{id}' cannot be read: {path}: {error}")))?,
        _ => return Err(wrong(format!("secret '{id}' needs one of env= and src="))),
    };
    Ok((id.to_owned(), value))
}
