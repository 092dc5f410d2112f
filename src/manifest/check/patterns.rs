//! Rebuild and ignore patterns: those in the manifest, and those in files of their own.

use super::Context;
use crate::manifest::node::{self, Node, Position};
use crate::manifest::parse::syntax_problem;
use crate::manifest::pattern::Pattern;
use crate::model::RepoPath;
use crate::problem::{Location, Problem};

/// The patterns of an array; `None` if there is none.
pub(super) fn list(
    context: &mut Context,
    field: &str,
    node: Option<&Node>,
) -> Option<Vec<Pattern>> {
    let items = node?.items();
    let mut patterns = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = item.text() else { continue };
        let found = match read_one(context, text) {
            Ok((pattern, warning)) => {
                patterns.push(pattern);
                warning
            }
            Err(error) => Some(error),
        };
        if let Some((offset, problem)) = found {
            let at = offset.map_or(item.position, |offset| item.position_in_text(offset));
            context.report.add(at, *problem);
        }
    }
    if items.is_empty() && field == "rebuildPatterns" {
        warn_of_emptiness(
            context,
            node?.position,
            "'rebuildPatterns' is an empty list",
        );
    }
    Some(patterns)
}

/// The patterns of a file, one in each line.
pub(super) fn file(context: &mut Context, path: &RepoPath, named_at: Position) -> Vec<Pattern> {
    if let Some(patterns) = context.read_files.get(path) {
        return patterns.clone();
    }
    let Some(Some(bytes)) = context.pattern_files.get(path) else {
        context.report.add(
            named_at,
            Problem::error("missing-pattern-file", format!("there is no file '{path}'"))
                .hint("the file's name is relative to projectDir"),
        );
        return Vec::new();
    };
    let patterns = match node::decode(bytes) {
        Ok(text) => lines(context, path, text, named_at),
        Err(error) => {
            let problem = syntax_problem(&path.to_string(), error);
            let location = problem.location.clone();
            context.report.add_at(
                location.unwrap_or_else(|| Location::file(path.to_string())),
                problem,
            );
            Vec::new()
        }
    };
    context.read_files.insert(path.clone(), patterns.clone());
    patterns
}

fn lines(context: &mut Context, path: &RepoPath, text: &str, named_at: Position) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // A last line without a line feed keeps its carriage return.
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (offset, problem) = match read_one(context, line) {
            Ok((pattern, warning)) => {
                patterns.push(pattern);
                match warning.or_else(|| warn_of_comment(line)) {
                    Some(warning) => warning,
                    None => continue,
                }
            }
            Err(error) => error,
        };
        let column = line
            .get(..offset.unwrap_or(0))
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let location = Location::at(path.to_string(), index + 1, column);
        context.report.add_at(location, *problem);
    }
    if text.is_empty() {
        warn_of_emptiness(context, named_at, &format!("'{path}' is empty"));
    }
    patterns
}

/// A problem, and the 0-based byte of the pattern that it is about; none if it is the whole.
type At = (Option<usize>, Box<Problem>);

/// Many projects have the same patterns: each is parsed once, and later compiled once.
fn read_one(context: &mut Context, text: &str) -> Result<(Pattern, Option<At>), At> {
    if let Some(pattern) = context.parsed.get(text) {
        return Ok((pattern.clone(), warn_of_grep_style(text)));
    }
    if text.trim().is_empty() {
        let problem = Problem::error("blank-pattern", "this pattern is blank")
            .hint("remove it: a blank pattern would match every path, or nothing");
        return Err((None, Box::new(problem)));
    }
    let pattern = Pattern::parse(text).map_err(|error| {
        let message = format!("'{text}' is no valid pattern: {error}");
        let problem = Problem::error("bad-pattern", message).hint(error.hint);
        (Some(error.offset), Box::new(problem))
    })?;
    context.parsed.insert(text.to_owned(), pattern.clone());
    Ok((pattern, warn_of_grep_style(text)))
}

/// `\|` is alternation in grep's basic regexes, and a plain `|` here.
fn warn_of_grep_style(text: &str) -> Option<At> {
    let offset = grep_style_alternation(text)?;
    let problem = Problem::warning(
        "grep-style-alternation",
        format!(r"'\|' in '{text}' matches the character '|', and no alternatives"),
    )
    .hint("write | for alternatives, and [|] for the character itself");
    Some((Some(offset), Box::new(problem)))
}

/// Where `\|` stands outside of brackets.
fn grep_style_alternation(text: &str) -> Option<usize> {
    let mut in_brackets = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                let escaped = bytes.next();
                if !in_brackets && escaped.is_some_and(|(_, byte)| byte == b'|') {
                    return Some(offset);
                }
            }
            b'[' => in_brackets = true,
            b']' => in_brackets = false,
            _ => {}
        }
    }
    None
}

fn warn_of_comment(line: &str) -> Option<At> {
    line.starts_with('#').then(|| {
        let problem = Problem::warning(
            "comment-in-pattern-file",
            "this line is a pattern like any other: pattern files have no comments",
        )
        .hint("remove the line, or write [#] if paths with '#' are meant");
        (None, Box::new(problem))
    })
}

fn warn_of_emptiness(context: &mut Context, at: Position, what: &str) {
    context.report.add(
        at,
        Problem::warning(
            "empty-patterns",
            format!("{what}: no file belongs to this project"),
        )
        .hint("leave 'rebuildPatterns' out to mean everything below projectDir"),
    );
}

#[cfg(test)]
mod tests {
    use super::grep_style_alternation;

    #[test]
    fn knows_an_escaped_bar_from_an_escaped_backslash() {
        assert_eq!(grep_style_alternation(r"^foo/(a\|b)/"), Some(7));
        assert_eq!(grep_style_alternation(r"a\\|b"), None);
        assert_eq!(grep_style_alternation(r"[\|]a|b"), None);
        assert_eq!(grep_style_alternation(r"[x]\|b"), Some(3));
        assert_eq!(grep_style_alternation(r"a\"), None);
    }
}
