//! What has passed is not run again for the same content, and nothing else counts.

use serde_json::json;

use super::{Yard, edit};
use crate::repo::Repo;

fn shop() -> Yard {
    let yard = Yard::new(&json!({
        "lib": {"buildDir": "lib", "tasks": {"unit": {"run": "true"}}},
        "api": {
            "buildDir": "api",
            "dependencies": ["lib"],
            "tasks": {"unit": {"run": "./unit.sh"}, "lint": {"run": "true", "inputs": ["^api/.*\\.sh$"]}}
        }
    }));
    yard.repo
        .write_executable("api/unit.sh", "#!/bin/sh\ntrue\n");
    yard.repo.commit("A test");
    yard
}

const ALL_PASSED: &str = "api:unit=passed lib:unit=passed";
const NOTHING_TO_DO: &str = "api:unit=already-passed lib:unit=already-passed";

#[test]
fn what_has_passed_is_not_run_again_wherever_it_comes_back() {
    let yard = shop();
    let (repo, unit) = (&yard.repo, &["unit"][..]);
    assert_eq!(yard.verdicts(unit), ALL_PASSED);
    assert_eq!(yard.verdicts(unit), NOTHING_TO_DO);

    // A branch, tested there, squashed.
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    edit(repo, "lib/file", "2");
    edit(repo, "lib/more", "1");
    assert_eq!(yard.verdicts(unit), ALL_PASSED);
    repo.git(&["checkout", "--quiet", "-"]);
    edit(repo, "elsewhere", "1");
    repo.git(&["merge", "--quiet", "--squash", "side"]);
    repo.commit("All of it");
    assert_eq!(yard.verdicts(unit), NOTHING_TO_DO);

    // A revert, and its revert.
    repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(yard.verdicts(unit), NOTHING_TO_DO);
    repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(yard.verdicts(unit), NOTHING_TO_DO);

    // Another machine, with one commit of history.
    let clone: Repo = repo.clone_with(&["--depth", "1"]);
    assert_eq!(yard.verdicts_in(&clone, unit), NOTHING_TO_DO);

    // Quiet commits.
    for number in 0..20 {
        edit(repo, "elsewhere", &format!("quiet {number}"));
    }
    assert_eq!(yard.verdicts(unit), NOTHING_TO_DO);
}

#[test]
fn what_a_result_rests_on_runs_it_again() {
    let yard = shop();
    let repo = &yard.repo;
    let both = &["unit", "lint"][..];
    let all = "api:lint=passed api:unit=passed lib:unit=passed";
    assert_eq!(yard.verdicts(both), all);
    // A dependency; `lint` looks at its own inputs only.
    edit(repo, "lib/file", "2");
    let expected = "api:lint=already-passed api:unit=passed lib:unit=passed";
    assert_eq!(yard.verdicts(both), expected);
    // The project itself.
    edit(repo, "api/file", "2");
    let expected = "api:lint=already-passed api:unit=passed lib:unit=already-passed";
    assert_eq!(yard.verdicts(both), expected);
    // The script, which `lint` has among its inputs.
    repo.write_executable("api/unit.sh", "#!/bin/sh\ntrue again\n");
    repo.commit("Another test");
    let expected = "api:lint=passed api:unit=passed lib:unit=already-passed";
    assert_eq!(yard.verdicts(both), expected);
    // The definition, by an argument.
    let more = ["lint", "--", "-v"];
    assert_eq!(yard.verdicts(&more), "api:lint=passed");
    assert_eq!(yard.verdicts(&more), "api:lint=already-passed");
    assert_eq!(yard.verdicts(&["lint"]), "api:lint=already-passed");
    // A taint of a dependency.
    let tainted = yard.waybill(&["taint", "lib", "--why", "a test"]);
    assert_eq!(tainted.code, 0, "{}", tainted.err);
    let expected = "api:lint=already-passed api:unit=passed lib:unit=passed";
    assert_eq!(yard.verdicts(both), expected);
}

#[test]
fn a_failure_never_counts() {
    let yard = Yard::new(&json!({
        "api": {"buildDir": "api", "tasks": {"unit": {"run": "grep -q good file"}}},
        "web": {"buildDir": "web", "tasks": {"unit": {"run": "true"}}}
    }));
    let unit = &["unit", "--keep-going"][..];
    assert_eq!(yard.verdicts(unit), "api:unit=failed web:unit=passed");
    // An unrelated commit does not make it green.
    edit(&yard.repo, "elsewhere", "1");
    assert_eq!(
        yard.verdicts(unit),
        "api:unit=failed web:unit=already-passed"
    );
    edit(&yard.repo, "api/file", "good");
    assert_eq!(
        yard.verdicts(unit),
        "api:unit=passed web:unit=already-passed"
    );
    yard.repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(
        yard.verdicts(unit),
        "api:unit=failed web:unit=already-passed"
    );
}

#[test]
fn a_task_runs_on_what_is_committed_only() {
    let yard = shop();
    yard.repo.write("lib/file", "not committed");
    let ran = yard.waybill(&["run", "unit"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let told = "error[task-inputs-differ]: lib: what task 'unit' rests on was not as committed \
                before it was run: lib/file";
    assert!(ran.err.contains(told), "{}", ran.err);
    // Neither is the dependent run on it. What rests on other files is.
    assert!(
        !yard
            .verdicts(&["unit", "lint", "--keep-going"])
            .contains("api:unit=passed")
    );
    assert_eq!(yard.verdicts(&["lint"]), "api:lint=already-passed");

    // In the work tree, remembered on this machine only.
    let local = &["unit", "--worktree"][..];
    assert_eq!(yard.verdicts(local), ALL_PASSED);
    assert_eq!(yard.verdicts(local), NOTHING_TO_DO);
    yard.repo.write("lib/file", "1");
    assert_eq!(yard.verdicts(&["unit"]), ALL_PASSED);
}

#[test]
fn what_a_task_writes_over_its_inputs_is_no_result() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "made": {"run": "echo made > made"},
        "ignored": {"run": "echo made > out"},
        "kept": {"run": "echo made > \"$WAYBILL_ARTIFACTS/out\""}
    }}}));
    edit(&yard.repo, "api/.gitignore", "out\n");
    let ran = yard.waybill(&["run", "made"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err
            .contains("not as committed once it had run: api/made"),
        "{}",
        ran.err
    );
    yard.repo.remove("api/made");
    assert_eq!(
        yard.verdicts(&["made"]),
        "api:made=error",
        "nothing was recorded"
    );
    yard.repo.remove("api/made");
    assert_eq!(
        yard.verdicts(&["ignored", "kept"]),
        "api:ignored=passed api:kept=passed"
    );
}

#[test]
fn an_upstreams_results_count_and_are_never_written() {
    let yard = shop();
    assert_eq!(yard.verdicts(&["unit"]), ALL_PASSED);
    let clone = yard.repo.clone_with(&[]);
    let local = |arguments: &[&str]| {
        let mut command = yard.command_in(&clone);
        command
            .env("WAYBILL_REGISTRY", "embedded")
            .env("WAYBILL_UPSTREAM", &yard.base);
        super::verdicts(&crate::program::run(command.args(arguments)).json())
    };
    assert_eq!(local(&["run", "--json", "unit"]), NOTHING_TO_DO);
    edit(&clone, "lib/file", "2");
    assert_eq!(local(&["run", "--json", "unit"]), ALL_PASSED);
    assert_eq!(local(&["run", "--json", "unit"]), NOTHING_TO_DO);
    assert_eq!(
        yard.verdicts_in(&clone, &["unit"]),
        ALL_PASSED,
        "they stayed there"
    );
}

#[test]
fn a_seal_wants_every_required_task() {
    let yard = Yard::with(&json!({
        "version": 1,
        "expect": {"absent": ["docs"]},
        "projects": {
            "api": {"buildDir": "api", "tasks": {
                "unit": {"run": "grep -q good file"},
                "bench": {"run": "true", "required": false}
            }},
            "docs": {"buildDir": "docs", "tasks": {"spell": {"run": "true"}}}
        }
    }));
    edit(&yard.repo, "api/Dockerfile", "FROM scratch\n");
    let recorded = yard.waybill(&["debug", "record-all", "--images"]);
    assert_eq!(recorded.code, 0, "{}", recorded.err);
    let seal = |code: i32| {
        let ran = yard.waybill(&["seal"]);
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        ran.err
    };
    let told = seal(4);
    assert!(
        told.contains("error[task-missing]: api: its task 'unit' has not passed"),
        "{told}"
    );
    assert!(
        told.contains("error[task-missing]: docs: its task 'spell' has not passed"),
        "{told}"
    );
    assert!(!told.contains("bench"), "{told}");
    assert_eq!(
        yard.verdicts(&["unit", "spell", "--keep-going"]),
        "api:unit=failed docs:spell=passed"
    );
    let told = seal(4);
    let failed = "error[task-not-passed]: api: its task 'unit' did not pass at ";
    assert!(told.contains(failed) && !told.contains("docs"), "{told}");
    let status = yard.waybill(&["status", "--exit-code"]);
    assert_eq!(status.code, 4, "{}", status.out);
    assert!(
        status
            .out
            .contains("failed   api:unit  it failed with exit code 1"),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("1 of 2 required tasks passed"),
        "{}",
        status.out
    );

    edit(&yard.repo, "api/file", "good");
    assert_eq!(yard.waybill(&["debug", "record-all", "--images"]).code, 0);
    assert_eq!(yard.verdicts(&["unit"]), "api:unit=passed");
    let sealed = yard.waybill(&["seal", "--json"]);
    assert_eq!(sealed.code, 0, "{}", sealed.err);
    let sealed = sealed.json();
    let key = yard.run_json(&yard.repo, &["unit"])["tasks"][0]["key"].clone();
    assert_eq!(sealed["projects"][0]["tasks"], json!({"unit": key}));
    assert_eq!(yard.waybill(&["seal"]).code, 0, "again");
    // A task more is a waybill less.
    let text = std::fs::read_to_string(yard.repo.path().join("build_manifest.json")).unwrap();
    let more = text.replace("\"required\":false", "\"required\":true");
    assert_ne!(more, text);
    edit(&yard.repo, "build_manifest.json", &more);
    assert!(seal(4).contains("its task 'bench' has not passed"));
}

#[test]
fn results_and_their_schemas_agree() {
    let yard = shop();
    let valid = |name: &str, document: &serde_json::Value| {
        let schema = waybill::schema::by_name(name).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(document)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?} {document:#}");
    };
    valid(
        "run-plan",
        &yard.waybill(&["run", "unit", "--dry-run", "--json"]).json(),
    );
    valid("run", &yard.run_json(&yard.repo, &["unit"]));
    valid("status", &yard.waybill(&["status", "--json"]).json());
    valid(
        "log",
        &yard.waybill(&["log", "api", "unit", "--json"]).json(),
    );
    valid("error", &yard.waybill(&["run", "nothing", "--json"]).json());
}
