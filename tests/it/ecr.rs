//! Amazon ECR: a service that has its ways, over a real docker-registry and moto.

mod base;
mod build;
mod client;
mod moto;
mod plan;
mod secrets;
mod service;

use std::process::Command;

use crate::program::{Ran, command, run};
use crate::repo::Repo;
use service::Service;

/// `waybill` in a repository, let in at a service; its base is the service's.
fn waybill_at(service: &Service, repo: &Repo, arguments: &[&str]) -> Ran {
    run(command_at(service, repo).args(arguments))
}

fn command_at(service: &Service, repo: &Repo) -> Command {
    let mut command = command(repo);
    command
        .envs(service.environment())
        .env("WAYBILL_REGISTRY", service.base());
    command
}

/// A repository with projects that stand alone.
fn repository(projects: &[&str]) -> Repo {
    let repo = Repo::new();
    let entries = projects.iter().map(|name| {
        repo.write(format!("{name}/Dockerfile"), "FROM scratch\nCOPY file /\n");
        repo.write(format!("{name}/file"), name);
        ((*name).to_owned(), serde_json::json!({"buildDir": name}))
    });
    let projects: serde_json::Map<String, serde_json::Value> = entries.collect();
    let manifest = serde_json::json!({"version": 1, "projects": projects});
    repo.write("build_manifest.json", manifest.to_string());
    repo.commit("First");
    repo
}
