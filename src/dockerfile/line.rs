//! From text to logical lines: comments, parser directives, continuations and here-documents.
//!
//! The rules are those of BuildKit's `frontend/dockerfile/parser`. Every byte of a logical line
//! knows where it stands in the file, so that what is found in it can be replaced there.

use std::ops::Range;

use super::command::Command;
use super::shell;

/// A line with its continuations joined, without comments.
#[derive(Debug)]
pub(super) struct Line {
    text: String,
    /// For each byte of `text`, its offset in the file.
    offsets: Vec<usize>,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where a range of the line's text stands in the file; a continuation inside is included.
    pub(super) fn span(&self, range: Range<usize>) -> Range<usize> {
        let start = self.offset(range.start);
        match range
            .end
            .checked_sub(1)
            .and_then(|last| self.offsets.get(last))
        {
            Some(last) if range.end > range.start => start..last + 1,
            _ => start..start,
        }
    }

    /// Where a byte of the line's text stands in the file; the end of the line beyond the last.
    pub(super) fn offset(&self, index: usize) -> usize {
        self.offsets
            .get(index)
            .copied()
            .or_else(|| self.offsets.last().map(|last| last + 1))
            .unwrap_or_default()
    }

    fn push(&mut self, part: &str, start: usize) {
        self.text.push_str(part);
        self.offsets.extend(start..start + part.len());
    }
}

/// `# syntax=` and `# escape=`.
#[derive(Debug, Default)]
pub(super) struct Directives {
    /// The value of `syntax` and its span.
    pub(super) syntax: Option<(String, Range<usize>)>,
    pub(super) escape: Option<char>,
}

impl Directives {
    pub(super) fn escape(&self) -> char {
        self.escape.unwrap_or('\\')
    }
}

/// A message, and the offset that it is about.
pub(super) type LineError = (String, usize);

/// All logical lines of a file. `start` is where the text begins, after a byte order mark.
pub(super) fn read(text: &str, start: usize) -> Result<(Directives, Vec<Line>), LineError> {
    let mut reader = Reader {
        text,
        position: start,
    };
    let directives = read_directives(&mut reader)?;
    let escape = directives.escape();
    let mut lines = Vec::new();
    while let Some((raw, raw_start)) = reader.next() {
        let line = read_line(&mut reader, raw, raw_start, escape);
        if line.text.trim().is_empty() {
            continue;
        }
        for document in here_documents(&line.text) {
            if !document.skip(&mut reader) {
                let message = format!("here-document '{}' is not ended", document.name);
                return Err((message, line.offset(0)));
            }
        }
        lines.push(line);
    }
    Ok((directives, lines))
}

/// The lines of the file as they stand, without their line ends.
struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(&'a str, usize)> {
        let start = self.position;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.position = start + length;
        Some((rest[..length].trim_end_matches(['\r', '\n']), start))
    }
}

/// Reads the parser directives, which come before anything else.
fn read_directives(reader: &mut Reader<'_>) -> Result<Directives, LineError> {
    let mut directives = Directives::default();
    let mut seen = Vec::new();
    loop {
        let before = reader.position;
        let Some((name, value, span)) = reader.next().and_then(|(raw, at)| directive(raw, at))
        else {
            reader.position = before;
            return Ok(directives);
        };
        if seen.contains(&name) {
            return Err((format!("only one '{name}' directive can be used"), before));
        }
        match (name.as_str(), value) {
            ("escape", "\\") => directives.escape = Some('\\'),
            ("escape", "`") => directives.escape = Some('`'),
            ("escape", other) => {
                let message = format!("'{other}' cannot be the escape character, only \\ or `");
                return Err((message, span.start));
            }
            ("syntax", value) => directives.syntax = Some((value.to_owned(), span)),
            _ => {}
        }
        seen.push(name);
    }
}

/// `# name = value`, if the line is a parser directive.
fn directive(raw: &str, start: usize) -> Option<(String, &str, Range<usize>)> {
    let (name, value) = raw.trim_start().strip_prefix('#')?.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let value = value.trim();
    if value.is_empty() || !matches!(name.as_str(), "syntax" | "escape" | "check") {
        return None;
    }
    let begin = start + raw.trim_end().len() - value.len();
    Some((name, value, begin..begin + value.len()))
}

/// Joins a line with those that continue it.
fn read_line(reader: &mut Reader<'_>, first: &str, start: usize, escape: char) -> Line {
    let mut line = Line {
        text: String::new(),
        offsets: Vec::new(),
    };
    let trimmed = first.trim_start();
    if trimmed.starts_with('#') {
        return line;
    }
    let indent = first.len() - trimmed.len();
    let (part, mut continues) = strip_continuation(trimmed, escape);
    line.push(part, start + indent);
    while continues {
        let Some((raw, start)) = reader.next() else {
            break;
        };
        let content = raw.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let part;
        (part, continues) = strip_continuation(raw, escape);
        line.push(part, start);
    }
    line
}

/// Takes the escape character off the end of a line; one that is itself escaped stays.
fn strip_continuation(raw: &str, escape: char) -> (&str, bool) {
    match raw.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(part) if !part.ends_with(escape) => (part, true),
        _ => (raw, false),
    }
}

struct HereDocument {
    name: String,
    /// Whether leading tabs before the end mark are ignored (`<<-`).
    strip_tabs: bool,
}

impl HereDocument {
    /// Reads to the end of the document; false if there is none.
    fn skip(&self, reader: &mut Reader<'_>) -> bool {
        while let Some((raw, _)) = reader.next() {
            let mark = if self.strip_tabs {
                raw.trim_start_matches('\t')
            } else {
                raw
            };
            if mark == self.name {
                return true;
            }
        }
        false
    }
}

/// The here-documents that begin in a line, in order.
fn here_documents(line: &str) -> Vec<HereDocument> {
    if !line.contains("<<") || !may_hold_here_document(line) {
        return Vec::new();
    }
    let words = shell::split_raw(line).unwrap_or_default();
    words
        .iter()
        .filter_map(|word| here_document(word))
        .collect()
}

fn may_hold_here_document(line: &str) -> bool {
    let mut command = Command::split(line, 0);
    if command.keyword == "onbuild" {
        command = Command::split(line, command.rest.start);
    }
    matches!(command.keyword.as_str(), "add" | "copy" | "run") && command.json(line).is_none()
}

/// A word of the form `[digits]<<[-]NAME`, the name perhaps quoted.
pub(super) fn is_here_document(word: &str) -> bool {
    here_document(word).is_some()
}

fn here_document(word: &str) -> Option<HereDocument> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix("<<")?;
    let (rest, strip_tabs) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if rest.contains('<') {
        return None;
    }
    match shell::split(rest).ok()?.as_slice() {
        [name] => Some(HereDocument {
            name: name.clone(),
            strip_tabs,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let (_, lines) = read(text, 0).unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn joins_continuations_and_drops_comments() {
        assert_eq!(
            texts("FROM a\n# b\n  RUN x \\\n  # c\n\n   y \\  \n z\nRUN w \\\\\nRUN v\\"),
            ["FROM a", "RUN x    y  z", "RUN w \\\\", "RUN v"]
        );
        assert_eq!(texts("FROM a \\\r\n  AS b\r\n"), ["FROM a   AS b"]);
        assert_eq!(texts("\\\nFROM a"), ["FROM a"]);
    }

    #[test]
    fn takes_directives_only_at_the_top() {
        let (directives, lines) = read("# Escape = `\n#syntax=a/b:1 x\nFROM a `\n b", 0).unwrap();
        assert_eq!(directives.escape(), '`');
        assert_eq!(directives.syntax, Some(("a/b:1 x".into(), 21..28)));
        assert_eq!(lines[0].text, "FROM a  b");
        for late in [
            "\n# escape=`\nFROM a",
            "# hello\n# escape=`\nFROM a",
            "FROM a\n#escape=`",
        ] {
            assert_eq!(read(late, 0).unwrap().0.escape(), '\\', "{late}");
        }
        assert!(read("# escape=x\nFROM a", 0).is_err());
        assert!(read("# syntax=x\n# syntax=x\nFROM a", 0).is_err());
    }

    #[test]
    fn skips_here_documents() {
        assert_eq!(
            texts("RUN cat <<E >x && y <<-\"F\"\nFROM a\nE\n\tCOPY\n\tF\nRUN z"),
            ["RUN cat <<E >x && y <<-\"F\"", "RUN z"]
        );
        assert_eq!(
            texts("ONBUILD RUN <<E\nx\nE\nRUN z"),
            ["ONBUILD RUN <<E", "RUN z"]
        );
        assert_eq!(texts("COPY <<a b\r\nFROM\r\na\r\nRUN z").len(), 2);
        for not in [
            "RUN [\"<<E\"]\nRUN z",
            "CMD cat <<E\nRUN z",
            "RUN a<<E\nRUN z",
            "RUN <<<E\nRUN z",
            "RUN '<<E'\nRUN z",
            "RUN a << E\nRUN z",
        ] {
            assert_eq!(texts(not).len(), 2, "{not}");
        }
        assert!(read("RUN <<E\nx", 0).is_err());
    }

    #[test]
    fn knows_where_everything_stands() {
        let text = "RUN a\\\n # c\n  b";
        let (_, lines) = read(text, 0).unwrap();
        assert_eq!(lines[0].text, "RUN a  b");
        assert_eq!(&text[lines[0].span(4..8)], "a\\\n # c\n  b");
        assert_eq!(lines[0].span(7..8), 14..15);
        assert_eq!(lines[0].span(8..8), 15..15);
    }
}
