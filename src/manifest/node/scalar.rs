//! YAML's scalars: what they mean by tag and core schema, and how they were written.

use saphyr_parser::{ScalarStyle, Span, Tag};

use super::yaml::position;
use super::{Cursor, Position, SyntaxError, Text, Value, Written};

/// A scalar as it is written.
pub(super) struct Scalar<'a> {
    pub(super) text: &'a str,
    pub(super) style: ScalarStyle,
    pub(super) tag: Option<&'a Tag>,
    pub(super) anchored: bool,
    /// From the anchor or the tag on, where there is one.
    pub(super) span: Span,
}

impl Scalar<'_> {
    pub(super) fn is_plain(&self) -> bool {
        self.style == ScalarStyle::Plain
    }

    /// What it means.
    pub(super) fn value(&self, cursor: &mut Cursor) -> Result<Value, SyntaxError> {
        let at = position(self.span.start);
        let by_schema = || core_schema(self.text);
        match self.tag {
            None if self.is_plain() => {
                if let Some(value) = by_schema() {
                    return Ok(value);
                }
            }
            None => {}
            Some(tag) if is_core(tag, "str") || (tag.handle.is_empty() && tag.suffix == "!") => {}
            Some(tag) => {
                let value = by_schema().filter(|value| match value {
                    Value::Null => is_core(tag, "null"),
                    Value::Bool(_) => is_core(tag, "bool"),
                    Value::Number(_) => is_core(tag, "int") || is_core(tag, "float"),
                    _ => false,
                });
                return value.ok_or_else(|| foreign_tag(tag, at));
            }
        }
        Ok(Value::Text(Text::new(
            self.text.to_owned(),
            self.written(cursor),
        )))
    }

    fn written(&self, cursor: &mut Cursor) -> Written {
        let quotes = match self.style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            ScalarStyle::Literal | ScalarStyle::Folded => return Written::Folded,
        };
        let decorated = self.anchored || self.tag.is_some();
        if decorated || self.span.start.line() != self.span.end.line() {
            return Written::Folded;
        }
        if self.span.len() == self.text.chars().count() + 2 * quotes {
            return Written::Plain { lead: quotes };
        }
        let start = cursor.advance_to_character(self.span.start.index() + quotes);
        let end = cursor.advance_to_character(self.span.end.index().saturating_sub(quotes));
        match cursor.text.get(start..end) {
            Some(inner) if quotes > 0 => Written::Escaped(inner.into()),
            _ => Written::Folded,
        }
    }
}

fn is_core(tag: &Tag, suffix: &str) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == suffix
}

/// Refuses a tag on an array or object, unless it is the one that says so.
pub(super) fn expect_tag(tag: Option<&Tag>, suffix: &str, at: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !is_core(tag, suffix) => Err(foreign_tag(tag, at)),
        _ => Ok(()),
    }
}

fn foreign_tag(tag: &Tag, at: Position) -> SyntaxError {
    SyntaxError::new(format!("tag '{tag}' does not fit this value"), at)
}

/// What a plain scalar means (YAML 1.2.2, section 10.3.2); `None` for a string.
fn core_schema(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let in_base = |digits: &str, base: u32| {
        let all = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
        let value = u128::from_str_radix(digits, base).ok()?;
        all.then(|| Value::Number(value.to_string()))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return in_base(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return in_base(digits, 8);
    }
    is_number(text).then(|| Value::Number(text.to_owned()))
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits_and_point = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    digits_and_point
        && unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && text.parse::<f64>().is_ok()
}
