//! Stories written down as commits by `git fast-import`, and what the `git` program says of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use waybill::manifest::Shape;
use waybill::model::CommitId;

use super::story::{Entry, LAYOUTS, Leaf, REBUILD_ALL, State, Told, pattern};
use crate::repo::Repo;

/// The tree without anything in it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A project's name in the manifest of a story.
pub(super) fn name(story: usize, project: usize) -> String {
    format!("s{story}/p{project}")
}

/// What stands under a path in git: mode, and content or commit.
type Blob = (&'static str, Vec<u8>);

/// The whole tree of a commit.
pub(super) fn render(shape: Shape, story: usize, state: &State) -> BTreeMap<Vec<u8>, Blob> {
    let mut tree: BTreeMap<Vec<u8>, Blob> = state
        .files
        .iter()
        .map(|(path, leaf)| (path.clone(), blob(story, leaf)))
        .collect();
    for (project, entry) in state.entries.iter().enumerate() {
        if let Some(entry) = entry.as_ref().filter(|entry| entry.in_file)
            && let Some(patterns) = &entry.patterns
        {
            let lines = patterns
                .iter()
                .map(|index| pattern(project, *index).text + "\n");
            let path = format!("{}/patterns.txt", LAYOUTS[project].project_dir);
            tree.insert(path.into(), ("100644", lines.collect::<String>().into()));
        }
    }
    let manifest = if state.broken {
        "{".to_owned()
    } else {
        manifest(shape, story, state)
    };
    tree.insert("build_manifest.json".into(), ("100644", manifest.into()));
    tree
}

fn blob(story: usize, leaf: &Leaf) -> Blob {
    match leaf {
        Leaf::File {
            executable,
            content,
        } => {
            let mode = if *executable { "100755" } else { "100644" };
            (mode, content.to_string().into())
        }
        Leaf::Link(target) => ("120000", format!("target{target}").into()),
        Leaf::Submodule(commit) => ("160000", format!("{:040x}", u32::from(*commit) + 1).into()),
        Leaf::Dockerfile { uses, variant } => {
            let mut text = format!("# {variant}\n");
            for (count, used) in uses.iter().enumerate() {
                let image = format!("registry.example.com/{}", name(story, *used));
                match (count + usize::from(*variant)) % 3 {
                    0 => writeln!(text, "FROM {image} AS stage{count}").unwrap(),
                    1 => writeln!(text, "FROM scratch\nCOPY --from={image}:x / /").unwrap(),
                    _ => {
                        let mount = format!("--mount=type=bind,from={image},target=/x");
                        writeln!(text, "FROM busybox\nRUN {mount} true").unwrap();
                    }
                }
            }
            // The last stage needs those before it.
            text += "FROM scratch\n";
            for stage in 0..text.matches("FROM ").count() - 1 {
                writeln!(text, "COPY --from={stage} / /").unwrap();
            }
            ("100644", text.into())
        }
    }
}

fn manifest(shape: Shape, story: usize, state: &State) -> String {
    let mut projects = serde_json::Map::new();
    for (project, entry) in state.entries.iter().enumerate() {
        if let Some(entry) = entry {
            projects.insert(name(story, project), member(story, project, entry));
        }
    }
    let text = match shape {
        Shape::Aztec => serde_json::to_string(&projects).unwrap(),
        Shape::Full => {
            let everywhere = REBUILD_ALL.map(|(text, _)| text);
            let manifest =
                serde_json::json!({"version": 1, "rebuildAll": everywhere, "projects": projects});
            manifest.to_string()
        }
    };
    text + &" ".repeat(state.spaces.into())
}

fn member(story: usize, project: usize, entry: &Entry) -> serde_json::Value {
    let layout = &LAYOUTS[project];
    let names = entry.dependencies.iter().map(|used| name(story, *used));
    let mut member = serde_json::json!({
        "buildDir": layout.build_dir,
        "projectDir": layout.project_dir,
        "dockerfile": layout.dockerfile,
        "dependencies": names.collect::<Vec<_>>(),
        "epoch": entry.epoch,
    });
    if let Some(patterns) = &entry.patterns {
        let texts = patterns.iter().map(|index| pattern(project, *index).text);
        member["rebuildPatterns"] = if entry.in_file {
            "patterns.txt".into()
        } else {
            texts.collect()
        };
    }
    if !entry.ignore.is_empty() {
        let texts = entry.ignore.iter();
        let texts = texts.map(|index| super::story::ignore(project, *index).text);
        member["ignorePatterns"] = texts.collect();
    }
    if let Some(argument) = entry.argument {
        member["buildArgs"] = serde_json::json!({"A": argument.to_string()});
    }
    if entry.arm {
        member["platforms"] = serde_json::json!(["linux/arm64"]);
    }
    member
}

/// A path that differs between two trees: the modes on both sides, `000000` for nothing.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub(super) path: Vec<u8>,
    pub(super) modes: [String; 2],
    pub(super) ids: [String; 2],
}

/// Many stories in one repository.
pub(super) struct Written {
    pub(super) repo: Repo,
    /// By story, then in the order of its commits.
    pub(super) commits: Vec<Vec<CommitId>>,
    /// As git has them.
    parents: HashMap<CommitId, Vec<CommitId>>,
    trees: HashMap<CommitId, String>,
}

impl Written {
    /// Writes stories, numbered by their place.
    pub(super) fn new(shape: Shape, stories: &[Vec<Told>]) -> Self {
        let repo = Repo::new();
        let mut stream = Vec::new();
        let mut count = 0;
        for (story, told) in stories.iter().enumerate() {
            let first = count + 1;
            for commit in told {
                count += 1;
                let before = commit.parents.first().map(|parent| &told[*parent].state);
                let before = before.map_or_else(BTreeMap::new, |state| render(shape, story, state));
                let after = render(shape, story, &commit.state);
                let parents = commit.parents.iter().map(|parent| first + parent);
                write_heading(&mut stream, story, count, parents);
                write_tree(&mut stream, &before, &after);
            }
        }
        let arguments = ["fast-import", "--quiet", "--force", "--export-marks=marks"];
        repo.git_bytes(&arguments, &stream);
        let marks = std::fs::read_to_string(repo.path().join("marks")).unwrap();
        let by_mark: HashMap<usize, CommitId> = marks.lines().map(read_mark).collect();
        let mut mark = 0;
        let commits: Vec<Vec<CommitId>> = stories
            .iter()
            .map(|told| {
                let ids = told.iter().map(|_| {
                    mark += 1;
                    by_mark[&mark]
                });
                ids.collect()
            })
            .collect();
        let all: Vec<CommitId> = commits.iter().flatten().copied().collect();
        Self {
            parents: parents(&repo, &all),
            trees: trees(&repo, &all),
            repo,
            commits,
        }
    }

    /// The commit and its ancestors, nearest first: by the number of steps, and at one distance
    /// first parents before others.
    pub(super) fn history(&self, start: CommitId) -> Vec<CommitId> {
        let mut found = vec![start];
        let mut level = vec![start];
        while !level.is_empty() {
            let mut next = Vec::new();
            for parent in level.iter().flat_map(|commit| &self.parents[commit]) {
                if !found.contains(parent) {
                    found.push(*parent);
                    next.push(*parent);
                }
            }
            level = next;
        }
        found
    }

    /// What differs between the trees of each pair of commits, `None` for the empty tree; asked
    /// of one process.
    pub(super) fn differences(&self, pairs: &[(Option<CommitId>, CommitId)]) -> Vec<Vec<Changed>> {
        let tree = |commit: Option<CommitId>| match commit {
            Some(commit) => self.trees[&commit].as_str(),
            None => EMPTY_TREE,
        };
        let mut input = String::new();
        for (before, after) in pairs {
            writeln!(input, "{} {}", tree(*before), tree(Some(*after))).unwrap();
        }
        let arguments = ["diff-tree", "--stdin", "-r", "-z", "--no-renames"];
        let output = self.repo.git_bytes(&arguments, input.as_bytes());
        let mut rest = output.as_slice();
        let differences = pairs.iter().map(|(before, after)| {
            let heading = format!("{} {}\n", tree(*before), tree(Some(*after)));
            rest = rest.strip_prefix(heading.as_bytes()).unwrap();
            let mut changes = Vec::new();
            while rest.first() == Some(&b':') {
                changes.push(read_change(&mut rest));
            }
            changes
        });
        let differences = differences.collect();
        assert_eq!(rest, b"");
        differences
    }
}

fn write_heading(
    stream: &mut Vec<u8>,
    story: usize,
    mark: usize,
    parents: impl Iterator<Item = usize>,
) {
    let message = format!("{story} {mark}");
    let mut head = format!("commit refs/heads/s{story}\nmark :{mark}\n");
    let time = 1_700_000_000 + mark;
    writeln!(head, "committer Ada <ada@example.com> {time} +0000").unwrap();
    writeln!(head, "data {}\n{message}", message.len()).unwrap();
    for (index, parent) in parents.enumerate() {
        let word = if index == 0 { "from" } else { "merge" };
        writeln!(head, "{word} :{parent}").unwrap();
    }
    stream.extend(head.bytes());
}

/// Writes what differs from the first parent's tree.
fn write_tree(
    stream: &mut Vec<u8>,
    before: &BTreeMap<Vec<u8>, Blob>,
    after: &BTreeMap<Vec<u8>, Blob>,
) {
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        stream.extend([b"D ", quoted(path).as_bytes(), b"\n"].concat());
    }
    for (path, blob) in after
        .iter()
        .filter(|(path, blob)| before.get(*path) != Some(blob))
    {
        let (mode, content) = blob;
        let path = quoted(path);
        if *mode == "160000" {
            let commit = std::str::from_utf8(content).unwrap();
            stream.extend(format!("M {mode} {commit} {path}\n").bytes());
        } else {
            stream.extend(format!("M {mode} inline {path}\ndata {}\n", content.len()).bytes());
            stream.extend(content);
            stream.push(b'\n');
        }
    }
    stream.push(b'\n');
}

/// A path in quotes, every byte of it as three octal digits.
fn quoted(path: &[u8]) -> String {
    let escaped: Vec<String> = path.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("\"{}\"", escaped.concat())
}

fn read_mark(line: &str) -> (usize, CommitId) {
    let (mark, commit) = line.split_once(' ').unwrap();
    (mark[1..].parse().unwrap(), commit.parse().unwrap())
}

fn lines<'a>(commits: impl Iterator<Item = &'a CommitId>, after: &str) -> String {
    let lines: Vec<String> = commits.map(|commit| format!("{commit}{after}\n")).collect();
    lines.concat()
}

fn parents(repo: &Repo, commits: &[CommitId]) -> HashMap<CommitId, Vec<CommitId>> {
    let input = lines(commits.iter(), "");
    let arguments = ["rev-list", "--parents", "--no-walk=unsorted", "--stdin"];
    let output = String::from_utf8(repo.git_bytes(&arguments, input.as_bytes())).unwrap();
    let rows = output.lines().map(|line| {
        let mut ids = line.split(' ').map(|id| id.parse().unwrap());
        (ids.next().unwrap(), ids.collect())
    });
    rows.collect()
}

fn trees(repo: &Repo, commits: &[CommitId]) -> HashMap<CommitId, String> {
    let input = lines(commits.iter(), "^{tree}");
    let arguments = ["cat-file", "--batch-check=%(objectname)"];
    let output = String::from_utf8(repo.git_bytes(&arguments, input.as_bytes())).unwrap();
    let trees = output.lines().map(str::to_owned);
    commits.iter().copied().zip(trees).collect()
}

/// `:<mode> <mode> <id> <id> <letter>NUL<path>NUL`.
fn read_change(rest: &mut &[u8]) -> Changed {
    let mut next = || {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let field = rest[..end].to_vec();
        *rest = &rest[end + 1..];
        field
    };
    let facts = String::from_utf8(next()).unwrap();
    let facts: Vec<&str> = facts[1..].split(' ').collect();
    Changed {
        path: next(),
        modes: [facts[0].to_owned(), facts[1].to_owned()],
        ids: [facts[2].to_owned(), facts[3].to_owned()],
    }
}
