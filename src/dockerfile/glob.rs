//! Path patterns as Docker matches them (`moby/patternmatcher`).
//!
//! `*` and `?` stop at `/`; `**` does not, and `**/` also stands for nothing; `[a-z]` and `[^a-z]`
//! are classes; `\` escapes. Three kinds of pattern are not compared by that rule, but as plain
//! text, which shows in odd cases (`**x` matches `yx`, while `**x*` does not): they are kept as
//! they are. Where what Docker does is an accident (an escaped letter, `*` in a class), the
//! pattern is refused.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// A pattern, ready to match.
#[derive(Debug, Clone)]
pub(super) enum Glob {
    /// No special character.
    Exact(Vec<u8>),
    /// Text and `**` at its end.
    Prefix(Vec<u8>),
    /// `**` and text after it.
    Suffix(Vec<u8>),
    /// All others.
    Regex(Regex),
}

/// A path in both forms that patterns are held against.
pub(super) struct Candidate<'a> {
    bytes: &'a [u8],
    text: Cow<'a, str>,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: decode(bytes),
        }
    }
}

impl Glob {
    /// Reads a pattern; the message says why it is none.
    pub(super) fn parse(pattern: &[u8]) -> Result<Self, &'static str> {
        let text = decode(pattern);
        let mut translation = Translation {
            input: text.chars().peekable(),
            regex: String::from("^"),
            kind: Kind::Exact,
        };
        translation.run()?;
        Ok(match translation.kind {
            Kind::Exact => Self::Exact(pattern.to_vec()),
            Kind::Prefix => Self::Prefix(pattern[..pattern.len().saturating_sub(2)].to_vec()),
            Kind::Suffix => Self::Suffix(pattern.get(2..).unwrap_or_default().to_vec()),
            Kind::Regex => {
                translation.regex.push('$');
                let regex = Regex::new(&translation.regex);
                Self::Regex(regex.map_err(|_| "the pattern is too large")?)
            }
        })
    }

    pub(super) fn matches(&self, path: &Candidate<'_>) -> bool {
        match self {
            Self::Exact(exact) => path.bytes == exact,
            Self::Prefix(prefix) => path.bytes.starts_with(prefix),
            Self::Suffix(suffix) => {
                path.bytes.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path.bytes)
            }
            Self::Regex(regex) => regex.is_match(&path.text),
        }
    }
}

/// As Go reads bytes: each one that is no UTF-8 counts as one replacement character.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

/// A pattern on its way to a regex.
struct Translation<'a> {
    input: Peekable<Chars<'a>>,
    regex: String,
    kind: Kind,
}

impl Translation<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        let mut is_first = true;
        while let Some(character) = self.input.next() {
            match character {
                '*' if self.input.next_if_eq(&'*').is_some() => self.double_star(is_first),
                '*' => self.special("[^/]*"),
                '?' => self.special("[^/]"),
                '[' => self.class()?,
                ']' => self.special(r"\]"),
                '\\' => {
                    let escaped = escaped(self.input.next())?;
                    self.special(&regex::escape(escaped.encode_utf8(&mut [0; 4])));
                }
                // Not escaped by Docker either: beside a special character it is an anchor.
                '^' => self.regex.push('^'),
                _ => self
                    .regex
                    .push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
            }
            is_first = false;
        }
        Ok(())
    }

    fn special(&mut self, regex: &str) {
        self.regex.push_str(regex);
        self.kind = Kind::Regex;
    }

    fn double_star(&mut self, is_first: bool) {
        self.input.next_if_eq(&'/');
        if self.input.peek().is_some() {
            self.special(r"(?:[^\n]*/)?");
        } else if self.kind == Kind::Exact {
            self.kind = Kind::Prefix;
        } else {
            self.special(r"[^\n]*");
        }
        if is_first {
            self.kind = Kind::Suffix;
        }
    }

    /// A class, after its `[`. Negated ones match `/` too, as Docker's do.
    fn class(&mut self) -> Result<(), &'static str> {
        self.special("[");
        if self.input.next_if_eq(&'^').is_some() {
            self.regex.push('^');
        }
        let mut is_empty = true;
        while is_empty || self.input.next_if_eq(&']').is_none() {
            is_empty = false;
            let low = self.class_character()?;
            let high = match self.input.next_if_eq(&'-') {
                Some(_) => self.class_character()?,
                None => low,
            };
            if low > high {
                return Err("a range in [] is the wrong way round");
            }
            let range = format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(low), u32::from(high));
            self.regex.push_str(&range);
        }
        self.regex.push(']');
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, &'static str> {
        match self.input.next() {
            None => Err("a [ has no ]"),
            Some('-' | ']') => Err("a - or ] in [] must be escaped"),
            Some('*' | '?') => Err("* and ? in [] do not mean themselves: escape them"),
            Some('[') if self.input.peek() == Some(&':') => {
                Err("named classes such as [:alpha:] are not supported")
            }
            Some('\\') => escaped(self.input.next()),
            Some(character) => Ok(character),
        }
    }
}

fn escaped(character: Option<char>) -> Result<char, &'static str> {
    match character {
        None => Err("there is nothing after the \\"),
        Some(character) if character.is_ascii() && !character.is_ascii_alphanumeric() => {
            Ok(character)
        }
        Some(_) => Err("letters and digits must not be escaped"),
    }
}

/// A path in its shortest form, without looking at any file (Go's `filepath.Clean`).
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let is_absolute = path.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if components.last().is_some_and(|last| *last != b"..") => {
                components.pop();
            }
            b".." if is_absolute => {}
            _ => components.push(component),
        }
    }
    let joined = components.join(&b'/');
    match (is_absolute, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
