//! `waybill plan --if`: what a change would build, without a registry.

use serde_json::{Value, json};

use crate::program::{Ran, command, run};
use crate::repo::Repo;

/// `api` uses `base` and `log`; `web` stands alone; nobody can reach the registry.
fn repository() -> Repo {
    let repo = Repo::new();
    repo.write(
        "build_manifest.json",
        r#"{
  "version": 1,
  "registry": "127.0.0.1:1/acme",
  "rebuildAll": ["^toolchain\\.lock$"],
  "projects": {
    "base": {"buildDir": "base"},
    "log": {"buildDir": "libs/log", "ignorePatterns": ["\\.md$"], "dependencies": ["base"]},
    "api": {"buildDir": ".", "projectDir": "api", "dockerfile": "docker/api.Dockerfile",
      "dependencies": ["log"]},
    "web": {"buildDir": "web", "rebuildPatterns": ".patterns"},
    "gone": {"buildDir": "gone", "dependencies": ["base"]}
  }
}
"#,
    );
    for path in [
        "base/Dockerfile",
        "libs/log/Dockerfile",
        "docker/api.Dockerfile",
        "web/Dockerfile",
    ] {
        repo.write(path, "FROM scratch\nCOPY . /\n");
    }
    repo.write("libs/log/log.go", "");
    repo.write("api/main.go", "");
    repo.write("web/.patterns", "^web/src/\n");
    repo.write("web/src/index.js", "");
    repo.commit("First");
    repo
}

fn plan_if(repo: &Repo, directory: &str, paths: &[&str]) -> Ran {
    let mut plan = command(repo);
    plan.current_dir(repo.path().join(directory)).env("CI", "1");
    run(plan.args(["plan", "--if"]).args(paths))
}

#[test]
fn a_line_for_each_project() {
    let repo = repository();
    plan_if(&repo, "", &["libs/log/log.go"]).expect(
        0,
        "build  api  libs/log/log.go matches ^libs/log/ (via log)\n\
         build  log  libs/log/log.go matches ^libs/log/\n\
         2 would be built, 3 not\n",
        "",
    );
    // A file that is not there yet; one that an ignore pattern leaves out; a directory.
    plan_if(&repo, "", &["libs/log/new.go"]).expect(
        0,
        "build  api  libs/log/new.go matches ^libs/log/ (via log)\n\
         build  log  libs/log/new.go matches ^libs/log/\n\
         2 would be built, 3 not\n",
        "",
    );
    plan_if(&repo, "", &["libs/log/README.md"]).expect(0, "0 would be built, 5 not\n", "");
    plan_if(&repo, "", &["base", "web/src/"]).expect(
        0,
        "build  api   base/Dockerfile matches ^base/ (via log → base)\n\
         build  base  base/Dockerfile matches ^base/\n\
         build  log   base/Dockerfile matches ^base/ (via base)\n\
         build  web   web/src/index.js matches ^web/src/\n\
         4 would be built, 1 not\n",
        "",
    );
    // From below, by the root where nothing is here, and absolute.
    plan_if(&repo, "api", &["main.go"]).expect(
        0,
        "build  api  api/main.go matches ^api/\n\
         1 would be built, 4 not\n",
        "",
    );
    plan_if(&repo, "api", &["../web/src/x"]).expect(
        0,
        "build  web  web/src/x matches ^web/src/\n\
         1 would be built, 4 not\n",
        "",
    );
    plan_if(&repo, "api", &["web/src/index.js"]).expect(
        0,
        "build  web  web/src/index.js matches ^web/src/\n\
         1 would be built, 4 not\n",
        "",
    );
    let absolute = repo.path().join("toolchain.lock");
    plan_if(&repo, "api", &[absolute.to_str().unwrap()]).expect(
        0,
        "build  api   toolchain.lock matches ^toolchain\\.lock$\n\
         build  base  toolchain.lock matches ^toolchain\\.lock$\n\
         build  log   toolchain.lock matches ^toolchain\\.lock$\n\
         build  web   toolchain.lock matches ^toolchain\\.lock$\n\
         4 would be built, 1 not\n",
        "",
    );
}

#[test]
fn dockerfiles_and_ignore_files_count() {
    let repo = repository();
    plan_if(&repo, "", &["docker/api.Dockerfile"]).expect(
        0,
        "build  api  docker/api.Dockerfile is the Dockerfile\n\
         1 would be built, 4 not\n",
        "",
    );
    plan_if(&repo, "", &[".dockerignore"]).expect(
        0,
        "build  api  .dockerignore is the ignore file\n\
         1 would be built, 4 not\n",
        "",
    );
    // A project without a Dockerfile is built once it has one.
    plan_if(&repo, "", &["gone/main"]).expect(0, "0 would be built, 5 not\n", "");
    plan_if(&repo, "", &["gone/Dockerfile"]).expect(
        0,
        "build  gone  gone/Dockerfile matches ^gone/\n\
         1 would be built, 4 not\n",
        "",
    );
}

#[test]
fn what_cannot_be_told_is_said() {
    let repo = repository();
    plan_if(&repo, "", &["build_manifest.json", "web/.patterns"]).expect(
        0,
        "0 would be built, 5 not\n",
        "warning[manifest-changes]: a change of build_manifest.json builds the projects whose \
         entries it changes: which ones depends on what is written\n\
         warning[patterns-change]: web: a change of web/.patterns changes which files count\n",
    );
}

#[test]
fn as_json_with_an_exit_code() {
    let repo = repository();
    let ran = plan_if(&repo, "", &["libs/log/log.go", "--exit-code", "--json"]);
    assert_eq!(ran.code, 10);
    let file = |via: Value| json!({"path": "libs/log/log.go", "pattern": "^libs/log/", "field": null, "via": via});
    assert_eq!(
        ran.json(),
        json!({
            "schema": "waybill.plan-if/1",
            "commit": repo.head(),
            "projects": [
                {"name": "api", "action": "build", "files": [file(json!(["api", "log"]))], "filesTotal": 1},
                {"name": "log", "action": "build", "files": [file(json!(["log"]))], "filesTotal": 1},
            ],
            "warnings": [],
        })
    );
    let none = plan_if(&repo, "", &["README", "--exit-code"]);
    none.expect(0, "0 would be built, 5 not\n", "");
    let mut named = command(&repo);
    named.args(["plan", "log", "web", "--if", "libs/log/log.go"]);
    run(&mut named).expect(
        0,
        "build  log  libs/log/log.go matches ^libs/log/\n\
         1 would be built, 1 not\n",
        "",
    );
}
