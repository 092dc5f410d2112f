//! Tasks and sequences: what is shared, what is meant, and what is refused where.

use std::time::Duration;

use super::*;
use crate::model::TaskName;

/// A project `a` with these tasks, beside shared ones.
fn with(tasks: &str, shared: &str) -> String {
    format!(
        "{{\"version\": 1, \"projects\": {{\"a\": {{\"buildDir\": \"x/a\", \"tasks\": \
         {{\n{tasks}\n}}}}, \"b\": {{\"buildDir\": \"b\"}}}},\n\"tasks\": {{{shared}}}}}"
    )
}

fn task(fields: &str) -> Task {
    let manifest = manifest(json(&with(&format!("\"t\": {fields}"), "")));
    manifest.projects["a"].tasks["t"].clone()
}

#[test]
fn what_is_run_is_a_file_or_a_line() {
    let run = |text: &str| match task(&format!("{{\"run\": \"{text}\"}}")).action {
        Action::Script(run) => run,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("./unit.sh"), Run::File("x/a/unit.sh".into()));
    assert_eq!(run("../tools/t"), Run::File("x/tools/t".into()));
    assert_eq!(run("make"), Run::Line("make".into()));
    assert_eq!(run("./a b"), Run::Line("./a b".into()));
    assert_eq!(run("a/b|c"), Run::Line("a/b|c".into()));
    let by_convention = Action::Script(Run::File("x/a/waybill/t".into()));
    assert_eq!(task("{}").action, by_convention);
}

#[test]
fn the_kind_is_that_of_its_fields() {
    let container = |image| Action::Container { image, run: None };
    let own = ContainerImage::Project(name("a"));
    assert_eq!(task("{\"kind\": \"container\"}").action, container(own));
    let other = ContainerImage::Project(name("b"));
    assert_eq!(task("{\"image\": \"b\"}").action, container(other));
    let foreign = ContainerImage::Reference("debian:12".to_owned());
    assert_eq!(
        task("{\"image\": \"debian:12\"}").action,
        container(foreign)
    );
    let compose = |file: &str, service: Option<&str>| Action::Compose {
        file: file.into(),
        service: service.map(str::to_owned),
    };
    assert_eq!(
        task("{\"kind\": \"compose\"}").action,
        compose("x/a/compose.yml", None)
    );
    assert_eq!(
        task("{\"file\": \"../c.yml\", \"service\": \"s\"}").action,
        compose("x/c.yml", Some("s"))
    );
}

#[test]
fn a_projects_own_fields_go_before_shared_ones() {
    let shared = "\"go\": {\"run\": \"go test\", \"timeout\": \"1m\", \"env\": {\"A\": \"1\", \
                  \"B\": \"1\"}, \"retries\": 2, \"needs\": [\"lint\", \"^lint\"]}";
    let tasks = "\"unit\": \"go\", \"more\": {\"use\": \"go\", \"env\": {\"B\": \"2\"}, \
                 \"retries\": 0, \"required\": false}";
    let manifest = manifest(json(&with(tasks, shared)));
    let tasks = &manifest.projects["a"].tasks;
    let (unit, more) = (&tasks["unit"], &tasks["more"]);
    assert_eq!(unit.action, Action::Script(Run::Line("go test".into())));
    assert_eq!(more.action, unit.action);
    assert_eq!((unit.retries, more.retries), (2, 0));
    assert_eq!((unit.required, more.required), (true, false));
    assert_eq!(more.timeout, Some(Duration::from_secs(60)));
    assert_eq!((&*more.env["A"], &*more.env["B"]), ("1", "2"));
    let needs: Vec<String> = more.needs.iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["lint", "^lint"]);
    assert!(manifest.projects["b"].tasks.is_empty());
}

#[test]
fn sequences_are_lists_of_tasks() {
    let text = "{\"version\": 1, \"projects\": {}, \"sequences\": {\"ci\": [\"lint\", \"unit\"]}}";
    let manifest = manifest(json(text));
    let names: Vec<&str> = manifest.sequences["ci"]
        .iter()
        .map(TaskName::as_str)
        .collect();
    assert_eq!(names, ["lint", "unit"]);
}

#[test]
fn every_fault_of_a_task_has_a_code_and_a_place() {
    for (tasks, faults) in [
        ("\"t\": {\"rnu\": \"x\"}", "unknown-field@2:7"),
        ("\"T\": {}", "invalid-task-name@2:1"),
        ("\"t\": []", "wrong-type@2:6"),
        ("\"t\": \"nowhere\"", "unknown-shared-task@2:6"),
        ("\"t\": {\"use\": \"og\"}", "unknown-shared-task@2:14"),
        ("\"t\": {\"run\": \" \"}", "empty-run@2:14"),
        (
            "\"t\": {\"run\": \"../../../x\"}",
            "path-leaves-repository@2:14",
        ),
        (
            "\"t\": {\"file\": \"/../x\"}",
            "path-leaves-repository@2:15",
        ),
        ("\"t\": {\"kind\": \"docker\"}", "invalid-task-kind@2:15"),
        ("\"t\": {\"timeout\": \"fast\"}", "invalid-timeout@2:18"),
        ("\"t\": {\"retries\": 11}", "invalid-retries@2:18"),
        ("\"t\": {\"retries\": -1}", "invalid-retries@2:18"),
        ("\"t\": {\"inputs\": [\"(\"]}", "bad-pattern@2:19"),
        ("\"t\": {\"needs\": [\"^\"]}", "invalid-task-name@2:17"),
        ("\"t\": {\"env\": {\"1\": \"\"}}", "invalid-task-env@2:15"),
        ("\"t\": {\"env\": {\"A\": 1}}", "invalid-task-env@2:20"),
        (
            "\"t\": {\"env\": {\"WAYBILL_X\": \"\"}}",
            "reserved-task-env@2:15",
        ),
        ("\"t\": {\"secrets\": [\"a-b\"]}", "invalid-secret@2:19"),
        (
            "\"t\": {\"artifacts\": [\"../x\"]}",
            "invalid-artifact@2:21",
        ),
        ("\"t\": {\"image\": \"a b\"}", "invalid-task-image@2:16"),
        (
            "\"t\": {\"kind\": \"script\", \"image\": \"b\"}",
            "field-of-other-kind@2:34",
        ),
        (
            "\"t\": {\"kind\": \"compose\", \"run\": \"x\"}",
            "field-of-other-kind@2:33",
        ),
    ] {
        let checked = json(&with(tasks, "\"go\": {\"run\": \"x\"}"));
        assert_eq!(
            shown(&checked.problems),
            faults,
            "{tasks} {:#?}",
            checked.problems
        );
    }
    let checked = json(&with("", "\"go\": {\"use\": \"go\", \"run\": \"\"}"));
    assert_eq!(shown(&checked.problems), "shared-task-of-task@4:25");
    let checked = json(&with("\"t\": {\"use\": \"og\"}", "\"go\": {}"));
    let hint = checked.problems[0].hint.as_deref();
    assert_eq!(hint, Some("did you mean 'go'?"));
}
