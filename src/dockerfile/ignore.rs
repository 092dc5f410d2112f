//! `.dockerignore`: which files of the build context are left out.
//!
//! The rules are those of BuildKit's client: `moby/patternmatcher` and its `ignorefile`, applied
//! on a walk from the context's root, where each directory hands down what has matched it. The
//! last pattern that matches decides; a pattern that matches a directory counts for all below it.
//!
//! This answers for the list alone. `docker build` sends the Dockerfile and the ignore file even
//! where they are ignored, for the engine to read. An engine that is handed a finished context
//! does not apply the list, so whoever packs one leaves out what is ignored here, and hands over
//! the Dockerfile beside the context.

use crate::model::RepoPath;
use crate::problem::{Location, Problem};

use super::glob::{Candidate, Glob, clean};

/// A parsed `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    glob: Glob,
    /// Whether it begins with `!`: what it matches is not ignored.
    is_exception: bool,
}

/// A line of an ignore file is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no pattern: {message}")]
pub struct IgnoreError {
    /// 1-based.
    pub line: usize,
    /// Why, as part of a sentence.
    pub message: &'static str,
}

impl IgnoreError {
    /// As a problem to print, given where the ignore file stands.
    #[must_use]
    pub fn problem(&self, path: &RepoPath) -> Problem {
        let location = Location {
            line: Some(self.line),
            ..Location::file(path.to_string())
        };
        Problem::error(
            "ignore-syntax",
            format!("this is no pattern: {}", self.message),
        )
        .at(location)
        .hint("correct the line, or escape what it means literally with a \\")
    }
}

/// The longest line that Docker reads, in bytes.
const MAX_LINE: usize = 64 * 1024 - 1;

impl IgnoreFile {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// The first line that Docker would refuse, or that it would read by accident in another way
    /// than it is written.
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut rules = Vec::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let error = |message| IgnoreError {
                line: index + 1,
                message,
            };
            if let Some(pattern) = read_line(line).map_err(error)? {
                rules.extend(Rule::parse(&pattern).map_err(error)?);
            }
        }
        Ok(Self { rules })
    }

    /// Whether the list leaves out this path, which is relative to the context's root.
    ///
    /// For many paths, [`IgnoreFile::walk`] is faster.
    #[must_use]
    pub fn is_ignored(&self, relative: &[u8]) -> bool {
        self.walk().is_ignored(relative)
    }

    /// A matcher that remembers the directories on the way to the last path.
    #[must_use]
    pub const fn walk(&self) -> IgnoreWalk<'_> {
        IgnoreWalk {
            file: self,
            directories: Vec::new(),
        }
    }

    /// Holds a path against the rules, given which of them matched its directory (none at the
    /// root). A rule is not asked where it could not change the outcome so far.
    fn decide(&self, path: &[u8], parent: Option<&Decision>) -> Decision {
        let candidate = Candidate::new(path);
        let mut ignored = false;
        let decide = |(index, rule): (usize, &Rule)| {
            let inherited = parent.is_some_and(|parent| parent.matched[index]);
            let matches =
                inherited || (rule.is_exception == ignored && rule.glob.matches(&candidate));
            if matches {
                ignored = !rule.is_exception;
            }
            matches
        };
        let matched = self.rules.iter().enumerate().map(decide).collect();
        Decision { matched, ignored }
    }
}

/// What the rules say of one path.
#[derive(Debug)]
struct Decision {
    /// For each rule, whether it matches the path or a directory above it.
    matched: Vec<bool>,
    ignored: bool,
}

/// Asks an [`IgnoreFile`] about many paths; fastest where they come sorted.
#[derive(Debug)]
pub struct IgnoreWalk<'a> {
    file: &'a IgnoreFile,
    /// The directories of the last path, each below the one before.
    directories: Vec<(Vec<u8>, Decision)>,
}

impl IgnoreWalk<'_> {
    /// Whether the list leaves out this path, which is relative to the context's root.
    pub fn is_ignored(&mut self, relative: &[u8]) -> bool {
        if self.file.rules.is_empty() || relative.is_empty() {
            return false;
        }
        let ends = relative
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/');
        let mut depth = 0;
        for (end, _) in ends {
            let directory = &relative[..end];
            let known = self
                .directories
                .get(depth)
                .is_some_and(|(path, _)| path == directory);
            if !known {
                self.directories.truncate(depth);
                let parent = self.directories.last().map(|(_, decision)| decision);
                let decision = self.file.decide(directory, parent);
                self.directories.push((directory.to_vec(), decision));
            }
            depth += 1;
        }
        self.directories.truncate(depth);
        let parent = self.directories.last().map(|(_, decision)| decision);
        self.file.decide(relative, parent).ignored
    }
}

impl Rule {
    /// A pattern as the list holds it, which may begin with `!`; `None` if it is blank.
    fn parse(pattern: &[u8]) -> Result<Option<Self>, &'static str> {
        let pattern = trim(pattern);
        if pattern.is_empty() {
            return Ok(None);
        }
        let cleaned = clean(pattern);
        let (pattern, is_exception) = match cleaned.strip_prefix(b"!") {
            Some(b"") => return Err("there is nothing after the !"),
            Some(rest) => (rest, true),
            None => (cleaned.as_slice(), false),
        };
        let glob = Glob::parse(pattern)?;
        Ok(Some(Self { glob, is_exception }))
    }
}

/// A line's pattern, relative to the context's root; `None` for comments and blank lines.
fn read_line(line: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if line.len() > MAX_LINE {
        return Err("it is longer than 64 KiB");
    }
    let pattern = trim(line);
    if line.starts_with(b"#") || pattern.is_empty() {
        return Ok(None);
    }
    let (sign, pattern) = match pattern.strip_prefix(b"!") {
        Some(rest) => (&b"!"[..], trim(rest)),
        None => (&b""[..], pattern),
    };
    let mut cleaned = Vec::new();
    if !pattern.is_empty() {
        cleaned = clean(pattern);
    }
    let relative = match cleaned.strip_prefix(b"/") {
        Some(relative) if !relative.is_empty() => relative,
        _ => &cleaned,
    };
    Ok(Some([sign, relative].concat()))
}

/// Without white space at the ends.
fn trim(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => line.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(patterns: &str, path: &str) -> bool {
        let file = IgnoreFile::parse(patterns.as_bytes()).unwrap();
        file.is_ignored(path.as_bytes())
    }

    /// Patterns (one a line), paths that are ignored, paths that are not.
    const CASES: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &["a", "a/b"]),
        ("# a\n\n  \n", &[], &["a", "# a"]),
        (" # a", &["# a"], &["a"]),
        ("a", &["a", "a/b", "a/b/c"], &["ab", "b/a", "b"]),
        ("/a", &["a", "a/b"], &["b/a"]),
        ("a/", &["a", "a/b"], &["b/a"]),
        ("./a", &["a"], &["b/a"]),
        ("a/../b//c/.", &["b/c", "b/c/d"], &["a", "b", "b/d"]),
        ("../a", &[], &["a"]),
        ("/", &[], &["a"]),
        (".", &[], &["a"]),
        ("  a b \t\r", &["a b"], &["a"]),
        ("*", &["a", "a/b", ".a"], &[]),
        ("*.md", &["a.md", ".md", "a.md/b"], &["b/a.md", "a.mdx"]),
        ("*/*.md", &["b/a.md"], &["a.md", "c/b/a.md"]),
        (
            "*/temp*",
            &["x/temporary.txt", "x/temp", "x/temp/a"],
            &["temp", "x/y/temp"],
        ),
        ("a/*/b", &["a/x/b", "a/x/b/c"], &["a/b", "a/x/y/b"]),
        ("a*/b", &["abc/b", "a/b"], &["a/c/b"]),
        (
            "a*b*c*d*e*/f",
            &["axbxcxdxe/f", "axbxcxdxexxx/f"],
            &["axbxcxdxe/xxx/f"],
        ),
        ("temp?", &["tempa", "temp1", "tempb/x"], &["temp", "tempbb"]),
        ("a?b", &["a\u{263a}b", "axb"], &["a/b", "ab", "axxb"]),
        ("**", &["file", "dir/file"], &[]),
        ("**/", &["file", "dir/file"], &[]),
        ("**/**", &["file", "dir/file"], &[]),
        (
            "dir/**",
            &["dir/file", "dir/dir2/file"],
            &["dir", "dirx/file", "x/dir/file"],
        ),
        (
            "abc**",
            &["abc", "abcd", "abc/d", "abcd/e"],
            &["ab", "x/abc"],
        ),
        (
            "**/dir",
            &["dir", "dir/file", "x/dir", "x/dir/y"],
            &["xdir", "x/xdir"],
        ),
        (
            "**/dir2/*",
            &["dir/dir2/file", "dir2/file", "dir/dir2/a/b"],
            &["dir2", "dir/file"],
        ),
        (
            "**/dir2/**",
            &["dir/dir2/dir3/file", "dir2/x"],
            &["dir/dir2", "dir2"],
        ),
        (
            "**file",
            &["file", "dir/file", "xfile", "dir/xfile"],
            &["filex"],
        ),
        (
            "**file*",
            &["file", "dir/file", "dir/filex"],
            &["xfile", "dir/xfile"],
        ),
        (
            "**/file*.txt",
            &["dir/dir/file.txt", "filex.txt"],
            &["dir/xfile.txt"],
        ),
        ("**/*.txt", &["file.txt", "a/b/file.txt"], &["file.txtx"]),
        (
            "**/**/*.txt",
            &["file.txt", "a/file.txt", "a/b/file.txt"],
            &["file.txt2"],
        ),
        (
            "a**/*.txt",
            &["a/file.txt", "a/d/file.txt", "ab/x.txt", "a.txt"],
            &["b/file.txt"],
        ),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
        ("a**/b", &["a/b", "ab", "ax/y/b"], &["b"]),
        (
            "a/*.txt**",
            &["a/file.txt", "a/file.txtx"],
            &["a/dir/file.txt"],
        ),
        ("**/.foo", &[".foo", "a/.foo"], &["bar.foo"]),
        (".*", &[".foo", ".foo/bar"], &["foo", "a/.foo"]),
        (
            "**/foo/bar",
            &["foo/bar", "dir/foo/bar"],
            &["foo", "foo/x/bar"],
        ),
        ("a[b-d]e", &["ace"], &["ae", "aae"]),
        ("a[^b-d]e", &["aze", "a/e"], &["ace"]),
        ("ab[c]", &["abc"], &["abd"]),
        ("ab[^e-g]", &["abc"], &["abe"]),
        ("[a-\u{3b6}]*", &["\u{3b1}", "b"], &["A"]),
        ("[\\]a]", &["]", "a"], &["\\"]),
        ("[x\\-]", &["x", "-"], &["z"]),
        ("[!a]", &["!", "a"], &["b"]),
        ("[[]", &["["], &["a"]),
        ("a]*", &["a]", "a]b"], &["a"]),
        ("abc.def", &["abc.def"], &["abcdef", "abcZdef"]),
        ("abc?def", &["abcZdef"], &["abcdef"]),
        ("a\\*b", &["a*b"], &["ab", "axb"]),
        ("a\\\\", &["a\\"], &["a"]),
        ("\\#a", &["#a"], &["a"]),
        ("\\!a", &["!a"], &["a"]),
        ("a(b)c/def", &["a(b)c/def"], &["a(b)c/xyz", "abc/def"]),
        ("a.|)$(}+{bc", &["a.|)$(}+{bc"], &["abc"]),
        (
            "d/p-2.4+g08-*.whl",
            &["d/p-2.4+g08-x.whl"],
            &["d/p-2x4+g08-x.whl"],
        ),
        ("A", &["A"], &["a"]),
        ("a^b", &["a^b"], &["ab"]),
        ("a^b*", &[], &["a^b", "a^bc"]),
        // The last pattern that matches decides.
        ("*.go\n!a.go", &["b.go"], &["a.go", "x"]),
        ("!a.go\n*.go", &["a.go"], &["x"]),
        (
            "docs\n!docs/README.md",
            &["docs", "docs/a"],
            &["docs/README.md"],
        ),
        (
            "docs/*\n!docs/README.md",
            &["docs/a"],
            &["docs", "docs/README.md"],
        ),
        ("*\n! /a/b ", &["a", "a/c", "x"], &["a/b", "a/b/c"]),
        ("**\n!a/b", &["a", "a/x", "b"], &["a/b", "a/b/c"]),
        ("**\n!a/b\na/b/c", &["a/b/c", "a/b/c/d"], &["a/b", "a/b/d"]),
        ("**\n!**/*.go", &["a", "a/b", "a.c"], &["a.go", "x/y/a.go"]),
        (
            "*.md\n!README*.md\nREADME-x.md",
            &["a.md", "README-x.md"],
            &["README.md"],
        ),
        (
            "*.md\nREADME-x.md\n!README*.md",
            &["a.md"],
            &["README.md", "README-x.md"],
        ),
        ("a\n!a/b/c", &["a/b", "a/b/d"], &["a/b/c", "a/b/c/d"]),
        ("a\n!a\na/b", &["a/b", "a/b/c"], &["a", "a/c"]),
        ("a\n!!a", &["a"], &["!a"]),
        ("*\n/!a", &["b"], &["a"]),
        // A rule that could not change the outcome for a directory is not handed down from it.
        ("a/b\n!a", &["a/b"], &["a", "a/c"]),
    ];

    #[test]
    fn follows_docker() {
        assert!(CASES.len() >= 60);
        for (patterns, ignored, kept) in CASES {
            for path in *ignored {
                assert!(ignores(patterns, path), "{patterns:?} must ignore {path:?}");
            }
            for path in *kept {
                assert!(!ignores(patterns, path), "{patterns:?} must keep {path:?}");
            }
        }
    }

    #[test]
    fn a_walk_says_the_same_in_any_order() {
        for (patterns, ignored, kept) in CASES {
            let file = IgnoreFile::parse(patterns.as_bytes()).unwrap();
            let mut walk = file.walk();
            for path in kept.iter().chain(*ignored).chain(*kept) {
                let path = path.as_bytes();
                assert_eq!(walk.is_ignored(path), file.is_ignored(path), "{patterns:?}");
            }
        }
    }

    #[test]
    fn takes_bytes() {
        let file = IgnoreFile::parse(b"\xef\xbb\xbfa\xff\n*.\xfe\nx?y").unwrap();
        assert!(file.is_ignored(b"a\xff"));
        assert!(!file.is_ignored(b"a\xfe"));
        assert!(file.is_ignored(b"\xff.\xfe"));
        assert!(file.is_ignored(b"x\xffy"));
        assert!(!file.is_ignored(b"x\xff\xffy"));
        assert!(
            !IgnoreFile::parse(b"**/a/*")
                .unwrap()
                .is_ignored(b"x\ny/a/b")
        );
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for (patterns, line) in [
            ("!", 1),
            ("a\n! ", 2),
            ("!/", 1),
            ("a\n\n[", 3),
            ("[^", 1),
            ("[a", 1),
            ("a[", 1),
            ("[]a]", 1),
            ("[-]", 1),
            ("[x-]", 1),
            ("[-x]", 1),
            ("[a-b-c]", 1),
            ("[z-a]", 1),
            ("\\", 1),
            // Docker reads these by accident as something else.
            ("[*]", 1),
            ("[[:alpha:]]", 1),
            ("\\d", 1),
        ] {
            let error = IgnoreFile::parse(patterns.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{patterns:?}");
            let problem = error.problem(&RepoPath::from("a/.dockerignore"));
            assert_eq!(
                problem.location.unwrap().to_string(),
                format!("a/.dockerignore:{line}")
            );
        }
    }
}
