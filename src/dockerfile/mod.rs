//! Dockerfiles: which images they need, what they copy, and how image names are replaced in them.
//!
//! Pure: the caller reads the file. The syntax is that of BuildKit's own frontend
//! (`moby/buildkit/frontend/dockerfile`), here-documents included; what waybill does not need is
//! left to the engine to judge. Nothing is ever printed back from a syntax tree: an image name is
//! replaced by its bytes' position, and every other byte stays as it is.
//!
//! - [`Dockerfile::parse`], then [`Dockerfile::references`]: the images by place;
//! - [`ReferenceRules::classify`]: which of them are projects;
//! - [`Dockerfile::rewrite`]: with digests in their place;
//! - [`Dockerfile::location_of_step`]: where the instruction stands that failed;
//! - [`IgnoreFile`]: which files the context leaves out;
//! - [`lint()`]: what `check` says about a Dockerfile.

mod classify;
mod command;
mod error;
mod glob;
mod ignore;
mod instruction;
mod line;
mod lint;
mod mount;
mod name;
mod platform;
mod reference;
mod shell;
mod step;
mod variables;

use std::collections::BTreeSet;
use std::ops::Range;

pub use classify::{Image, ReferenceRules};
pub use error::{DockerfileError, Fault, FaultKind};
pub use ignore::{IgnoreError, IgnoreFile, IgnoreWalk};
pub use instruction::{ContextSource, Declaration, Instruction, SourceKind, Text};
pub use lint::{LintInputs, lint};
pub use name::ImageName;
pub use platform::WantedPlatform;
pub use reference::{Place, Reference};
pub use variables::Values;

use crate::model::RepoPath;
use crate::problem::Location;

use instruction::Parsed;

/// A Dockerfile that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    path: RepoPath,
    text: String,
    escape: char,
    syntax: Option<Text>,
    global_arguments: Vec<Declaration>,
    stages: Vec<Stage>,
}

/// A stage: a `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its number, from 0.
    pub index: usize,
    /// Its name in lower case.
    pub name: Option<String>,
    /// The image or stage that it begins with.
    pub base: Text,
    /// The value of `--platform`, as written.
    pub platform: Option<String>,
    /// Its instructions, without those that are of no matter here.
    pub instructions: Vec<Instruction>,
    /// The instructions that a build counts as steps, whole.
    steps: Vec<Text>,
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Dockerfile {
    /// Reads a Dockerfile; `path` is only for messages.
    ///
    /// # Errors
    ///
    /// `dockerfile-syntax` with line and column: not UTF-8, an unknown instruction, a
    /// here-document without an end, no `FROM`, and so on.
    pub fn parse(path: &RepoPath, bytes: &[u8]) -> Result<Self, DockerfileError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                return Err(syntax_error(path, &valid, valid.len(), "this is not UTF-8"));
            }
        };
        Self::parse_text(path, text)
            .map_err(|(message, offset)| syntax_error(path, text, offset, &message))
    }

    fn parse_text(path: &RepoPath, text: &str) -> Result<Self, (String, usize)> {
        let start = text
            .strip_prefix(BYTE_ORDER_MARK)
            .map_or(0, |_| BYTE_ORDER_MARK.len());
        let (directives, lines) = line::read(text, start)?;
        let mut dockerfile = Self {
            path: path.clone(),
            text: text.to_owned(),
            escape: directives.escape(),
            syntax: directives.syntax.map(|(text, span)| Text { text, span }),
            global_arguments: Vec::new(),
            stages: Vec::new(),
        };
        for line in &lines {
            let parsed = instruction::parse(line, dockerfile.escape)?;
            dockerfile.take(parsed, line.offset(0))?;
            dockerfile.count(line);
        }
        if dockerfile.stages.is_empty() {
            return Err(("there is no FROM".into(), start));
        }
        Ok(dockerfile)
    }

    fn take(&mut self, parsed: Parsed, offset: usize) -> Result<(), (String, usize)> {
        match (parsed, self.stages.last_mut()) {
            (Parsed::From(from), _) => self.stages.push(Stage {
                index: self.stages.len(),
                name: from.name,
                base: from.base,
                platform: from.platform,
                instructions: Vec::new(),
                steps: Vec::new(),
            }),
            (Parsed::Instruction(instruction), Some(stage)) => stage.instructions.push(instruction),
            (Parsed::Instruction(Instruction::Arguments(arguments)), None) => {
                self.global_arguments.extend(arguments);
            }
            (Parsed::Other, Some(_)) => {}
            (Parsed::Instruction(_) | Parsed::Other, None) => {
                return Err(("only ARG may stand before the first FROM".into(), offset));
            }
        }
        Ok(())
    }

    fn count(&mut self, line: &line::Line) {
        if let Some(stage) = self.stages.last_mut()
            && step::is_step(&command::Command::split(line.text(), 0).keyword)
        {
            stage.steps.push(Text {
                text: line.text().to_owned(),
                span: line.span(0..line.text().len()),
            });
        }
    }

    /// Where the file stands in the repository.
    #[must_use]
    pub const fn path(&self) -> &RepoPath {
        &self.path
    }

    /// The file's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The value of `# syntax=`: the frontend image that reads the file in place of the engine.
    #[must_use]
    pub const fn syntax(&self) -> Option<&Text> {
        self.syntax.as_ref()
    }

    /// The escape character: `\`, or what `# escape=` says.
    #[must_use]
    pub const fn escape(&self) -> char {
        self.escape
    }

    /// The `ARG`s before the first `FROM`.
    #[must_use]
    pub fn global_arguments(&self) -> &[Declaration] {
        &self.global_arguments
    }

    /// The stages, in order; at least one.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The names of the stages that have one, in order, in lower case.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_deref())
    }

    /// The names that `ARG` declares anywhere: a build argument of another name has no effect.
    #[must_use]
    pub fn arguments(&self) -> BTreeSet<&str> {
        let in_stages = self.stages.iter().flat_map(|stage| &stage.instructions);
        let in_stages = in_stages.filter_map(|instruction| match instruction {
            Instruction::Arguments(declarations) => Some(declarations),
            _ => None,
        });
        let all = self.global_arguments.iter().chain(in_stages.flatten());
        all.map(|declaration| declaration.name.as_str()).collect()
    }

    /// Whether `ARG name` stands anywhere in the file.
    #[must_use]
    pub fn declares_arg(&self, name: &str) -> bool {
        self.arguments().contains(name)
    }

    /// The file with other image names in the place of these references; every other byte stays.
    #[must_use]
    pub fn rewrite(&self, replacements: &[(&Reference, String)]) -> Vec<u8> {
        let mut ordered: Vec<_> = replacements.iter().collect();
        ordered.sort_by_key(|(reference, _)| reference.span.start);
        let mut text = self.text.clone();
        for (reference, image) in ordered.into_iter().rev() {
            // A reference of another file may not fit this one; it is left out.
            if text.get(reference.span.clone()).is_some() {
                text.replace_range(reference.span.clone(), image);
            }
        }
        text.into_bytes()
    }

    /// Line and column of an offset in the file, the column in characters.
    #[must_use]
    pub fn location(&self, offset: usize) -> Location {
        location(&self.path, &self.text, offset)
    }

    fn location_of(&self, span: &Range<usize>) -> Location {
        self.location(span.start)
    }
}

fn syntax_error(path: &RepoPath, text: &str, offset: usize, message: &str) -> DockerfileError {
    let fault = Fault {
        kind: FaultKind::Syntax(message.to_owned()),
        location: location(path, text, offset),
    };
    fault.into()
}

fn location(path: &RepoPath, text: &str, offset: usize) -> Location {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let column = line.trim_start_matches(BYTE_ORDER_MARK).chars().count() + 1;
    Location::at(path.to_string(), before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests;
