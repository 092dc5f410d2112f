//! `waybill init`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::args::InitArgs;
use crate::cli::exit;
use crate::cli::output::{Output, Style, problem_json};
use crate::cli::settings::Settings;
use crate::cli::stopped::Ended;
use crate::gather::{MANIFEST_NAMES, find_dockerfiles};
use crate::git::Repository;
use crate::manifest::{self, Draft, Manifest};
use crate::model::RepoPath;
use crate::problem::{Class, Failure, Problem};

pub(in crate::cli) fn run(settings: &Settings, args: &InitArgs, output: Output) -> Ended {
    let repository = Repository::open(&settings.directory)?;
    let place = Place::find(&repository, settings.manifest.as_ref())?;
    if place.exists && !args.force && !args.stdout {
        return Err(stands(&place.path).into());
    }
    let (found, mut warnings) = find_dockerfiles(&repository)?;
    if found.is_empty() {
        return Err(nothing_found().into());
    }
    let name = repository.root().file_name().unwrap_or_default();
    let draft = manifest::draft(&name.to_string_lossy(), &found);
    warnings.extend(draft.warnings.iter().cloned());
    if args.stdout {
        output.problems(&warnings);
        output.data(&draft.text)?;
        return Ok(exit::DONE);
    }
    std::fs::write(&place.on_disk, &draft.text).map_err(|error| unwritable(&place, &error))?;
    let manifest = read_back(&place.path, &draft);
    if output.json {
        output.document(&document(&place.path, manifest.as_ref(), &warnings))?;
    } else {
        output.problems(&warnings);
        output.data(&text(&place.path, manifest.as_ref(), output))?;
    }
    Ok(exit::DONE)
}

/// Where the manifest goes.
struct Place {
    path: RepoPath,
    on_disk: PathBuf,
    exists: bool,
}

impl Place {
    /// The path that was asked for, or where a manifest stands, or the first of the usual names.
    fn find(repository: &Repository, asked: Option<&RepoPath>) -> Result<Self, Failure> {
        // The listing says whether there is a work tree at all.
        repository.work_tree()?;
        let place = |path: RepoPath| {
            let relative = OsStr::from_bytes(path.as_bytes());
            let on_disk = repository.root().join(relative);
            let exists = on_disk.symlink_metadata().is_ok();
            Self {
                path,
                on_disk,
                exists,
            }
        };
        if let Some(path) = asked {
            return Ok(place(path.clone()));
        }
        let mut usual = MANIFEST_NAMES.map(RepoPath::from).map(place).into_iter();
        let first = place(RepoPath::from(MANIFEST_NAMES[0]));
        Ok(usual.find(|place| place.exists).unwrap_or(first))
    }
}

/// The draft as the manifest that it is.
fn read_back(path: &RepoPath, draft: &Draft) -> Option<Manifest> {
    let raw = manifest::read(path, draft.text.as_bytes()).ok()?;
    raw.check(&BTreeMap::new()).manifest
}

fn document(path: &RepoPath, manifest: Option<&Manifest>, warnings: &[Problem]) -> Value {
    let projects = manifest
        .iter()
        .flat_map(|manifest| manifest.projects.values());
    let projects: Vec<Value> = projects
        .map(|project| {
            json!({
                "name": project.name,
                "buildDir": project.build_dir,
                "dockerfile": project.dockerfile,
                "dependencies": project.dependencies,
            })
        })
        .collect();
    json!({
        "schema": "waybill.init/1",
        "manifest": path,
        "projects": projects,
        "problems": warnings.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

fn text(path: &RepoPath, manifest: Option<&Manifest>, output: Output) -> String {
    let mut text = String::new();
    let projects = manifest.map(|manifest| &manifest.projects);
    let projects: Vec<_> = projects.into_iter().flat_map(BTreeMap::values).collect();
    let widths = projects.iter().map(|project| project.name.as_str().len());
    let width = widths.max().unwrap_or(0);
    for project in &projects {
        let name = output.paint(Style::Bold, format!("{:<width$}", project.name));
        let file = project.build_dir.join(project.dockerfile.as_bytes());
        let names: Vec<&str> = project.dependencies.iter().map(AsRef::as_ref).collect();
        let uses = match names.as_slice() {
            [] => String::new(),
            names => format!(", depends on {}", names.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}  {}{uses}", file.unwrap_or_default());
    }
    let plural = if projects.len() == 1 { "" } else { "s" };
    let _ = writeln!(
        text,
        "Wrote {path} with {} project{plural}. Next: look it over and correct it with \
         `waybill check`, commit it, then `waybill build`.",
        projects.len()
    );
    text
}

fn stands(path: &RepoPath) -> Failure {
    let problem = Problem::error("manifest-exists", format!("there is a manifest: {path}"))
        .hint("--force overwrites it, and --stdout prints a draft beside it");
    Failure::new(Class::Usage, problem)
}

fn nothing_found() -> Failure {
    let message = "there is no Dockerfile in the work tree";
    let problem = Problem::error("no-dockerfile-found", message).hint(
        "files named Dockerfile, Dockerfile.*, *.Dockerfile or Containerfile are looked for, \
         ignored ones excepted",
    );
    Failure::new(Class::Usage, problem)
}

fn unwritable(place: &Place, error: &std::io::Error) -> Failure {
    let message = format!("{} cannot be written: {error}", place.path);
    Failure::new(Class::Usage, Problem::error("unwritable-manifest", message))
}
