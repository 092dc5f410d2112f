//! A logical line cut into its instruction, its flags and the rest, and the rest into words.

use std::ops::Range;

/// What an instruction is made of; ranges are into the logical line.
#[derive(Debug)]
pub(super) struct Command {
    /// In lower case.
    pub(super) keyword: String,
    pub(super) flags: Vec<Flag>,
    /// What follows the flags, without spaces around it.
    pub(super) rest: Range<usize>,
}

/// `--name=value`, quotes and escapes removed.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: String,
    /// The value's characters, each with its index in the line; `None` without `=`.
    pub(super) value: Option<Vec<(char, usize)>>,
}

impl Flag {
    pub(super) fn value_text(&self) -> String {
        let value = self.value.as_deref().unwrap_or_default();
        value.iter().map(|(character, _)| *character).collect()
    }
}

/// The spaces that separate words (BuildKit's `reWhitespace`); others are part of a word.
const SPACES: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

impl Command {
    /// Splits the part of a line that begins at `start`.
    pub(super) fn split(line: &str, start: usize) -> Self {
        let text = trim(line, start..line.len());
        let keyword_end = line[text.clone()]
            .find(SPACES)
            .map_or(text.end, |length| text.start + length);
        let (flags, rest) = take_flags(line, keyword_end..text.end);
        Self {
            keyword: line[text.start..keyword_end].to_lowercase(),
            flags,
            rest: trim(line, rest),
        }
    }

    /// The words of the rest.
    pub(super) fn words(&self, line: &str) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut position = self.rest.start;
        for word in line[self.rest.clone()].split(SPACES) {
            if !word.is_empty() {
                words.push(position..position + word.len());
            }
            // Every separator is one byte long.
            position += word.len() + 1;
        }
        words
    }

    /// The rest as a JSON array, where it begins with one; an array that holds anything but
    /// strings is an error.
    pub(super) fn json(&self, line: &str) -> Option<Result<Vec<String>, String>> {
        let rest = &line[self.rest.clone()];
        if !rest.starts_with('[') {
            return None;
        }
        let array = serde_json::Deserializer::from_str(rest)
            .into_iter::<Vec<serde_json::Value>>()
            .next()?
            .ok()?;
        let strings = array.into_iter().map(|value| match value {
            serde_json::Value::String(text) => Ok(text),
            _ => Err("a JSON array of an instruction may hold only strings".to_owned()),
        });
        Some(strings.collect())
    }
}

/// A range of the line without the spaces at its ends.
fn trim(line: &str, range: Range<usize>) -> Range<usize> {
    let text = &line[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// Takes the words that begin with `--` off the front (BuildKit's `extractBuilderFlags`).
fn take_flags(line: &str, range: Range<usize>) -> (Vec<Flag>, Range<usize>) {
    let mut flags = Vec::new();
    let mut position = range.start;
    loop {
        let text = &line[position..range.end];
        position += text.len() - text.trim_start().len();
        if !line[position..range.end].starts_with("--") {
            return (flags, position..range.end);
        }
        let (word, end) = take_word(line, position..range.end);
        position = end;
        match word.as_slice() {
            [('-', _), ('-', _)] => return (flags, position..range.end),
            [('-', _), ('-', _), flag @ ..] => flags.push(split_flag(flag)),
            // The leading dashes are never quoted, so they are always there.
            _ => return (flags, position..range.end),
        }
    }
}

/// The characters of the word at the start of the range, without quotes and escapes, and its end.
fn take_word(line: &str, range: Range<usize>) -> (Vec<(char, usize)>, usize) {
    let mut word = Vec::new();
    let mut quote = None;
    let mut characters = line[range.clone()].char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            _ if quote == Some(character) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(character),
            '\\' => {
                let escaped = characters.next();
                word.extend(escaped.map(|(index, character)| (character, range.start + index)));
            }
            _ if quote.is_none() && character.is_whitespace() => {
                return (word, range.start + index);
            }
            _ => word.push((character, range.start + index)),
        }
    }
    (word, range.end)
}

fn split_flag(flag: &[(char, usize)]) -> Flag {
    let equals = flag.iter().position(|(character, _)| *character == '=');
    let name = &flag[..equals.unwrap_or(flag.len())];
    Flag {
        name: name.iter().map(|(character, _)| *character).collect(),
        value: equals.map(|equals| flag[equals + 1..].to_vec()),
    }
}

/// Splits `NAME=value NAME=value` into words; quotes and escapes stay, and hide spaces
/// (BuildKit's `parseWords`).
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            _ if quote == Some(character) => {
                quote = None;
                word.push(character);
            }
            _ if character == escape && quote != Some('\'') => {
                if let Some(escaped) = characters.next() {
                    word.extend([character, escaped]);
                }
            }
            '\'' | '"' if quote.is_none() => {
                quote = Some(character);
                word.push(character);
            }
            _ if quote.is_none() && character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (String, Vec<(String, String)>, &str) {
        let command = Command::split(line, 0);
        let flags = command.flags.iter();
        let flags = flags.map(|flag| (flag.name.clone(), flag.value_text()));
        (
            command.keyword.clone(),
            flags.collect(),
            &line[command.rest],
        )
    }

    #[test]
    fn splits_flags_from_the_rest() {
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parts("Copy \t--from=a --link  x y "),
            (
                "copy".into(),
                vec![flag("from", "a"), flag("link", "")],
                "x y"
            )
        );
        assert_eq!(
            parts(r#"RUN --mount=target="/a b",from=c\ d -- --x"#),
            (
                "run".into(),
                vec![flag("mount", "target=/a b,from=c d")],
                "--x"
            )
        );
        assert_eq!(parts("RUN -x --y"), ("run".into(), vec![], "-x --y"));
        assert_eq!(parts("RUN"), ("run".into(), vec![], ""));
    }

    #[test]
    fn reads_json_as_docker_does() {
        let json = |line: &str| Command::split(line, 0).json(line);
        assert_eq!(
            json(r#"COPY ["a b", "c"] junk"#),
            Some(Ok(vec!["a b".into(), "c".into()]))
        );
        assert!(matches!(json("COPY [1] a"), Some(Err(_))));
        assert_eq!(json("COPY [ab] c"), None);
        assert_eq!(json("COPY a b"), None);
    }

    #[test]
    fn words_keep_quotes() {
        assert_eq!(
            quoted_words(r#"a=1 b="x y"  c=\ d 'e f'=g"#, '\\'),
            ["a=1", "b=\"x y\"", "c=\\ d", "'e f'=g"]
        );
    }
}
