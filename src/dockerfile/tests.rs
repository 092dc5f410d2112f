use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::Platform;
use crate::problem::Diagnose;

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(&RepoPath::from("a/Dockerfile"), text.as_bytes()).unwrap()
}

fn fault(text: &str) -> String {
    let error = Dockerfile::parse(&RepoPath::from("a/Dockerfile"), text.as_bytes()).unwrap_err();
    error.to_string()
}

fn references_with(
    text: &str,
    build_args: &[(&str, &str)],
    target: Option<&str>,
) -> Result<Vec<Reference>, DockerfileError> {
    let build_args = build_args.iter();
    let build_args = build_args.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let values = Values {
        build_args: &build_args.collect(),
        platform: &"linux/arm/v7".parse::<Platform>().unwrap(),
        engine_platform: None,
    };
    parse(text).references(&values, target)
}

fn references(text: &str) -> Vec<Reference> {
    references_with(text, &[], None).unwrap()
}

/// The expanded names; those that the target does not need in parentheses.
fn names(references: &[Reference]) -> Vec<String> {
    let name = |reference: &Reference| {
        if reference.needed {
            reference.text.clone()
        } else {
            format!("({})", reference.text)
        }
    };
    references.iter().map(name).collect()
}

fn codes(result: Result<Vec<Reference>, DockerfileError>) -> Vec<&'static str> {
    let problems = result.unwrap_err().problems();
    problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn reads_stages() {
    let file = parse(
        "\u{feff}# syntax=docker/dockerfile:1\n# escape=`\nARG A=1 B\nARG COMMIT_TAG=\n\
         from --platform=$BUILDPLATFORM x:$A as Build\nARG C\nLABEL a=b\nFROM build\nENV D=1 E=2\n",
    );
    assert_eq!(file.syntax().unwrap().text, "docker/dockerfile:1");
    assert_eq!(file.escape(), '`');
    assert_eq!(file.stage_names().collect::<Vec<_>>(), ["build"]);
    let first = &file.stages()[0];
    assert_eq!(first.base.text, "x:$A");
    assert_eq!(first.platform.as_deref(), Some("$BUILDPLATFORM"));
    assert_eq!(
        file.arguments().into_iter().collect::<Vec<_>>(),
        ["A", "B", "C", "COMMIT_TAG"]
    );
    assert!(file.declares_arg("COMMIT_TAG"));
    assert!(!file.declares_arg("D"));
    assert_eq!(file.global_arguments()[0].value.as_deref(), Some("1"));
    assert_eq!(file.global_arguments()[1].value, None);
    let Instruction::Variables(variables) = &file.stages()[1].instructions[0] else {
        panic!("ENV is missing");
    };
    assert_eq!(variables.len(), 2);
}

#[test]
fn names_the_place_of_a_syntax_error() {
    for (text, place) in [
        ("", "a/Dockerfile:1:1: there is no FROM"),
        ("ARG A", "a/Dockerfile:1:1: there is no FROM"),
        (
            "FROM a\n  FRO b",
            "a/Dockerfile:2:3: unknown instruction 'FRO'",
        ),
        (
            "RUN a\nFROM b",
            "a/Dockerfile:1:1: only ARG may stand before the first FROM",
        ),
        ("FROM a b", "a/Dockerfile:1:1: FROM takes"),
        ("FROM a AS 1b", "a/Dockerfile:1:1: '1b' is no valid name"),
        ("FROM", "a/Dockerfile:1:1: FROM takes"),
        (
            "FROM a\nRUN x <<E\n",
            "a/Dockerfile:2:1: here-document 'E' is not ended",
        ),
        ("FROM a\nCOPY a", "a/Dockerfile:2:1: COPY needs a source"),
        (
            "FROM a\nADD [\"a\"]",
            "a/Dockerfile:2:1: ADD needs a source",
        ),
        ("FROM a\nCOPY [1, 2] b", "a/Dockerfile:2:1: a JSON array"),
        ("FROM a\nARG", "a/Dockerfile:2:1: ARG needs a name"),
        (
            "FROM a\nENV a",
            "a/Dockerfile:2:1: ENV needs a name and a value",
        ),
        (
            "FROM a\nENV a=b c",
            "a/Dockerfile:2:1: ENV takes name=value",
        ),
        ("FROM a\nONBUILD FROM b", "a/Dockerfile:2:1: ONBUILD FROM"),
        (
            "FROM a\nONBUILD ONBUILD RUN b",
            "a/Dockerfile:2:1: unknown instruction 'ONBUILD'",
        ),
        ("# escape=x\nFROM a", "a/Dockerfile:1:10: 'x' cannot be"),
        (
            "FROM a\nCOPY --from=b\"c\" d e",
            "a/Dockerfile:2:1: write 'bc' without quotes",
        ),
    ] {
        assert!(fault(text).starts_with(place), "{text:?}: {}", fault(text));
    }
    let bytes = "FROM a\né \u{0}".as_bytes();
    let error = Dockerfile::parse(&RepoPath::from("D"), &[bytes, b"\xff"].concat()).unwrap_err();
    assert_eq!(error.faults()[0].location, Location::at("D", 2, 4));
    assert_eq!(error.problems()[0].code, "dockerfile-syntax");
}

#[test]
fn finds_images_and_not_stages() {
    let found = references(
        "FROM golang:1 AS Build\nCOPY --from=tools:2 /a /b\n\
         FROM build AS test\nRUN --mount=type=cache,target=/c --mount=from=data,target=/d make\n\
         FROM scratch\nCOPY --chown=1:1 --from=BUILD a b\nCOPY --from=0 a b\n\
         COPY --from=Later a b\nRUN --mount=type=bind,from=test,target=/t x\n\
         COPY --from=scratch a b\nRUN --mount=type=cache,target=/x,from=warm y\n\
         FROM other AS later\nFROM 2\n",
    );
    assert_eq!(
        names(&found),
        [
            "(golang:1)",
            "(tools:2)",
            "(data)",
            "(warm)",
            "(other)",
            "2"
        ]
    );
    let places: Vec<_> = found.iter().map(|reference| reference.place).collect();
    assert_eq!(
        places[..4],
        [Place::From, Place::Copy, Place::Mount, Place::Mount]
    );
    assert_eq!(found[1].location, Location::at("a/Dockerfile", 2, 13));
    assert_eq!(found[1].stage, 0);
}

#[test]
fn follows_what_a_target_needs() {
    let text = "FROM a AS one\nFROM b AS two\nCOPY --from=one x y\nFROM c AS three\n\
                RUN --mount=from=one,target=/x y\nFROM two AS Four\nCOPY --from=img x y\n\
                FROM d AS five\nCOPY --from=5 x y\nFROM e\n";
    let needed = |target| names(&references_with(text, &[], target).unwrap()).join(" ");
    assert_eq!(needed(None), "(a) (b) (c) (img) (d) e");
    assert_eq!(needed(Some("four")), "a b (c) img (d) (e)");
    assert_eq!(needed(Some("THREE")), "a (b) c (img) (d) (e)");
    assert_eq!(needed(Some("five")), "(a) (b) (c) (img) d e");
    assert_eq!(
        codes(references_with(text, &[], Some("six"))),
        ["unknown-target"]
    );
}

#[test]
fn stage_names_follow_buildkit() {
    // A later stage of the same name wins, but a FROM sees only what is before it.
    assert_eq!(
        names(&references("FROM alpine AS alpine\nFROM alpine")),
        ["alpine"]
    );
    assert_eq!(
        names(&references("FROM b AS x\nFROM x AS x\nFROM x")),
        ["b"]
    );
    assert_eq!(names(&references("FROM b\nFROM a AS b")), ["(b)", "a"]);
    // FROM compares with upper and lower case.
    assert_eq!(names(&references("FROM a AS b\nFROM B")), ["(a)", "B"]);
    // A mount does not count stages.
    assert_eq!(
        names(&references("FROM a AS b\nRUN --mount=from=0,target=/x y")),
        ["a", "0"]
    );
}

#[test]
fn expands_variables_of_from() {
    let expand = |text: &str, args: &[(&str, &str)]| references_with(text, args, None);
    let name = |text: &str, args: &[(&str, &str)]| names(&expand(text, args).unwrap()).join(" ");
    assert_eq!(name("ARG V=1\nFROM a:$V", &[]), "a:1");
    assert_eq!(name("ARG V=1\nFROM a:${V}-x", &[("V", "2")]), "a:2-x");
    assert_eq!(name("ARG V\nFROM a:${V:-3}", &[]), "a:3");
    assert_eq!(name("ARG V\nFROM a:$V", &[("V", "4")]), "a:4");
    assert_eq!(name("FROM a:${V:-3}", &[("V", "4")]), "a:3");
    assert_eq!(
        name("ARG A=x B=${A}y\nARG C=\"$B z\"\nFROM r/${B}", &[]),
        "r/xy"
    );
    assert_eq!(name("ARG B=base\nFROM a AS base\nFROM $B", &[]), "a");
    assert_eq!(name("FROM a-$TARGETARCH$TARGETVARIANT", &[]), "a-armv7");
    assert_eq!(name("FROM a-${TARGETPLATFORM}", &[]), "a-linux/arm/v7");
    assert_eq!(name("FROM \"a\"", &[]), "a");
    for open in [
        "FROM a:$V",
        "ARG V\nFROM a:$V",
        "ARG V=$W\nFROM a:$V",
        "ARG V=$W\nFROM a:${V:-x}",
        "FROM a-$BUILDARCH",
        "FROM a AS b\nARG V=1\nFROM c:$V",
        "FROM a\nARG V=1\nCOPY --from=c:$V x y",
        "ARG V=1\nFROM a\nRUN --mount=from=c:$V,target=/x y",
    ] {
        assert_eq!(codes(expand(open, &[])), ["open-variable"], "{open}");
    }
    assert_eq!(codes(expand("ARG V=\nFROM $V", &[])), ["invalid-reference"]);
    assert_eq!(
        codes(expand("FROM a\nCOPY --from=1 x y", &[])),
        ["unknown-stage"]
    );
    assert_eq!(
        codes(expand("FROM a\nCOPY --from=-1 x y", &[])),
        ["unknown-stage"]
    );
    assert_eq!(codes(expand("FROM ${a", &[])), ["dockerfile-syntax"]);
    // What the target does not need cannot stop it; a `--from` with a variable always does.
    assert_eq!(name("FROM a:$V AS x\nFROM b", &[]), "b");
    assert_eq!(
        codes(expand(
            "FROM a:$V AS x\nCOPY --from=$W x y\nFROM b\nFROM c:$X",
            &[]
        )),
        ["open-variable", "open-variable"]
    );
    let problem = &expand("FROM a\nFROM b:$V", &[]).unwrap_err().problems()[0];
    assert_eq!(problem.location, Some(Location::at("a/Dockerfile", 2, 6)));
}

#[test]
fn finds_what_comes_from_the_context() {
    let file = parse(
        "FROM a\nCOPY a b/* /x/\nCOPY --from=y c d\nCOPY [\"e f\", \"/x\"]\n\
         ADD http://x/y g.tar git@h:i.git /x/\nCOPY <<EOF h /x/\nj\nEOF\n\
         RUN --mount=target=/k --mount=source=l,target=/k --mount=type=cache,target=/m n\n",
    );
    let instructions = file.stages()[0].instructions.iter();
    let sources = instructions.flat_map(|instruction| match instruction {
        Instruction::Files { sources, .. } => sources.clone(),
        _ => Vec::new(),
    });
    let found: Vec<_> = sources
        .map(|source| {
            let line = file.location_of(&source.path.span).line.unwrap();
            (source.path.text, line)
        })
        .collect();
    let found: Vec<_> = found
        .iter()
        .map(|(path, line)| (path.as_str(), *line))
        .collect();
    assert_eq!(
        found,
        [
            ("a", 2),
            ("b/*", 2),
            ("e f", 4),
            ("g.tar", 5),
            ("h", 6),
            (".", 9),
            ("l", 9)
        ]
    );
}

#[test]
fn replaces_names_and_nothing_else() {
    let text = "\u{feff}# escape=`\r\nARG V=1\r\nFROM --platform=linux/amd64 a:$V AS x\r\n\r\n\
                # FROM a\r\nRUN <<E\r\nFROM a:$V\r\nE\r\nFROM  b`\r\n:2`\r\n # c\r\n AS y\r\n\
                COPY --link --from=\"c:3\" --chown=1 d e\r\n\
                RUN --mount=type=bind,from=f,target='/g h' i\r\nENV é=1";
    let file = parse(text);
    let found = references(text);
    assert_eq!(names(&found), ["(a:1)", "b:2", "c:3", "f"]);
    let digests = found.iter().enumerate();
    let digests: Vec<_> = digests
        .map(|(index, reference)| (reference, format!("R{index}")))
        .collect();
    let expected = text
        .replace("a:$V AS", "R0 AS")
        .replace("b`\r\n:2", "R1")
        .replace("c:3", "R2")
        .replace("from=f", "from=R3");
    assert_eq!(String::from_utf8(file.rewrite(&digests)).unwrap(), expected);
    assert_eq!(file.rewrite(&[]), text.as_bytes());
    let other = parse("FROM a");
    assert_eq!(
        other.rewrite(&digests[3..]),
        b"FROM a",
        "it is of another file"
    );
}

/// Lines that are likely to be valid, and some that are not.
fn line() -> impl Strategy<Value = String> {
    let word = "[a-z]{1,3}(:[0-9])?";
    let continued = prop_oneof![
        Just(" "),
        Just(" \\\n"),
        Just(" \\\r\n  # c\n\n"),
        Just("  "),
    ];
    prop_oneof![
        4 => (continued.clone(), word).prop_map(|(space, image)| format!("FROM{space}{image}")),
        4 => (continued.clone(), word, "[a-z]{1,2}").prop_map(|(space, image, name)| {
            format!("FROM --platform=$X{space}{image}{space}As {name}")
        }),
        2 => (continued.clone(), word).prop_map(|(space, image)| {
            format!("COPY{space}--from={image} a b")
        }),
        2 => (continued, word).prop_map(|(space, image)| {
            format!("RUN --mount=type=bind,from=\"{image}\",target=/x{space}cat <<A\nFROM q\nA")
        }),
        1 => Just("ARG A=b c".to_owned()),
        1 => Just("# FROM x".to_owned()),
        1 => "\\PC{0,12}",
        1 => "(FROM|COPY|RUN|ARG|ENV|ADD) [ -~]{0,16}",
    ]
}

fn file() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(line(), 0..8);
    (lines, prop_oneof![Just("\n"), Just("\r\n")], any::<bool>()).prop_map(
        |(lines, end, starts_well)| {
            let start = if starts_well { "FROM start\n" } else { "" };
            format!("{start}{}", lines.join(end))
        },
    )
}

fn try_references(file: &Dockerfile) -> Option<Vec<Reference>> {
    let values = Values {
        build_args: &BTreeMap::new(),
        platform: &Platform::default(),
        engine_platform: None,
    };
    file.references(&values, None).ok()
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Dockerfile::parse(&RepoPath::root(), &bytes);
        if let Ok(file) = IgnoreFile::parse(&bytes) {
            let _ = file.is_ignored(&bytes);
        }
        let from = [b"FROM a\nRUN ", bytes.as_slice()].concat();
        if let Ok(file) = Dockerfile::parse(&RepoPath::root(), &from) {
            let _ = try_references(&file);
        }
    }

    #[test]
    fn no_replacement_is_the_identity(text in file()) {
        if let Ok(file) = Dockerfile::parse(&RepoPath::root(), text.as_bytes()) {
            prop_assert_eq!(file.rewrite(&[]), text.as_bytes());
        }
    }

    #[test]
    fn what_was_replaced_is_found_again(text in file()) {
        let Ok(file) = Dockerfile::parse(&RepoPath::root(), text.as_bytes()) else {
            return Ok(());
        };
        let Some(found) = try_references(&file) else {
            return Ok(());
        };
        let digest = "0".repeat(64);
        let names = (0..found.len()).map(|index| format!("r.io/p{index}@sha256:{digest}"));
        let replacements: Vec<_> = found.iter().zip(names).collect();
        let rewritten = file.rewrite(&replacements);
        let again = Dockerfile::parse(&RepoPath::root(), &rewritten).unwrap();
        let again = try_references(&again).unwrap();
        let expected: Vec<_> = replacements.iter().map(|(_, name)| name.clone()).collect();
        let got: Vec<_> = again.iter().map(|reference| reference.text.clone()).collect();
        prop_assert_eq!(got, expected);
        let needed = |all: &[Reference]| all.iter().map(|one| one.needed).collect::<Vec<_>>();
        prop_assert_eq!(needed(&again), needed(&found));
    }
}
