//! Tasks: the real program, git, a registry, and processes of the host.

mod order;
mod remembered;
mod stopped;

use serde_json::{Value, json};

use crate::program::{Ran, command, run};
use crate::repo::Repo;
use crate::servers::DockerRegistry;

/// A repository with tasks, and a base that holds their results.
struct Yard {
    repo: Repo,
    _registry: DockerRegistry,
    base: String,
}

impl Yard {
    /// With these projects.
    fn new(projects: &Value) -> Self {
        Self::with(&json!({"version": 1, "projects": projects}))
    }

    /// With this manifest. Every project has a directory of its name, with a file in it.
    fn with(manifest: &Value) -> Self {
        let repo = Repo::new();
        for name in manifest["projects"].as_object().unwrap().keys() {
            repo.write(format!("{name}/file"), "1");
        }
        repo.write("build_manifest.json", manifest.to_string());
        repo.commit("The yard");
        let registry = DockerRegistry::start();
        let base = registry.base("tasks");
        let yard = Self {
            repo,
            _registry: registry,
            base,
        };
        let made = yard.waybill(&["registry", "init"]);
        assert_eq!(made.code, 0, "{}", made.err);
        yard
    }

    fn waybill(&self, arguments: &[&str]) -> Ran {
        self.waybill_in(&self.repo, arguments)
    }

    /// In another clone, with the same base.
    fn waybill_in(&self, repo: &Repo, arguments: &[&str]) -> Ran {
        run(self.command_in(repo).args(arguments))
    }

    fn command_in(&self, repo: &Repo) -> std::process::Command {
        let mut command = command(repo);
        command
            .env("WAYBILL_REGISTRY", &self.base)
            .env("WAYBILL_PROGRESS", "plain");
        command
    }

    /// Runs tasks, and gives each task's verdict: `api:unit=passed …`.
    fn verdicts(&self, arguments: &[&str]) -> String {
        verdicts(&self.run_json(&self.repo, arguments))
    }

    fn verdicts_in(&self, repo: &Repo, arguments: &[&str]) -> String {
        verdicts(&self.run_json(repo, arguments))
    }

    fn run_json(&self, repo: &Repo, arguments: &[&str]) -> Value {
        let ran = run(self
            .command_in(repo)
            .args(["run", "--json"])
            .args(arguments));
        ran.json()
    }
}

fn verdicts(document: &Value) -> String {
    let tasks = document["tasks"].as_array();
    let tasks = tasks.unwrap_or_else(|| panic!("{document:#}"));
    let shown = tasks.iter().map(|task| {
        let text = |name: &str| task[name].as_str().unwrap().to_owned();
        let (verdict, error) = (text("verdict"), &task["error"]["message"]);
        // What nobody expects says why.
        let why = if verdict == "error" && !error.as_str().unwrap().contains("as committed") {
            format!(" ({error})")
        } else {
            String::new()
        };
        format!("{}:{}={verdict}{why}", text("project"), text("task"))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// An edit of a file, committed.
fn edit(repo: &Repo, path: &str, content: &str) {
    repo.write(path, content);
    repo.commit(&format!("{path}: {content}"));
}
