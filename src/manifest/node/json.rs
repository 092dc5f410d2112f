//! JSON, strictly as RFC 8259 has it: no comments, no trailing commas.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;

use super::{Cursor, MAX_DEPTH, Member, Node, Position, SyntaxError, Text, Value, Written, end_of};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT)
        .map_err(|error| syntax_error(&error, text))?;
    let Some(value) = parsed.value else {
        return Err(SyntaxError::new("the file is empty", Position::START));
    };
    refuse_what_is_still_lax(text)?;
    let mut cursor = Cursor::new(text);
    convert(value, &mut cursor, 0)
}

/// The parser lets line breaks in strings and foreign white space pass even when it is strict.
fn refuse_what_is_still_lax(text: &str) -> Result<(), SyntaxError> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| {
            let line = text.split('\n').nth(error.line().saturating_sub(1));
            let before = line.unwrap_or_default().as_bytes();
            let before = &before[..error.column().saturating_sub(1).min(before.len())];
            let position = Position {
                line: error.line().max(1),
                column: String::from_utf8_lossy(before).chars().count() + 1,
            };
            SyntaxError::new("this character cannot stand here in JSON", position)
        })
}

fn syntax_error(error: &jsonc_parser::errors::ParseError, text: &str) -> SyntaxError {
    let position = end_of(text.get(..error.range().start).unwrap_or(text));
    let hint = match error.kind() {
        ParseErrorKind::CommentsNotAllowed => {
            Some("remove the comment, or write the manifest in YAML as build_manifest.yml")
        }
        ParseErrorKind::TrailingCommasNotAllowed => Some("remove the comma"),
        ParseErrorKind::SingleQuotedStringsNotAllowed => Some("use double quotes"),
        ParseErrorKind::String(jsonc_parser::ParseStringErrorKind::InvalidEscape) => {
            Some("a backslash in a pattern is written twice in JSON: \"\\\\.\"")
        }
        _ => None,
    };
    let message = error.kind().to_string();
    let mut letters = message.chars();
    let message = letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    });
    SyntaxError {
        hint,
        ..SyntaxError::new(message, position)
    }
}

/// Converts a value whose ancestors are `depth` deep; offsets must only grow.
fn convert(value: ast::Value, cursor: &mut Cursor, depth: usize) -> Result<Node, SyntaxError> {
    let range = value.range();
    let position = cursor.advance_to_byte(range.start);
    if depth == MAX_DEPTH && matches!(value, ast::Value::Array(_) | ast::Value::Object(_)) {
        return Err(SyntaxError::too_deep(position));
    }
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => {
            let inner = cursor.text.get(range.start + 1..range.end - 1);
            let written = match inner {
                Some(inner) if inner == literal.value => Written::Plain { lead: 1 },
                Some(inner) => Written::Escaped(inner.into()),
                None => Written::Folded,
            };
            Value::Text(Text::new(literal.value.into_owned(), written))
        }
        ast::Value::Array(array) => Value::Array(
            array
                .elements
                .into_iter()
                .map(|element| convert(element, cursor, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        ast::Value::Object(object) => Value::Object(
            object
                .properties
                .into_iter()
                .map(|property| member(property, cursor, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Node { value, position })
}

fn member(
    property: ast::ObjectProp,
    cursor: &mut Cursor,
    depth: usize,
) -> Result<Member, SyntaxError> {
    let position = cursor.advance_to_byte(property.range.start);
    let name = match property.name {
        ast::ObjectPropName::String(name) => name.value.into_owned(),
        ast::ObjectPropName::Word(name) => name.value.to_owned(),
    };
    Ok(Member {
        name,
        position,
        node: convert(property.value, cursor, depth)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::error;
    use super::super::{Language, Node, Position};
    use proptest::prelude::*;

    #[test]
    fn faults_have_positions() {
        for (text, line, column) in [
            ("", 1, 1),
            ("{\"a\": 1,}", 1, 8),
            ("{\n  // no\n}", 2, 3),
            ("{\"é\": 01}", 1, 8),
            ("{\"a\" 1}", 1, 6),
            ("{\"a\": 1} x", 1, 10),
            ("{\"a\": \"\\q\"}", 1, 8),
            ("{a: 1}", 1, 2),
            ("{'a': 1}", 1, 2),
            ("[+1]", 1, 2),
            ("[1 2]", 1, 3),
            ("{\"a\":\u{a0}1}", 1, 6),
            ("[\"a\u{e9}\nb\"]", 1, 5),
            ("{\"a\": \"\\ud800\"}", 1, 8),
        ] {
            let (at_line, at_column, message) = error(Language::Json, text.as_bytes());
            assert_eq!((at_line, at_column), (line, column), "{text}: {message}");
        }
    }

    #[test]
    fn a_byte_of_a_string_has_a_column() {
        let node = Node::parse(
            Language::Json,
            "[\n \"abé(\", \"\\u00e9\\ud83d\\ude00\\\"x\"]".as_bytes(),
        )
        .unwrap();
        let column = |item: usize, offset: usize| node.items()[item].position_in_text(offset);
        assert_eq!(column(0, 4), Position { line: 2, column: 6 });
        let at = |column| Position { line: 2, column };
        assert_eq!(column(1, 0), at(11));
        assert_eq!(column(1, 2), at(17));
        assert_eq!(column(1, 6), at(29));
        assert_eq!(column(1, 7), at(31));
    }

    #[test]
    fn numbers_keep_their_text() {
        let node = Node::parse(Language::Json, b"[1.000000000000000000001, 1e400]").unwrap();
        assert!(matches!(&node.items()[0].value, super::Value::Number(text)
            if text == "1.000000000000000000001"));
    }

    proptest! {
        /// What is accepted here is accepted by another strict parser, and the reverse.
        #[test]
        fn agrees_with_another_parser(text in "[\\[\\]{}:,\"a1 \\\\n.u\\-0e\u{a0}\u{e9}t\n]{0,12}") {
            let ours = Node::parse(Language::Json, text.as_bytes()).is_ok();
            let other = serde_json::from_str::<serde_json::Value>(&text);
            let out_of_range = other.as_ref().is_err_and(|error| error.to_string().contains("range"));
            prop_assert!(out_of_range || ours == other.is_ok(), "{text}: {other:?}");
        }
    }
}
