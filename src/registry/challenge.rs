//! The `WWW-Authenticate` header, by which a registry says what it wants to be shown.

/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1).
#[derive(Debug, PartialEq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Whether it is of this scheme.
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Splits a header into its challenges; what makes no sense is skipped.
pub(super) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c == '=' || c.is_whitespace());
        let end = rest
            .find(|c: char| c == ',' || c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = parameter_value(value);
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            found.push(Challenge {
                scheme: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = after;
        }
    }
}

/// A token or a quoted string at the start of `text`, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        let header = r#"Bearer realm="https://a.example/token?x=1",service="r",scope="repository:a/b:pull,push", Basic realm="q\"uo,ted""#;
        let found = challenges(header);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].parameter("REALM"),
            Some("https://a.example/token?x=1")
        );
        assert_eq!(
            found[0].parameter("scope"),
            Some("repository:a/b:pull,push")
        );
        assert!(found[1].is("basic"));
        assert_eq!(found[1].parameter("realm"), Some("q\"uo,ted"));
        for nonsense in ["", ",,", "=", "a=", "\"", "Bearer realm=\"open"] {
            challenges(nonsense);
        }
    }
}
