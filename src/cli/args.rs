//! The command line as clap reads it. What it means is settled in `settings`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds the container images of a monorepo; the registry is the only memory.
#[derive(Debug, Parser)]
#[command(
    name = "waybill",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Examples:
  waybill init                  write a first manifest from the Dockerfiles that are there
  waybill check                 everything that is wrong with the manifest, at once
  waybill plan                  what would be built at HEAD, and why
  waybill build                 build, push and record what changed
  waybill build api --jobs 2    one project, and the missing images that it uses
  waybill why api               why it is built now, or what proves that it need not be

Exit codes: 0 done, 1 something failed, 2 usage, manifest or repository, 3 a registry or engine
could not be reached or refused, 4 the gate is closed, 10 `plan --exit-code` would build,
130 interrupted.")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// Work in this directory instead of the current one.
    #[arg(short = 'C', value_name = "DIR", global = true, env = "WAYBILL_DIR")]
    pub(super) directory: Option<PathBuf>,
    /// The manifest's path in the repository [default: `build_manifest.json`, .yml or .yaml].
    #[arg(long, value_name = "PATH", global = true, env = "WAYBILL_MANIFEST")]
    pub(super) manifest: Option<String>,
    /// The base that is written: host/prefix, host:port/prefix, or `embedded`; `ecr://host/prefix`
    /// for a host that is Amazon ECR's and does not look it.
    #[arg(long, value_name = "BASE", global = true, env = "WAYBILL_REGISTRY")]
    pub(super) registry: Option<String>,
    /// A base that is read after it and never written, or `none`.
    #[arg(long, value_name = "BASE", global = true, env = "WAYBILL_UPSTREAM")]
    pub(super) upstream: Option<String>,
    /// A file of certificates in PEM to trust besides the system's, for registries with a private
    /// authority.
    #[arg(long, value_name = "FILE", global = true, env = "WAYBILL_REGISTRY_CA")]
    pub(super) registry_ca: Option<String>,
    /// The commit, by any name that git knows [default: HEAD].
    #[arg(long, value_name = "REV", global = true, env = "WAYBILL_COMMIT")]
    pub(super) commit: Option<String>,
    /// The release tag; part of the key of images whose Dockerfile declares `COMMIT_TAG`.
    #[arg(long, value_name = "TAG", global = true, env = "WAYBILL_TAG")]
    pub(super) tag: Option<String>,
    /// Print one JSON document on stdout, errors included.
    #[arg(long, global = true, env = "WAYBILL_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) json: bool,
    /// When to use colour.
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        env = "WAYBILL_COLOR",
        default_value = "auto"
    )]
    pub(super) color: When,
    /// How progress is shown.
    #[arg(
        long,
        value_name = "HOW",
        global = true,
        env = "WAYBILL_PROGRESS",
        default_value = "auto"
    )]
    pub(super) progress: ProgressStyle,
    /// Say more: requests and times.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say only what went wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressStyle {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars.
    Tty,
    /// Plain lines, grouped by project.
    Plain,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a first manifest from the Dockerfiles in the work tree.
    Init(InitArgs),
    /// Find everything that is wrong with the manifest and its Dockerfiles.
    Check(CheckArgs),
    /// Say what would be built, and why.
    Plan(PlanArgs),
    /// Build, push and record what changed, and what depends on it.
    Build(BuildArgs),
    /// Run tasks that have not passed yet, and remember that they have.
    Run(RunArgs),
    /// Print a project's image, by digest.
    Image(ImageArgs),
    /// Explain why a project is built, or prove that it need not be.
    Why(WhyArgs),
    /// Show a project commit by commit: key, tags, and what became of it.
    History(HistoryArgs),
    /// Print the stored log of a build.
    Log(LogArgs),
    /// Distrust the image of a project: it is built again under another key.
    Taint(TaintArgs),
    /// Show where every project of the commit stands, and what keeps it from being sealed.
    Status(StatusArgs),
    /// Write the waybill of the commit, once every project has succeeded.
    Seal(SealArgs),
    /// Compare two commits or waybills: the images, and what is behind each change.
    Diff(DiffArgs),
    /// Set up a base, or serve the embedded registry.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Print JSON Schemas: of the manifest, or of a command's JSON.
    Schema(SchemaArgs),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// For benchmarks and tests.
    #[command(subcommand, hide = true)]
    Debug(DebugCommand),
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Print the manifest instead of writing it.
    #[arg(long)]
    pub(super) stdout: bool,
    /// Overwrite a manifest that stands.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Reads the work tree; with --commit REV given, that commit.")]
pub(super) struct CheckArgs {
    /// Fail on warnings too.
    #[arg(long)]
    pub(super) strict: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct HistoryLimit {
    /// How many commits of history may be searched.
    #[arg(
        long = "history",
        value_name = "N",
        default_value_t = 500,
        env = "WAYBILL_HISTORY"
    )]
    pub(super) limit: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  waybill plan                       one line for each project that would be built
  waybill plan --all                 those that are reused too
  waybill plan api --json            for scripts
  waybill plan --exit-code           exit 10 if anything would be built
  waybill plan -o plan.json          for jobs that run `waybill build api --plan plan.json`
  waybill plan --if libs/log/log.go  what a change of this file would build")]
pub(super) struct PlanArgs {
    /// Only these projects, and the images that they use.
    pub(super) projects: Vec<String>,
    /// List reused projects too.
    #[arg(long)]
    pub(super) all: bool,
    /// Exit with 10 if something would be built.
    #[arg(long)]
    pub(super) exit_code: bool,
    /// Ask the registry for every image that is to be reused.
    #[arg(long)]
    pub(super) verify: bool,
    /// Write the plan into a file too, for `build --plan` in other jobs.
    #[arg(short, long, value_name = "FILE", conflicts_with = "if_changed")]
    pub(super) output: Option<PathBuf>,
    /// What a change of these paths would build; no registry is asked.
    #[arg(long = "if", value_name = "PATH", num_args = 1..)]
    pub(super) if_changed: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) history: HistoryLimit,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag")]
#[command(after_help = "\
Examples:
  waybill build                          everything that changed
  waybill build api web --jobs 2         these, and the missing images that they use
  waybill build --force api              build it whatever stands
  waybill build api --secret id=npm,env=NPM_TOKEN
  waybill build api --worktree           local edits; the image stays in the engine")]
pub(super) struct BuildArgs {
    /// Only these projects, and the missing images that they use.
    pub(super) projects: Vec<String>,
    /// How many images are built at once [default: the number of processors, at most 8].
    #[arg(short, long, value_name = "N", env = "WAYBILL_JOBS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Stop everything at the first failure.
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// How long one image may take, such as 90s, 30m or 2h.
    #[arg(long, value_name = "TIME", env = "WAYBILL_TIMEOUT", value_parser = crate::model::parse_duration)]
    pub(super) timeout: Option<std::time::Duration>,
    /// Use no layer cache.
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Print the plan and stop.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Take this plan, made by `plan -o FILE` at the same commit: only the records and taints of
    /// the named projects are asked for again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["force", "worktree"])]
    pub(super) plan: Option<PathBuf>,
    /// Build the named projects whatever stands.
    #[arg(long, requires = "projects")]
    pub(super) force: bool,
    /// Build what is in the work tree; the image stays in the engine.
    #[arg(long, requires = "projects")]
    pub(super) worktree: bool,
    /// A build secret: id=ID,env=VARIABLE or id=ID,src=FILE.
    #[arg(long = "secret", value_name = "SPEC")]
    pub(super) secrets: Vec<String>,
    #[command(flatten)]
    pub(super) history: HistoryLimit,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag")]
#[command(after_help = "\
Examples:
  waybill run unit                     in every project whose content has not passed it
  waybill run lint unit -p api --deps  in api and all that it depends on
  waybill run unit -p api -- -v        with an argument, which makes it another task
  waybill run unit --dry-run           what would be run, and what has passed
  waybill run unit --worktree          local edits; remembered on this machine only")]
pub(super) struct RunArgs {
    /// The tasks, or sequences of them.
    #[arg(required = true)]
    pub(super) tasks: Vec<String>,
    /// Only those of these projects, and the tasks that they need.
    #[arg(short, long = "project", value_name = "PROJECT", num_args = 1)]
    pub(super) projects: Vec<String>,
    /// Those of the projects' dependencies too.
    #[arg(long, requires = "projects")]
    pub(super) deps: bool,
    /// How many tasks run at once [default: the number of processors, at most 8].
    #[arg(short, long, value_name = "N", env = "WAYBILL_JOBS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Go on with what needs nothing that failed.
    #[arg(long)]
    pub(super) keep_going: bool,
    /// Fail if one of the projects does not have the task.
    #[arg(long)]
    pub(super) fail_on_undefined: bool,
    /// Print what would be run, and stop.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Run on what is in the work tree; the results stay on this machine.
    #[arg(long)]
    pub(super) worktree: bool,
    /// A secret: id=ID,env=VARIABLE or id=ID,src=FILE.
    #[arg(long = "secret", value_name = "SPEC")]
    pub(super) secrets: Vec<String>,
    #[command(flatten)]
    pub(super) history: HistoryLimit,
    /// Arguments for the tasks, after their own.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(super) arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ImageFormat {
    /// host/prefix/project@sha256:…
    Ref,
    /// sha256:…
    Digest,
    /// `PROJECT_IMAGE=host/prefix/project@sha256`:…
    Env,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  docker run --rm \"$(waybill image api)\"")]
pub(super) struct ImageArgs {
    /// The projects.
    #[arg(required = true)]
    pub(super) projects: Vec<String>,
    /// How to print them.
    #[arg(long, value_name = "FORMAT", default_value = "ref")]
    pub(super) format: ImageFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  waybill why api                  at HEAD
  waybill why api --commit v1.2    any recorded build
  waybill why api --inputs         every input of the key")]
pub(super) struct WhyArgs {
    /// The project.
    pub(super) project: String,
    /// List every input of the key, so that anybody can compute it again.
    #[arg(long)]
    pub(super) inputs: bool,
    #[command(flatten)]
    pub(super) history: HistoryLimit,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The project.
    pub(super) project: String,
    /// How many commits.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) number: usize,
    /// Follow first parents only.
    #[arg(long)]
    pub(super) first_parent: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  waybill log api                 the build that stands
  waybill log api --failed        the last build that failed
  waybill log api unit            a task's last success
  waybill log api unit --times    with the time and the stream of each line")]
pub(super) struct LogArgs {
    /// The project.
    pub(super) project: String,
    /// One of its tasks; else its build.
    pub(super) task: Option<String>,
    /// Begin each line of a task's log with its time, and with its stream: out, err, or --- for
    /// what waybill says.
    #[arg(long, requires = "task")]
    pub(super) times: bool,
    /// The log of the last failure instead of the last success.
    #[arg(long)]
    pub(super) failed: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  waybill taint base --why 'built on a compromised mirror'")]
pub(super) struct TaintArgs {
    /// The projects.
    #[arg(required = true)]
    pub(super) projects: Vec<String>,
    /// Why, for everybody who asks later.
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  waybill status                what is done at HEAD, and what is not
  waybill status --exit-code    exit 4 while something keeps the commit from being sealed")]
pub(super) struct StatusArgs {
    /// List the projects that are done too.
    #[arg(long)]
    pub(super) all: bool,
    /// Exit with 4 if something keeps the commit from being sealed.
    #[arg(long)]
    pub(super) exit_code: bool,
    #[command(flatten)]
    pub(super) history: HistoryLimit,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Seals only in a base that was made without an upstream. Exits with 4, and names every project that
is in the way, where not everything has succeeded. Sealing what is sealed changes nothing.")]
pub(super) struct SealArgs {
    #[command(flatten)]
    pub(super) history: HistoryLimit,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  waybill diff v1.4.0              what differs between that tag and HEAD
  waybill diff HEAD~20 HEAD
  waybill diff v1-release-2f1c…    a waybill by its tag, as `waybill seal` prints it")]
pub(super) struct DiffArgs {
    /// A commit by any name that git knows, or a waybill.
    pub(super) first: String,
    /// What it is compared with [default: the commit, HEAD].
    pub(super) second: Option<String>,
    /// List the projects that are the same too.
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// Set up a new base: its markers and, on Amazon ECR, its repositories.
    Init(RegistryInitArgs),
    /// Serve the embedded registry until interrupted.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Amazon ECR makes no repositories on push: those of the ledger and of the manifest's projects are made,
with immutable tags, scanning on push and a lifecycle policy. Those that stand keep their settings.")]
pub(super) struct RegistryInitArgs {
    /// Print as JSON what repositories on Amazon ECR are made with, and stop; no registry is asked.
    #[arg(long)]
    pub(super) print_policy: bool,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    pub(super) listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// `manifest`, or a command with --json.
    #[arg(default_value = "manifest")]
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Subcommand)]
pub(super) enum DebugCommand {
    /// Compute the keys of all projects, and print their number and a digest over them.
    Keys,
    /// Write a record for every key, with digests of nothing.
    RecordAll(RecordAllArgs),
    /// Run a command as tasks are run, and say on stderr how it ended.
    Run(DebugRunArgs),
}

#[derive(Debug, Args)]
pub(super) struct DebugRunArgs {
    /// How long it may take.
    #[arg(long, value_name = "TIME", value_parser = crate::model::parse_duration)]
    pub(super) limit: Option<std::time::Duration>,
    /// The program.
    pub(super) program: OsString,
    /// What it is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct RecordAllArgs {
    /// Carry the plan out as a build does, with tiny images that no engine made.
    #[arg(long)]
    pub(super) images: bool,
    /// With --images: they are this process's own, as those of real builds are.
    #[arg(long, requires = "images")]
    pub(super) distinct: bool,
    /// With --images: these projects fail.
    #[arg(long, value_name = "PROJECT", requires = "images")]
    pub(super) fail: Vec<String>,
}
