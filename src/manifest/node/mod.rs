//! One tree of values with positions, whatever the manifest's text is written in.
//!
//! Objects keep every entry in order, duplicates too; numbers keep their text. How deep values may
//! nest is capped, so that walking the tree by recursion is safe.

mod json;
mod scalar;
mod text;
mod yaml;

pub(crate) use text::Text;
use text::Written;

/// How deep arrays and objects may nest.
const MAX_DEPTH: usize = 64;

/// A place in a text: 1-based line and 1-based column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) position: Position,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written, but for YAML's hexadecimal and octal numbers, which are decimal here.
    Number(String),
    Text(Text),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// An entry of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where the name stands.
    pub(crate) position: Position,
    pub(crate) node: Node,
}

/// Why a text could not be read at all.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) position: Position,
    pub(crate) hint: Option<&'static str>,
}

impl SyntaxError {
    fn new(message: impl Into<String>, position: Position) -> Self {
        Self {
            message: message.into(),
            position,
            hint: None,
        }
    }

    fn too_deep(position: Position) -> Self {
        Self::new(
            format!("values are nested more than {MAX_DEPTH} deep"),
            position,
        )
    }
}

/// The languages that a manifest may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Json,
    Yaml,
}

impl Language {
    /// The language of a file, by its name: `.yml` and `.yaml` are YAML, all else is JSON.
    pub(crate) fn of_file(name: &[u8]) -> Self {
        if name.ends_with(b".yml") || name.ends_with(b".yaml") {
            Self::Yaml
        } else {
            Self::Json
        }
    }
}

impl Node {
    /// Reads a text; a byte order mark at its start is passed over.
    pub(crate) fn parse(language: Language, bytes: &[u8]) -> Result<Self, SyntaxError> {
        let text = decode(bytes)?;
        refuse_control_characters(text)?;
        match language {
            Language::Json => json::parse(text),
            Language::Yaml => yaml::parse(text),
        }
    }

    /// What the value is, for a message that ends in "and this is …".
    pub(crate) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The string, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The entries of an object; none of anything else.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The value under a name in an object: the first, if the name stands there more than once.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find(|member| member.name == name)
            .map(|member| &member.node)
    }

    /// Where the character that holds this byte of the string stands in the file; the start of the
    /// string where it cannot be told.
    pub(crate) fn position_in_text(&self, offset: usize) -> Position {
        match &self.value {
            Value::Text(text) => text.position_of(offset, self.position),
            _ => self.position,
        }
    }

    /// How many levels of arrays and objects this is.
    fn height(&self) -> usize {
        let deepest = match &self.value {
            Value::Array(items) => items.iter().map(Self::height).max(),
            Value::Object(members) => members.iter().map(|member| member.node.height()).max(),
            _ => return 0,
        };
        1 + deepest.unwrap_or(0)
    }
}

/// The text of a file, without a byte order mark; the position counts as if there were none.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, SyntaxError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let (valid, _) = bytes.split_at(error.valid_up_to());
        let position = end_of(&String::from_utf8_lossy(valid));
        SyntaxError {
            hint: Some("save the file as UTF-8"),
            ..SyntaxError::new("this byte is not UTF-8", position)
        }
    })
}

/// Neither language allows them, and the YAML scanner takes a NUL for the end of the file.
fn refuse_control_characters(text: &str) -> Result<(), SyntaxError> {
    let refused = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    match text.bytes().position(|byte| refused(&byte)) {
        None => Ok(()),
        Some(offset) => Err(SyntaxError::new(
            format!(
                "control character 0x{:02x} cannot stand here",
                text.as_bytes()[offset]
            ),
            end_of(&text[..offset]),
        )),
    }
}

/// The position just behind a text.
fn end_of(text: &str) -> Position {
    let mut cursor = Cursor::new(text);
    cursor.advance_to_byte(text.len())
}

/// Turns offsets that only grow into positions, in one pass over the text.
struct Cursor<'a> {
    text: &'a str,
    byte: usize,
    character: usize,
    position: Position,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            byte: 0,
            character: 0,
            position: Position::START,
        }
    }

    /// The position of a byte at or behind the last one asked for.
    fn advance_to_byte(&mut self, byte: usize) -> Position {
        self.advance_while(|cursor| cursor.byte < byte);
        self.position
    }

    /// The byte offset of a character at or behind the last one asked for.
    fn advance_to_character(&mut self, character: usize) -> usize {
        self.advance_while(|cursor| cursor.character < character);
        self.byte
    }

    fn advance_while(&mut self, before: impl Fn(&Self) -> bool) {
        let text = self.text;
        for next in text[self.byte..].chars() {
            if !before(self) {
                return;
            }
            self.byte += next.len_utf8();
            self.character += 1;
            if next == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn error(language: Language, bytes: &[u8]) -> (usize, usize, String) {
        let error = Node::parse(language, bytes).unwrap_err();
        (error.position.line, error.position.column, error.message)
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        for language in [Language::Json, Language::Yaml] {
            let node = Node::parse(language, b"\xef\xbb\xbf{\"a\": \"b\"}").unwrap();
            assert_eq!(node.get("a").unwrap().text(), Some("b"));
            assert_eq!(node.members()[0].position, Position { line: 1, column: 2 });
        }
    }

    #[test]
    fn bytes_that_are_not_text_have_a_position() {
        for language in [Language::Json, Language::Yaml] {
            let (line, column, _) = error(language, b"{\n \"\xc3\xa9\xff\": 1}");
            assert_eq!((line, column), (2, 4));
            let (line, column, _) = error(language, b"{\"a\": 1,\n\"b\": 2\0}");
            assert_eq!((line, column), (2, 7));
        }
    }

    #[test]
    fn depth_is_capped_without_overflowing_the_stack() {
        for (language, depth) in [(Language::Json, 200_000), (Language::Yaml, 200)] {
            let (_, _, message) = error(language, "[".repeat(depth).as_bytes());
            assert!(
                message.contains("nest") || message.contains("depth"),
                "{message}"
            );
            let flat = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
            assert!(Node::parse(language, flat.as_bytes()).is_ok());
            let (_, column, _) = error(language, format!("[{flat}]").as_bytes());
            assert_eq!(column, MAX_DEPTH + 1);
        }
    }
}
