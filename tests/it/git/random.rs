//! Histories of trees that change at random, the same at every run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::repo::Repo;

/// Numbers that look random and are the same at every run (xorshift).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn path(&mut self) -> Vec<u8> {
        let names: [&[u8]; 9] = [
            b"a",
            b"a.b",
            b"a-b",
            b"a0",
            b"b",
            b"c d",
            b"\"q\"",
            b"n\nl",
            b"\xe9\xff",
        ];
        let depth = 1 + self.below(4);
        let components: Vec<_> = (0..depth).map(|_| names[self.below(names.len())]).collect();
        components.join(&b'/')
    }
}

/// What stands at the paths of a tree: the mode, and the content or a commit's id.
type Files = BTreeMap<Vec<u8>, (&'static str, String)>;

fn put(files: &mut Files, path: &[u8], mode: &'static str, content: String) {
    let below = [path, b"/"].concat();
    files.retain(|other, _| {
        let above = [other.as_slice(), b"/"].concat();
        !other.starts_with(&below) && !path.starts_with(&above)
    });
    files.insert(path.to_vec(), (mode, content));
}

fn change_some(files: &mut Files, dice: &mut Dice) {
    for _ in 0..dice.below(6) {
        if let Some(gone) = files.keys().nth(dice.below(files.len().max(1))).cloned() {
            files.remove(&gone);
        }
    }
    for _ in 0..=dice.below(8) {
        let path = dice.path();
        let modes = ["100644", "100644", "100755", "120000", "160000"];
        let mode = modes[dice.below(modes.len())];
        let content = match mode {
            "160000" => format!("{:040}", 1 + dice.below(3)),
            _ => dice.below(4).to_string(),
        };
        put(files, &path, mode, content);
    }
}

/// The path as fast-import takes any path: in quotes, each byte in octal.
fn quoted(path: &[u8]) -> String {
    let mut text = String::new();
    for byte in path {
        write!(text, "\\{byte:03o}").unwrap();
    }
    text
}

/// A linear history of trees that change at random, on the branch `main`.
pub(super) fn random_history(seed: u64, commits: usize) -> Repo {
    let repo = Repo::new();
    let mut dice = Dice(seed);
    let mut files = Files::new();
    let mut stream = Vec::new();
    for number in 0..commits {
        change_some(&mut files, &mut dice);
        let time = 1_700_000_000 + 60 * number;
        let head = format!(
            "commit refs/heads/main\ncommitter A <a@b> {time} +0000\ndata 2\nc\ndeleteall\n"
        );
        stream.extend_from_slice(head.as_bytes());
        for (path, (mode, content)) in &files {
            let path: String = quoted(path);
            let line = match *mode {
                "160000" => format!("M 160000 {content} \"{path}\"\n"),
                _ => format!(
                    "M {mode} inline \"{path}\"\ndata {}\n{content}\n",
                    content.len()
                ),
            };
            stream.extend_from_slice(line.as_bytes());
        }
    }
    repo.git_bytes(&["fast-import", "--quiet"], &stream);
    repo
}
