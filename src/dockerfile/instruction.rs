//! What waybill needs to know of each instruction.

use std::ops::Range;

use super::command::{Command, Flag, quoted_words};
use super::line::{Line, is_here_document};
use super::mount::Mount;

/// A piece of text and where it stands in the file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As written, variables not expanded; continuations joined, the quotes of a flag removed.
    pub text: String,
    /// The bytes of the file to replace to say something else.
    pub span: Range<usize>,
}

/// A name and a value that `ARG` or `ENV` declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The variable's name.
    pub name: String,
    /// The default or value as written, with quotes; `None` for `ARG NAME`.
    pub value: Option<String>,
    /// Offset of the instruction in the file.
    pub offset: usize,
}

/// What brings files of the build context into a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// `COPY` without `--from`.
    Copy,
    /// `ADD`, where it is no URL.
    Add,
    /// `RUN --mount=type=bind` without `from`.
    Mount,
}

/// A path of the build context that an instruction takes files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextSource {
    /// Which instruction.
    pub kind: SourceKind,
    /// The path or glob, variables not expanded, and where it stands.
    pub path: Text,
}

/// An instruction of a stage, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ARG`.
    Arguments(Vec<Declaration>),
    /// `ENV`.
    Variables(Vec<Declaration>),
    /// `COPY`, `ADD` or `RUN`: images by name or stage, and files of the context.
    Files {
        /// `COPY --from=`.
        copies_from: Option<Text>,
        /// `RUN --mount=…,from=`.
        mounts_from: Vec<Text>,
        /// Files of the context.
        sources: Vec<ContextSource>,
    },
    /// `ONBUILD` with a `--from` or `from=`: these names are read in the builds that begin with
    /// this stage's image, among the stages there.
    Triggers(Vec<Text>),
}

/// The start of a stage.
#[derive(Debug)]
pub(super) struct From {
    pub(super) base: Text,
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
}

/// A line's meaning.
#[derive(Debug)]
pub(super) enum Parsed {
    From(From),
    Instruction(Instruction),
    /// Known, and of no matter here.
    Other,
}

/// A message, and the offset in the file that it is about.
type ParseError = (String, usize);

const OTHERS: [&str; 11] = [
    "cmd",
    "entrypoint",
    "expose",
    "healthcheck",
    "label",
    "maintainer",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

pub(super) fn parse(line: &Line, escape: char) -> Result<Parsed, ParseError> {
    parse_from(line, 0, escape)
}

/// Parses the part of a line that begins at `start`.
fn parse_from(line: &Line, start: usize, escape: char) -> Result<Parsed, ParseError> {
    let command = Command::split(line.text(), start);
    let parser = Parser {
        line,
        command: &command,
        escape,
    };
    match command.keyword.as_str() {
        "from" => parser.from().map(Parsed::From),
        "arg" => parser.arguments().map(Parsed::Instruction),
        "env" => parser.variables().map(Parsed::Instruction),
        "copy" => parser.copy(SourceKind::Copy).map(Parsed::Instruction),
        "add" => parser.copy(SourceKind::Add).map(Parsed::Instruction),
        "run" => parser.run().map(Parsed::Instruction),
        "onbuild" if start == 0 => parser.trigger(),
        other if OTHERS.contains(&other) => Ok(Parsed::Other),
        other => Err(parser.error(format!("unknown instruction '{}'", other.to_uppercase()))),
    }
}

struct Parser<'a> {
    line: &'a Line,
    command: &'a Command,
    escape: char,
}

impl Parser<'_> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        (message.into(), self.line.offset(0))
    }

    fn rest(&self) -> &str {
        &self.line.text()[self.command.rest.clone()]
    }

    /// The words of the rest, not yet expanded.
    fn words(&self) -> Vec<Text> {
        let words = self.command.words(self.line.text()).into_iter();
        words.map(|range| self.text(range)).collect()
    }

    fn text(&self, range: Range<usize>) -> Text {
        Text {
            text: self.line.text()[range.clone()].to_owned(),
            span: self.line.span(range),
        }
    }

    fn flag(&self, name: &str) -> Option<&Flag> {
        let mut flags = self.command.flags.iter();
        flags.rfind(|flag| flag.name == name)
    }

    fn from(&self) -> Result<From, ParseError> {
        let (base, name) = match <[Text; 3]>::try_from(self.words()) {
            Ok([base, keyword, name]) if keyword.text.eq_ignore_ascii_case("as") => {
                (base, Some(self.stage_name(&name.text)?))
            }
            Err(mut words) if words.len() == 1 => (words.remove(0), None),
            _ => return Err(self.error("FROM takes an image, or an image, AS and a name")),
        };
        Ok(From {
            base,
            name,
            platform: self.flag("platform").map(Flag::value_text),
        })
    }

    /// Stage names count in lower case.
    fn stage_name(&self, written: &str) -> Result<String, ParseError> {
        let name = written.to_lowercase();
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
            });
        if !valid {
            return Err(self.error(format!("'{written}' is no valid name for a stage")));
        }
        Ok(name)
    }

    fn arguments(&self) -> Result<Instruction, ParseError> {
        let words = quoted_words(self.rest(), self.escape);
        if words.is_empty() {
            return Err(self.error("ARG needs a name"));
        }
        let declarations = words.iter().map(|word| match word.split_once('=') {
            Some(("", _)) => Err(self.error("ARG needs a name before '='")),
            Some((name, value)) => Ok(self.declaration(name, Some(value))),
            None => Ok(self.declaration(word, None)),
        });
        declarations
            .collect::<Result<_, _>>()
            .map(Instruction::Arguments)
    }

    /// `ENV name=value …`, or the old `ENV name value`.
    fn variables(&self) -> Result<Instruction, ParseError> {
        let words = quoted_words(self.rest(), self.escape);
        let Some(first) = words.first() else {
            return Err(self.error("ENV needs a name"));
        };
        if !first.contains('=') {
            let Some((name, value)) = self.rest().split_once(char::is_whitespace) else {
                return Err(self.error("ENV needs a name and a value"));
            };
            let declaration = self.declaration(name, Some(value.trim_start()));
            return Ok(Instruction::Variables(vec![declaration]));
        }
        let declarations = words.iter().map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(self.declaration(name, Some(value))),
            _ => Err(self.error(format!("ENV takes name=value, not '{word}'"))),
        });
        declarations
            .collect::<Result<_, _>>()
            .map(Instruction::Variables)
    }

    fn declaration(&self, name: &str, value: Option<&str>) -> Declaration {
        Declaration {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            offset: self.line.offset(0),
        }
    }

    fn copy(&self, kind: SourceKind) -> Result<Instruction, ParseError> {
        let mut words = match self.command.json(self.line.text()) {
            Some(Err(message)) => return Err(self.error(message)),
            Some(Ok(strings)) => {
                let span = self.line.span(self.command.rest.clone());
                let texts = strings.into_iter();
                texts
                    .map(|text| Text {
                        text,
                        span: span.clone(),
                    })
                    .collect()
            }
            None => self.words(),
        };
        if words.len() < 2 {
            let name = self.command.keyword.to_uppercase();
            return Err(self.error(format!("{name} needs a source and a destination")));
        }
        words.pop();
        // ADD has no `--from`; the engine refuses one.
        let copies_from = match self.flag("from") {
            Some(flag) if kind == SourceKind::Copy && !flag.value_text().is_empty() => {
                Some(self.flag_value(flag.value.as_deref().unwrap_or_default())?)
            }
            _ => None,
        };
        if copies_from.is_some() {
            words.clear();
        }
        let sources = words
            .into_iter()
            .filter(|word| !is_here_document(&word.text))
            .filter(|word| kind == SourceKind::Copy || !is_remote(&word.text))
            .map(|path| ContextSource { kind, path });
        Ok(Instruction::Files {
            copies_from,
            mounts_from: Vec::new(),
            sources: sources.collect(),
        })
    }

    fn run(&self) -> Result<Instruction, ParseError> {
        let mut mounts_from = Vec::new();
        let mut sources = Vec::new();
        for flag in self
            .command
            .flags
            .iter()
            .filter(|flag| flag.name == "mount")
        {
            let mount = Mount::parse(flag.value.as_deref().unwrap_or_default());
            match (mount.from, mount.kind.as_str()) {
                (_, "tmpfs" | "secret" | "ssh") | (None, "cache") => {}
                (Some(from), _) => mounts_from.push(self.flag_value(&from)?),
                (None, _) => {
                    // Without a source the whole context is mounted.
                    let path = match mount.source {
                        Some(source) if !source.is_empty() => self.flag_value(&source)?,
                        _ => Text {
                            text: ".".into(),
                            span: self.line.span(0..self.command.rest.start),
                        },
                    };
                    sources.push(ContextSource {
                        kind: SourceKind::Mount,
                        path,
                    });
                }
            }
        }
        Ok(Instruction::Files {
            copies_from: None,
            mounts_from,
            sources,
        })
    }

    /// The instruction after `ONBUILD`, of which only the names of images matter.
    fn trigger(&self) -> Result<Parsed, ParseError> {
        let mut names = Vec::new();
        match parse_from(self.line, self.command.rest.start, self.escape)? {
            Parsed::From(_) => return Err(self.error("ONBUILD FROM is not allowed")),
            Parsed::Instruction(Instruction::Files {
                copies_from,
                mounts_from,
                ..
            }) => {
                names.extend(copies_from);
                names.extend(mounts_from);
            }
            Parsed::Instruction(_) | Parsed::Other => {}
        }
        Ok(Parsed::Instruction(Instruction::Triggers(names)))
    }

    /// A part of a flag that can be replaced where it stands: one that has no quote or escape
    /// inside it.
    fn flag_value(&self, value: &[(char, usize)]) -> Result<Text, ParseError> {
        let text: String = value.iter().map(|(character, _)| *character).collect();
        let start = value
            .first()
            .map_or(self.command.rest.start, |(_, index)| *index);
        let range = start..start + text.len();
        if self.line.text().get(range.clone()) != Some(text.as_str()) {
            let message = format!("write '{text}' without quotes and escapes inside it");
            return Err(self.error(message));
        }
        Ok(Text {
            text,
            span: self.line.span(range),
        })
    }
}

/// Whether ADD fetches this instead of taking it from the context.
fn is_remote(source: &str) -> bool {
    let schemes = ["http://", "https://", "ftp://", "git://", "ssh://", "git@"];
    schemes.iter().any(|scheme| source.starts_with(scheme))
}
