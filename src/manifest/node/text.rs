//! Strings that remember how they were written, so that a fault inside one has a column.

use super::Position;

/// A string of the manifest.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: String,
    written: Written,
}

/// How a string stands in the file.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// As it is, behind this many characters (a quotation mark, or nothing).
    Plain { lead: usize },
    /// In one line between quotation marks, with escapes: `\"` and the like in double ones, `''` in
    /// single ones. What stands between the marks.
    Escaped(Box<str>),
    /// In a way that offsets are not traced through: folded lines, block scalars.
    Folded,
}

impl Text {
    pub(super) fn new(text: String, written: Written) -> Self {
        Self { text, written }
    }

    /// The string itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the character at a byte offset stands, if the string begins at `start`.
    pub(super) fn position_of(&self, offset: usize, start: Position) -> Position {
        let before = self
            .text
            .char_indices()
            .take_while(|(index, _)| *index < offset)
            .map(|(_, character)| character);
        let columns = match &self.written {
            Written::Plain { lead } => lead + before.count(),
            Written::Escaped(inner) => 1 + written_length(before, inner),
            Written::Folded => 0,
        };
        Position {
            column: start.column + columns,
            ..start
        }
    }
}

/// How many characters these characters, the first of a string, take up in its escaped form.
fn written_length(characters: impl Iterator<Item = char>, inner: &str) -> usize {
    let mut rest = inner.chars();
    let mut length = 0;
    for character in characters {
        let one = length_of_one(character, rest.as_str());
        length += one;
        rest.nth(one - 1);
    }
    length
}

/// How many characters the next one takes up at the start of an escaped text.
fn length_of_one(character: char, escaped: &str) -> usize {
    let mut characters = escaped.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), Some('u')) if u32::from(character) > 0xffff => 12,
        (Some('\\'), Some('u')) => 6,
        (Some('\\'), Some('U')) => 10,
        (Some('\\'), Some('x')) => 4,
        (Some('\\'), _) | (Some('\''), Some('\'')) => 2,
        _ => 1,
    }
}
