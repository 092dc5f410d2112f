//! The reader as a whole: what is accepted and how it is understood, and what is refused where.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;
use crate::model::{ProjectName, RegistryApi, RegistryKind, RepoPath};
use crate::problem::{Problem, Severity};

mod tasks;

/// Reads and checks a manifest under a name, with pattern files.
fn check(name: &str, text: &str, files: &[(&str, Option<&str>)]) -> Checked {
    let path = RepoPath::from(name);
    let raw = match read(&path, text.as_bytes()) {
        Ok(raw) => raw,
        Err(problems) => {
            return Checked {
                manifest: None,
                problems,
            };
        }
    };
    let files: BTreeMap<RepoPath, Option<Vec<u8>>> = files
        .iter()
        .map(|(path, bytes)| {
            let bytes = bytes.map(|bytes| bytes.as_bytes().to_vec());
            (RepoPath::from(*path), bytes)
        })
        .collect();
    raw.check(&files)
}

fn json(text: &str) -> Checked {
    check("build_manifest.json", text, &[])
}

fn manifest(checked: Checked) -> Manifest {
    assert!(checked.manifest.is_some(), "{:#?}", checked.problems);
    checked.manifest.unwrap()
}

fn name(text: &str) -> ProjectName {
    text.parse().unwrap()
}

/// `code@line:column` of every problem, warnings with a `?`.
fn shown(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let location = problem.location.as_ref().unwrap();
        let mark = if problem.severity == Severity::Warning {
            "?"
        } else {
            ""
        };
        let (line, column) = (location.line.unwrap_or(0), location.column.unwrap_or(0));
        write!(text, " {}{mark}@{line}:{column}", problem.code).unwrap();
    }
    text.trim_start().to_owned()
}

/// A manifest of the full shape that holds one project `a` with these fields.
fn project(fields: &str) -> String {
    format!(
        "{{\"version\": 1, \"projects\": {{\"a\": {{\n{fields}\n}}, \"b\": {{\"buildDir\": \"b\"}}}}}}"
    )
}

/// A manifest of the full shape with these fields at the top, and one project `a`.
fn top(fields: &str) -> String {
    format!("{{\"version\": 1, \"projects\": {{\"a\": {{\"buildDir\": \"a\"}}}},\n{fields}\n}}")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_fault_has_a_code_and_a_place() {
    let in_project = [
        (
            "\"builddir\": \"a\"",
            "missing-field@1:29 unknown-field@2:1",
        ),
        ("\"dockerfile\": \"x\"", "missing-field@1:29"),
        ("\"buildDir\": 1", "wrong-type@2:13"),
        ("\"buildDir\": null", "wrong-type@2:13"),
        ("\"buildDir\": \"../x\"", "path-leaves-repository@2:13"),
        ("\"buildDir\": \"/x\"", "path-leaves-repository@2:13"),
        ("\"buildDir\": \"\"", "empty-path@2:13"),
        (
            "\"buildDir\": \"x\", \"projectDir\": \"x/../..\"",
            "path-leaves-repository@2:32",
        ),
        (
            "\"buildDir\": \"x\", \"dockerfile\": \"../../D\"",
            "path-leaves-repository@2:32",
        ),
        (
            "\"buildDir\": \"x\", \"dockerfile\": \"\"",
            "empty-path@2:32",
        ),
        (
            "\"buildDir\": \"x\", \"buildDir\": \"y\"",
            "duplicate-key@2:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"hermetic\": \"true\"",
            "wrong-type@3:13",
        ),
        ("\"buildDir\": \"x\",\n\"epoch\": -1", "invalid-epoch@3:10"),
        ("\"buildDir\": \"x\",\n\"epoch\": 1.5", "invalid-epoch@3:10"),
        ("\"buildDir\": \"x\",\n\"epoch\": \"1\"", "wrong-type@3:10"),
        (
            "\"buildDir\": \"x\",\n\"layerCache\": \"stage\"",
            "invalid-layer-cache@3:15",
        ),
        (
            "\"buildDir\": \"x\",\n\"multiarch\": \"both\"",
            "invalid-multiarch@3:14",
        ),
        (
            "\"buildDir\": \"x\",\n\"platforms\": [\"amd64\"]",
            "invalid-platform@3:15",
        ),
        (
            "\"buildDir\": \"x\",\n\"platforms\": []",
            "invalid-platform@3:14",
        ),
        (
            "\"buildDir\": \"x\",\n\"platforms\": [\"linux/arm64\"], \"multiarch\": \"host\"",
            "conflicting-fields@3:44",
        ),
        (
            "\"buildDir\": \"x\",\n\"secrets\": [\"a\", \"\"]",
            "invalid-secret@3:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"secrets\": [\"a=b\"]",
            "invalid-secret@3:13",
        ),
        (
            "\"buildDir\": \"x\",\n\"secrets\": [\"a\", \"a\"]",
            "duplicate-entry?@3:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"buildArgs\": {\"N\": 1}",
            "invalid-build-arg@3:20",
        ),
        (
            "\"buildDir\": \"x\",\n\"buildArgs\": {\"N\": true}",
            "invalid-build-arg@3:20",
        ),
        (
            "\"buildDir\": \"x\",\n\"buildArgs\": {\"A B\": \"\"}",
            "invalid-build-arg@3:15",
        ),
        (
            "\"buildDir\": \"x\",\n\"buildArgs\": {\"COMMIT_TAG\": \"\"}",
            "reserved-build-arg@3:15",
        ),
        (
            "\"buildDir\": \"x\",\n\"buildArgs\": {\"NPM_TOKEN\": \"\"}",
            "build-arg-named-like-secret?@3:15",
        ),
        (
            "\"buildDir\": \"x\",\n\"target\": \"\"",
            "invalid-target@3:11",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": \"deps.sh\"",
            "script-dependencies@3:17",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": [\"bb\"]",
            "unknown-dependency@3:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": [\"b\", 1]",
            "wrong-type@3:23",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": [\"a\"]",
            "self-dependency@3:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": [\"\"]",
            "empty-dependency?@3:18",
        ),
        (
            "\"buildDir\": \"x\",\n\"dependencies\": [\"b\", \"b\"]",
            "duplicate-dependency?@3:23",
        ),
        (
            "\"buildDir\": \"x\",\n\"runDependencies\": [\"c\"]",
            "unknown-dependency@3:21",
        ),
        (
            "\"buildDir\": \"x\",\n\"run\": {\"job\": {\"dependencies\": [\"c\"]}}",
            "unknown-dependency@3:34",
        ),
        (
            "\"buildDir\": \"x\",\n\"run\": {\"job\": []}",
            "wrong-type@3:16",
        ),
        ("\"buildDir\": \"x\",\n\"tasks\": []", "wrong-type@3:10"),
        ("\"buildDir\": \"x\",\n\"deploy\": {}", "wrong-type@3:11"),
        (
            "\"buildDir\": \"x\",\n\"tasks\": {\"t\": {\"run\": \"1\", \"run\": \"2\"}}",
            "duplicate-key@3:29",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": [\"^a/\", \"^\\\\.(\"]",
            "bad-pattern@3:33",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": [\"\"]",
            "blank-pattern@3:21",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": []",
            "empty-patterns?@3:20",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": \"gone\"",
            "missing-pattern-file@3:20",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": \"../../p\"",
            "path-leaves-repository@3:20",
        ),
        (
            "\"buildDir\": \"x\",\n\"rebuildPatterns\": [\"^foo/(a\\\\|b)/\"]",
            "grep-style-alternation?@3:29",
        ),
        (
            "\"buildDir\": \"x\",\n\"ignorePatterns\": [\"a{2,1}\"]",
            "bad-pattern@3:22",
        ),
    ];
    let at_top = [
        ("\"registy\": \"x\"", "unknown-field@2:1"),
        ("\"registry\": \"\"", "invalid-registry@2:13"),
        (
            "\"registry\": \"u:p@host.example/x\"",
            "invalid-registry@2:13",
        ),
        ("\"registry\": {\"kind\": \"ecr\"}", "missing-field@2:13"),
        (
            "\"registry\": {\"url\": \"a.b/c\", \"kind\": \"erc\"}",
            "invalid-registry-kind@2:38",
        ),
        (
            "\"registry\": {\"url\": \"a.b/c\", \"region\": \"EU\"}",
            "invalid-region@2:40",
        ),
        (
            "\"upstream\": {\"url\": \"a.b/c\", \"account\": \"1\"}",
            "invalid-account@2:41",
        ),
        ("\"upstream\": []", "wrong-type@2:13"),
        ("\"imageAliases\": [\"acme/\"]", "invalid-image-alias@2:18"),
        ("\"rebuildAll\": [\"[\"]", "bad-pattern@2:17"),
        ("\"rebuildAll\": \"file\"", "wrong-type@2:15"),
        ("\"adopt\": \"yes\"", "wrong-type@2:10"),
        ("\"expect\": {\"absent\": [\"aa\"]}", "unknown-project@2:23"),
        ("\"expect\": {\"apsent\": []}", "unknown-field@2:12"),
        ("\"environments\": []", "wrong-type@2:17"),
    ];
    let whole = [
        ("[]", "wrong-type@1:1"),
        ("null", "wrong-type@1:1"),
        (
            "{\"version\": 2, \"projects\": {}}",
            "unsupported-version@1:13",
        ),
        ("{\"version\": \"1\", \"projects\": {}}", "wrong-type@1:13"),
        ("{\"version\": 1}", "missing-field@1:1"),
        (
            "{\"projects\": {\"a\": {\"buildDir\": \".\"}}}",
            "missing-field@1:1",
        ),
        (
            "{\"a\": {\"buildDir\": \".\"}, \"a\": {\"buildDir\": \".\"}}",
            "duplicate-key@1:26",
        ),
        ("{\"Api\": {\"buildDir\": \".\"}}", "invalid-name@1:2"),
        (
            "{\"waybill-x\": {\"buildDir\": \".\"}}",
            "reserved-name@1:2",
        ),
        ("{\"a\": []}", "wrong-type@1:7"),
        ("{\"a\": {\"buildDir\": \".\",}}", "syntax@1:23"),
    ];
    let cases = in_project
        .map(|(fields, faults)| (project(fields), faults))
        .into_iter();
    let cases = cases
        .chain(at_top.map(|(fields, faults)| (top(fields), faults)))
        .chain(whole.map(|(text, faults)| (text.to_owned(), faults)));
    for (text, faults) in cases {
        let checked = json(&text);
        assert_eq!(
            shown(&checked.problems),
            faults,
            "{text}\n{:#?}",
            checked.problems
        );
        let errors = checked
            .problems
            .iter()
            .any(|problem| problem.severity == Severity::Error);
        assert_eq!(checked.manifest.is_none(), errors, "{text}");
    }
}

#[test]
fn everything_is_reported_at_once_in_order() {
    let text = "api:\n  buildDir: ../x\n  dependencys: []\n  dependencies:\n    - lgo\n    - ''\n\
                log:\n  buildDir: l\n  rebuildPatterns:\n    - ^a\\|b\n    - 'it''s ('\n  \
                hermetic: 1\nlog:\n  buildDir: m\n";
    let checked = check("build_manifest.yml", text, &[]);
    assert_eq!(
        shown(&checked.problems),
        "path-leaves-repository@2:13 unknown-field@3:3 unknown-dependency@5:7 \
         empty-dependency?@6:7 grep-style-alternation?@10:9 bad-pattern@11:14 wrong-type@12:13 \
         duplicate-key@13:1"
    );
    let hint = |index: usize| checked.problems[index].hint.clone().unwrap();
    assert_eq!(hint(1), "did you mean 'dependencies'?");
    assert_eq!(hint(2), "did you mean 'log'?");
    assert_eq!(checked.problems[2].project.as_deref(), Some("api"));
    assert_eq!(checked.problems[7].project, None);
}

#[test]
fn a_cycle_is_shown_as_a_path_once() {
    let checked = json(
        "{\"c\": {\"buildDir\": \"c\", \"dependencies\": [\"a\"]},\n\
          \"b\": {\"buildDir\": \"b\", \"dependencies\": [\"c\"]},\n\
          \"a\": {\"buildDir\": \"a\", \"dependencies\": [\"b\"]}}",
    );
    assert_eq!(shown(&checked.problems), "dependency-cycle@3:41");
    assert!(checked.problems[0].message.ends_with("a → b → c → a"));
}

#[test]
fn messages_do_not_repeat_what_may_be_secret() {
    let text =
        project("\"buildDir\": \"x\", \"secrets\": [\"s3cr3t!\"], \"buildArgs\": {\"N\": 777}");
    let text = text.replacen('{', "{\"registry\": \"u:s3cr3t@host.example\",", 1);
    let checked = json(&text);
    assert_eq!(checked.problems.len(), 3);
    let printed = format!("{:?}", checked.problems);
    assert!(
        !printed.contains("s3cr3t") && !printed.contains("777"),
        "{printed}"
    );
}

#[test]
fn pattern_files_have_lines() {
    let text = "{\"a\": {\"buildDir\": \"x\", \"projectDir\": \"x/y\", \"rebuildPatterns\": \"../p\"},\n\
                 \"b\": {\"buildDir\": \"x\", \"rebuildPatterns\": \"p\"}}";
    let raw = read(&RepoPath::from("build_manifest.json"), text.as_bytes()).unwrap();
    assert_eq!(raw.pattern_files(), [RepoPath::from("x/p")]);

    let of = |file: Option<&str>| check("build_manifest.json", text, &[("x/p", file)]);
    let good = manifest(of(Some("^x/\r\n\\.rs$\r")));
    let texts: Vec<&str> = good.projects["a"]
        .patterns
        .iter()
        .flatten()
        .map(Pattern::text)
        .collect();
    assert_eq!(texts, ["^x/", r"\.rs$"]);
    assert_eq!(good.projects["b"].patterns, good.projects["a"].patterns);
    assert_eq!(good.projects["a"].pattern_file, Some(RepoPath::from("x/p")));
    assert_eq!(
        raw.place(Some(&name("a")), "rebuildPatterns", Some(1))
            .to_string(),
        "x/p:2:1"
    );

    // F2: a blank line would match everything. Both projects share the file: one report each.
    let bad = of(Some("^x/\n\né(\n#c\na\\|b\n   \n"));
    assert_eq!(
        shown(&bad.problems),
        "blank-pattern@2:1 bad-pattern@3:2 comment-in-pattern-file?@4:1 \
         grep-style-alternation?@5:2 blank-pattern@6:1"
    );
    assert_eq!(bad.problems[0].location.as_ref().unwrap().file, "x/p");
    assert_eq!(shown(&of(Some("")).problems), "empty-patterns?@1:65");
    assert_eq!(
        shown(&of(None).problems),
        "missing-pattern-file@1:65 missing-pattern-file@2:43"
    );
    let bytes = BTreeMap::from([(RepoPath::from("x/p"), Some(b"a\n\xff".to_vec()))]);
    assert_eq!(shown(&raw.check(&bytes).problems), "syntax@2:1");
}

/// F2: what Aztec's `grep -f` silently never matched does match here once it is written right.
#[test]
fn alternation_means_alternation() {
    let read = json("{\"a\": {\"buildDir\": \".\", \"rebuildPatterns\": [\"^foo/(a|b)/\"]}}");
    let manifest = manifest(read);
    let pattern = &manifest.projects["a"].patterns.as_ref().unwrap()[0];
    assert!(pattern.is_match(b"foo/b/x") && !pattern.is_match(b"foo/c/x"));
}

#[test]
fn reads_the_full_shape() {
    let text = "{\"version\": 1, \"registry\": {\"url\": \"r.example/acme\", \"kind\": \"ecr\"},
      \"upstream\": \"https://u.example/acme\", \"imageAliases\": [\"acme\"],
      \"rebuildAll\": [\"^toolchain\\\\.lock$\"], \"expect\": {\"absent\": [\"old\"]},
      \"projects\": {
        \"old\": {\"projectDir\": \"old\"},
        \"api\": {\"buildDir\": \".\", \"projectDir\": \"./services//api/\", \"dockerfile\": \"D\",
          \"ignorePatterns\": [\"\\\\.md$\"], \"dependencies\": [\"old\"], \"target\": \"final\",
          \"runDependencies\": [\"old\"], \"buildArgs\": {\"B\": \"2\", \"A\": \"\"},
          \"secrets\": [\"npm\"], \"platforms\": [\"linux/arm64\", \"linux/amd64\"],
          \"layerCache\": \"stages\", \"epoch\": 3, \"tasks\": {\"t\": {\"run\": \"x\"}},
          \"deploy\": [{}]}}}";
    let manifest = manifest(json(text));
    assert_eq!(manifest.shape, Shape::Full);
    assert_eq!(manifest.registry.as_deref(), Some("r.example/acme"));
    assert_eq!(manifest.registry_api.kind, Some(RegistryKind::Ecr));
    assert_eq!(manifest.upstream_api, RegistryApi::default());
    assert!(!manifest.adopt);
    assert!(manifest.expect_absent.contains("old"));
    let old = &manifest.projects["old"];
    assert_eq!(
        (&old.build_dir, &old.dockerfile[..]),
        (&RepoPath::from("old"), "Dockerfile")
    );
    assert!(old.patterns.is_none() && old.hermetic && old.platforms.len() == 1);
    let api = &manifest.projects["api"];
    assert_eq!(api.project_dir, RepoPath::from("services/api"));
    assert_eq!(api.build_dir, RepoPath::root());
    assert_eq!(api.dependencies, [name("old")]);
    let platforms: Vec<String> = api.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!((api.epoch, api.layer_cache), (3, LayerCache::Stages));
    assert_eq!(api.build_args.len(), 2);
    assert_eq!(api.position, (6, 9));
}

#[test]
fn reads_aztecs_shape_in_yaml() {
    let text = "# comment\nbb.js:\n  buildDir: barretenberg/ts\n  multiarch: buildx\n\
                acir:\n  buildDir: noir/programs\n  dockerfile: ../../b/Dockerfile.x\n  \
                rebuildPatterns:\n    - ^noir/.*\\.(nr|toml)$\n  dependencies:\n    - bb.js\n";
    let manifest = manifest(check("build_manifest.yml", text, &[]));
    assert_eq!(manifest.shape, Shape::Aztec);
    assert!(manifest.adopt && manifest.registry.is_none());
    let js = &manifest.projects["bb.js"];
    assert!(!js.hermetic && js.platforms.len() == 2);
    let acir = &manifest.projects["acir"];
    assert_eq!(acir.dependencies, [name("bb.js")]);
    assert!(acir.patterns.as_ref().unwrap()[0].is_match(b"noir/a.nr"));
}

/// A project may be called like a field of the full shape.
#[test]
fn tells_the_shapes_apart() {
    for text in [
        "{\"version\": {\"buildDir\": \".\"}}",
        "{\"projects\": {\"buildDir\": \".\"}}",
        "{\"registry\": {\"buildDir\": \".\"}}",
        "{}",
    ] {
        assert_eq!(manifest(json(text)).shape, Shape::Aztec, "{text}");
    }
}

/// F8: what Aztec's own manifest had, as far as the file itself shows it.
#[test]
fn finds_what_is_dead_in_a_real_manifest() {
    let checked = json(
        "{\n\"fork\": {\"buildDir\": \"fork\", \"rebuildPatterns\": [\"^fork/\"],\n\
         \"dependencies\": [\"\"]},\n\"dup\": {\"buildDir\": \"d\"},\n\"dup\": {\"buildDir\": \"d\"},\n\
         \"e2e\": {\"buildDir\": \"e\", \"dependencies\": [\"gone\"], \"rebuildPatterns\": []}\n}",
    );
    assert_eq!(
        shown(&checked.problems),
        "empty-dependency?@3:18 duplicate-key@5:1 unknown-dependency@6:43 empty-patterns?@6:71"
    );
}

#[test]
fn places_can_be_asked_for_later() {
    let text = "{\"version\": 1, \"rebuildAll\": [\"a\",\n\"b\"], \"projects\": {\n \"p\": {\"buildDir\": \"x\"}}}";
    let raw = read(&RepoPath::from("m.json"), text.as_bytes()).unwrap();
    let place = |project: Option<&str>, field, index| {
        let project = project.map(name);
        raw.place(project.as_ref(), field, index).to_string()
    };
    assert_eq!(place(None, "rebuildAll", Some(1)), "m.json:2:1");
    assert_eq!(place(Some("p"), "buildDir", None), "m.json:3:20");
    assert_eq!(place(Some("p"), "dockerfile", None), "m.json:3:2");
    assert_eq!(place(None, "registry", None), "m.json");
    assert_eq!(place(Some("q"), "buildDir", None), "m.json");
}

/// One line of 2,000 projects: what takes a look at all of the line for each of them takes minutes.
#[test]
fn a_large_manifest_takes_no_time() {
    let projects: Vec<String> = (0..2000)
        .map(|index: usize| {
            let below: Vec<String> = (index.saturating_sub(5)..index)
                .map(|below| format!("\"p{below}\""))
                .collect();
            format!(
                "\"p{index}\": {{\"buildDir\": \"s/p{index}\", \"ignorePatterns\": [\"\\\\.md$\"], \
                 \"rebuildPatterns\": [\"^s/p{index}/\", \"^l/(a|b){index}/\"], \
                 \"dependencies\": [{}]}}",
                below.join(", ")
            )
        })
        .collect();
    let text = format!("{{{}}}", projects.join(", "));
    let start = std::time::Instant::now();
    for file in ["m.json", "m.yml"] {
        assert_eq!(manifest(check(file, &text, &[])).projects.len(), 2000);
        let names = text.replace("[\"p", "[\"q");
        assert_eq!(check(file, &names, &[]).problems.len(), 1999);
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
