//! Plans over ECR: how much is asked, and images that are gone.

use serde_json::{Value, json};

use super::service::Service;
use super::{command_at, repository, waybill_at};
use crate::program::{command, report, run};
use crate::repo::Repo;

const MANY: usize = 2000;

#[test]
fn a_plan_of_2000_projects_asks_20_times_and_little_more() {
    let service = Service::start();
    let repo = Repo::new();
    let mut projects = serde_json::Map::new();
    for number in 0..MANY {
        let name = format!("p{number:04}");
        repo.write(format!("{name}/Dockerfile"), "FROM scratch\nCOPY file /\n");
        repo.write(format!("{name}/file"), &name);
        projects.insert(name.clone(), json!({"buildDir": name}));
    }
    let manifest = json!({"version": 1, "projects": projects});
    let empty = json!({"version": 1, "projects": {}});
    repo.write("build_manifest.json", empty.to_string());
    repo.commit("No project yet");
    let init = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    repo.write("build_manifest.json", manifest.to_string());
    repo.commit("First");
    // Past the service: at ten records a second this would take minutes.
    let mut seed = command(&repo);
    seed.env("WAYBILL_REGISTRY", service.registry.base("acme"));
    let seeded = run(seed.args(["debug", "record-all"]));
    assert_eq!(seeded.code, 0, "{}", seeded.err);

    service.forget_log();
    let started = std::time::Instant::now();
    let plan = run(command_at(&service, &repo).args(["plan", "--json", "-v"]));
    let took = started.elapsed();
    assert_eq!(plan.code, 0, "{}", plan.err);
    let document = plan.json();
    let projects = document["projects"].as_array().unwrap();
    let reused = projects
        .iter()
        .filter(|project| project["action"] == "reuse");
    assert_eq!(reused.count(), MANY);
    let (batches, all) = (service.count("BatchGetImage"), service.log().len());
    report(&format!(
        "{MANY} projects: {batches} batches, {all} requests, {took:?}"
    ));
    // The records; the waybill of the commit, and those of the commits before it.
    assert_eq!(batches, MANY / 100 + 2);
    // And a token, two markers, the taints' list of one page.
    assert_eq!(all, batches + 4, "{:?}", service.log());
    assert_eq!(service.count("GetAuthorizationToken"), 1);
}

/// `api` uses the image of `base`, which is archived: it is built anew, and its owner is told.
#[test]
fn an_archived_image_counts_as_gone_and_its_owner_is_told() {
    let service = Service::start();
    let repo = repository(&["base"]);
    repo.write("api/Dockerfile", "FROM base\nCOPY file /\n");
    repo.write("api/file", "api");
    let projects = json!({
        "base": {"buildDir": "base"},
        "api": {"buildDir": "api", "dependencies": ["base"]},
    });
    let manifest = json!({"version": 1, "projects": projects});
    repo.write("build_manifest.json", manifest.to_string());
    repo.commit("Both");
    let init = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    let built = waybill_at(&service, &repo, &["debug", "record-all", "--images"]);
    assert_eq!(built.out, "api built\nbase built\n", "{}", built.err);
    repo.write("api/file", "api, changed");
    repo.commit("api alone");
    let plan = || {
        let ran = waybill_at(&service, &repo, &["plan", "--all", "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let document = ran.json();
        let projects = document["projects"].as_array().unwrap();
        let base = projects
            .iter()
            .find(|one| one["name"] == "base")
            .unwrap()
            .clone();
        (base, ran.err)
    };
    let (base, _) = plan();
    assert_eq!(base["action"], "reuse");
    let image = base["image"].as_str().unwrap();
    let digest = image.split_once('@').unwrap().1.to_owned();
    service.archive(&digest, true);
    let (base, said) = plan();
    assert_eq!(
        (&base["action"], &base["reason"]["kind"]),
        (&json!("build"), &json!("image-gone"))
    );
    assert!(said.contains("warning[image-archived]"), "{said}");
    assert!(said.contains("hint: restore it in Amazon ECR"), "{said}");
    // Who may not ask whether it is archived is told less, and the plan is the same.
    service.behave(|ways| {
        ways.denied.insert("DescribeImages".into());
    });
    let (same, said) = plan();
    assert_eq!(same, base);
    assert!(!said.contains("image-archived"), "{said}");
    service.archive(&digest, false);
    let (base, _): (Value, _) = plan();
    assert_eq!(base["action"], "reuse");
}
