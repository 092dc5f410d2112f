//! `waybill check`: the findings of the field, each in a test, with everything that is printed.

use std::fmt::Write as _;

use serde_json::json;

use crate::program::{command, run, waybill};
use crate::repo::Repo;

const NOTHING: &str = "FROM scratch\nCOPY . /\n";

/// A repository with a manifest and these files, nothing committed.
fn uncommitted(manifest: &str, files: &[(&str, &str)]) -> Repo {
    let repo = Repo::new();
    repo.write("build_manifest.json", manifest);
    for (path, content) in files {
        repo.write(path, content);
    }
    repo
}

/// Patterns that grep would have read otherwise; a blank line; an empty file of patterns.
#[test]
fn f2_patterns_are_compiled_when_the_manifest_is_read() {
    let repo = uncommitted(
        r#"{
  "grep": {"buildDir": "foo", "rebuildPatterns": ["^foo/(a\\|b)/"]},
  "blank": {"buildDir": "foo", "rebuildPatterns": ".blank"},
  "empty": {"buildDir": "foo", "rebuildPatterns": ".empty"},
  "broken": {"buildDir": "foo", "rebuildPatterns": ["^foo/(a"]}
}
"#,
        &[
            ("foo/Dockerfile", "FROM scratch\n"),
            ("foo/a/x", ""),
            ("foo/.blank", "^foo/a/\n\n"),
            ("foo/.empty", ""),
        ],
    );
    waybill(&repo, &["check"]).expect(
        2,
        r"warning[grep-style-alternation]: grep: '\|' in '^foo/(a\|b)/' matches the character '|', and no alternatives
  --> build_manifest.json:2:59
  hint: write | for alternatives, and [|] for the character itself
warning[empty-patterns]: empty: 'foo/.empty' is empty: no file belongs to this project
  --> build_manifest.json:4:51
  hint: leave 'rebuildPatterns' out to mean everything below projectDir
error[bad-pattern]: broken: '^foo/(a' is no valid pattern: unclosed group
  --> build_manifest.json:5:59
  hint: ( and ) come in pairs and group; \( and \) are the characters, and no groups as in grep
error[blank-pattern]: blank: this pattern is blank
  --> foo/.blank:2:1
  hint: remove it: a blank pattern would match every path, or nothing
2 errors, 2 warnings in 4 projects
",
        "",
    );
    repo.write(
        "build_manifest.json",
        r#"{"grep": {"buildDir": "foo", "rebuildPatterns": ["^foo/(a\\|b)/"]}}"#,
    );
    waybill(&repo, &["check"]).expect(
        0,
        r"warning[pattern-matches-nothing]: grep: '^foo/(a\|b)/' in 'rebuildPatterns' matches no file
  --> build_manifest.json:1:50
  hint: patterns are searched in paths from the repository's root
warning[grep-style-alternation]: grep: '\|' in '^foo/(a\|b)/' matches the character '|', and no alternatives
  --> build_manifest.json:1:58
  hint: write | for alternatives, and [|] for the character itself
0 errors, 2 warnings in 1 project
",
        "",
    );
    // Written for this engine, it matches.
    repo.write(
        "build_manifest.json",
        r#"{"grep": {"buildDir": "foo", "rebuildPatterns": ["^foo/(a|b)/"]}}"#,
    );
    waybill(&repo, &["check"]).expect(0, "0 errors, 0 warnings in 1 project\n", "");
}

/// Dead projects, an empty dependency, what is half there, and a key that stands twice.
#[test]
fn f8_dead_projects_are_found() {
    let manifest = r#"{
  "live": {"buildDir": "live", "dependencies": [""]},
  "dead": {"buildDir": "gone/a", "rebuildPatterns": ["^gone/a/", "^gone/b/"]},
  "dead-too": {"buildDir": "gone/b", "dependencies": ["live"]},
  "no-file": {"buildDir": "live", "dockerfile": "Dockerfile.old"},
  "no-dir": {"buildDir": "gone/c", "dockerfile": "../../live/Dockerfile", "rebuildPatterns": ["^live/"]},
  "nothing": {"buildDir": "live", "rebuildPatterns": ["^lib/"]},
  "ignored": {"buildDir": "live", "ignorePatterns": ["^old/"]},
  "emptied": {"buildDir": "live", "ignorePatterns": ["^live/"]}
}
"#;
    let repo = uncommitted(manifest, &[("live/Dockerfile", NOTHING)]);
    waybill(&repo, &["check"]).expect(
        0,
        r"warning[empty-dependency]: live: an empty string in 'dependencies' means nothing
  --> build_manifest.json:2:49
  hint: remove it
warning[dead-project]: dead: there is neither a Dockerfile nor any file that its patterns match
  --> build_manifest.json:3:3
  hint: remove the project, or list it in `expect.absent`
warning[dead-project]: dead-too: there is neither a Dockerfile nor any file that its patterns match
  --> build_manifest.json:4:3
  hint: remove the project, or list it in `expect.absent`
warning[missing-dockerfile]: no-file: there is no Dockerfile 'Dockerfile.old'
  --> build_manifest.json:5:49
  hint: `dockerfile` is relative to `buildDir` or `projectDir`
warning[missing-build-dir]: no-dir: there is no directory 'gone/c' to build in
  --> build_manifest.json:6:26
  hint: correct `buildDir`
warning[pattern-matches-nothing]: nothing: '^lib/' in 'rebuildPatterns' matches no file
  --> build_manifest.json:7:55
  hint: patterns are searched in paths from the repository's root
warning[pattern-matches-nothing]: ignored: '^old/' in 'ignorePatterns' matches no file
  --> build_manifest.json:8:54
  hint: patterns are searched in paths from the repository's root
warning[no-sources]: emptied: no file matches its patterns, so it is never built
  --> build_manifest.json:9:3
  hint: correct `rebuildPatterns` or `projectDir`
warning[source-missing]: no-dir: '.' matches no file below the build directory 'gone/c'
  --> live/Dockerfile:2:6
  hint: the context is what git holds: commit the file or drop the line
0 errors, 9 warnings in 8 projects
",
        "",
    );
    repo.write(
        "build_manifest.json",
        manifest.replace("\"dead-too\"", "\"live\""),
    );
    waybill(&repo, &["check"]).expect(
        2,
        r"warning[empty-dependency]: live: an empty string in 'dependencies' means nothing
  --> build_manifest.json:2:49
  hint: remove it
error[duplicate-key]: 'live' stands here again; it is in line 2 already
  --> build_manifest.json:4:3
  hint: keep one of the two: which of them counts differs from tool to tool
1 error, 1 warning in 8 projects
",
        "",
    );
    // What is expected to be absent is no news.
    repo.write(
        "build_manifest.json",
        r#"{
  "version": 1,
  "expect": {"absent": ["dead"]},
  "projects": {
    "live": {"buildDir": "live"},
    "dead": {"buildDir": "gone/a", "rebuildPatterns": ["^gone/a/"]}
  }
}
"#,
    );
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 2 projects\n", "");
}

/// A Dockerfile that copies 24 sources of which 23 lie outside the project's patterns.
#[test]
fn f9_sources_outside_the_patterns_are_found() {
    let mut dockerfile = "FROM scratch\nCOPY app/main /\n".to_owned();
    let repo = uncommitted(
        r#"{"app": {"buildDir": ".", "projectDir": "app"}}"#,
        &[("app/main", "")],
    );
    let mut expected = String::new();
    for number in 1..=23 {
        repo.write(format!("lib/{number}/code"), "");
        let _ = writeln!(dockerfile, "COPY lib/{number}/code /lib/");
        let line = number + 2;
        let _ = write!(
            expected,
            "warning[source-outside-patterns]: app: 'lib/{number}/code' lies outside the project's \
             patterns: changes there rebuild nothing\n  --> app/Dockerfile:{line}:6\n  hint: widen \
             `rebuildPatterns`, or depend on the project that the files belong to\n"
        );
    }
    repo.write("app/Dockerfile", &dockerfile);
    let counts = "0 errors, 23 warnings in 1 project\n";
    waybill(&repo, &["check"]).expect(0, &format!("{expected}{counts}"), "");
    waybill(&repo, &["check", "--strict", "--quiet"]).expect(1, &expected, "");
    // A dependency covers what belongs to it.
    repo.write(
        "build_manifest.json",
        r#"{
  "app": {"buildDir": ".", "projectDir": "app", "dependencies": ["lib"]},
  "lib": {"buildDir": "lib"}
}"#,
    );
    repo.write("lib/Dockerfile", NOTHING);
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 2 projects\n", "");
}

/// Of a chain of five dependencies, the images that are used, and what only propagates; and the
/// one file that rebuilds everything without going into any image.
#[test]
fn f10_two_kinds_of_edges_are_told_apart() {
    let repo = uncommitted(
        r#"{
  "version": 1,
  "rebuildAll": ["^toolchain\\.lock$"],
  "projects": {
    "base": {"buildDir": "base", "rebuildPatterns": ["^base/", "\\.md$"]},
    "log": {"buildDir": "log", "dependencies": ["base"]},
    "api": {"buildDir": "api", "dependencies": ["log"]},
    "web": {"buildDir": "web", "dependencies": ["api"]},
    "jobs": {"buildDir": "jobs", "dependencies": ["web"]}
  }
}
"#,
        &[
            ("base/Dockerfile", NOTHING),
            ("log/Dockerfile", NOTHING),
            ("api/Dockerfile", "FROM base\nCOPY --from=log /x /\n"),
            ("web/Dockerfile", "FROM base\nCOPY . /\n"),
            ("jobs/Dockerfile", "FROM base\nCOPY . /\n"),
            ("toolchain.lock", ""),
            ("docs/index.md", ""),
        ],
    );
    let project = |name: &str, uses: &[&str], triggers: &[&str]| {
        let dockerfile = format!("{name}/Dockerfile");
        json!({"name": name, "dockerfile": dockerfile, "uses": uses, "triggers": triggers})
    };
    let ran = waybill(&repo, &["check", "--json"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.json(),
        json!({
            "schema": "waybill.check/1",
            "manifest": "build_manifest.json",
            "projects": [
                project("api", &["base", "log"], &[]),
                project("base", &[], &[]),
                project("jobs", &["base"], &["web"]),
                project("log", &[], &["base"]),
                project("web", &["base"], &["api"]),
            ],
            "problems": [{
                "severity": "warning",
                "code": "rebuilds-everything",
                "message": "a change of one file rebuilds most of the 5 projects: \
                            'docs/index.md' (5 projects)",
                "project": null,
                "file": "build_manifest.json",
                "line": 5,
                "column": 64,
                "hint": "narrow the patterns, or list the file in `rebuildAll` if that is meant",
            }],
        })
    );
}

/// What the Dockerfiles hide: everything at once, by place.
#[test]
fn dockerfiles_are_read_too() {
    let repo = uncommitted(
        r#"{
  "version": 1,
  "registry": "registry.example/acme",
  "projects": {
    "base": {"buildDir": "base"},
    "api": {"buildDir": "api"},
    "two": {"buildDir": "base", "projectDir": "api"},
    "out": {"buildDir": "out"},
    "odd": {"buildDir": "odd"},
    "bad": {"buildDir": "bad"}
  }
}
"#,
        &[
            ("base/Dockerfile", NOTHING),
            (
                "api/Dockerfile",
                "FROM registry.example/acme/base\nARG NPM_TOKEN\nCOPY --from=alpine:3 /x /\nCOPY --from=out / /\n",
            ),
            ("odd/Dockerfile", NOTHING),
            ("odd/.dockerignore", "ok\n[\n"),
            ("bad/Dockerfile", "FROM scratch\nCOPPY . /\n"),
        ],
    );
    repo.link("out/Dockerfile", "../../etc/Dockerfile");
    waybill(&repo, &["check"]).expect(
        2,
        r"error[ambiguous-dockerfile]: two: 'Dockerfile' names two files: base/Dockerfile and api/Dockerfile
  --> build_manifest.json:7:5
  hint: it may be relative to buildDir or to projectDir: write it so that one is meant
error[link-leaves-repository]: out: the link 'out/Dockerfile' points to '../../etc/Dockerfile', outside the repository
  --> build_manifest.json:8:25
  hint: correct the link and commit it
error[undeclared-dependency]: api: the image of project 'base' is used, but it is not among the dependencies
  --> api/Dockerfile:1:6
  hint: add 'base' to the project's `dependencies`
warning[secret-in-build-arg]: api: 'NPM_TOKEN' is named like a secret, and what ARG and ENV hold can be read from the image
  --> api/Dockerfile:2:1
  hint: list it in `secrets` and use `RUN --mount=type=secret,id=…`
warning[floating-base]: api: 'alpine:3' can change without any change in the repository
  --> api/Dockerfile:3:13
  hint: pin it as name:tag@sha256:…, or make it a project that others depend on
warning[undeclared-reference]: api: 'out' is taken from a registry as it stands there: 'out' is a project, but not among the dependencies
  --> api/Dockerfile:4:13
  hint: if the project's image is meant, add 'out' to `dependencies`
warning[floating-base]: api: 'out' can change without any change in the repository
  --> api/Dockerfile:4:13
  hint: pin it as name:tag@sha256:…, or make it a project that others depend on
error[dockerfile-syntax]: bad: unknown instruction 'COPPY'
  --> bad/Dockerfile:2:1
  hint: correct the Dockerfile
error[ignore-syntax]: odd: this is no pattern: a [ has no ]
  --> odd/.dockerignore:2
  hint: correct the line, or escape what it means literally with a \
5 errors, 4 warnings in 6 projects
",
        "",
    );
}

const SEVEN_ERRORS: [(&str, usize, usize, usize, usize); 7] = [
    ("invalid-name", 4, 5, 3, 3),
    ("unknown-dependency", 5, 49, 7, 20),
    ("bad-pattern", 5, 83, 9, 14),
    ("missing-field", 6, 5, 11, 3),
    ("unknown-field", 6, 13, 12, 5),
    ("dependency-cycle", 7, 51, 18, 9),
    ("duplicate-key", 8, 5, 19, 3),
];

/// Everything at once, with positions, in both languages.
#[test]
fn every_error_of_a_manifest_at_once() {
    let repo = uncommitted(
        r#"{
  "version": 1,
  "projects": {
    "Api": {"buildDir": "api"},
    "web": {"buildDir": "web", "dependencies": ["lgo"], "rebuildPatterns": ["^web/(", "^web/"]},
    "log": {"builddir": "log", "dependencies": ["base"]},
    "base": {"buildDir": "base", "dependencies": ["log"]},
    "base": {"buildDir": "other"}
  }
}
"#,
        &[],
    );
    waybill(&repo, &["check"]).expect(
        2,
        "error[invalid-name]: Api: 'Api' is no valid repository name (lower-case letters, digits, and . _ - / between)
  --> build_manifest.json:4:5
  hint: did you mean 'api'?
error[unknown-dependency]: web: 'dependencies' names 'lgo', and there is no such project
  --> build_manifest.json:5:49
  hint: did you mean 'log'?
error[bad-pattern]: web: '^web/(' is no valid pattern: unclosed group
  --> build_manifest.json:5:83
  hint: ( and ) come in pairs and group; \\( and \\) are the characters, and no groups as in grep
error[missing-field]: log: project 'log' has no 'buildDir'
  --> build_manifest.json:6:5
  hint: name the directory that it is built from
error[unknown-field]: log: 'log' has no field 'builddir'
  --> build_manifest.json:6:13
  hint: did you mean 'buildDir'?
error[dependency-cycle]: base: projects depend on each other: base → log → base
  --> build_manifest.json:7:51
  hint: remove one of these dependencies
error[duplicate-key]: 'base' stands here again; it is in line 7 already
  --> build_manifest.json:8:5
  hint: keep one of the two: which of them counts differs from tool to tool
7 errors, 0 warnings in 5 projects
",
        "",
    );
    let places = |repo: &Repo| -> Vec<(String, u64, u64)> {
        let document = waybill(repo, &["check", "--json"]).json();
        let problems = document["problems"].as_array().unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        problems
            .iter()
            .map(|problem| {
                let code = problem["code"].as_str().unwrap().to_owned();
                (code, number(&problem["line"]), number(&problem["column"]))
            })
            .collect()
    };
    let expected = |in_yaml: bool| -> Vec<(String, u64, u64)> {
        let place = |row: &(&str, usize, usize, usize, usize)| {
            let (line, column) = if in_yaml {
                (row.3, row.4)
            } else {
                (row.1, row.2)
            };
            (row.0.to_owned(), line as u64, column as u64)
        };
        SEVEN_ERRORS.iter().map(place).collect()
    };
    assert_eq!(places(&repo), expected(false));
    repo.remove("build_manifest.json");
    repo.write(
        "build_manifest.yml",
        "version: 1
projects:
  Api:
    buildDir: api
  web:
    buildDir: web
    dependencies: [lgo]
    rebuildPatterns:
      - ^web/(
      - ^web/
  log:
    builddir: log
    dependencies:
      - base
  base:
    buildDir: base
    dependencies:
      - log
  base:
    buildDir: other
",
    );
    assert_eq!(places(&repo), expected(true));
}

/// The work tree by default: what is not committed counts, what is ignored does not; `--commit`
/// reads a commit.
#[test]
fn reads_the_work_tree_unless_a_commit_is_named() {
    let repo = uncommitted(
        r#"{"version": 1, "projects": {"api": {"buildDir": "api"}}}"#,
        &[
            ("api/Dockerfile", "FROM scratch\nCOPY main /\n"),
            ("api/main", ""),
            (".gitignore", "*.log\n"),
        ],
    );
    let clean = "0 errors, 0 warnings in 1 project\n";
    // No commit yet.
    waybill(&repo, &["check", "--strict"]).expect(0, clean, "");
    repo.commit("First");
    waybill(&repo, &["check", "--strict"]).expect(0, clean, "");
    // An ignored file is not there; a removed one is gone; an executable and a link are files.
    repo.write(
        "api/Dockerfile",
        "FROM scratch\nCOPY x.log main new link /\n",
    );
    repo.write("api/x.log", "");
    repo.remove("api/main");
    repo.write_executable("api/new", "");
    repo.link("api/link", "new");
    let missing = |path: &str, column: usize| {
        format!(
            "warning[source-missing]: api: '{path}' matches no file below the build directory \
             'api'\n  --> api/Dockerfile:2:{column}\n  hint: the context is what git holds: commit \
             the file or drop the line\n"
        )
    };
    let expected = format!(
        "{}{}0 errors, 2 warnings in 1 project\n",
        missing("x.log", 6),
        missing("main", 12)
    );
    waybill(&repo, &["check"]).expect(0, &expected, "");
    waybill(&repo, &["check", "--commit", "HEAD"]).expect(0, clean, "");
    let in_environment = run(command(&repo).arg("check").env("WAYBILL_COMMIT", "HEAD"));
    in_environment.expect(0, clean, "");
    // From anywhere in the repository.
    let below = run(command(&repo)
        .arg("check")
        .current_dir(repo.path().join("api")));
    below.expect(0, &expected, "");
}

/// A sparse checkout leaves tracked files out of the work tree, and they count all the same.
#[test]
fn a_sparse_checkout_lacks_nothing() {
    let repo = uncommitted(
        r#"{"version": 1, "projects": {"api": {"buildDir": "api"}, "web": {"buildDir": "web"}}}"#,
        &[("api/Dockerfile", NOTHING), ("web/Dockerfile", NOTHING)],
    );
    repo.commit("First");
    repo.git(&["sparse-checkout", "set", "api"]);
    assert!(!repo.path().join("web").exists());
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 2 projects\n", "");
    repo.git(&["sparse-checkout", "disable"]);
    repo.remove("web");
    let ran = waybill(&repo, &["check", "--strict"]);
    assert!(
        ran.out.contains("warning[dead-project]: web"),
        "{}",
        ran.out
    );
}

/// Submodules, and a repository that only lies there.
#[test]
fn a_submodule_is_a_leaf() {
    let inner = Repo::new();
    inner.write("Dockerfile", NOTHING);
    inner.commit("Inner");
    let repo = uncommitted(
        r#"{"version": 1, "projects": {"sub": {"buildDir": "sub"}}}"#,
        &[],
    );
    let source = inner.path().display().to_string();
    repo.git(&["submodule", "--quiet", "add", &source, "sub"]);
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 1 project\n", "");
    repo.commit("With a submodule");
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 1 project\n", "");
}
