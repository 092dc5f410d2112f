//! Setting a base up: repositories, their settings, and who may not.

use serde_json::{Value, json};

use super::service::Service;
use super::{command_at, repository, waybill_at};
use crate::program::{command, run, waybill};
use crate::servers::{Certificate, DockerRegistry, Setup};

/// What moto has of a repository, in the form of `registry init --print-policy`.
fn standing(service: &Service, name: &str) -> Value {
    let full = format!("acme/{name}");
    let described = json!({"repositoryNames": [full]});
    let described = service.moto.ask("DescribeRepositories", &described);
    let one = &described["repositories"][0];
    let filters = one["imageTagMutabilityExclusionFilters"].as_array();
    let mut settings = json!({
        "imageTagMutability": one["imageTagMutability"],
        "imageTagMutabilityExclusionFilters": filters.cloned().unwrap_or_default(),
        "imageScanningConfiguration": one["imageScanningConfiguration"],
    });
    let policy = json!({"repositoryName": full});
    let policy = service.moto.ask("GetLifecyclePolicy", &policy);
    if let Some(text) = policy["lifecyclePolicyText"].as_str() {
        settings["lifecyclePolicy"] = serde_json::from_str(text).unwrap();
    }
    settings
}

#[test]
fn a_base_is_made_with_the_settings_that_are_printed() {
    let service = Service::start();
    let repo = repository(&["api", "web"]);
    let printed = waybill(&repo, &["registry", "init", "--print-policy"]);
    assert_eq!(printed.code, 0, "{}", printed.err);
    assert!(service.log().is_empty());
    let made = waybill_at(&service, &repo, &["registry", "init", "--json"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let names = [
        "waybill-ledger",
        "waybill-taints",
        "waybill-runs",
        "api",
        "web",
    ];
    assert_eq!(
        made.json()["repositories"],
        json!(names.map(|name| format!("acme/{name}")))
    );
    let printed = printed.json();
    for name in names {
        let kind = if name.starts_with("waybill-") {
            name
        } else {
            "<project>"
        };
        let mut printed = printed["repositories"].as_array().unwrap().iter();
        let mut printed = printed
            .find(|one| one["repository"] == kind)
            .unwrap()
            .clone();
        printed.as_object_mut().unwrap().remove("repository");
        assert_eq!(standing(&service, name), printed, "{name}");
    }
    assert_eq!(
        standing(&service, "waybill-taints").get("lifecyclePolicy"),
        None
    );
}

#[test]
fn what_stands_is_left_and_what_lacks_a_policy_gets_it() {
    let service = Service::start();
    let repo = repository(&["api", "web"]);
    for name in ["acme/api", "acme/web"] {
        let created = service
            .moto
            .ask("CreateRepository", &json!({"repositoryName": name}));
        assert_eq!(created["repository"]["imageTagMutability"], "MUTABLE");
    }
    let own = json!({"rules": [{
        "rulePriority": 1,
        "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 3},
        "action": {"type": "expire"},
    }]});
    let put = json!({"repositoryName": "acme/web", "lifecyclePolicyText": own.to_string()});
    service.moto.ask("PutLifecyclePolicy", &put);
    let made = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(
        made.out.ends_with("\n3 repositories were made\n"),
        "{}",
        made.out
    );
    assert_eq!(standing(&service, "web")["lifecyclePolicy"], own);
    assert_eq!(standing(&service, "web")["imageTagMutability"], "MUTABLE");
    let rules = &standing(&service, "api")["lifecyclePolicy"]["rules"];
    assert_eq!(rules[0]["selection"]["tagPatternList"], json!(["live-*"]));
    let id = |out: &str| out.lines().next().unwrap().to_owned();
    let again = waybill_at(&service, &repo, &["registry", "init"]);
    assert!(
        again.out.ends_with("\n0 repositories were made\n"),
        "{}",
        again.out
    );
    assert_eq!(id(&again.out), id(&made.out));
}

/// Repositories of others are left alone, also those of this prefix that the manifest does not name;
/// and where a ledger is not waybill's, everything is.
#[test]
fn what_is_not_the_bases_is_left_alone() {
    let service = Service::start();
    let repo = repository(&["api"]);
    for name in ["api", "acme/other", "acme/api"] {
        let made = json!({"repositoryName": name});
        service.moto.ask("CreateRepository", &made);
    }
    let policy = |name: &str| {
        let asked = json!({"repositoryName": name});
        let told = service.moto.ask("GetLifecyclePolicy", &asked);
        told["lifecyclePolicyText"].is_string()
    };
    let ledger = json!({"repositoryName": "acme/waybill-ledger"});
    service.moto.ask("CreateRepository", &ledger);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let marker = ["v1-ledger".to_owned()];
    let put = runtime.block_on(super::client::seed(&service, "waybill-ledger", &marker));
    service.learn("acme/waybill-ledger", marker, &put[0].to_string());
    let refused = waybill_at(&service, &repo, &["registry", "init"]);
    refused.stops(3, "marker-unreadable");
    assert!(!policy("acme/api"));
    assert_eq!(service.count("CreateRepository"), 0);
    service.lose("acme/waybill-ledger", "v1-ledger");
    let made = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(policy("acme/api") && !policy("acme/other") && !policy("api"));
}

#[test]
fn without_a_credential_nothing_is_asked() {
    let service = Service::start();
    let repo = repository(&["api"]);
    for arguments in [&["registry", "init"][..], &["plan"], &["build"]] {
        let mut command = command_at(&service, &repo);
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY");
        let ran = run(command.args(arguments));
        ran.stops(3, "aws-credentials-missing");
        assert!(ran.err.contains("hint: sign in to AWS"), "{}", ran.err);
    }
    assert!(service.log().is_empty(), "{:?}", service.log());
}

#[test]
fn a_credential_that_is_not_accepted_is_told_so() {
    let service = Service::start();
    let repo = repository(&["api"]);
    let mut command = command_at(&service, &repo);
    let ran = run(command
        .env("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE")
        .arg("plan"));
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err
            .contains("error[aws-refused]: ecr:GetAuthorizationToken"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("UnrecognizedClientException"),
        "{}",
        ran.err
    );
}

/// What a registry's certificate is trusted by, AWS's API is trusted by too.
#[test]
fn the_given_certificates_are_for_the_api_too() {
    let certificate = Certificate::make();
    // No API: that its answer is none shows that it was reached.
    let server = DockerRegistry::start_with(&Setup {
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let repo = repository(&["api"]);
    let plan = |authority: Option<&std::path::Path>| {
        let mut command = command(&repo);
        command.args(["plan", "--json", "--registry", "ecr://127.0.0.1:1/acme"]);
        command
            .env("AWS_ENDPOINT_URL", format!("https://{}", server.address))
            .env("AWS_REGION", super::moto::REGION)
            .env("AWS_ACCESS_KEY_ID", "AKIA")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .envs(authority.map(|file| ("WAYBILL_REGISTRY_CA", file)));
        let ran = run(&mut command);
        assert_eq!(ran.code, 3, "{}", ran.out);
        ran.json()["errors"][0].clone()
    };
    let stranger = plan(None);
    assert_eq!(stranger["code"], "registry-unreachable", "{stranger}");
    let trusted = plan(Some(&certificate.authority));
    assert_eq!(trusted["code"], "registry-corrupt", "{trusted}");
}

#[test]
fn without_a_region_the_command_is_wrong() {
    let service = Service::start();
    let repo = repository(&["api"]);
    let ran = run(command_at(&service, &repo)
        .env_remove("AWS_REGION")
        .arg("plan"));
    ran.stops(2, "aws-region-missing");
    assert!(service.log().is_empty());
}

/// The manifest can say all of it, and the key is that of the address alone.
#[test]
fn the_manifest_declares_a_registry() {
    let service = Service::start();
    let repo = repository(&["api"]);
    let address = format!("{}/acme", service.address);
    let key = |registry: Value| {
        let projects = json!({"api": {"buildDir": "api"}});
        let manifest = json!({"version": 1, "registry": registry, "projects": projects});
        repo.write("build_manifest.json", manifest.to_string());
        repo.commit("Another registry");
        let mut command = command(&repo);
        command
            .envs(service.environment())
            .env_remove("AWS_REGION")
            .env("CI", "true");
        command
    };
    let object = json!({
        "url": address,
        "kind": "ecr",
        "region": super::moto::REGION,
        "account": "123456789012",
    });
    let init = run(key(object.clone()).args(["registry", "init"]));
    assert_eq!(init.code, 0, "{}", init.err);
    let ecr = run(key(object).args(["plan", "--json"]));
    assert_eq!(ecr.code, 0, "{}", ecr.err);
    let text = run(key(json!(address)).args([
        "plan",
        "--json",
        "--registry",
        "embedded",
        "--upstream",
        "none",
    ]));
    let of = |document: &Value| document["projects"][0]["key"].clone();
    assert!(of(&ecr.json()).is_string());
    assert_eq!(of(&ecr.json()), of(&text.json()));
}

/// Who may push and not make repositories gets by where they stand.
#[test]
fn a_denied_action_is_named() {
    let service = Service::start();
    let repo = repository(&["api"]);
    service.behave(|ways| {
        ways.denied.insert("CreateRepository".into());
    });
    let ran = waybill_at(&service, &repo, &["registry", "init"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("error[aws-refused]: ecr:CreateRepository"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains("hint: allow ecr:CreateRepository to the role or user"),
        "{}",
        ran.err
    );
}
