//! A first manifest, drawn up from the Dockerfiles that a repository has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::graph::Graph;
use crate::model::{ProjectName, RepoPath};
use crate::problem::{Location, Problem};

/// A Dockerfile of the repository, and the images that it names (not its own stages).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDockerfile {
    /// Where it stands.
    pub path: RepoPath,
    /// The images of its `FROM`s, as written, variables expanded.
    pub from_images: Vec<String>,
    /// The images of its `COPY --from`s and mounts, as written, variables expanded.
    pub copy_from_images: Vec<String>,
}

/// A manifest to be looked over by a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The manifest, full shape, JSON.
    pub text: String,
    /// What was guessed, or left out.
    pub warnings: Vec<Problem>,
}

/// Draws up a manifest: one project for each Dockerfile, named after its directory (`repository` in
/// the root), depending on the projects whose names end the names of its images.
#[must_use]
pub fn draft(repository: &str, dockerfiles: &[FoundDockerfile]) -> Draft {
    let mut warnings = Vec::new();
    let mut projects = name_projects(repository, dockerfiles, &mut warnings);
    let aliases = find_dependencies(&mut projects, &mut warnings);
    cut_cycles(&mut projects, &mut warnings);
    Draft {
        text: render(&aliases, &projects),
        warnings,
    }
}

/// A project in the making.
struct Sketch<'a> {
    found: &'a FoundDockerfile,
    directory: &'a str,
    file: &'a str,
    dependencies: BTreeSet<ProjectName>,
}

type Sketches<'a> = BTreeMap<ProjectName, Sketch<'a>>;

fn name_projects<'a>(
    repository: &str,
    dockerfiles: &'a [FoundDockerfile],
    warnings: &mut Vec<Problem>,
) -> Sketches<'a> {
    let mut sketches: Vec<Sketch> = Vec::new();
    for found in dockerfiles {
        match std::str::from_utf8(found.path.as_bytes()) {
            Ok(path) => {
                let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
                sketches.push(Sketch {
                    found,
                    directory,
                    file,
                    dependencies: BTreeSet::new(),
                });
            }
            Err(_) => warnings.push(
                Problem::warning(
                    "path-not-utf8",
                    "this path cannot stand in a manifest: left out",
                )
                .at(Location::file(found.path.to_string())),
            ),
        }
    }
    sketches.sort_by_key(|sketch| &sketch.found.path);
    sketches.dedup_by_key(|sketch| &sketch.found.path);
    let mut projects = Sketches::new();
    let shortest: Vec<String> = sketches
        .iter()
        .map(|sketch| name_of(repository, sketch, 1))
        .collect();
    for sketch in sketches {
        let wanted = name_of(repository, &sketch, 1);
        let is_shared = shortest.iter().filter(|name| **name == wanted).count() > 1;
        let Some(name) = free_name(repository, &sketch, is_shared, &projects) else {
            continue;
        };
        if name.as_str() != wanted {
            let message = format!("'{wanted}' would be the name of two: this one is '{name}'");
            warnings.push(
                Problem::warning("guessed-name", message)
                    .project(&name)
                    .at(Location::file(sketch.found.path.to_string())),
            );
        }
        projects.insert(name, sketch);
    }
    projects
}

/// A name that is not taken: with more of the directory's path in it where the last component is
/// shared, then with a number.
fn free_name(
    repository: &str,
    sketch: &Sketch,
    is_shared: bool,
    taken: &Sketches,
) -> Option<ProjectName> {
    let depth = sketch.directory.split('/').count();
    let first = if is_shared { 2.min(depth) } else { 1 };
    let longest = name_of(repository, sketch, depth);
    let by_path = (first..=depth).map(|components| name_of(repository, sketch, components));
    let by_number = (2..).map(|number: usize| format!("{longest}-{number}"));
    by_path
        .chain(by_number)
        .take(taken.len() + depth + 1)
        .filter_map(|name| name.parse::<ProjectName>().ok())
        .find(|name| !taken.contains_key(name))
}

/// The name by the last so many components of the directory, and what the file's name adds to
/// `Dockerfile`.
fn name_of(repository: &str, sketch: &Sketch, components: usize) -> String {
    let all: Vec<&str> = sketch.directory.split('/').collect();
    let mut words = if sketch.directory.is_empty() {
        repository.to_owned()
    } else {
        all[all.len().saturating_sub(components)..].join("-")
    };
    if let Some(kind) = kind_of(sketch.file) {
        words = format!("{words}-{kind}");
    }
    let name = valid_name(&words);
    match name.parse::<ProjectName>() {
        Ok(_) => name,
        Err(_) => format!("project-{name}").trim_end_matches('-').to_owned(),
    }
}

/// `worker` of `Dockerfile.worker` and of `worker.Dockerfile`.
fn kind_of(file: &str) -> Option<&str> {
    file.strip_prefix("Dockerfile.")
        .or_else(|| file.strip_suffix(".Dockerfile"))
        .or_else(|| (!matches!(file, "Dockerfile" | "Containerfile")).then_some(file))
}

/// Lower-case words of letters and digits, with `-` for whatever else there is between them; single
/// dots and underscores stay.
fn valid_name(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut name = String::new();
    let mut between = String::new();
    for one in text.to_lowercase().chars().take(LONGEST) {
        if !one.is_ascii_alphanumeric() {
            between.push(one);
            continue;
        }
        if !name.is_empty() {
            match between.as_str() {
                "" | "." | "_" => name.push_str(&between),
                _ => name.push('-'),
            }
        }
        between.clear();
        name.push(one);
    }
    name
}

/// Takes images for projects, by the last component of their names. What stands before it is a
/// prefix that stands for the registry.
fn find_dependencies(projects: &mut Sketches, warnings: &mut Vec<Problem>) -> BTreeSet<String> {
    let names: BTreeSet<ProjectName> = projects.keys().cloned().collect();
    let mut aliases = BTreeSet::new();
    for (own, sketch) in projects {
        let images = sketch.found.from_images.iter();
        for image in images.chain(&sketch.found.copy_from_images) {
            let (prefix, last) = split_image(image);
            let Some(name) = names.get(last).filter(|name| *name != own) else {
                continue;
            };
            aliases.extend(prefix.filter(|text| !text.contains('$')).map(str::to_owned));
            if sketch.dependencies.insert(name.clone()) {
                let message = format!("image '{image}' is taken for the project '{name}'");
                warnings.push(
                    Problem::warning("guessed-dependency", message)
                        .project(own)
                        .at(Location::file(sketch.found.path.to_string()))
                        .hint("remove the dependency if it is another image"),
                );
            }
        }
    }
    aliases
}

/// An image's name without tag and digest: what stands before its last component, and that.
fn split_image(image: &str) -> (Option<&str>, &str) {
    let name = image.split('@').next().unwrap_or_default();
    let (prefix, last) = match name.rsplit_once('/') {
        Some((prefix, last)) => (Some(prefix), last),
        None => (None, name),
    };
    (prefix, last.split(':').next().unwrap_or_default())
}

/// Guesses may go in a circle, which no manifest may: one of each is taken back.
fn cut_cycles(projects: &mut Sketches, warnings: &mut Vec<Problem>) {
    loop {
        let lists: Vec<(ProjectName, Vec<ProjectName>)> = projects
            .iter()
            .map(|(name, sketch)| (name.clone(), sketch.dependencies.iter().cloned().collect()))
            .collect();
        let graph =
            Graph::from_dependencies(lists.iter().map(|(name, list)| (name, list.as_slice())));
        let cycles = graph.cycles();
        if cycles.is_empty() {
            return;
        }
        for cycle in cycles {
            let (Some(first), Some(next)) = (cycle.first(), cycle.get(1)) else {
                continue;
            };
            if let Some(sketch) = projects.get_mut(first) {
                sketch.dependencies.remove(next);
            }
            let message = format!("'{first}' and '{next}' would depend on each other");
            warnings.push(
                Problem::warning("dropped-dependency", message)
                    .project(first)
                    .hint(format!(
                        "'{next}' was left out of the dependencies of '{first}'"
                    )),
            );
        }
    }
}

fn render(aliases: &BTreeSet<String>, projects: &Sketches) -> String {
    let mut text = "{\n  \"version\": 1,\n".to_owned();
    if !aliases.is_empty() {
        let list = array(aliases.iter().map(String::as_str));
        let _ = writeln!(text, "  \"imageAliases\": {list},");
    }
    text.push_str("  \"projects\": {");
    for (index, (name, sketch)) in projects.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        let _ = write!(text, "    {}: {{", quoted(name.as_str()));
        text.push_str(&fields(sketch).join(","));
        text.push_str("\n    }");
    }
    text.push_str(if projects.is_empty() {
        "}\n}\n"
    } else {
        "\n  }\n}\n"
    });
    text
}

fn fields(sketch: &Sketch) -> Vec<String> {
    let directory = if sketch.directory.is_empty() {
        "."
    } else {
        sketch.directory
    };
    let mut fields = vec![field("buildDir", &quoted(directory))];
    if sketch.file != "Dockerfile" {
        fields.push(field("dockerfile", &quoted(sketch.file)));
    }
    if !sketch.dependencies.is_empty() {
        let list = array(sketch.dependencies.iter().map(ProjectName::as_str));
        fields.push(field("dependencies", &list));
    }
    fields
}

fn field(name: &str, value: &str) -> String {
    format!("\n      {}: {value}", quoted(name))
}

fn array<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read;
    use proptest::prelude::*;

    fn found(path: &str, from: &[&str], copy: &[&str]) -> FoundDockerfile {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        FoundDockerfile {
            path: RepoPath::from(path),
            from_images: owned(from),
            copy_from_images: owned(copy),
        }
    }

    fn codes(draft: &Draft) -> Vec<&str> {
        draft.warnings.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn draws_up_a_manifest() {
        let draft = draft(
            "My Repo",
            &[
                found(
                    "services/api/Dockerfile",
                    &["ghcr.io/acme/base:1.2"],
                    &["log"],
                ),
                found("Dockerfile", &["scratch"], &[]),
                found(
                    "libs/log/Dockerfile",
                    &["docker.io/library/debian@sha256:00"],
                    &[],
                ),
                found("services/api/Dockerfile.worker", &["acme/api"], &[]),
                found("docker/base/Dockerfile", &["localhost:5000/base"], &[]),
            ],
        );
        assert_eq!(
            draft.text,
            r#"{
  "version": 1,
  "imageAliases": ["acme", "ghcr.io/acme"],
  "projects": {
    "api": {
      "buildDir": "services/api",
      "dependencies": ["base", "log"]
    },
    "api-worker": {
      "buildDir": "services/api",
      "dockerfile": "Dockerfile.worker",
      "dependencies": ["api"]
    },
    "base": {
      "buildDir": "docker/base"
    },
    "log": {
      "buildDir": "libs/log"
    },
    "my-repo": {
      "buildDir": "."
    }
  }
}
"#
        );
        assert_eq!(codes(&draft), ["guessed-dependency"; 3]);
    }

    #[test]
    fn names_are_unique() {
        let draft = draft(
            "api",
            &[
                found("Dockerfile", &[], &[]),
                found("a/api/Dockerfile", &[], &[]),
                found("b/api/Dockerfile", &[], &[]),
                found("A/API/Dockerfile", &[], &[]),
                found("waybill-x/Dockerfile", &[], &[]),
                found("é/Dockerfile", &[], &[]),
            ],
        );
        let manifest: serde_json::Value = serde_json::from_str(&draft.text).unwrap();
        let projects = manifest["projects"].as_object().unwrap();
        let names: Vec<&String> = projects.keys().collect();
        assert_eq!(
            names,
            [
                "a-api",
                "a-api-2",
                "api",
                "b-api",
                "project",
                "project-waybill-x"
            ]
        );
        assert_eq!(codes(&draft), ["guessed-name"; 3]);
    }

    #[test]
    fn takes_back_what_goes_in_a_circle() {
        let draft = draft(
            "r",
            &[
                found("redis/Dockerfile", &["web"], &[]),
                found("web/Dockerfile", &["redis:7"], &[]),
            ],
        );
        assert_eq!(
            codes(&draft),
            [
                "guessed-dependency",
                "guessed-dependency",
                "dropped-dependency"
            ]
        );
    }

    #[test]
    fn nothing_found_is_a_manifest_too() {
        assert_eq!(
            draft("r", &[]).text,
            "{\n  \"version\": 1,\n  \"projects\": {}\n}\n"
        );
    }

    proptest! {
        /// Whatever is found, the draft has no errors, and every Dockerfile is in it.
        #[test]
        fn a_draft_is_a_valid_manifest(
            paths in proptest::collection::btree_set("([a-cA._-]{1,3}/){0,3}(Dockerfile|Dockerfile\\.[a-b]|[a-b]\\.Dockerfile)", 0..8),
            images in proptest::collection::vec("((h:1|a)/)?[a-c]{1,3}(:1)?", 0..4),
        ) {
            let normal = |path: &&String| path.split('/').all(|part| part != "." && part != "..");
            let images: Vec<&str> = images.iter().map(String::as_str).collect();
            let files: Vec<FoundDockerfile> =
                paths.iter().filter(normal).map(|path| found(path, &images, &[])).collect();
            let draft = draft("repo", &files);
            let raw = read(&RepoPath::from("build_manifest.json"), draft.text.as_bytes()).unwrap();
            let checked = raw.check(&BTreeMap::new());
            let manifest = checked.manifest;
            prop_assert!(manifest.is_some(), "{}\n{:?}", draft.text, checked.problems);
            prop_assert_eq!(manifest.unwrap().projects.len(), files.len());
        }
    }
}
