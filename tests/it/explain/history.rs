//! `waybill history`.

use super::{build, document, monorepo, named, prints};

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, and the whole output at its end"
)]
fn every_commit_says_what_stands_for_it() {
    let repo = monorepo();
    let first = repo.commit("First");
    build(&repo);
    repo.write("log/log.txt", "2\n");
    let second = repo.commit("Say more");
    prints(&repo, &["debug", "record-all", "--images", "--fail", "log"]);
    repo.write("log/log.txt", "1\n");
    let third = repo.commit("Say less again");
    repo.git(&["checkout", "-qb", "side", &first]);
    repo.write("log/log.txt", "3\n");
    let side = repo.commit("Aside");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["merge", "-q", "--strategy=ours", "-m", "Merge", "side"]);
    let merge = repo.head();
    repo.write("build_manifest.json", "{");
    let broken = repo.commit("Break the manifest, and say so in a subject that is far too long");
    repo.git(&["checkout", "-q", &merge, "--", "build_manifest.json"]);
    let mended = repo.commit("Mend");
    let commits = [
        ("FIRST", first.as_str()),
        ("SECOND", &second),
        ("THIRD", &third),
        ("SIDE", &side),
        ("MERGE", &merge),
        ("BROKEN", &broken),
        ("MENDED", &mended),
    ];
    let history = named(&prints(&repo, &["history", "log"]), &commits);
    let lines: Vec<Vec<&str>> = history
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let expected = [
        vec![
            "MENDED",
            "2023-11-14",
            "#",
            "reused, built at FIRST",
            "Mend",
            "[in-#]",
        ],
        vec![
            "BROKEN",
            "2023-11-14",
            "not readable: build_manifest.json:1:1: unterminated object",
            "Break the manifest, and say so in a subject that …",
        ],
        vec![
            "MERGE",
            "2023-11-14",
            "#",
            "reused, built at FIRST",
            "Merge",
            "[in-#]",
        ],
        vec!["SIDE", "2023-11-14", "#", "not recorded", "Aside"],
        vec![
            "THIRD",
            "2023-11-14",
            "#",
            "reused, built at FIRST",
            "Say less again",
            "[in-#]",
        ],
        vec![
            "SECOND",
            "2023-11-14",
            "#",
            "failed: RUN make did not succeed",
            "Say more",
        ],
        vec![
            "FIRST",
            "2023-11-14",
            "#",
            "built",
            "First",
            "[cache-FIRST in-#]",
        ],
    ];
    assert_eq!(lines, expected);

    let first_parents = prints(&repo, &["history", "log", "--first-parent", "-n", "4"]);
    let first_parents = named(&first_parents, &commits);
    let ids: Vec<&str> = first_parents
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(ids, ["MENDED", "BROKEN", "MERGE", "THIRD"]);

    prints(&repo, &["taint", "log", "--why", "a doubt"]);
    let tainted = document(&repo, &["history", "log"]);
    let stands = |index: usize| tainted["commits"][index]["stands"].as_str().unwrap();
    let all: Vec<&str> = (0..7).map(stands).collect();
    assert_eq!(
        all,
        [
            "tainted",
            "no-manifest",
            "tainted",
            "not-recorded",
            "tainted",
            "failed",
            "tainted"
        ]
    );
    assert_eq!(tainted["commits"][0]["taint"]["reason"]["why"], "a doubt");
    build(&repo);
    let rebuilt = named(&prints(&repo, &["history", "log", "-n", "1"]), &commits);
    assert_eq!(
        rebuilt,
        "MENDED  2023-11-14  #  built (after a taint)  Mend  [cache-MENDED in-# in-#]\n"
    );
}

#[test]
fn a_project_that_came_later_is_missing_before() {
    let repo = monorepo();
    let manifest = std::fs::read_to_string(repo.path().join("build_manifest.json")).unwrap();
    let without = manifest.replace(
        ",\n    \"web\": {\"buildDir\": \"web\", \"dependencies\": [\"log\"]}",
        "",
    );
    assert_ne!(manifest, without);
    repo.write("build_manifest.json", without);
    repo.commit("First");
    repo.write("build_manifest.json", manifest);
    repo.commit("Add web");
    let history = document(&repo, &["history", "web"]);
    assert_eq!(history["commits"][0]["stands"], "not-recorded");
    assert_eq!(history["commits"][1]["stands"], "no-project");
    assert_eq!(history["commits"][1]["key"], serde_json::Value::Null);
}

#[test]
fn a_rebuild_that_is_asked_for_and_was_not_built_yet_is_told() {
    let repo = monorepo();
    repo.commit("First");
    build(&repo);
    let asking = repo.commit("Fresh packages\n\n[ci rebuild base]");
    repo.commit("Go on");
    let stands = |project: &str| -> Vec<String> {
        let history = document(&repo, &["history", project]);
        let commits = history["commits"].as_array().unwrap().iter();
        commits
            .map(|commit| commit["stands"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stands("base"), ["reused", "forced", "built"]);
    assert_eq!(stands("log"), ["reused", "not-recorded", "built"]);
    let line = |number: usize| {
        let text = prints(&repo, &["history", "base"]);
        named(text.lines().nth(number).unwrap(), &[("ASKING", &asking)])
    };
    assert_eq!(
        line(1),
        "ASKING  2023-11-14  #  \
         not built yet, forced: [ci rebuild] in the commit's message  Fresh packages  [in-#]"
    );
    // What history says is what a plan for that commit says.
    let plan = prints(&repo, &["plan", "--json", "--commit", &asking]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let mut projects = plan["projects"].as_array().unwrap().iter();
    let base = projects.find(|project| project["name"] == "base").unwrap();
    assert_eq!(base["reason"]["kind"], "forced");
    let history = document(&repo, &["history", "base"]);
    assert_eq!(history["commits"][1]["key"], base["key"]);
    repo.git(&["checkout", "-q", &asking]);
    build(&repo);
    assert_eq!(stands("base"), ["built", "reused"]);
    assert!(line(0).contains("built (after a taint)"), "{}", line(0));
}
