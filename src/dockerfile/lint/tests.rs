use std::collections::BTreeMap;

use super::*;
use crate::manifest::{LayerCache, Manifest, Shape};
use crate::model::{ProjectName, RegistryApi};

fn project(name: &str, build_dir: &str, hermetic: bool) -> Project {
    Project {
        name: name.parse().unwrap(),
        build_dir: RepoPath::from(build_dir),
        project_dir: RepoPath::from(build_dir),
        dockerfile: "Dockerfile".into(),
        patterns: None,
        pattern_file: None,
        ignore_patterns: Vec::new(),
        dependencies: Vec::new(),
        run_dependencies: Vec::new(),
        target: None,
        build_args: BTreeMap::new(),
        secrets: BTreeSet::new(),
        platforms: vec![Platform::default()],
        hermetic,
        layer_cache: LayerCache::Final,
        tasks: BTreeMap::new(),
        epoch: 0,
        position: (1, 1),
    }
}

fn manifest(projects: &[&str]) -> Manifest {
    let projects = projects.iter().map(|name| project(name, name, false));
    Manifest {
        path: RepoPath::from("build_manifest.json"),
        shape: Shape::Full,
        registry: Some("r.example/acme".into()),
        registry_api: RegistryApi::default(),
        upstream: None,
        upstream_api: RegistryApi::default(),
        image_aliases: Vec::new(),
        rebuild_all: Vec::new(),
        adopt: false,
        expect_absent: BTreeSet::new(),
        sequences: BTreeMap::new(),
        projects: projects
            .map(|project| (project.name.clone(), project))
            .collect(),
    }
}

/// A tree with a Dockerfile in it, and what covers the key.
struct Case<'a> {
    dockerfile: &'a str,
    files: &'a [&'a str],
    ignore: &'a str,
    covered: &'a str,
    hermetic: bool,
}

const CASE: Case<'_> = Case {
    dockerfile: "FROM scratch",
    files: &[],
    ignore: "",
    covered: "",
    hermetic: false,
};

impl Case<'_> {
    /// `line: code` of each problem.
    fn lint(&self) -> Vec<String> {
        let problems = self.problems().into_iter();
        problems
            .map(|problem| {
                assert_eq!(problem.project.as_deref(), Some("api"));
                let line = problem.location.and_then(|location| location.line);
                format!("{}: {}", line.unwrap_or_default(), problem.code)
            })
            .collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let path = RepoPath::from("ctx/Dockerfile");
        let dependencies = ["base".parse::<ProjectName>().unwrap()].into();
        let manifest = manifest(&["api", "base", "web"]);
        let files: Vec<RepoPath> = self
            .files
            .iter()
            .map(|file| RepoPath::from(*file))
            .collect();
        lint(&LintInputs {
            dockerfile: &Dockerfile::parse(&path, self.dockerfile.as_bytes()).unwrap(),
            project: &project("api", "ctx", self.hermetic),
            build_dir: &RepoPath::from("ctx"),
            files: &files,
            ignore: &IgnoreFile::parse(self.ignore.as_bytes()).unwrap(),
            covers: &|file| file.as_bytes().starts_with(self.covered.as_bytes()),
            rules: &ReferenceRules::new(&manifest, dependencies),
        })
    }
}

/// One project's Dockerfile copies 24 sources, and 23 of them lie outside its patterns.
#[test]
fn finds_sources_outside_the_patterns() {
    let names: Vec<String> = (0..23).map(|index| format!("lib{index}/src")).collect();
    let mut lines = vec!["FROM scratch".to_owned(), "COPY app /app/".to_owned()];
    lines.extend(names.iter().map(|name| format!("COPY {name} /{name}")));
    let dockerfile = lines.join("\n");
    let mut files: Vec<String> = names.iter().map(|name| format!("ctx/{name}/a")).collect();
    files.push("ctx/app/main".into());
    files.sort();
    let case = Case {
        dockerfile: &dockerfile,
        files: &files.iter().map(String::as_str).collect::<Vec<_>>(),
        covered: "ctx/app/",
        ..CASE
    };
    let expected: Vec<_> = (3..26)
        .map(|line| format!("{line}: source-outside-patterns"))
        .collect();
    assert_eq!(case.lint(), expected);
    let problem = &case.problems()[0];
    assert_eq!(problem.location.as_ref().and_then(|at| at.column), Some(6));
    assert!(
        problem.message.contains("'lib0/src' lies outside"),
        "{}",
        problem.message
    );
}

#[test]
fn a_hermetic_context_lacks_only_what_is_wholly_outside() {
    let case = Case {
        dockerfile: "FROM scratch\nCOPY . /a\nCOPY lib /b\nCOPY app/x li*/x* /c/\n",
        files: &[
            "ctx/.dockerignore",
            "ctx/Dockerfile",
            "ctx/app/x",
            "ctx/lib/x",
        ],
        covered: "ctx/app/",
        ..CASE
    };
    let outside = |line: usize| format!("{line}: source-outside-patterns");
    assert_eq!(case.lint(), [outside(2), outside(3), outside(4)]);
    assert!(case.problems()[0].message.contains("1 of the 4 files"));
    let hermetic = Case {
        hermetic: true,
        ..case
    };
    assert_eq!(hermetic.lint(), [outside(3), outside(4)]);
}

#[test]
fn finds_sources_that_are_not_there() {
    let case = Case {
        dockerfile: "FROM scratch AS a\nCOPY x /\nCOPY y /\nCOPY ../z/../x /\nCOPY d/*.md /\n\
                     COPY d/e/ /\nADD https://x/y /\nCOPY --from=a n /\nCOPY <<E /\nx\nE\n\
                     RUN --mount=source=gone,target=/x y\nCOPY [\"o p\", \"/\"]\n\
                     COPY X x* /x\nCOPY d? /x/",
        files: &["ctx/d/e/f", "ctx/d/i.md", "ctx/x", "y"],
        ignore: "*.txt\n**/*.md",
        ..CASE
    };
    let missing = |line: usize| format!("{line}: source-missing");
    let expected = [3, 5, 12, 13, 14, 15].map(missing);
    assert_eq!(case.lint(), expected);
    let messages: Vec<_> = case.problems().into_iter().map(|one| one.message).collect();
    assert!(messages[0].contains("no file below the build directory 'ctx'"));
    assert!(messages[1].contains("by the ignore file"));
}

#[test]
fn expands_the_paths_of_sources() {
    let case = Case {
        dockerfile: "ARG G=dir\nFROM scratch AS one\nARG G\nARG D=gone\nENV E=$G\n\
                     COPY $E/x /\nCOPY ${D} /\nCOPY $UNKNOWN /\n\
                     FROM one\nCOPY $D /\nCOPY $E /\n",
        files: &["ctx/dir/x"],
        ..CASE
    };
    assert_eq!(case.lint(), ["7: source-missing", "10: source-missing"]);
}

#[test]
fn judges_images() {
    let digest = "0".repeat(64);
    let case = |line: &str| {
        let dockerfile = format!("FROM scratch\nFROM {line}");
        Case {
            dockerfile: &dockerfile,
            ..CASE
        }
        .lint()
    };
    let found = |code: &str| vec![format!("2: {code}")];
    assert_eq!(case("alpine:3"), found("floating-base"));
    assert_eq!(
        case(&format!("alpine:3@sha256:{digest}")),
        Vec::<String>::new()
    );
    assert_eq!(case("base"), Vec::<String>::new());
    assert_eq!(case("r.example/acme/base:1"), Vec::<String>::new());
    assert_eq!(case("r.example/acme/web"), found("undeclared-dependency"));
    assert_eq!(
        case("web:1"),
        ["2: undeclared-reference", "2: floating-base"]
    );
    assert_eq!(
        case("api:1"),
        found("floating-base"),
        "it cannot mean itself"
    );
    assert_eq!(case("alpine:$V"), found("open-variable"));
    assert_eq!(
        case(&format!("base@sha256:{digest}")),
        found("project-by-digest")
    );
    let unneeded = Case {
        dockerfile: "FROM alpine\nFROM scratch",
        ..CASE
    };
    assert_eq!(unneeded.lint(), Vec::<String>::new());
}

#[test]
fn notices_secrets_and_remote_frontends() {
    let case = Case {
        dockerfile: "# syntax=docker/dockerfile:1\nARG NPM_TOKEN\nFROM scratch\nARG NPM_TOKEN\n\
                     ARG TOKENIZER COMMIT_TAG WAYBILL_KEY\nENV a=b AWS_SECRET_ACCESS_KEY=x\n\
                     ENV PUBLIC_TOKEN=1\nARG SSH_KEY=y\nARG PASSWORD",
        ..CASE
    };
    let secret = |line: usize| format!("{line}: secret-in-build-arg");
    let mut expected = vec!["1: remote-frontend".to_owned()];
    expected.extend([2, 6, 8, 9].map(secret));
    assert_eq!(case.lint(), expected);
    assert!(
        case.problems()
            .iter()
            .all(|problem| !problem.message.contains("'x'"))
    );
}

#[test]
fn notices_images_in_triggers() {
    let case = Case {
        dockerfile: "FROM scratch\nONBUILD COPY --from=base a b\nONBUILD ENV a=b\n\
                     ONBUILD RUN --mount=from=x,target=/y z\nONBUILD RUN <<E\nFROM q\nE\n",
        ..CASE
    };
    assert_eq!(
        case.lint(),
        ["2: onbuild-reference", "4: onbuild-reference"]
    );
}
