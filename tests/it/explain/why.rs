//! `waybill why`.

use super::{another_machine, build, document, fails, monorepo, named, prints, waybill};

#[test]
fn a_change_is_told_with_its_author_and_its_way() {
    let repo = monorepo();
    let first = repo.commit("First");
    assert_eq!(
        build(&repo),
        "api built\nbase built\nlog built\nweb built\n"
    );
    repo.write("log/log.txt", "2\n");
    repo.write("README", "nobody's\n");
    repo.git(&["add", "--all"]);
    repo.git(&[
        "-c",
        "user.name=Grace",
        "commit",
        "-qm",
        "Say \u{1b}[31mmore",
    ]);
    let second = repo.head();
    let commits = [("C1", first.as_str()), ("C2", second.as_str())];
    let told = named(&prints(&repo, &["why", "api"]), &commits);
    assert_eq!(
        told,
        "\
api is built at C2 (2023-11-14T22:15:20Z) Say [31mmore
  because     its inputs changed since it was last built
  built at    C1 (2023-11-14T22:14:20Z) First
  changed     log/log.txt
              matches ^log/ of log
              reaches it through api → log
              last by Grace in C2 (2023-11-14T22:15:20Z) Say [31mmore
  key         #
"
    );
    let why = document(&repo, &["why", "api"]);
    assert_eq!(why["lastChanges"][0]["author"], "Grace");
    assert_eq!(
        why["reason"]["files"][0]["via"],
        serde_json::json!(["api", "log"])
    );
}

#[test]
fn a_reuse_is_proved_and_the_build_of_then_explained() {
    let repo = monorepo();
    let first = repo.commit("First");
    build(&repo);
    repo.write("log/log.txt", "2\n");
    let second = repo.commit("Say more");
    build(&repo);
    repo.write("README", "nobody's\n");
    let third = repo.commit("Explain");
    let commits = [
        ("C1", first.as_str()),
        ("C2", second.as_str()),
        ("C3", third.as_str()),
    ];
    let proof = prints(&repo, &["why", "api"]);
    let expected = "\
api is reused at C3 (2023-11-14T22:16:20Z) Explain
  because     recorded at C2
  record      embedded/waybill-ledger:v1-built-#
              written 2023-11-15T00:59:59Z
  built at    C2 (2023-11-14T22:15:20Z) Say more
              an ancestor of this commit
  compared    the key of its inputs at this commit: the same
              taints of this key: none
              base went in as sha256:#
              base is current as the same
              log went in as sha256:#
              log is current as the same
  image       waybill/api:C2
              sha256:#
  key         #

It was built then
  because     its inputs changed since it was last built
  built at    C1 (2023-11-14T22:14:20Z) First
  changed     log/log.txt
              matches ^log/ of log
              reaches it through api → log
              last by Ada in C2 (2023-11-14T22:15:20Z) Say more
  external    debian:12 sha256:#
  took        build 20 ms, push 10 ms
  builder     waybill debug record-all
";
    assert_eq!(named(&proof, &commits), expected);
    let why = document(&repo, &["why", "api"]);
    assert_eq!(why["proof"]["isAncestor"], true);
    assert_eq!(
        why["proof"]["uses"][0]["current"],
        why["proof"]["uses"][0]["recorded"]
    );

    let clone = another_machine(&repo, &[]);
    assert_eq!(prints(&clone, &["why", "api"]), proof);
    let of_then = prints(&clone, &["why", "api", "--commit", &first]);
    assert!(of_then.contains("this commit"), "{of_then}");
    assert!(of_then.contains("never built"), "{of_then}");

    let shallow = another_machine(&repo, &["--depth=1"]);
    let told = named(&prints(&shallow, &["why", "api"]), &commits);
    let expected = expected
        .replace(
            " (2023-11-14T22:15:20Z) Say more\n              an",
            "\n              an",
        )
        .replace(
            "an ancestor of this commit",
            "whether it is an ancestor, this clone cannot tell",
        )
        .replace("C1 (2023-11-14T22:14:20Z) First", "C1")
        .replace(
            "              last by Ada in C2 (2023-11-14T22:15:20Z) Say more\n",
            "",
        );
    assert_eq!(told, expected);
}

#[test]
fn a_taint_of_a_dependency_is_told_with_who_and_why() {
    let repo = monorepo();
    let first = repo.commit("First");
    build(&repo);
    let commits = [("C1", first.as_str())];
    let told = prints(&repo, &["taint", "base", "--why", "a bad \u{7}mirror"]);
    assert_eq!(
        named(&told, &commits),
        "\
base is tainted in embedded: key #
  the image built at C1 is not used again
  built again with it: api, log, web
"
    );
    assert_eq!(
        named(&prints(&repo, &["why", "api"]), &commits),
        "\
api is built at C1 (2023-11-14T22:14:20Z) First
  because     its inputs changed since it was last built
  built at    C1 (2023-11-14T22:14:20Z) First
  fields      base.taint
  tainted     base #
              tainted at C1 by Ada <ada@example.com>: a bad mirror
              written 2023-11-15T00:59:59Z in embedded
  key         #
"
    );
    let why = document(&repo, &["why", "base"]);
    assert_eq!(why["action"], "build");
    assert_eq!(why["reason"]["why"], "a bad \u{7}mirror");
    assert_eq!(why["taints"][0]["key"], why["tainted"][0]);
    build(&repo);
    let why = document(&repo, &["why", "base"]);
    assert_eq!(why["action"], "reuse");
    assert_eq!(why["proof"]["record"]["reason"]["kind"], "tainted");
}

#[test]
fn a_forced_build_is_told_before_and_after() {
    let repo = monorepo();
    repo.commit("First");
    build(&repo);
    let second = repo.commit("Again\n\n[ci rebuild log]");
    let commits = [("C2", second.as_str())];
    let before = named(&prints(&repo, &["why", "log"]), &commits);
    assert_eq!(
        before,
        "\
log is built at C2 (2023-11-14T22:15:20Z) Again
  because     forced at C2: [ci rebuild] in the commit's message
              at C2 (2023-11-14T22:15:20Z) Again
  tainted     log #
              forced at C2: [ci rebuild] in the commit's message
              by Ada <ada@example.com>
              a build writes this taint first
  key         #
"
    );
    assert_eq!(
        build(&repo),
        "api built\nbase reused\nlog built\nweb built\n"
    );
    let after = document(&repo, &["why", "log"]);
    assert_eq!(after["action"], "reuse");
    assert_eq!(after["taints"][0]["base"], "embedded");
    assert_eq!(after["proof"]["record"]["reason"]["kind"], "forced");
}

#[test]
fn what_has_nothing_to_build_says_so() {
    let repo = monorepo();
    repo.remove("web/Dockerfile");
    repo.write("web/page", "");
    let first = repo.commit("First");
    let told = named(&prints(&repo, &["why", "web"]), &[("C1", &first)]);
    assert_eq!(
        told,
        "\
web has nothing to build at C1 (2023-11-14T22:14:20Z) First
  because     no Dockerfile at this commit
  key         #
"
    );
    document(&repo, &["why", "web"]);
}

#[test]
fn a_name_that_is_no_project_is_told() {
    let repo = monorepo();
    let first = repo.commit("First");
    for command in ["why", "history", "log", "image"] {
        let (code, told) = fails(&repo, &[command, "bass"]);
        let expected = "\
error[unknown-project]: there is no project 'bass' in the manifest at commit C1
  hint: did you mean 'base'?
";
        assert_eq!(
            (code, named(&told, &[("C1", &first)]).as_str()),
            (2, expected),
            "{command}"
        );
    }
    let tainted = waybill(&repo, &["taint", "base", "bass", "--why", "x"]);
    assert_eq!((tainted.code, tainted.out.as_str()), (2, ""));
    // Nothing was written for the one that is known either.
    let why = document(&repo, &["why", "base"]);
    assert_eq!(why["taints"], serde_json::json!([]));
}

/// What is sent beside the inputs sets the key of a work tree apart, and is all that does.
#[test]
fn a_build_for_the_work_trees_context_alone_says_so() {
    let repo = monorepo();
    repo.write(
        "build_manifest.json",
        r#"{"version": 1, "projects": {
          "api": {"buildDir": ".", "projectDir": "api", "hermetic": false},
          "base": {"buildDir": "base"}}}"#,
    );
    repo.write("api/Dockerfile", "FROM scratch\nCOPY . /\n");
    let first = repo.commit("First");
    build(&repo);
    repo.write("beside.txt", "not of the project's own files");
    let dry = ["build", "api", "base", "--worktree", "--dry-run", "--json"];
    let planned = prints(&repo, &dry);
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    let (api, base) = (&planned["projects"][0], &planned["projects"][1]);
    assert_eq!(base["action"], "reuse");
    assert_eq!(api["reason"]["kind"], "inputs-changed");
    assert_eq!(api["reason"]["ancestor"], first.as_str());
    assert_eq!(api["reason"]["files"], serde_json::json!([]));
    assert_eq!(api["reason"]["fields"], serde_json::json!(["worktree"]));
    assert_eq!(api["reason"]["refused"], serde_json::Value::Null);
}
