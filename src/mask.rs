//! Secrets kept out of output: values that are never printed, and streams of bytes with every
//! secret value replaced.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::problem::Problem;

/// A value that no error, log or debug output shows: a text, or bytes.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Takes a secret into custody.
    pub fn new(value: impl Into<T>) -> Self {
        Self(value.into())
    }
}

impl<T: Deref> Secret<T> {
    /// The secret itself, for the one that it is meant for.
    pub fn reveal(&self) -> &T::Target {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// The values that may never be shown. Cheap to clone; never printed.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Longest first, so that a value that holds another is masked whole.
    values: Arc<Vec<Vec<u8>>>,
}

impl Secrets {
    /// Takes the values to be masked. A value of several lines is masked line by line too, since
    /// output comes in lines; what is shorter than four bytes is left alone, for it would mask
    /// ordinary text.
    pub fn new(values: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            all.extend(lines.map(<[u8]>::to_vec));
            all.push(value.trim_ascii().to_vec());
        }
        all.retain(|value| value.len() >= 4);
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self {
            values: Arc::new(all),
        }
    }

    /// Masks a whole text.
    #[must_use]
    pub fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut masked = stream.push(bytes);
        masked.extend(stream.finish());
        masked
    }

    /// Masks a whole text for display.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    /// Masks everything in a problem that may repeat what a build said.
    #[must_use]
    pub fn mask_problem(&self, mut problem: Problem) -> Problem {
        problem.message = self.mask_text(&problem.message);
        problem.hint = problem.hint.map(|hint| self.mask_text(&hint));
        problem
    }

    /// Masks bytes as they come.
    #[must_use]
    pub fn stream(&self) -> MaskStream {
        MaskStream {
            secrets: self.clone(),
            held: Vec::new(),
            covered: 0,
        }
    }

    /// How many of these bytes come before the first that a value begins with.
    fn plain_length(&self, bytes: &[u8]) -> usize {
        let begins = |byte: &u8| self.values.iter().any(|value| value.first() == Some(byte));
        if self.values.is_empty() {
            return bytes.len();
        }
        bytes.iter().position(begins).unwrap_or(bytes.len())
    }

    /// The length of the longest value that these bytes begin with.
    fn longest_at(&self, bytes: &[u8]) -> Option<usize> {
        let mut found = self.values.iter().filter(|value| bytes.starts_with(value));
        found.next().map(Vec::len)
    }

    /// Whether these bytes are the beginning of a value that is longer.
    fn may_begin(&self, bytes: &[u8]) -> bool {
        let mut longer = self.values.iter().filter(|v| v.len() > bytes.len());
        longer.any(|value| value.starts_with(bytes))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.values.len())
    }
}

/// Masks one stream; what might be the beginning of a secret is held back until it is known.
///
/// Every byte that any value covers is masked, overlapping values as one; how the stream was cut
/// into pieces makes no difference.
#[derive(Debug)]
pub struct MaskStream {
    secrets: Secrets,
    held: Vec<u8>,
    /// How many of the first held bytes belong to a secret whose mask was shown already.
    covered: usize,
}

impl MaskStream {
    /// Takes the next bytes, and gives what may be shown of all so far.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.show(false)
    }

    /// The end of the stream: what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        self.show(true)
    }

    fn show(&mut self, at_end: bool) -> Vec<u8> {
        let mut shown = Vec::with_capacity(self.held.len());
        let mut start = 0;
        while start < self.held.len() {
            if self.covered == 0 {
                // What no value begins with is copied in one piece.
                let plain = self.secrets.plain_length(&self.held[start..]);
                shown.extend_from_slice(&self.held[start..start + plain]);
                start += plain;
            }
            let rest = &self.held[start..];
            if rest.is_empty() {
                break;
            }
            if !at_end && self.secrets.may_begin(rest) {
                break;
            }
            let value = self.secrets.longest_at(rest);
            if self.covered == 0 {
                match value {
                    Some(_) => shown.extend_from_slice(MASK),
                    None => shown.push(rest[0]),
                }
            }
            self.covered = self.covered.max(value.unwrap_or(0)).saturating_sub(1);
            start += 1;
        }
        self.held.drain(..start);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::new(values.iter().map(|value| value.as_bytes().to_vec()))
    }

    #[test]
    fn masks_across_chunk_borders() {
        let secrets = secrets(&["hunter22"]);
        for split in 0..12 {
            let text = b"a hunter22 b";
            let mut stream = secrets.stream();
            let mut shown = stream.push(&text[..split]);
            shown.extend(stream.push(&text[split..]));
            shown.extend(stream.finish());
            assert_eq!(shown, b"a *** b");
        }
    }

    #[test]
    fn masks_the_longest_and_each_line() {
        assert_eq!(
            secrets(&["abcd", "abcdefgh"]).mask(b"abcdefgh abcd"),
            b"*** ***"
        );
        assert_eq!(
            secrets(&["line one\nline two\n"]).mask(b"x line two y"),
            b"x *** y"
        );
        assert_eq!(secrets(&["ab"]).mask(b"ab"), b"ab");
    }

    #[test]
    fn what_is_held_at_the_end_is_searched_too() {
        let document = secrets(&["{\n\"user\": \"hunter22\"\n}", "hunter22"]);
        assert_eq!(document.mask(b"{\n\"user\": \"hunter22\""), b"{\n***");
        assert_eq!(secrets(&["abcdefgh", "cdef"]).mask(b"abcdef"), b"ab***");
    }

    #[test]
    fn the_pieces_of_a_stream_make_no_difference() {
        let secrets = secrets(&["abcd", "abcdefgh", "ghijk", "{\n  x", "aaab"]);
        for text in [
            "abcdefgh|abcd",
            "xabcdefghijk",
            "abcdabcd",
            "aaaaab aaa",
            "{\n  x {\n ",
        ] {
            let whole = secrets.mask(text.as_bytes());
            for split in 0..=text.len() {
                let mut stream = secrets.stream();
                let mut shown = stream.push(&text.as_bytes()[..split]);
                shown.extend(stream.push(&text.as_bytes()[split..]));
                shown.extend(stream.finish());
                assert_eq!(shown, whole, "{text:?} cut at {split}");
            }
        }
        assert_eq!(secrets.mask(b"xabcdefghijk y"), b"x*** y");
        assert_eq!(secrets.mask(b"abcdabcd"), b"******");
    }

    #[test]
    fn a_problem_is_masked_whole() {
        let problem = Problem::error("x", "said hunter22").hint("not hunter22");
        let masked = secrets(&["hunter22"]).mask_problem(problem);
        assert_eq!(masked.message, "said ***");
        assert_eq!(masked.hint.as_deref(), Some("not ***"));
    }

    #[test]
    fn a_secret_shows_only_when_asked() {
        let (text, bytes): (Secret, Secret<Vec<u8>>) = (Secret::new("word"), Secret::new("word"));
        assert_eq!(format!("{text:?} {bytes:?}"), "[secret] [secret]");
        assert_eq!((text.reveal(), bytes.reveal()), ("word", &b"word"[..]));
    }

    #[test]
    fn a_false_start_is_shown() {
        assert_eq!(secrets(&["aaab"]).mask(b"aaaaab aaa"), b"aa*** aaa");
    }
}
