//! From bytes to the raw form, and what a caller must read beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{self, Checked};
use super::model::Shape;
use super::node::{Language, Member, Node, Position, SyntaxError, Value};
use crate::model::{ProjectName, RepoPath};
use crate::problem::{Location, Problem};

/// A manifest that could be read, but was not checked.
#[derive(Clone, Debug)]
pub struct Raw {
    pub(super) path: RepoPath,
    pub(super) root: Node,
    pub(super) shape: Shape,
}

/// Reads a manifest's text: YAML if its name ends in `.yml` or `.yaml`, else JSON.
///
/// # Errors
///
/// One problem, with its position: the text is not UTF-8, not valid in its language, or nested too
/// deep, or YAML aliases blow it up.
pub fn read(path: &RepoPath, bytes: &[u8]) -> Result<Raw, Vec<Problem>> {
    let language = Language::of_file(path.file_name());
    let root = Node::parse(language, bytes)
        .map_err(|error| vec![syntax_problem(&path.to_string(), error)])?;
    Ok(Raw {
        path: path.clone(),
        shape: shape_of(&root),
        root,
    })
}

pub(super) fn syntax_problem(file: &str, error: SyntaxError) -> Problem {
    let Position { line, column } = error.position;
    let problem = Problem::error("syntax", error.message).at(Location::at(file, line, column));
    match error.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// `version` makes it the full shape, unless that is a project's name; so does `projects` where it
/// cannot be a project, so that what is missing can be named.
fn shape_of(root: &Node) -> Shape {
    let is_object = |node: &Node| matches!(node.value, Value::Object(_));
    let versioned = root
        .get("version")
        .is_some_and(|version| !is_object(version));
    let projects = root.get("projects").is_some_and(|projects| {
        is_object(projects)
            && !projects.members().is_empty()
            && projects
                .members()
                .iter()
                .all(|member| is_object(&member.node))
    });
    if versioned || projects {
        Shape::Full
    } else {
        Shape::Aztec
    }
}

impl Raw {
    /// Where the manifest stands.
    #[must_use]
    pub fn path(&self) -> &RepoPath {
        &self.path
    }

    /// The shape it is written in.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many projects are written there, with errors or without.
    #[must_use]
    pub fn project_count(&self) -> usize {
        self.projects().len()
    }

    /// The pattern files that [`Raw::check`] needs, sorted, each once, before links are resolved.
    #[must_use]
    pub fn pattern_files(&self) -> Vec<RepoPath> {
        let files: BTreeSet<RepoPath> = self
            .projects()
            .iter()
            .filter_map(|member| pattern_file(&member.node))
            .collect();
        files.into_iter().collect()
    }

    /// Checks everything at once. `pattern_files` holds the bytes of each of
    /// [`Raw::pattern_files`], `None` for one that does not exist.
    #[must_use]
    pub fn check(&self, pattern_files: &BTreeMap<RepoPath, Option<Vec<u8>>>) -> Checked {
        check::check(self, pattern_files)
    }

    /// Where a field of a project, or one of the manifest, stands: item `index` of a list, or the
    /// value itself. An item of patterns that come from a file stands in that file. What is not
    /// written (a default) is where the project's name is, or the file as a whole.
    #[must_use]
    pub fn place(
        &self,
        project: Option<&ProjectName>,
        field: &str,
        index: Option<usize>,
    ) -> Location {
        let file = self.path.to_string();
        let at = |position: Position| Location::at(&*file, position.line, position.column);
        let (object, otherwise) = match project {
            None => (Some(&self.root), Location::file(&*file)),
            Some(name) => match self.project(name) {
                None => (None, Location::file(&*file)),
                Some(member) => (Some(&member.node), at(member.position)),
            },
        };
        let Some(node) = object.and_then(|object| object.get(field)) else {
            return otherwise;
        };
        match (index, &node.value) {
            (Some(index), Value::Array(items)) => {
                at(items.get(index).map_or(node.position, |item| item.position))
            }
            (Some(index), Value::Text(_)) if field == "rebuildPatterns" => {
                object.and_then(pattern_file).map_or(otherwise, |path| {
                    Location::at(path.to_string(), index + 1, 1)
                })
            }
            _ => at(node.position),
        }
    }

    /// The entries that are projects.
    pub(super) fn projects(&self) -> &[Member] {
        match self.shape {
            Shape::Aztec => self.root.members(),
            Shape::Full => self.root.get("projects").map_or(&[], Node::members),
        }
    }

    fn project(&self, name: &ProjectName) -> Option<&Member> {
        self.projects()
            .iter()
            .find(|member| member.name == name.as_str())
    }
}

/// A project's `projectDir`, which `buildDir` stands in for, and the reverse.
pub(super) fn directory_texts(project: &Node) -> Option<(&str, &str)> {
    let text = |field: &str| project.get(field).and_then(Node::text);
    let build = text("buildDir").or_else(|| text("projectDir"))?;
    Some((build, text("projectDir").unwrap_or(build)))
}

/// The file that a project's patterns are in, if they are in one.
pub(super) fn pattern_file(project: &Node) -> Option<RepoPath> {
    let name = project.get("rebuildPatterns")?.text()?;
    let (_, directory) = directory_texts(project)?;
    RepoPath::root()
        .join(directory.as_bytes())?
        .join(name.as_bytes())
}
