//! YAML 1.2 with the core schema: one document, plain keys, anchors and merge keys resolved.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span};

use super::scalar::{Scalar, expect_tag};
use super::{Cursor, MAX_DEPTH, Member, Node, Position, SyntaxError, Text, Value, Written};

/// How much aliases may add to a manifest, in bytes of text plus [`NODE_WEIGHT`] for each value.
const MAX_EXPANSION: usize = 4 << 20;

/// What a value counts for beside its text.
const NODE_WEIGHT: usize = 64;

pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut builder = Builder::new(text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|error| SyntaxError::new(error.info(), position(*error.marker())))?;
        builder.take(event, span)?;
    }
    builder
        .root
        .ok_or_else(|| SyntaxError::new("the file is empty", Position::START))
}

/// Where a marker of the parser is.
pub(super) fn position(marker: saphyr_parser::Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

/// Builds the tree out of events, with a stack of its own.
struct Builder<'a> {
    cursor: Cursor<'a>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    root: Option<Node>,
}

/// An array or object that has not ended.
struct Open {
    position: Position,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    Array(Vec<Node>),
    Object {
        members: Vec<Member>,
        key: Option<Key>,
        merged: Option<Node>,
    },
}

enum Key {
    Name(String, Position),
    Merge(Position),
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            cursor: Cursor::new(text),
            stack: Vec::new(),
            anchors: HashMap::new(),
            expanded: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event, span: Span) -> Result<(), SyntaxError> {
        let at = position(span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(SyntaxError::new(
                "a second document begins here, and a manifest is one document",
                at,
            )),
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: &text,
                    style,
                    tag: tag.as_deref(),
                    anchored: anchor > 0,
                    span,
                };
                self.scalar(&scalar, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "seq", at)?;
                self.open(Kind::Array(Vec::new()), anchor, at)
            }
            Event::MappingStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "map", at)?;
                let object = Kind::Object {
                    members: Vec::new(),
                    key: None,
                    merged: None,
                };
                self.open(object, anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, scalar: &Scalar, anchor: usize) -> Result<(), SyntaxError> {
        let at = position(scalar.span.start);
        if self.expects_key() {
            let is_merge = scalar.is_plain() && scalar.tag.is_none() && scalar.text == "<<";
            let key = if is_merge {
                Key::Merge(at)
            } else {
                Key::Name(scalar.text.to_owned(), at)
            };
            if anchor > 0 {
                let value = Value::Text(Text::new(scalar.text.to_owned(), Written::Folded));
                self.anchors.insert(
                    anchor,
                    Node {
                        value,
                        position: at,
                    },
                );
            }
            return self.key(key);
        }
        let value = scalar.value(&mut self.cursor)?;
        self.value(
            Node {
                value,
                position: at,
            },
            anchor,
        );
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Open {
                kind: Kind::Object { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, found: Key) -> Result<(), SyntaxError> {
        let Some(Open {
            kind: Kind::Object { key, merged, .. },
            ..
        }) = self.stack.last_mut()
        else {
            return Ok(());
        };
        if let (Key::Merge(at), Some(_)) = (&found, merged) {
            return Err(SyntaxError {
                hint: Some("give one '<<' a list"),
                ..SyntaxError::new("'<<' stands here a second time", *at)
            });
        }
        *key = Some(found);
        Ok(())
    }

    fn open(&mut self, kind: Kind, anchor: usize, at: Position) -> Result<(), SyntaxError> {
        if self.expects_key() {
            return Err(SyntaxError::new("a key must be a plain string", at));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(SyntaxError::too_deep(at));
        }
        self.stack.push(Open {
            position: at,
            anchor,
            kind,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.kind {
            Kind::Array(items) => Value::Array(items),
            Kind::Object {
                mut members,
                merged,
                ..
            } => {
                if let Some(merged) = merged {
                    merge(&mut members, merged)?;
                }
                Value::Object(members)
            }
        };
        let node = Node {
            value,
            position: open.position,
        };
        self.value(node, open.anchor);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), SyntaxError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(SyntaxError::new(
                "this alias stands inside its own anchor",
                at,
            ));
        };
        if self.expects_key() {
            let Some(name) = node.text().map(str::to_owned) else {
                return Err(SyntaxError::new("a key must be a plain string", at));
            };
            self.expand(NODE_WEIGHT + name.len(), at)?;
            return self.key(Key::Name(name, at));
        }
        if self.stack.len() + node.height() > MAX_DEPTH {
            return Err(SyntaxError::too_deep(at));
        }
        let weight = weight(node);
        self.expand(weight, at)?;
        let copy = self.anchors[&anchor].clone();
        self.value(copy, 0);
        Ok(())
    }

    fn expand(&mut self, weight: usize, at: Position) -> Result<(), SyntaxError> {
        self.expanded += weight;
        if self.expanded > MAX_EXPANSION {
            return Err(SyntaxError::new(
                format!("aliases expand to more than {} MiB", MAX_EXPANSION >> 20),
                at,
            ));
        }
        Ok(())
    }

    /// A finished value takes its place in what is open.
    fn value(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open {
                kind: Kind::Array(items),
                ..
            }) => items.push(node),
            Some(Open {
                kind:
                    Kind::Object {
                        members,
                        key,
                        merged,
                    },
                ..
            }) => match key.take() {
                Some(Key::Name(name, position)) => members.push(Member {
                    name,
                    position,
                    node,
                }),
                Some(Key::Merge(position)) => *merged = Some(Node { position, ..node }),
                None => {}
            },
        }
    }
}

/// Adds what `<<` names, where the object does not say it itself; the first in a list wins.
fn merge(members: &mut Vec<Member>, merged: Node) -> Result<(), SyntaxError> {
    let error = SyntaxError::new("'<<' takes an object or a list of objects", merged.position);
    let sources = match merged.value {
        Value::Object(source) => vec![source],
        Value::Array(items) => {
            let mut sources = Vec::new();
            for item in items {
                match item.value {
                    Value::Object(source) => sources.push(source),
                    _ => return Err(error),
                }
            }
            sources
        }
        _ => return Err(error),
    };
    for source in sources {
        for member in source {
            if members.iter().all(|present| present.name != member.name) {
                members.push(member);
            }
        }
    }
    Ok(())
}

fn weight(node: &Node) -> usize {
    NODE_WEIGHT
        + match &node.value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(text) => text.len(),
            Value::Text(text) => text.as_str().len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => members
                .iter()
                .map(|member| member.name.len() + weight(&member.node))
                .sum(),
        }
}

#[cfg(test)]
mod tests {
    use super::super::tests::error;
    use super::super::{Language, Node, Position, Value};
    use proptest::prelude::*;
    use std::fmt::Write;

    fn parse(text: &str) -> Node {
        Node::parse(Language::Yaml, text.as_bytes()).unwrap()
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let node = parse(
            "[~, null, true, True, no, yes, 1, -1, 0x1f, 0o17, 1.5, .5, 1e3, +.inf, 1_000, \
             1.2.3, 12e, '1', \"true\", !!str 1, ! 1, !!int 7, -a, 0x, 2024-01-01, e5]",
        );
        let shown: Vec<String> = node
            .items()
            .iter()
            .map(|item| match &item.value {
                Value::Null => "null".into(),
                Value::Bool(value) => format!("b:{value}"),
                Value::Number(text) => format!("n:{text}"),
                Value::Text(text) => format!("s:{}", text.as_str()),
                _ => "?".into(),
            })
            .collect();
        assert_eq!(
            shown.join(" "),
            "null null b:true b:true s:no s:yes n:1 n:-1 n:31 n:15 n:1.5 n:.5 n:1e3 n:+.inf \
             s:1_000 s:1.2.3 s:12e s:1 s:true s:1 s:1 n:7 s:-a s:0x s:2024-01-01 s:e5"
        );
    }

    #[test]
    fn keys_and_values_have_positions() {
        let node = parse("# c\nä: {b: \"x\"}\nc:\n  - d\n");
        let at = |line, column| Position { line, column };
        assert_eq!(node.members()[0].position, at(2, 1));
        assert_eq!(node.get("ä").unwrap().position, at(2, 4));
        assert_eq!(node.get("ä").unwrap().members()[0].position, at(2, 5));
        assert_eq!(node.get("c").unwrap().items()[0].position, at(4, 5));
    }

    #[test]
    fn a_byte_of_a_string_has_a_column() {
        let node =
            parse("- ab(\n- 'a''b('\n- \"a\\x41\\\\(\"\n- >\n  ab(\n- 'ab('\n- \"a\\\n  b(\"\n");
        let at = |item: usize, offset: usize| {
            let position = node.items()[item].position_in_text(offset);
            (position.line, position.column)
        };
        assert_eq!(at(0, 2), (1, 5));
        assert_eq!(at(1, 3), (2, 8));
        assert_eq!(at(2, 3), (3, 11));
        assert_eq!(at(4, 2), (6, 6));
        assert_eq!(at(5, 2), (7, 3));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let node =
            parse("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: [*x, {r: 4}]\n  q: 3\nd: {<<: *x}\n");
        assert_eq!(node.get("b").unwrap().members().len(), 2);
        let number =
            |object: &str, name: &str| match &node.get(object).unwrap().get(name).unwrap().value {
                Value::Number(text) => text.clone(),
                _ => String::new(),
            };
        assert_eq!(number("c", "q"), "3");
        assert_eq!(number("c", "p"), "1");
        assert_eq!(number("c", "r"), "4");
        assert_eq!(number("d", "q"), "2");
    }

    #[test]
    fn duplicates_are_kept() {
        assert_eq!(parse("a: 1\na: 2\n").members().len(), 2);
    }

    #[test]
    fn faults_have_positions() {
        for (text, line, column, part) in [
            ("", 1, 1, "empty"),
            ("# nothing\n", 1, 1, "empty"),
            ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
            ("a: *x\n", 1, 4, "anchor"),
            ("a: &x [*x]\n", 1, 8, "inside its own"),
            ("? [a]\n: b\n", 1, 3, "key"),
            ("<<: 1\n", 1, 1, "'<<' takes"),
            ("{<<: {}, <<: {}}\n", 1, 10, "second time"),
            ("a: !foo b\n", 1, 4, "tag '!foo'"),
            ("a: !!int b\n", 1, 4, "does not fit"),
            ("a: [1\nb: 2\n", 2, 2, ""),
            ("a: b: c\n", 1, 5, ""),
        ] {
            let (at_line, at_column, message) = error(Language::Yaml, text.as_bytes());
            assert_eq!((at_line, at_column), (line, column), "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
        }
        assert!(error(Language::Yaml, text.as_bytes()).2.contains("expand"));
        let mut deep = "a0: &a0 x\n".to_owned();
        for level in 1..200 {
            writeln!(deep, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
        }
        assert!(error(Language::Yaml, deep.as_bytes()).2.contains("deep"));
    }

    proptest! {
        /// The parser reports; it does not panic.
        #[test]
        fn never_panics(text in "[-\\[\\]{}:,\"'a1 \\\\&*!|>#%@?<\n\t~.\u{e9}\u{feff}]{0,40}") {
            let _ = Node::parse(Language::Yaml, text.as_bytes());
        }

        /// JSON is YAML.
        #[test]
        fn reads_json_too(text in "[a-z(\\\\\"\u{e9}]{0,8}") {
            let json = serde_json::to_string(&serde_json::json!({"k": [text]})).unwrap();
            let node = parse(&json);
            prop_assert_eq!(node.get("k").unwrap().items()[0].text(), Some(text.as_str()));
        }
    }
}
