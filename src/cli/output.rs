//! Data on stdout, status on stderr; colour only where a terminal is.

use std::io::{IsTerminal as _, Write};

use serde::Serialize;
use serde_json::json;

use super::args::{Global, When};
use super::exit;
use crate::problem::{Failure, Problem, Severity};

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent choices of the user"
)]
pub(super) struct Output {
    /// One JSON document instead of text.
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: u8,
    color_out: bool,
    color_err: bool,
}

/// How a piece of text is set off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = |is_terminal: bool| match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !no_color,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: color(std::io::stdout().is_terminal()),
            color_err: color(std::io::stderr().is_terminal()),
        }
    }

    /// Output for machines, where the command line could not even be read.
    pub(super) const fn json() -> Self {
        Self {
            json: true,
            quiet: false,
            verbose: 0,
            color_out: false,
            color_err: false,
        }
    }

    /// Text in a style, for stdout.
    pub(super) fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        painted(self.color_out, style, &text.to_string())
    }

    /// Text in a style, for stderr.
    pub(super) fn paint_status(&self, style: Style, text: impl std::fmt::Display) -> String {
        painted(self.color_err, style, &text.to_string())
    }

    /// Writes data to stdout.
    #[expect(clippy::unused_self, reason = "whoever writes data holds an output")]
    pub(super) fn data(&self, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes one JSON document to stdout.
    pub(super) fn document(&self, document: &impl Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_string_pretty(document)?;
        text.push('\n');
        self.data(&text)
    }

    /// Writes a line of status to stderr, unless quiet. A stderr that is closed is nobody's loss.
    pub(super) fn status(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    /// Prints warnings and errors for people, on stderr.
    pub(super) fn problems(&self, problems: &[Problem]) {
        for problem in problems {
            if problem.severity == Severity::Error || !self.quiet {
                let _ = writeln!(std::io::stderr().lock(), "{}", self.render(problem));
            }
        }
    }

    /// Prints a failure: for people on stderr, and with `--json` as the document on stdout.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.json {
            let _ = self.document(&error_document(failure));
        } else {
            self.problems(&failure.problems);
        }
    }

    /// A problem in one to three lines, for stderr.
    pub(super) fn render(&self, problem: &Problem) -> String {
        rendered(self.color_err, problem)
    }

    /// A problem in one to three lines, for stdout.
    pub(super) fn render_data(&self, problem: &Problem) -> String {
        rendered(self.color_out, problem)
    }
}

fn rendered(color: bool, problem: &Problem) -> String {
    let word = match problem.severity {
        Severity::Error => painted(color, Style::Red, "error"),
        Severity::Warning => painted(color, Style::Yellow, "warning"),
    };
    let code = painted(color, Style::Dim, &format!("[{}]", problem.code));
    let project = problem
        .project
        .as_ref()
        .map(|project| format!("{project}: "));
    let mut text = format!(
        "{word}{code}: {}{}",
        project.unwrap_or_default(),
        problem.message
    );
    if let Some(location) = &problem.location {
        text.push_str(&format!("\n  --> {location}"));
    }
    if let Some(hint) = &problem.hint {
        let label = painted(color, Style::Cyan, "hint");
        text.push_str(&format!("\n  {label}: {hint}"));
    }
    text
}

/// A problem as JSON has it.
pub(super) fn problem_json(problem: &Problem) -> serde_json::Value {
    let location = problem.location.as_ref();
    json!({
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "project": problem.project,
        "file": location.map(|location| &location.file),
        "line": location.and_then(|location| location.line),
        "column": location.and_then(|location| location.column),
        "hint": problem.hint,
    })
}

fn error_document(failure: &Failure) -> serde_json::Value {
    json!({
        "schema": "waybill.error/1",
        "exit": exit::code(failure.class),
        "errors": failure.problems.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

fn painted(color: bool, style: Style, text: &str) -> String {
    if !color {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "31",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Cyan => "36",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
