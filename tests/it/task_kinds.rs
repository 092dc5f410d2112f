//! Tasks that run in containers: the real program, and the container engine of this machine.
//!
//! Everything that a test makes in the engine carries the test's own mark, and is gone after it.

mod composed;
mod contained;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Ran, command, run};
use crate::repo::Repo;
use crate::servers::DockerRegistry;

/// Containers are gone this soon after their task's end.
const SOON: Duration = Duration::from_secs(2);

/// A machine that does much else at once may take this much longer.
const SLACK: Duration = Duration::from_secs(2);

/// How long a task may take to get its containers to run.
const START: Duration = Duration::from_secs(60);

/// A project whose image no other test builds, in a base of its own.
struct Harbor {
    repo: Repo,
    registry: DockerRegistry,
    base: String,
    /// The project's name.
    app: String,
}

impl Harbor {
    /// With these tasks.
    fn new(tasks: &Value) -> Self {
        Self::with("", tasks, |_| Vec::new())
    }

    /// With more in the Dockerfile, and files of the project, by name and content, for its name.
    /// Those that begin with `#!` can be executed.
    fn with(
        dockerfile: &str,
        tasks: &Value,
        files: impl FnOnce(&str) -> Vec<(String, String)>,
    ) -> Self {
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).unwrap();
        let app = format!("app-{}", hex::encode(mark));
        let repo = Repo::new();
        repo.write_executable("app/busybox", fs::read("/bin/busybox").unwrap());
        repo.write("app/mark", &app);
        repo.write(
            "app/Dockerfile",
            format!(
                "FROM scratch\nCOPY busybox /bin/busybox\nCOPY mark /mark\n\
                 RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n{dockerfile}"
            ),
        );
        for (name, content) in files(&app) {
            let path = format!("app/{name}");
            if content.starts_with("#!") {
                repo.write_executable(path, content);
            } else {
                repo.write(path, content);
            }
        }
        let project = json!({"buildDir": "app", "tasks": tasks});
        let manifest = json!({"version": 1, "projects": {&app: project}});
        repo.write("build_manifest.json", manifest.to_string());
        repo.commit("The harbor");
        let registry = DockerRegistry::start();
        let harbor = Self {
            repo,
            base: registry.base("tasks"),
            registry,
            app,
        };
        let made = run(harbor.waybill().args(["registry", "init"]));
        assert_eq!(made.code, 0, "{}", made.err);
        let built = run(harbor.waybill().arg("build"));
        assert_eq!(built.code, 0, "{}", built.err);
        harbor
    }

    fn waybill(&self) -> Command {
        let mut command = command(&self.repo);
        command
            .env("WAYBILL_REGISTRY", &self.base)
            .env("WAYBILL_PROGRESS", "plain");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.waybill().arg("run").args(arguments))
    }

    /// The document of a task that was run, and the exit code.
    fn run_json(&self, task: &str) -> (Value, i32) {
        let ran = run(self.waybill().args(["run", "--json", task]));
        let document = ran.json();
        (document["tasks"][0].clone(), ran.code)
    }

    /// Starts tasks, in the background.
    fn start(&self, task: &str) -> Child {
        let mut command = self.waybill();
        command.args(["run", task]).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    }

    /// What `waybill log` shows of the task that passed.
    fn log(&self, task: &str) -> String {
        let log = run(self.waybill().args(["log", &self.app, task, "--times"]));
        assert_eq!(log.code, 0, "{}", log.err);
        log.out
    }

    /// The containers of the project's tasks that there are.
    fn containers(&self) -> Vec<String> {
        self.labelled(&["ps", "-a"])
    }

    /// What has the label of a task of this project, or the mark as a label.
    fn labelled(&self, list: &[&str]) -> Vec<String> {
        let rows = [list, &["--format", "{{.ID}} {{.Labels}}"]].concat();
        let mut rows = listed(&rows);
        rows.retain(|row| row.contains(&self.app));
        rows
    }

    #[track_caller]
    fn wait_for_containers(&self, number: usize) {
        let begun = Instant::now();
        while self.labelled(&["ps"]).len() < number {
            assert!(begun.elapsed() < START, "no container ran");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn are_gone_soon(&self) {
        let begun = Instant::now();
        while !self.containers().is_empty() && begun.elapsed() < SOON + SLACK {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.containers(), Vec::<String>::new());
    }
}

impl Drop for Harbor {
    fn drop(&mut self) {
        for row in self.labelled(&["ps", "-a"]) {
            let id = row.split(' ').next().unwrap_or_default();
            docker(&["rm", "--force", "--volumes", id]);
        }
        let name = format!("{}/tasks/{}", self.registry.address, self.app);
        let format = "{{.Repository}}@{{.Digest}}";
        for image in listed(&["image", "ls", "--digests", "--format", format, &name]) {
            docker(&["image", "rm", "--force", &image]);
        }
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn listed(arguments: &[&str]) -> Vec<String> {
    docker(arguments).lines().map(str::to_owned).collect()
}
