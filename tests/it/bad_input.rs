//! Bad input: a clear error, the right exit code and error code, and never a panic. What registries
//! answer wrongly is in the table of faults, beside the worlds that it needs.

use serde_json::Value;

use crate::program::{Ran, command, run, waybill};
use crate::repo::Repo;

const SHOP: &str = r#"{"version": 1, "projects": {"api": {"buildDir": "api"}}}"#;

/// A repository with one good project, committed.
fn shop() -> Repo {
    let repo = Repo::new();
    repo.write("build_manifest.json", SHOP);
    repo.write("api/Dockerfile", "FROM scratch\nCOPY . /\n");
    repo.commit("First");
    repo
}

/// The first error of a run, which must be one that helps: it says something, in one line, and the
/// same run says it to people too.
#[track_caller]
fn first_error(what: &str, ran: &Ran) -> Value {
    let document = ran.json();
    let problems = match document["schema"].as_str() {
        Some("waybill.check/1") => &document["problems"],
        Some("waybill.error/1") => {
            assert_eq!(document["exit"], ran.code, "{what}");
            &document["errors"]
        }
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(ran.err, "", "{what}: the document is all that is printed");
    let mut problems = problems.as_array().unwrap().iter();
    let error = problems
        .find(|problem| problem["severity"] == "error")
        .unwrap_or_else(|| panic!("{what}: no error in {document}"));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.len() > 5 && !message.contains('\n'),
        "{what}: {message}"
    );
    assert!(
        !message.contains("Err(") && !message.contains("Some("),
        "{what}: {message}"
    );
    error.clone()
}

#[track_caller]
fn expect(what: &str, ran: &Ran, exit: i32, code: &str) {
    let error = first_error(what, ran);
    assert_eq!(
        (ran.code, &error["code"]),
        (exit, &Value::from(code)),
        "{what}: {error}"
    );
}

/// A manifest, the code of its first error, and where that stands.
type Manifest = (&'static str, &'static str, u64, u64);

const JSON: &[Manifest] = &[
    ("", "syntax", 1, 1),
    ("{", "syntax", 1, 1),
    ("[]", "wrong-type", 1, 1),
    ("null", "wrong-type", 1, 1),
    (r#"{"a": {"buildDir": "a",}}"#, "syntax", 1, 23),
    (r#"{"a": {"buildDir": 1}}"#, "wrong-type", 1, 20),
    (r#"{"a": []}"#, "wrong-type", 1, 7),
    (
        r#"{"version": 2, "projects": {}}"#,
        "unsupported-version",
        1,
        13,
    ),
    (r#"{"version": 1}"#, "missing-field", 1, 1),
    (
        r#"{"a": {"buildDir": "/abs"}}"#,
        "path-leaves-repository",
        1,
        20,
    ),
    (
        r#"{"a": {"buildDir": "../up"}}"#,
        "path-leaves-repository",
        1,
        20,
    ),
    (
        r#"{"a": {"buildDir": "a", "dockerfile": "../../x"}}"#,
        "path-leaves-repository",
        1,
        39,
    ),
    (
        r#"{"a": {"buildDir": "a", "rebuildPatterns": "none"}}"#,
        "missing-pattern-file",
        1,
        44,
    ),
    (
        r#"{"a": {"buildDir": "a", "rebuildPatterns": ["(?<x"]}}"#,
        "bad-pattern",
        1,
        50,
    ),
    (
        r#"{"a": {"buildDir": "a", "rebuildPatterns": ["a{999}{999}{999}"]}}"#,
        "bad-pattern",
        1,
        46,
    ),
    (
        r#"{"a": {"buildDir": "a", "rebuildPatterns": [" "]}}"#,
        "blank-pattern",
        1,
        45,
    ),
    (
        r#"{"a": {"buildDir": "a", "dependencies": "deps.sh"}}"#,
        "script-dependencies",
        1,
        41,
    ),
    (
        r#"{"a": {"buildDir": "a", "dependencies": ["a"]}}"#,
        "self-dependency",
        1,
        42,
    ),
    (r#"{"waybill-x": {"buildDir": "a"}}"#, "reserved-name", 1, 2),
    (
        r#"{"version": 1, "registry": "ftp://x", "projects": {}}"#,
        "invalid-registry",
        1,
        28,
    ),
    (
        r#"{"version": 1, "expect": {"absent": ["x"]}, "projects": {}}"#,
        "unknown-project",
        1,
        38,
    ),
    (
        r#"{"version": 1, "imageAliases": [""], "projects": {}}"#,
        "invalid-image-alias",
        1,
        33,
    ),
    (
        r#"{"a": {"buildDir": "a", "platforms": ["beos"]}}"#,
        "invalid-platform",
        1,
        39,
    ),
    (
        r#"{"a": {"buildDir": "a", "epoch": -1}}"#,
        "invalid-epoch",
        1,
        34,
    ),
    (
        r#"{"a": {"buildDir": "a", "layerCache": "some"}}"#,
        "invalid-layer-cache",
        1,
        39,
    ),
    (
        r#"{"a": {"buildDir": "a", "buildArgs": {"A": 1}}}"#,
        "invalid-build-arg",
        1,
        44,
    ),
];

const YAML: &[Manifest] = &[
    ("a: [\n", "syntax", 2, 1),
    ("a: &x [*x]\n", "syntax", 1, 8),
    ("a: !!binary x\n", "syntax", 1, 4),
    ("a: {buildDir: a}\n---\nb: {}\n", "syntax", 2, 1),
    ("- a\n", "wrong-type", 1, 1),
];

#[test]
fn manifests() {
    let repo = Repo::new();
    let check = |name: &str, text: &[u8], code: &str, line: u64, column: u64| {
        repo.write(name, text);
        let what = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        let ran = waybill(&repo, &["check", "--json"]);
        expect(&what, &ran, 2, code);
        let error = first_error(&what, &ran);
        let place = (&error["file"], &error["line"], &error["column"]);
        let expected = (&name.into(), &line.into(), &column.into());
        assert_eq!(place, expected, "{what}: {error}");
    };
    for (text, code, line, column) in JSON {
        check("build_manifest.json", text.as_bytes(), code, *line, *column);
    }
    check("build_manifest.json", b"\xff\xfe{}", "syntax", 1, 1);
    check(
        "build_manifest.json",
        "[".repeat(100_000).as_bytes(),
        "syntax",
        1,
        513,
    );
    repo.remove("build_manifest.json");
    for (text, code, line, column) in YAML {
        check("build_manifest.yml", text.as_bytes(), code, *line, *column);
    }
}

/// A manifest at a commit fails whatever reads it, by the same code.
#[test]
fn a_broken_manifest_fails_every_command() {
    let repo = shop();
    repo.write("build_manifest.json", r#"{"a": {"buildDir": 1}}"#);
    repo.commit("Broken");
    for arguments in [
        &["plan"][..],
        &["plan", "--if", "api"],
        &["build"],
        &["image", "api"],
        &["why", "api"],
        &["history", "api"],
        &["log", "api"],
        &["taint", "api", "--why", "x"],
        &["registry", "init"],
        &["check", "--commit", "HEAD"],
    ] {
        let ran = waybill(&repo, &[arguments, &["--json"]].concat());
        expect(&arguments.join(" "), &ran, 2, "wrong-type");
    }
}

const DOCKERFILES: &[(&str, &str, u64)] = &[
    ("", "dockerfile-syntax", 1),
    ("# a comment\n", "dockerfile-syntax", 1),
    ("RUN x\n", "dockerfile-syntax", 1),
    ("FROM\n", "dockerfile-syntax", 1),
    ("FROM a b c\n", "dockerfile-syntax", 1),
    ("FROM scratch\nNOPE x\n", "dockerfile-syntax", 2),
    ("FROM scratch\nCOPY [\n", "dockerfile-syntax", 2),
    ("FROM scratch\nRUN <<EOF\nx\n", "dockerfile-syntax", 2),
    ("FROM $X\n", "open-variable", 1),
    ("FROM scratch\nCOPY --from=$X / /\n", "open-variable", 2),
    ("FROM UPPER/Case\n", "invalid-reference", 1),
    ("FROM a@sha256:12\n", "invalid-reference", 1),
    ("FROM scratch\nCOPY --from=3 / /\n", "unknown-stage", 2),
];

#[test]
fn dockerfiles() {
    let repo = shop();
    for (text, code, line) in DOCKERFILES {
        repo.write("api/Dockerfile", text);
        let ran = waybill(&repo, &["check", "--json"]);
        expect(text, &ran, 2, code);
        let error = first_error(text, &ran);
        assert_eq!(error["file"], "api/Dockerfile", "{text}");
        assert_eq!(error["line"], *line, "{text}");
    }
    repo.write("api/Dockerfile", b"FROM \xff\n");
    let ran = waybill(&repo, &["check", "--json"]);
    expect("not UTF-8", &ran, 2, "dockerfile-syntax");
}

const COMMAND_LINES: &[(&[&str], i32, &str)] = &[
    (&["frobnicate"], 2, "command-line"),
    (&["plan", "--nonsense"], 2, "command-line"),
    (&["plan", "--history", "x"], 2, "command-line"),
    (&["plan", "--color", "sometimes"], 2, "command-line"),
    (&["plan", "--progress", "maybe"], 2, "command-line"),
    (&["plan", "--verbose", "--quiet"], 2, "command-line"),
    (&["build", "--jobs", "0"], 2, "command-line"),
    (&["build", "--force"], 2, "command-line"),
    (&["build", "--worktree"], 2, "command-line"),
    (&["build", "--timeout", "5d"], 2, "command-line"),
    (
        &["build", "api", "--secret", "nonsense"],
        2,
        "invalid-secret",
    ),
    (&["image"], 2, "command-line"),
    (&["why"], 2, "command-line"),
    (&["taint", "api"], 2, "command-line"),
    (&["registry"], 2, "command-line"),
    (
        &["registry", "serve", "--listen", "nonsense"],
        2,
        "command-line",
    ),
    (
        &["registry", "serve", "--listen", "203.0.113.1:0"],
        3,
        "embedded-listen",
    ),
    (&["completions", "tcsh"], 2, "command-line"),
    (&["schema", "nope"], 2, "unknown-schema"),
    (&["plan", "nobody"], 2, "unknown-project"),
    (&["plan", "No Body"], 2, "unknown-project"),
    (&["plan", "nobody", "--if", "x"], 2, "unknown-project"),
    (&["plan", "--if", "../../x"], 2, "path-outside-repository"),
    (&["plan", "--manifest", "../x"], 2, "invalid-manifest-path"),
    (&["plan", "--manifest", "none.json"], 2, "no-manifest"),
    (&["plan", "--manifest", "api"], 2, "no-manifest"),
    (&["plan", "--commit", "nope"], 2, "unknown-revision"),
    (&["plan", "--commit", "HEAD:api"], 2, "not-a-commit"),
    (&["plan", "--registry", "http://"], 2, "invalid-registry"),
    (&["plan", "--registry", "ftp://x/y"], 2, "invalid-registry"),
    (&["plan", "--registry", "Host/UPPER"], 2, "invalid-registry"),
    (
        &["plan", "--registry", "127.0.0.1:1/acme"],
        3,
        "registry-unreachable",
    ),
    (
        &["plan", "--upstream", "127.0.0.1:1/acme"],
        3,
        "registry-unreachable",
    ),
    (
        &["registry", "init", "--registry", "127.0.0.1:1/acme"],
        3,
        "registry-unreachable",
    ),
    (&["-C", "/nowhere", "plan"], 2, "not-a-repository"),
    (&["-C", "/", "check"], 2, "not-a-repository"),
    (&["-C", "/", "init"], 2, "not-a-repository"),
];

#[test]
fn command_lines() {
    let repo = shop();
    for (arguments, exit, code) in COMMAND_LINES {
        let what = arguments.join(" ");
        let ran = waybill(&repo, &[arguments, &["--json"][..]].concat());
        expect(&what, &ran, *exit, code);
        // People are told on stderr, and nothing is on stdout.
        let told = waybill(&repo, arguments);
        assert_eq!((told.code, told.out.as_str()), (*exit, ""), "{what}");
        // Where a command lacks its second word, what there is to choose from is told instead.
        let is_told = told.err.starts_with("error") || told.err.contains("\nCommands:\n");
        assert!(is_told, "{what}: {}", told.err);
    }
}

/// What is missing is named in JSON too.
#[test]
fn a_wrong_command_line_is_told_whole() {
    let error = first_error("", &waybill(&Repo::new(), &["taint", "api", "--json"]));
    assert_eq!(
        error["message"],
        "the following required arguments were not provided: --why <TEXT>"
    );
}

#[test]
fn a_password_in_a_registrys_name_is_never_repeated() {
    let repo = shop();
    for base in [
        "ada:hunter2@r.example/acme",
        "https://ada:hunter2/3@r.example/acme",
        "ftp://ada:hunter2@r.example/acme",
        "r.example/ada:hunter2@acme",
    ] {
        let commands = [
            vec!["plan", "--registry", base],
            vec!["plan", "--upstream", base],
            vec!["build", "--registry", base],
            vec!["registry", "init", "--registry", base],
        ];
        for arguments in commands {
            let ran = waybill(&repo, &[&arguments[..], &["--json"]].concat());
            expect(base, &ran, 2, "invalid-registry");
            let told = waybill(&repo, &arguments);
            let said = [ran.out, ran.err, told.out, told.err].concat();
            assert!(!said.contains("hunter2"), "{said}");
        }
        let written = SHOP.replace(
            "\"version\": 1",
            &format!("\"version\": 1, \"registry\": \"{base}\""),
        );
        repo.write("build_manifest.json", written);
        let ran = waybill(&repo, &["check", "--json"]);
        expect(base, &ran, 2, "invalid-registry");
        assert!(!ran.out.contains("hunter2"), "{}", ran.out);
        repo.write("build_manifest.json", SHOP);
    }
}

#[test]
fn in_ci_a_registry_must_be_configured() {
    let repo = shop();
    let ran = run(command(&repo).args(["plan", "--json"]).env("CI", "true"));
    expect("CI", &ran, 2, "no-registry");
    let ran = run(command(&repo).args(["plan", "--json"]).env("CI", "false"));
    assert_eq!(ran.code, 0);
}

/// A state of a repository, how it is made, and what `plan` and `check` make of it.
type State = (
    &'static str,
    fn() -> Repo,
    Option<&'static str>,
    Option<&'static str>,
);

const STATES: &[State] = &[
    ("all is well", shop, None, None),
    (
        "no commit yet",
        || {
            let repo = Repo::new();
            repo.write("build_manifest.json", SHOP);
            repo
        },
        Some("no-commit-yet"),
        None,
    ),
    (
        "nothing at all",
        Repo::new,
        Some("no-commit-yet"),
        Some("no-manifest"),
    ),
    (
        "no manifest",
        || {
            let repo = shop();
            repo.remove("build_manifest.json");
            repo.commit("Gone");
            repo
        },
        Some("no-manifest"),
        Some("no-manifest"),
    ),
    (
        "the manifest is a link that leads out",
        || {
            let repo = shop();
            repo.remove("build_manifest.json");
            repo.link("build_manifest.json", "../manifest.json");
            repo.commit("Out");
            repo
        },
        Some("link-leaves-repository"),
        Some("link-leaves-repository"),
    ),
    (
        "links that lead to one another",
        || {
            let repo = shop();
            repo.remove("api");
            repo.link("api", "web");
            repo.link("web", "api");
            repo.commit("Loop");
            repo
        },
        Some("link-loop"),
        Some("link-loop"),
    ),
    (
        "a build directory that leads out",
        || {
            let repo = shop();
            repo.remove("api");
            repo.link("api", "/etc");
            repo.commit("Out");
            repo
        },
        Some("link-leaves-repository"),
        Some("link-leaves-repository"),
    ),
    (
        "a detached head",
        || {
            let repo = shop();
            repo.git(&["checkout", "--quiet", "--detach"]);
            repo
        },
        None,
        None,
    ),
    (
        "a branch that names nothing",
        || {
            let repo = shop();
            let id = "1111111111111111111111111111111111111111\n";
            repo.write(".git/refs/heads/main", id);
            repo
        },
        Some("unknown-revision"),
        None,
    ),
    (
        "the tree is gone",
        || {
            let repo = shop();
            let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
            repo.remove(format!(".git/objects/{}/{}", &tree[..2], &tree[2..]));
            repo
        },
        Some("missing-object"),
        None,
    ),
    (
        "the manifest's blob is gone",
        || {
            let repo = shop();
            let blob = repo.git(&["rev-parse", "HEAD:build_manifest.json"]);
            repo.remove(format!(".git/objects/{}/{}", &blob[..2], &blob[2..]));
            repo
        },
        Some("missing-object"),
        None,
    ),
    (
        "the index is broken",
        || {
            let repo = shop();
            repo.write(".git/index", "no index");
            repo
        },
        None,
        Some("git-program"),
    ),
    (
        "objects named by SHA-256",
        || {
            let repo = Repo::new();
            repo.remove(".git");
            repo.git(&["init", "--quiet", "--object-format=sha256", "."]);
            repo
        },
        Some("unsupported-object-format"),
        Some("unsupported-object-format"),
    ),
    (
        "a bare repository",
        || {
            let repo = shop();
            repo.git(&["config", "core.bare", "true"]);
            repo.remove("api");
            repo.remove("build_manifest.json");
            repo
        },
        None,
        Some("no-work-tree"),
    ),
];

#[test]
fn git_states() {
    for (what, make, plan, check) in STATES {
        let repo = make();
        for (command, expected) in [("plan", plan), ("check", check)] {
            let ran = waybill(&repo, &[command, "--json"]);
            let what = format!("{what}: {command}");
            match expected {
                Some(code) => expect(&what, &ran, 2, code),
                None => assert_eq!(ran.code, 0, "{what}: {}{}", ran.out, ran.err),
            }
        }
    }
}
