//! Tasks of compose files.

use serde_json::{Value, json};

use super::{Harbor, SOON, docker};

/// Two services: one makes something that the other, which counts, awaits. All that is made has
/// the mark.
fn file(app: &str, test: &str) -> String {
    let variable = format!("WAYBILL_IMAGE_{}", app.to_uppercase().replace('-', "_"));
    format!(
        "version: '2.4'\n\
         services:\n\
         \x20 {app}:\n\
         \x20   image: ${{{variable}}}\n\
         \x20   command: [sh, -c, '{test}']\n\
         \x20   environment: {{TOKEN: '${{TOKEN-none}}'}}\n\
         \x20   volumes: ['shared:/shared', '/own', '${{WAYBILL_ARTIFACTS}}:/made']\n\
         \x20   labels: {{mark: {app}}}\n\
         \x20 store:\n\
         \x20   image: ${{{variable}}}\n\
         \x20   command: [sh, -c, 'echo from the store > /shared/word; sleep 600']\n\
         \x20   volumes: ['shared:/shared']\n\
         \x20   labels: {{mark: {app}}}\n\
         networks: {{default: {{labels: {{mark: {app}}}}}}}\n\
         volumes: {{shared: {{labels: {{mark: {app}}}}}}}\n"
    )
}

const AWAIT: &str = "until test -s /shared/word; do sleep 0.1; done; cat /shared/word";

impl Harbor {
    /// With a compose file for each task: by name, what the service does, and the task's fields.
    fn composed(tasks: &[(&str, &str, Value)]) -> Self {
        let of_task = |name: &str, more: &Value| {
            let mut task = json!({"kind": "compose", "file": format!("{name}.yml")});
            let more = more.as_object().unwrap().clone();
            task.as_object_mut().unwrap().extend(more);
            task
        };
        let all = tasks
            .iter()
            .map(|(name, _, more)| ((*name).to_owned(), of_task(name, more)));
        let manifest = Value::Object(all.collect());
        Self::with("", &manifest, |app| {
            let files = tasks.iter();
            let files = files.map(|(name, test, _)| (format!("{name}.yml"), file(app, test)));
            files.collect()
        })
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(self.containers(), Vec::<String>::new());
        assert_eq!(self.labelled_networks(), "");
        assert_eq!(self.labelled_volumes(), "");
    }

    fn labelled_networks(&self) -> String {
        docker(&[
            "network",
            "ls",
            "-q",
            "--filter",
            &format!("label=mark={}", self.app),
        ])
    }

    fn labelled_volumes(&self) -> String {
        docker(&[
            "volume",
            "ls",
            "-q",
            "--filter",
            &format!("label=mark={}", self.app),
        ])
    }
}

#[test]
fn services_run_together_and_one_counts() {
    let good = format!("{AWAIT}; echo $TOKEN | wc -c; echo made > /made/file");
    let bad = format!("{AWAIT}; exit 5");
    let harbor = Harbor::composed(&[
        ("e2e", &good, json!({"env": {"TOKEN": "abc"}})),
        ("bad", &bad, json!({})),
    ]);
    let ran = harbor.run(&["e2e"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    harbor.nothing_is_left();
    let log = harbor.log("e2e");
    assert!(log.contains("| from the store"), "{log}");
    assert!(log.contains("| 4"), "{log}");
    let (again, _) = harbor.run_json("e2e");
    assert_eq!(again["verdict"], "already-passed", "{again:#}");
    let ran = harbor.run(&["bad"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("failed with exit code 5"), "{}", ran.err);
    harbor.nothing_is_left();
}

#[test]
fn services_that_take_too_long_or_lose_waybill_are_gone() {
    let test = format!("{AWAIT}; sleep 600");
    let harbor = Harbor::composed(&[
        ("slow", &test, json!({"timeout": "10s"})),
        ("long", &test, json!({})),
    ]);
    let child = harbor.start("slow");
    harbor.wait_for_containers(2);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    harbor.nothing_is_left();
    let mut child = harbor.start("long");
    harbor.wait_for_containers(2);
    child.kill().unwrap();
    child.wait().unwrap();
    harbor.are_gone_soon();
    // What was between them goes right after them.
    std::thread::sleep(SOON);
    harbor.nothing_is_left();
}

#[test]
fn what_is_wrong_with_a_compose_file_is_told() {
    let harbor = Harbor::composed(&[
        ("other", "true", json!({"service": "none"})),
        ("empty", "true", json!({"env": {"PATH": "/no/such"}})),
    ]);
    let (task, code) = harbor.run_json("other");
    assert_eq!((task["verdict"].as_str(), code), (Some("error"), 2));
    let problem = &task["error"];
    assert_eq!(problem["code"], "unknown-service", "{task:#}");
    let hint = problem["hint"].as_str().unwrap();
    assert!(
        hint.contains(&harbor.app) && hint.contains("store"),
        "{hint}"
    );
    let (task, code) = harbor.run_json("empty");
    assert_eq!((task["verdict"].as_str(), code), (Some("error"), 2));
    assert_eq!(task["error"]["code"], "compose-missing", "{task:#}");
    harbor.nothing_is_left();
}
