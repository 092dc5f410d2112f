//! The value of `RUN --mount=`.

/// The fields of `--mount=` that matter here, each character with its index in the line.
pub(super) struct Mount {
    pub(super) kind: String,
    pub(super) from: Option<Vec<(char, usize)>>,
    pub(super) source: Option<Vec<(char, usize)>>,
}

impl Mount {
    /// Fields are separated by commas, as in CSV: a field may stand between double quotes.
    pub(super) fn parse(value: &[(char, usize)]) -> Self {
        let mut mount = Self {
            kind: "bind".into(),
            from: None,
            source: None,
        };
        let mut quoted = false;
        let fields = value.split(|(character, _)| {
            quoted ^= *character == '"';
            *character == ',' && !quoted
        });
        for field in fields {
            let field = unquote(field);
            let Some(equals) = field.iter().position(|(character, _)| *character == '=') else {
                continue;
            };
            let name: String = field[..equals]
                .iter()
                .map(|(character, _)| *character)
                .collect();
            let value = field[equals + 1..].to_vec();
            match name.to_lowercase().as_str() {
                "type" => mount.kind = value.iter().map(|(c, _)| c.to_ascii_lowercase()).collect(),
                "from" => mount.from = Some(value).filter(|value| !value.is_empty()),
                "source" | "src" => mount.source = Some(value),
                _ => {}
            }
        }
        mount
    }
}

/// A CSV field without the quotes around it.
fn unquote(field: &[(char, usize)]) -> &[(char, usize)] {
    match field {
        [('"', _), inner @ .., ('"', _)] => inner,
        _ => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> (String, Option<String>, Option<String>) {
        let value: Vec<_> = value.chars().zip(0..).collect();
        let mount = Mount::parse(&value);
        let text = |part: Vec<(char, usize)>| part.into_iter().map(|(c, _)| c).collect();
        (mount.kind, mount.from.map(text), mount.source.map(text))
    }

    #[test]
    fn reads_fields() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(fields("target=/x"), ("bind".into(), None, None));
        assert_eq!(
            fields("Type=CACHE,FROM=a:1,ro,src=b,target=c"),
            ("cache".into(), some("a:1"), some("b"))
        );
        assert_eq!(
            fields("\"source=a,b\",from="),
            ("bind".into(), None, some("a,b"))
        );
    }
}
