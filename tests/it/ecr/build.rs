//! Builds by a real engine, pushed to ECR.

use std::process::Command;

use serde_json::json;

use super::service::Service;
use super::{command_at, repository, waybill_at};
use crate::program::{report, run};
use crate::repo::Repo;

/// A repository whose images no other test builds: `base`, and `api` on it.
fn shop() -> Repo {
    let repo = repository(&[]);
    let mut mark = [0; 16];
    getrandom::fill(&mut mark).unwrap();
    repo.write("base/mark", hex::encode(mark));
    repo.write("base/Dockerfile", "FROM scratch\nCOPY mark /mark\n");
    repo.write("api/file", "api");
    repo.write("api/Dockerfile", "FROM base\nCOPY file /\n");
    let projects = json!({
        "base": {"buildDir": "base"},
        "api": {"buildDir": "api", "dependencies": ["base"]},
    });
    let manifest = json!({"version": 1, "projects": projects});
    repo.write("build_manifest.json", manifest.to_string());
    repo.commit("the shop");
    repo
}

#[test]
fn images_are_pushed_where_no_repository_was_and_built_once() {
    let service = Service::start();
    let repo = shop();
    // The base is made without the projects: a first push makes theirs.
    let before = repository(&[]);
    let init = waybill_at(&service, &before, &["registry", "init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    service.forget_log();
    let build = waybill_at(&service, &repo, &["build", "--progress", "plain"]);
    assert_eq!(build.code, 0, "{}", build.err);
    assert!(build.err.contains("2 built"), "{}", build.err);
    let described = service.moto.ask("DescribeRepositories", &json!({}));
    assert_eq!(
        described["repositories"].as_array().unwrap().len(),
        5,
        "{described}"
    );
    let policy = json!({"repositoryName": "acme/api"});
    let policy = service.moto.ask("GetLifecyclePolicy", &policy);
    assert!(
        policy["lifecyclePolicyText"]
            .as_str()
            .unwrap()
            .contains("live-*")
    );
    assert_eq!(
        service.count("GetAuthorizationToken"),
        1,
        "the engine has the same token"
    );
    report(&format!(
        "a build of two images: {} requests",
        service.log().len()
    ));
    let again = waybill_at(&service, &repo, &["build"]);
    assert!(again.err.contains("2 reused"), "{}", again.err);
}

/// A run that was killed between the push of an image and its record.
#[test]
fn a_push_is_repeated_where_the_tag_stands_for_the_same_image() {
    let service = Service::start();
    let repo = shop();
    let init = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    let first = waybill_at(&service, &repo, &["build", "base"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let image = waybill_at(&service, &repo, &["image", "base", "--format", "digest"]).out;
    let list = format!(
        "http://{}/v2/acme/waybill-ledger/tags/list",
        service.registry.address
    );
    let listed = Command::new("curl").args(["-s", &list]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let tags = listed["tags"].as_array().unwrap().iter();
    let built = tags.map(|tag| tag.as_str().unwrap());
    let built = built.filter(|tag| tag.starts_with("v1-built-"));
    let built: Vec<&str> = built.collect();
    assert_eq!(built.len(), 1);
    service.lose("acme/waybill-ledger", built[0]);
    let again = waybill_at(&service, &repo, &["build", "base"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("1 built"), "{}", again.err);
    let refused = service.log();
    let refused = refused.iter().filter(|seen| seen.status == 400).count();
    assert!(refused >= 1, "the tag stood in the way");
    let same = waybill_at(&service, &repo, &["image", "base", "--format", "digest"]).out;
    assert_eq!(same, image);
}

#[test]
fn a_token_that_ends_in_a_build_is_replaced() {
    let service = Service::start();
    let repo = shop();
    let init = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    // A push of the engine's takes some requests, and may not be cut: its token must last.
    service.behave(|ways| ways.token_uses = 25);
    let ran = run(command_at(&service, &repo).args(["debug", "record-all", "--images"]));
    assert_eq!(ran.out, "api built\nbase built\n", "{}", ran.err);
    let tokens = service.tokens().len();
    assert!(tokens > 2, "{tokens}");
}
