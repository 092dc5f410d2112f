//! `waybill image`, `waybill log` and `waybill taint`.

use super::{build, document, fails, monorepo, named, prints};

#[test]
fn images_are_named_for_scripts() {
    let repo = monorepo();
    let first = repo.commit("First");
    let commits = [("C1", first.as_str())];
    let (code, told) = fails(&repo, &["image", "api", "web"]);
    let expected = "\
error[not-built]: api: it is not built at C1
  hint: `waybill build api` builds it
error[not-built]: web: it is not built at C1
  hint: `waybill build web` builds it
";
    assert_eq!((code, named(&told, &commits).as_str()), (2, expected));
    build(&repo);
    let named = |arguments: &[&str]| named(&prints(&repo, arguments), &commits);
    assert_eq!(
        named(&["image", "web", "api"]),
        "waybill/web:C1\nwaybill/api:C1\n"
    );
    assert_eq!(named(&["image", "api", "--format", "digest"]), "sha256:#\n");
    assert_eq!(
        named(&["image", "api", "--format", "env"]),
        "API_IMAGE=waybill/api:C1\n"
    );
    let digest = prints(&repo, &["image", "api", "--format", "digest"]);
    let image = document(&repo, &["image", "api"]);
    assert_eq!(image["projects"][0]["digest"], digest.trim_end());
    assert_eq!(image["projects"][0]["builtAt"], first);
}

#[test]
fn logs_are_kept_of_success_and_failure() {
    let repo = monorepo();
    let first = repo.commit("First");
    let commits = [("C1", first.as_str())];
    let missing = |arguments: &[&str]| {
        let (code, told) = fails(&repo, arguments);
        assert_eq!(code, 2);
        named(&told, &commits)
    };
    assert_eq!(
        missing(&["log", "log"]),
        "\
error[no-log]: log: no build is recorded for its key at C1
  hint: `waybill build log` builds it; `waybill history log` shows its builds
"
    );
    assert_eq!(
        missing(&["log", "log", "--failed"]),
        "\
error[no-log]: log: no failed build is recorded for its key at C1
  hint: `waybill history log` shows what stands for each commit
"
    );
    let ended = prints(&repo, &["debug", "record-all", "--images", "--fail", "log"]);
    assert_eq!(ended, "api blocked\nbase built\nlog failed\nweb built\n");
    assert_eq!(
        missing(&["log", "log"]),
        "\
error[no-log]: log: no build is recorded for its key at C1
  hint: its build failed: see `waybill log log --failed`
"
    );
    assert_eq!(
        prints(&repo, &["log", "log", "--failed"]),
        "=== [1/1] RUN make\nmaking log\n=== waybill\nRUN make did not succeed\n"
    );
    assert_eq!(
        prints(&repo, &["log", "base"]),
        "=== [1/1] RUN make\nmaking base\n"
    );
    let log = document(&repo, &["log", "base"]);
    assert_eq!(log["text"], "=== [1/1] RUN make\nmaking base\n");
    assert_eq!(
        (&log["builtAt"], &log["failed"]),
        (&first.into(), &false.into())
    );
}

#[test]
fn a_record_without_a_log_says_so() {
    let repo = monorepo();
    let first = repo.commit("First");
    prints(&repo, &["debug", "record-all"]);
    let (code, told) = fails(&repo, &["log", "base"]);
    let expected = "\
error[no-log]: base: the record of the build at C1 has no log
  hint: adopted images have none; `waybill why base` shows the record
";
    assert_eq!(
        (code, named(&told, &[("C1", &first)]).as_str()),
        (2, expected)
    );
}

#[test]
fn taints_need_a_reason_and_say_what_they_do() {
    let repo = monorepo();
    let first = repo.commit("First");
    let (code, told) = fails(&repo, &["taint", "web", "--why", "  "]);
    assert_eq!(code, 2);
    assert!(told.starts_with("error[no-reason]"), "{told}");
    let told = prints(&repo, &["taint", "web", "--why", "a doubt"]);
    assert_eq!(
        named(&told, &[]),
        "web is tainted in embedded: key #\n  no image was recorded under this key\n"
    );
    build(&repo);
    let tainted = document(&repo, &["taint", "log", "--why", "another"]);
    let row = &tainted["projects"][0];
    assert_eq!(row["builtAt"], first);
    assert_eq!(row["dependents"], serde_json::json!(["api", "web"]));
    assert_eq!(
        build(&repo),
        "api built\nbase reused\nlog built\nweb built\n"
    );
}
