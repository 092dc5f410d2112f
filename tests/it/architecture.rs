//! The rules of the code map in `src/lib.rs`, held against the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Each outside library, and the one place that may name it.
const OWNERS: [(&str, &str); 17] = [
    ("gix::", "src/git/"),
    ("reqwest::", "src/registry/"),
    ("oci_client::", "src/registry/"),
    ("ferro_oci_server::", "src/registry/"),
    ("aws_config::", "src/registry/ecr/"),
    ("aws_credential_types::", "src/registry/ecr/"),
    ("aws_sdk_ecr::", "src/registry/ecr/"),
    ("aws_smithy_http_client::", "src/registry/ecr/"),
    ("docker_credential::", "src/registry/"),
    ("bollard::", "src/build/engine/"),
    ("tonic::", "src/build/engine/"),
    ("petgraph::", "src/graph.rs"),
    ("jsonc_parser::", "src/manifest/"),
    ("saphyr_parser::", "src/manifest/"),
    ("rustix::", "src/run/process/"),
    ("clap::", "src/cli/"),
    ("indicatif::", "src/cli/"),
];

/// What reaches outside the program; pure modules name none of it.
const OUTSIDE: [&str; 7] = [
    "tokio::",
    "std::fs",
    "std::env",
    "TcpListener",
    "std::process",
    "SystemTime",
    "Instant::now",
];

/// The modules that compute from values alone.
const PURE: [&str; 8] = [
    "src/model/",
    "src/problem.rs",
    "src/manifest/",
    "src/graph.rs",
    "src/dockerfile/",
    "src/key/",
    "src/plan/",
    "src/mask.rs",
];

/// Every source file by its path from the repository's root, without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join("src")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    found
}

fn naming<'a>(sources: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    let named = sources.iter().filter(|(_, code)| code.contains(word));
    named.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn each_outside_library_stands_in_one_place() {
    let sources = sources();
    for (library, owner) in OWNERS {
        let files = naming(&sources, library);
        assert!(
            !files.is_empty(),
            "{library} is named nowhere: the rule is out of date"
        );
        let strays: Vec<_> = files
            .iter()
            .filter(|file| !file.starts_with(owner))
            .collect();
        assert!(
            strays.is_empty(),
            "{library} belongs to {owner}, and stands in {strays:?}"
        );
    }
}

#[test]
fn pure_modules_reach_nothing_outside() {
    let sources = sources();
    for word in OUTSIDE {
        let files = naming(&sources, word);
        assert!(
            !files.is_empty(),
            "{word} is named nowhere: the rule is out of date"
        );
        let is_pure =
            |file: &&&str| PURE.iter().any(|pure| file.starts_with(pure)) && !file.contains("test");
        let strays: Vec<_> = files.iter().filter(is_pure).collect();
        assert!(
            strays.is_empty(),
            "{word} stands in pure modules: {strays:?}"
        );
    }
}

#[test]
fn only_the_command_layer_prints_or_exits() {
    let sources = sources();
    for word in ["io::stdout()", "io::stderr()", "process::exit"] {
        let files = naming(&sources, word);
        assert!(
            !files.is_empty(),
            "{word} is named nowhere: the rule is out of date"
        );
        let strays: Vec<_> = files
            .iter()
            .filter(|file| !file.starts_with("src/cli/"))
            .collect();
        assert!(
            strays.is_empty(),
            "{word} stands below the command layer: {strays:?}"
        );
    }
}
