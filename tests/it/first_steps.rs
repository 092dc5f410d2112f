//! What needs no commit: `init`, `schema`, `completions`, and the registry that is served.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::program::{command, run, waybill};
use crate::repo::Repo;
use crate::servers::DockerRegistry;

const PINNED: &str =
    "alpine@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Four Dockerfiles, which use each other's images.
fn four_dockerfiles() -> Repo {
    let repo = Repo::new();
    let from = |base: &str| format!("FROM {base}\nCOPY main /\n");
    repo.write("docker/base/Dockerfile", from(PINNED));
    repo.write("libs/log/log.Dockerfile", from("scratch"));
    repo.write(
        "services/api/Dockerfile",
        "FROM base\nCOPY --from=log-log /main /log\nCOPY main /\n",
    );
    repo.write("services/api/Dockerfile.worker", "FROM api\nCOPY main /\n");
    for directory in ["docker/base", "libs/log", "services/api"] {
        repo.write(format!("{directory}/main"), "");
    }
    repo
}

#[test]
fn init_writes_a_manifest_that_is_clean() {
    let repo = four_dockerfiles();
    let ran = waybill(&repo, &["init"]);
    let guessed = |project: &str, image: &str, file: &str| {
        format!(
            "warning[guessed-dependency]: {project}: image '{image}' is taken for the project \
             '{image}'\n  --> services/api/{file}\n  hint: remove the dependency if it is another \
             image\n"
        )
    };
    let warnings = [
        guessed("api", "base", "Dockerfile"),
        guessed("api", "log-log", "Dockerfile"),
        guessed("api-worker", "api", "Dockerfile.worker"),
    ];
    ran.expect(
        0,
        "api         services/api/Dockerfile, depends on base, log-log
api-worker  services/api/Dockerfile.worker, depends on api
base        docker/base/Dockerfile
log-log     libs/log/log.Dockerfile
Wrote build_manifest.json with 4 projects. Next: look it over and correct it with `waybill check`, \
         commit it, then `waybill build`.
",
        &warnings.concat(),
    );
    let written = std::fs::read_to_string(repo.path().join("build_manifest.json")).unwrap();
    assert_eq!(
        written,
        r#"{
  "version": 1,
  "projects": {
    "api": {
      "buildDir": "services/api",
      "dependencies": ["base", "log-log"]
    },
    "api-worker": {
      "buildDir": "services/api",
      "dockerfile": "Dockerfile.worker",
      "dependencies": ["api"]
    },
    "base": {
      "buildDir": "docker/base"
    },
    "log-log": {
      "buildDir": "libs/log",
      "dockerfile": "log.Dockerfile"
    }
  }
}
"#
    );
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 4 projects\n", "");
}

#[test]
fn init_overwrites_only_when_told_to() {
    let repo = four_dockerfiles();
    repo.write("build_manifest.yml", "mine: {buildDir: a}\n");
    waybill(&repo, &["init"]).expect(
        2,
        "",
        "error[manifest-exists]: there is a manifest: build_manifest.yml\n  hint: --force \
         overwrites it, and --stdout prints a draft beside it\n",
    );
    let printed = waybill(&repo, &["init", "--stdout", "--quiet"]);
    assert_eq!(printed.code, 0);
    let kept = std::fs::read_to_string(repo.path().join("build_manifest.yml")).unwrap();
    assert_eq!(kept, "mine: {buildDir: a}\n");
    let forced = waybill(&repo, &["init", "--force", "--json"]);
    assert_eq!(forced.json()["manifest"], "build_manifest.yml");
    let written = std::fs::read_to_string(repo.path().join("build_manifest.yml")).unwrap();
    assert_eq!(written, printed.out);
    // JSON is YAML.
    waybill(&repo, &["check", "--strict"]).expect(0, "0 errors, 0 warnings in 4 projects\n", "");
}

#[test]
fn init_leaves_a_dockerfile_that_cannot_be_read_without_dependencies() {
    let repo = four_dockerfiles();
    repo.write("services/api/Dockerfile", "FRUM base\n");
    repo.write("services/api/Dockerfile.dockerignore", "");
    repo.write(".gitignore", "build/\n");
    repo.write("build/Dockerfile", "FROM scratch\n");
    let ran = waybill(&repo, &["init", "--json"]);
    assert_eq!(ran.code, 0);
    let document = ran.json();
    let project = |name: &str, directory: &str, file: &str, dependencies: &[&str]| json!({"name": name, "buildDir": directory, "dockerfile": file, "dependencies": dependencies});
    assert_eq!(
        document["projects"],
        json!([
            project("api", "services/api", "Dockerfile", &[]),
            project("api-worker", "services/api", "Dockerfile.worker", &["api"]),
            project("base", "docker/base", "Dockerfile", &[]),
            project("log-log", "libs/log", "log.Dockerfile", &[]),
        ])
    );
    let problem = &document["problems"][0];
    assert_eq!(problem["code"], "dockerfile-syntax");
    assert_eq!(problem["severity"], "warning");
    assert_eq!(problem["file"], "services/api/Dockerfile");
}

#[test]
fn init_finds_nothing_where_nothing_is() {
    let repo = Repo::new();
    let ran = waybill(&repo, &["init", "--json"]);
    ran.stops(2, "no-dockerfile-found");
    assert!(!repo.path().join("build_manifest.json").exists());
}

#[test]
fn completions_for_four_shells() {
    for (shell, sign) in [
        ("bash", "complete -F _waybill"),
        ("zsh", "#compdef waybill"),
        ("fish", "complete -c waybill"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ran = outside(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}: {}", ran.err);
        assert!(ran.out.contains(sign), "{shell}");
        for word in ["history", "--if", "--upstream"] {
            assert!(
                ran.out.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
}

/// Runs `waybill` where there is no repository.
fn outside(arguments: &[&str]) -> crate::program::Ran {
    let repo = Repo::new();
    run(command(&repo).args(arguments).current_dir("/"))
}

#[test]
fn schemas_need_no_repository() {
    let ran = outside(&["schema"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.json(), waybill::manifest::manifest_schema());
    let unknown = outside(&["schema", "nope", "--json"]);
    unknown.stops(2, "unknown-schema");
}

#[test]
fn a_base_is_set_up_once() {
    let registry = DockerRegistry::start();
    let repo = four_dockerfiles();
    waybill(&repo, &["init"]);
    repo.commit("First");
    let base = registry.base("acme");
    let plan = ["plan", "--json", "--registry", &base];
    let before = waybill(&repo, &plan);
    before.stops(3, "marker-missing");
    let init = ["registry", "init", "--json", "--registry", &base];
    let first = waybill(&repo, &init);
    assert_eq!(first.code, 0, "{}", first.out);
    let document = first.json();
    assert_eq!(document["schema"], "waybill.registry-init/1");
    assert_eq!(document["base"], base.as_str());
    assert_eq!(document["upstream"], false);
    // What stands stays, also for somebody who would have made it otherwise.
    let again = waybill(
        &repo,
        &[&init[..], &["--upstream", "127.0.0.1:1/other"]].concat(),
    );
    assert_eq!(again.json(), document);
    assert_eq!(waybill(&repo, &plan).code, 0);
}

/// A server that is ended when the test ends.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_embedded_registry_is_served_to_others() {
    let repo = four_dockerfiles();
    waybill(&repo, &["init"]);
    repo.commit("First");
    let mut serve = command(&repo);
    serve.args(["registry", "serve", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving(serve.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut output = BufReader::new(serving.0.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let [
        "serving",
        "on",
        address,
        "use",
        "--registry",
        base,
        "Ctrl-C",
        "ends",
        "it",
    ] = words[..]
    else {
        panic!("{line}")
    };
    let base = base.trim_end_matches(';');
    assert_eq!(format!("{}/waybill", address.trim_end_matches(':')), base);
    // Another clone plans with it, and sees what the first one's runs write.
    let clone = repo.clone_with(&[]);
    let ran = waybill(&clone, &["plan", "--registry", base, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(ran.json()["registry"], base);
    // A second one cannot have the same address.
    let taken = [
        "registry",
        "serve",
        "--json",
        "--listen",
        address.trim_end_matches(':'),
    ];
    let taken = waybill(&clone, &taken);
    assert_eq!(taken.code, 3, "{}", taken.out);
    // SIGTERM ends it in good order.
    let pid = serving.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
}
