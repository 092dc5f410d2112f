//! Docker's small shell language: quotes, escapes and variables in a word.
//!
//! The rules are those of BuildKit's `frontend/dockerfile/shell` (see also the Dockerfile
//! reference, section "Environment replacement"). The modifiers that cut or replace parts of a
//! value (`#`, `%`, `/`) are understood but not carried out: using one on a value is an error.

use std::iter::Peekable;
use std::str::Chars;

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// Its value.
    Set(String),
    /// Surely not set.
    Unset,
    /// It may have a value, but not one that is known here.
    Open,
}

/// A word after its variables were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Variables whose value would have been needed, in order.
    pub(super) open: Vec<String>,
}

/// How deep `${a:-${b:-…}}` may nest.
const MAX_DEPTH: usize = 32;

/// Removes quotes and escapes from a word and replaces its variables.
pub(super) fn expand(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Variable,
) -> Result<Expanded, String> {
    let mut lexer = Lexer::new(word, escape, Mode::Expand(lookup));
    lexer.run(None).map(|piece| Expanded {
        text: piece.text,
        open: piece.open,
    })
}

/// Splits a line into words at spaces outside quotes, with quotes and escapes kept.
pub(super) fn split_raw(line: &str) -> Result<Vec<String>, String> {
    let mut lexer = Lexer::new(line, '\\', Mode::Keep { raw: true });
    lexer.run(None).map(Piece::into_words)
}

/// Splits a line into words at spaces outside quotes; quotes and escapes go, variables stay.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut lexer = Lexer::new(line, '\\', Mode::Keep { raw: false });
    lexer.run(None).map(Piece::into_words)
}

#[derive(Clone, Copy)]
enum Mode<'a> {
    /// Variables are replaced.
    Expand(&'a dyn Fn(&str) -> Variable),
    /// Variables stay as they are; with `raw`, quotes and escapes do too.
    Keep { raw: bool },
}

/// A part of the input that has been processed: as one text and cut into words.
#[derive(Default)]
struct Piece {
    text: String,
    words: Vec<String>,
    word: String,
    open: Vec<String>,
}

impl Piece {
    /// A character that separates words if it is a space.
    fn push(&mut self, character: char) {
        self.text.push(character);
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// A character that is part of the word, whatever it is.
    fn push_quoted(&mut self, character: char) {
        self.text.push(character);
        self.word.push(character);
    }

    fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Lexer<'a> {
    input: Peekable<Chars<'a>>,
    escape: char,
    mode: Mode<'a>,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn new(input: &'a str, escape: char, mode: Mode<'a>) -> Self {
        Self {
            input: input.chars().peekable(),
            escape,
            mode,
            depth: 0,
        }
    }

    fn is_raw(&self) -> bool {
        matches!(self.mode, Mode::Keep { raw: true })
    }

    /// Processes up to `stop`, which is consumed, or to the end of the input.
    fn run(&mut self, stop: Option<char>) -> Result<Piece, String> {
        let mut piece = Piece::default();
        while let Some(character) = self.input.next() {
            match character {
                _ if Some(character) == stop => return Ok(piece),
                '\'' => self.single_quote(&mut piece)?,
                '"' => self.double_quote(&mut piece)?,
                '$' => {
                    let value = self.dollar()?;
                    value.text.chars().for_each(|c| piece.push(c));
                    piece.open.extend(value.open);
                }
                _ if character == self.escape => {
                    if self.is_raw() {
                        piece.push_quoted(character);
                    }
                    if let Some(escaped) = self.input.next() {
                        piece.push_quoted(escaped);
                    }
                }
                _ => piece.push(character),
            }
        }
        match stop {
            None => Ok(piece),
            Some(stop) => Err(format!("there is no '{stop}' to end what was begun")),
        }
    }

    fn single_quote(&mut self, piece: &mut Piece) -> Result<(), String> {
        if self.is_raw() {
            piece.push_quoted('\'');
        }
        loop {
            match self.input.next() {
                None => return Err("a single quote is not closed".into()),
                Some('\'') => break,
                Some(character) => piece.push_quoted(character),
            }
        }
        if self.is_raw() {
            piece.push_quoted('\'');
        }
        Ok(())
    }

    fn double_quote(&mut self, piece: &mut Piece) -> Result<(), String> {
        if self.is_raw() {
            piece.push_quoted('"');
        }
        loop {
            match self.input.next() {
                None => return Err("a double quote is not closed".into()),
                Some('"') => break,
                Some('$') => {
                    let value = self.dollar()?;
                    value.text.chars().for_each(|c| piece.push_quoted(c));
                    piece.open.extend(value.open);
                }
                Some(character) if character == self.escape => self.escape_in_quotes(piece),
                Some(character) => piece.push_quoted(character),
            }
        }
        if self.is_raw() {
            piece.push_quoted('"');
        }
        Ok(())
    }

    /// Between double quotes only the quote, `$` and the escape character itself can be escaped.
    fn escape_in_quotes(&mut self, piece: &mut Piece) {
        let escape = self.escape;
        if self.is_raw() {
            piece.push_quoted(escape);
        }
        match self
            .input
            .next_if(|next| matches!(next, '"' | '$') || *next == escape)
        {
            Some(escaped) => piece.push_quoted(escaped),
            None if self.is_raw() => {}
            None => piece.push_quoted(escape),
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<Expanded, String> {
        if self.input.next_if_eq(&'{').is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err("variables are nested too deeply".into());
            }
            let value = self.braces();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok(Expanded {
                text: "$".into(),
                open: Vec::new(),
            });
        }
        Ok(self.plain(&name, format!("${name}")))
    }

    /// The inside of `${…}`, the closing brace included.
    fn braces(&mut self) -> Result<Expanded, String> {
        if matches!(self.input.peek(), None | Some('{' | '}' | ':')) {
            return Err("bad substitution after '${'".into());
        }
        let name = self.name();
        let Some(mut modifier) = self.input.next() else {
            return Err("a '}' is missing".into());
        };
        if modifier == '}' {
            return Ok(self.plain(&name, format!("${{{name}}}")));
        }
        let mut signs = String::from(modifier);
        let empty_is_unset = modifier == ':';
        if empty_is_unset {
            modifier = self.input.next().ok_or("a '}' is missing")?;
            signs.push(modifier);
        }
        if !matches!(modifier, '-' | '+' | '?' | '#' | '%' | '/') {
            return Err(format!("unsupported modifier '{signs}' in a substitution"));
        }
        let word = self.run(Some('}'))?;
        match self.mode {
            Mode::Keep { .. } => Ok(Expanded {
                text: format!("${{{name}{signs}{}}}", word.text),
                open: Vec::new(),
            }),
            Mode::Expand(lookup) => {
                substitute(&name, lookup(&name), modifier, empty_is_unset, word)
            }
        }
    }

    /// A variable without a modifier.
    fn plain(&self, name: &str, written: String) -> Expanded {
        match self.mode {
            Mode::Keep { .. } => Expanded {
                text: written,
                open: Vec::new(),
            },
            Mode::Expand(lookup) => match lookup(name) {
                Variable::Set(text) => Expanded {
                    text,
                    open: Vec::new(),
                },
                Variable::Unset | Variable::Open => open(name),
            },
        }
    }

    /// A variable's name: letters, digits and `_`; or digits only; or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if self.input.peek().is_some_and(char::is_ascii_digit) {
            while let Some(digit) = self.input.next_if(char::is_ascii_digit) {
                name.push(digit);
            }
            return name;
        }
        if let Some(special) = self
            .input
            .next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!'))
        {
            return special.to_string();
        }
        while let Some(part) = self.input.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(part);
        }
        name
    }
}

fn open(name: &str) -> Expanded {
    Expanded {
        text: String::new(),
        open: vec![name.to_owned()],
    }
}

/// `${name:-word}` and its relatives.
fn substitute(
    name: &str,
    value: Variable,
    modifier: char,
    empty_is_unset: bool,
    word: Piece,
) -> Result<Expanded, String> {
    let word = Expanded {
        text: word.text,
        open: word.open,
    };
    let value = match value {
        Variable::Open => return Ok(open(name)),
        Variable::Unset => None,
        Variable::Set(text) if empty_is_unset && text.is_empty() => None,
        Variable::Set(text) => Some(text),
    };
    match (modifier, value) {
        ('-', None) | ('+', Some(_)) => Ok(word),
        ('+', None) => Ok(Expanded::default()),
        ('-' | '?', Some(text)) => Ok(Expanded {
            text,
            open: Vec::new(),
        }),
        ('?', None) if word.text.is_empty() => Err(format!("variable '{name}' must have a value")),
        ('?', None) => Err(format!("variable '{name}': {}", word.text)),
        _ => Err(format!(
            "the modifier '{modifier}' of variable '{name}' is not supported in an image name"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Variable {
        match name {
            "set" => Variable::Set("value".into()),
            "empty" => Variable::Set(String::new()),
            "maybe" => Variable::Open,
            _ => Variable::Unset,
        }
    }

    #[test]
    fn replaces_variables_as_docker_does() {
        for (word, text) in [
            ("a", "a"),
            ("$set", "value"),
            ("${set}x", "valuex"),
            ("$set-x.$set", "value-x.value"),
            (r"\$set", "$set"),
            (r"\${set}", "${set}"),
            ("'$set'", "$set"),
            ("\"$set\"", "value"),
            (r#""\$set""#, "$set"),
            (r#""a\b""#, r"a\b"),
            ("${none:-word}", "word"),
            ("${none-word}", "word"),
            ("${empty:-word}", "word"),
            ("${empty-word}", ""),
            ("${set:-word}", "value"),
            ("${set:+word}", "word"),
            ("${set+word}", "word"),
            ("${empty:+word}", ""),
            ("${empty+word}", "word"),
            ("${none:+word}", ""),
            ("${none+word}", ""),
            ("${none:-${set}x}", "valuex"),
            ("${none:-a:b}", "a:b"),
            ("${set:-$none}", "value"),
            ("${none+$none}", ""),
            ("${set?needed}", "value"),
            ("a$", "a$"),
            ("$/a", "$/a"),
        ] {
            let expanded = expand(word, '\\', &lookup).unwrap();
            assert_eq!(expanded.text, text, "{word}");
            assert_eq!(expanded.open, Vec::<String>::new(), "{word}");
        }
        assert_eq!(expand("`$set", '`', &lookup).unwrap().text, "$set");
        assert_eq!(expand(r"\$set", '`', &lookup).unwrap().text, r"\value");
    }

    #[test]
    fn names_what_stays_open() {
        for (word, open) in [
            ("$none", "none"),
            ("${none}", "none"),
            ("${none:-$other}", "other"),
            ("${maybe:-word}", "maybe"),
            ("${maybe+word}", "maybe"),
            ("$1", "1"),
        ] {
            assert_eq!(expand(word, '\\', &lookup).unwrap().open, [open], "{word}");
        }
    }

    #[test]
    fn refuses_what_docker_refuses_and_what_it_does_not_carry_out() {
        for word in [
            "${set",
            "${",
            "${}",
            "${:-a}",
            "${set:",
            "${set:-a",
            "${set^}",
            "'a",
            "\"a",
            "${none?}",
            "${none:?sorry}",
            "${set#v}",
            "${set%e}",
            "${set/a/b}",
        ] {
            assert!(expand(word, '\\', &lookup).is_err(), "{word}");
        }
        let deep = "${a:-".repeat(5000);
        assert!(expand(&deep, '\\', &lookup).is_err());
    }

    #[test]
    fn splits_words() {
        let words = split_raw(r#"RUN cat <<"E F" $a\ b '1 2' ${x:-y z}"#).unwrap();
        assert_eq!(
            words,
            ["RUN", "cat", "<<\"E F\"", "$a\\ b", "'1 2'", "${x:-y", "z}"]
        );
        assert_eq!(split("\"E\"OF").unwrap(), ["EOF"]);
        assert!(split_raw("a 'b").is_err());
    }
}
