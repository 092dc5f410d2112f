//! Rebuild and ignore patterns: regexes over the bytes of a path.

use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::literal::Literal;
use crate::model::RepoPath;

/// A regex over bytes (`(?s-u)`), searched in the whole path from the repository's root.
///
/// It is parsed when the manifest is read, and compiled only when a path is first held against it:
/// a plain directory prefix never is. Cheap to clone; clones share the compiled form.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    text: String,
    /// What every match begins with at the start of the path, if the pattern is anchored there.
    prefix: Option<Vec<u8>>,
    /// The directory, if the pattern is nothing but the start of the path and `<directory>/`.
    directory: Option<RepoPath>,
    /// The pattern as literals, if it is no more than that.
    literal: Option<Literal>,
    regex: OnceLock<Regex>,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What the regex parser says, one line.
    pub message: String,
    /// 0-based offset of the fault in the pattern's text, in bytes.
    pub offset: usize,
    /// What to write instead.
    pub hint: &'static str,
}

impl Pattern {
    /// Parses a pattern; the compiled form is known to fit the engine's size limit.
    ///
    /// # Errors
    ///
    /// The pattern is no valid regex, or its repetitions make it too large.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(prefix) = plain_prefix(text) {
            let literal = Literal::Starts(prefix.to_vec());
            return Ok(Self::new(text, Some(prefix.to_vec()), Some(literal)));
        }
        let hir = ParserBuilder::new()
            .utf8(false)
            .unicode(false)
            .dot_matches_new_line(true)
            .build()
            .parse(text)
            .map_err(|error| syntax_error(&error))?;
        let pattern = Self::new(text, anchored_prefix(&hir), Literal::of(&hir));
        if pattern.0.literal.is_none() && is_large(&hir) {
            let regex = compile(text).map_err(|error| PatternError {
                message: error.to_string(),
                offset: 0,
                hint: "repetitions multiply: count to less, or write * or + for any number",
            })?;
            let _ = pattern.0.regex.set(regex);
        }
        Ok(pattern)
    }

    fn new(text: &str, prefix: Option<Vec<u8>>, literal: Option<Literal>) -> Self {
        let whole = match &literal {
            Some(Literal::Starts(prefix)) => prefix.strip_suffix(b"/"),
            _ => None,
        };
        let directory = whole
            .filter(|directory| is_normal(directory))
            .map(RepoPath::from_git);
        Self(Arc::new(Parts {
            text: text.to_owned(),
            prefix,
            directory,
            literal,
            regex: OnceLock::new(),
        }))
    }

    /// The pattern that covers a directory, and everything for the root.
    #[must_use]
    pub fn of_directory(directory: &RepoPath) -> Self {
        let prefix = directory.as_prefix();
        Self(Arc::new(Parts {
            text: format!("^{}", regex::escape(&String::from_utf8_lossy(&prefix))),
            literal: Some(Literal::Starts(prefix.clone())),
            prefix: Some(prefix),
            directory: Some(directory.clone()),
            regex: OnceLock::new(),
        }))
    }

    /// The pattern as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The directory that the pattern covers whole: it is start-of-text and a literal that ends in
    /// `/`, or the default of a project in the root.
    #[must_use]
    pub fn as_directory(&self) -> Option<&RepoPath> {
        self.0.directory.as_ref()
    }

    /// What every matching path begins with; `None` if a match may begin anywhere.
    #[must_use]
    pub fn anchored_prefix(&self) -> Option<&[u8]> {
        self.0.prefix.as_deref()
    }

    /// Whether the pattern is found in this path.
    #[must_use]
    pub fn is_match(&self, path: &[u8]) -> bool {
        if let Some(literal) = &self.0.literal {
            return literal.is_match(path);
        }
        // What parses and is small compiles; were that ever untrue, matching everything rebuilds.
        match self.0.regex.get() {
            Some(regex) => regex.is_match(path),
            None => match compile(&self.0.text) {
                Ok(regex) => self.0.regex.get_or_init(|| regex).is_match(path),
                Err(_) => true,
            },
        }
    }

    /// Whether some path below this directory (its components, and `/`) could match.
    #[must_use]
    pub fn may_match_below(&self, directory: &RepoPath) -> bool {
        let below = directory.as_prefix();
        self.0
            .prefix
            .as_ref()
            .is_none_or(|prefix| prefix.starts_with(&below) || below.starts_with(prefix))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text && self.0.directory == other.0.directory
    }
}

impl Eq for Pattern {}

/// What follows the `^` of a pattern in which no other character has a meaning: most are like that,
/// and need no parser.
fn plain_prefix(text: &str) -> Option<&[u8]> {
    let rest = text.strip_prefix('^')?.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_-".contains(byte);
    rest.iter().all(plain).then_some(rest)
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .build()
}

/// Whether compiling might run into the engine's size limit, so that it must be tried at once.
fn is_large(hir: &Hir) -> bool {
    hir.properties()
        .minimum_len()
        .is_some_and(|length| length > 200)
        || contains_bounded_repeat(hir)
}

fn contains_bounded_repeat(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            repetition.max.is_some_and(|max| max > 1)
                || repetition.min > 1
                || contains_bounded_repeat(&repetition.sub)
        }
        HirKind::Capture(capture) => contains_bounded_repeat(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().any(contains_bounded_repeat)
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// The literal that every match begins with at the start of the text.
fn anchored_prefix(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Look(Look::Start) => Some(Vec::new()),
        HirKind::Concat(parts) if matches!(parts[0].kind(), HirKind::Look(Look::Start)) => {
            match parts[1].kind() {
                HirKind::Literal(literal) => Some(literal.0.to_vec()),
                _ => Some(Vec::new()),
            }
        }
        _ => None,
    }
}

/// Whether these bytes are a path as git writes it: otherwise nothing in a tree can match them.
fn is_normal(directory: &[u8]) -> bool {
    !directory.is_empty()
        && directory
            .split(|byte| *byte == b'/')
            .all(|component| !matches!(component, b"" | b"." | b".."))
}

fn syntax_error(error: &regex_syntax::Error) -> PatternError {
    match error {
        regex_syntax::Error::Parse(error) => PatternError {
            message: error.kind().to_string(),
            offset: error.span().start.offset,
            hint: hint(error.kind()),
        },
        regex_syntax::Error::Translate(error) => PatternError {
            message: error.kind().to_string(),
            offset: error.span().start.offset,
            hint: BYTES,
        },
        other => PatternError {
            message: other.to_string(),
            offset: 0,
            hint: SYNTAX,
        },
    }
}

const SYNTAX: &str = "patterns are regexes as the Rust crate `regex` has them, searched in the path \
    from the repository's root";

const BYTES: &str = "patterns match bytes and know no Unicode classes: write the characters, or \
    leave them to .*";

/// What to write instead, by what people bring along from grep, globs and other regexes.
fn hint(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnsupportedLookAround => {
            "patterns have no look-around: match more, and leave files out with ignorePatterns"
        }
        ErrorKind::UnsupportedBackreference => {
            "patterns have no back-references: write the alternatives out, as (a/a|b/b)"
        }
        ErrorKind::GroupUnclosed | ErrorKind::GroupUnopened => {
            "( and ) come in pairs and group; \\( and \\) are the characters, and no groups as in grep"
        }
        ErrorKind::RepetitionMissing => {
            "this is a regex and no glob: write .* for any text, and [*], [+] or [?] for the \
             character"
        }
        ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::RepetitionCountUnclosed => {
            "{2,3} counts repetitions: write (a|b) for alternatives, and [{] for the character"
        }
        ErrorKind::ClassUnclosed => "a class ends with ]: write [[] for the character itself",
        ErrorKind::ClassRangeInvalid
        | ErrorKind::ClassRangeLiteral
        | ErrorKind::ClassEscapeInvalid => {
            "a range in brackets goes upwards: put - first or last to mean the character"
        }
        ErrorKind::EscapeUnrecognized => {
            "this escape has no meaning: write the character alone, or in brackets"
        }
        ErrorKind::EscapeUnexpectedEof => {
            r"\ at the end escapes nothing: write \\ for the character itself"
        }
        ErrorKind::UnicodeClassInvalid => BYTES,
        _ => SYNTAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_prefix_is_a_directory() {
        let directory = |text: &str| Pattern::parse(text).unwrap().as_directory().cloned();
        assert_eq!(directory("^libs/log/"), Some(RepoPath::from("libs/log")));
        assert_eq!(directory(r"^a\.b/"), Some(RepoPath::from("a.b")));
        assert_eq!(directory(r"\Aa/"), Some(RepoPath::from("a")));
        for not in [
            "libs/log/",
            "^libs/log",
            "^libs/(a|b)/",
            "^libs/.*/",
            "^/",
            "^a//",
            "^",
            "",
            "(?i)^a/",
            "(?m)^a/",
        ] {
            assert_eq!(directory(not), None, "{not}");
        }
    }

    #[test]
    fn a_plain_prefix_is_what_the_parser_makes_of_it() {
        for text in ["^", "^a", "^a/", "^a-b/c_d", "^/", "^a//"] {
            let plain = Pattern::parse(text).unwrap();
            let parsed = Pattern::parse(&format!("(?:{text})")).unwrap();
            assert_eq!(plain.anchored_prefix(), parsed.anchored_prefix(), "{text}");
            assert_eq!(plain.as_directory(), parsed.as_directory(), "{text}");
            for path in ["a", "a/", "xa/", "a-b/c_d", "a//b"] {
                let path = path.as_bytes();
                assert_eq!(plain.is_match(path), parsed.is_match(path), "{text}");
            }
        }
    }

    #[test]
    fn literals_match_what_the_regex_does() {
        let paths: [&[u8]; 12] = [
            b"",
            b"a",
            b"a/",
            b"ab",
            b"aba",
            b"a/b.rs",
            b"a/.rs",
            b"xa/b.rs",
            b"a.rs",
            b".rs",
            b"a/\n.rs",
            b"a/\xff.rs",
        ];
        for text in [
            "^a$",
            "^a",
            "a$",
            "^a.*a$",
            "^a/.*\\.rs$",
            "^ab.*ba$",
            "\\.rs$",
            "^$",
            "$",
            "",
            "a",
            "^a.*",
            "^a.+b$",
            "(?i)^A$",
            "(?m)^a$",
            "^a.*?s$",
            "^(a)$",
        ] {
            let pattern = Pattern::parse(text).unwrap();
            let regex = compile(text).unwrap();
            for path in paths {
                assert_eq!(
                    pattern.is_match(path),
                    regex.is_match(path),
                    "{text} {path:?}"
                );
            }
        }
        let is_literal = |text: &str| Pattern::parse(text).unwrap().0.literal.is_some();
        assert!(is_literal("^a/.*\\.rs$") && is_literal("\\.md$") && !is_literal("a"));
    }

    #[test]
    fn matches_bytes() {
        let pattern = Pattern::parse("a.b$").unwrap();
        assert!(pattern.is_match(b"xa\xffb"));
        assert!(pattern.is_match(b"xa\nb"));
        assert!(!pattern.is_match(b"xa\nbc"));
    }

    #[test]
    fn knows_where_it_may_match() {
        let pattern = Pattern::parse("^a/b[0-9]").unwrap();
        assert!(pattern.may_match_below(&RepoPath::from("a")));
        assert!(!pattern.may_match_below(&RepoPath::from("b")));
        assert!(
            Pattern::parse("b")
                .unwrap()
                .may_match_below(&RepoPath::from("zzz"))
        );
    }

    #[test]
    fn refuses_with_a_position() {
        assert_eq!(Pattern::parse("ab(").unwrap_err().offset, 2);
        assert!(Pattern::parse("(a{1000}){1000}").is_err());
    }

    #[test]
    fn refuses_with_what_to_write_instead() {
        for (text, hint) in [
            ("^a/(?!b)", "no look-around"),
            (r"(a)\1", "no back-references"),
            (r"^\(a|b)", "no groups as in grep"),
            ("^(a", "come in pairs"),
            ("*.md", "no glob"),
            ("x{a,b}", "(a|b) for alternatives"),
            ("[a", "write [[]"),
            ("[z-a]", "put - first"),
            (r"\y", "has no meaning"),
            ("a\\", "at the end"),
            (r"\p{Greek}", "know no Unicode"),
            ("(a{1000}){1000}", "repetitions multiply"),
            ("(?z)a", "the Rust crate"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.hint.contains(hint), "{text}: {error:?}");
        }
    }
}
