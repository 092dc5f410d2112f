//! A build of ten projects, killed with SIGKILL at every request to the registry and at every
//! event, each in a process of its own: whatever was recorded is not built again, and nothing is
//! recorded that is not in the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use waybill::ledger::Standing;
use waybill::model::{Digest, Key, ProjectName};
use waybill::registry::manifest::OciManifest;

use super::{PREFIX, Served, World, memory_directory, runtime};
use crate::program::report;
use crate::repo::Repo;

/// What tells a child where to die: `request:17` or `event:5`, the repository, the registry.
const POINT: &str = "WAYBILL_TEST_KILL_AT";
const REPO: &str = "WAYBILL_TEST_REPO";
const REGISTRY: &str = "WAYBILL_TEST_REGISTRY";

/// How many children run at once.
const WORKERS: usize = 4;

/// Ten projects, each on the image of another: 0 under 1, 2 and 3; 1 under 2 and 3 …
fn ten() -> Repo {
    let below = |number| match number {
        0 => Vec::new(),
        _ => vec![(number / 2, true)],
    };
    Repo::numbered(&(0..10).map(below).collect::<Vec<_>>())
}

/// A world over a repository and a registry's directory that others own.
fn world_at(repo: &Path, registry: &Path) -> World {
    let runtime = runtime();
    World {
        repo: Repo::existing(repo),
        registry: Served::of(&runtime, registry),
        runtime,
    }
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "run by the test of kills, as a process of its own"]
fn child() {
    let Ok(point) = std::env::var(POINT) else {
        return;
    };
    let (kind, at) = point.split_once(':').unwrap();
    let at: usize = at.parse().unwrap();
    let path = |variable| std::env::var_os(variable).unwrap();
    let world = world_at(path(REPO).as_ref(), path(REGISTRY).as_ref());
    let dies_at = if kind == "request" { at } else { usize::MAX };
    let tap = tap(world.registry.address, dies_at);
    let base = format!("{tap}/{PREFIX}");
    let events = AtomicUsize::new(0);
    let counts_events = kind == "event";
    world.make_base_at(&base, false);
    world
        .run()
        .base(base)
        .telling(Arc::new(move |_| {
            let number = events.fetch_add(1, Ordering::SeqCst) + 1;
            if counts_events && number == at {
                die();
            }
        }))
        .build();
}

/// Stands before a registry and counts requests; dies before the one of this number gets through.
fn tap(registry: SocketAddr, dies_at: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(registry).unwrap());
            let (answers_to, answers) = (client.try_clone(), server.try_clone());
            let (mut answers_to, mut answers) = (answers_to.unwrap(), answers.unwrap());
            thread::spawn(move || std::io::copy(&mut answers, &mut answers_to));
            let requests = Arc::clone(&requests);
            thread::spawn(move || pass(client, server, &requests, dies_at));
        }
    });
    address
}

fn pass(mut client: TcpStream, mut server: TcpStream, requests: &AtomicUsize, dies_at: usize) {
    const END_OF_LINE: &[u8] = b" HTTP/1.1\r\n";
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let content = &buffer[..length];
        for window in content.windows(END_OF_LINE.len()) {
            if window == END_OF_LINE && requests.fetch_add(1, Ordering::SeqCst) + 1 == dies_at {
                die();
            }
        }
        if server.write_all(content).is_err() {
            break;
        }
    }
}

/// Kills this process as nothing else does: without a chance to clean up.
fn die() -> ! {
    let _ = Command::new("sh").args(["-c", "kill -KILL $PPID"]).status();
    loop {
        thread::park();
    }
}

fn run_child(point: &str, repo: &Path, registry: &Path) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["world::kill::child", "--exact", "--ignored"])
        .env(POINT, point)
        .env(REPO, repo)
        .env(REGISTRY, registry)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// Whose key each is.
type Keys = BTreeMap<Key, ProjectName>;

/// Every key that has a record; the images of all of them are there, whole.
fn recorded(world: &World, keys: &Keys) -> BTreeSet<Key> {
    let (ledger, client) = (world.ledger(), world.client());
    let recorded = world.recorded();
    world.block_on(async {
        for key in &recorded {
            let project = &keys[key];
            let standing = ledger.built(*key, project).await.unwrap();
            let Standing::Record(facts) = standing else {
                panic!("{project}: {standing:?}")
            };
            let image = facts.image.to_string();
            let manifest = client.manifest(project.as_str(), &image).await.unwrap();
            let Some(OciManifest::Image(manifest)) = manifest.and_then(|raw| raw.parse()) else {
                panic!("{project}: {image} is recorded and not there")
            };
            let layers = manifest.layers.iter().map(|layer| &layer.digest);
            for blob in layers.chain([&manifest.config.digest]) {
                let blob: Digest = blob.parse().unwrap();
                let found = client.blob(project.as_str(), &blob, 64 << 20).await;
                assert!(found.unwrap().is_some(), "{project}: {blob}");
            }
        }
    });
    recorded
}

/// Kills a build at a point, goes on, and checks; says whether the point was reached.
fn experiment(point: &str, repo: &Path, keys: &Keys) -> bool {
    let directory = memory_directory();
    let status = run_child(point, repo, directory.path());
    let was_killed = status.signal() == Some(9);
    assert!(was_killed || status.success(), "{point}: {status}");
    let world = world_at(repo, directory.path());
    world.make_base(false);
    let before = recorded(&world, keys);
    let second = world.build();
    for job in second.builder.jobs() {
        assert!(!before.contains(&job.key), "{point}: {} again", job.project);
    }
    for (key, project) in keys {
        let expected = if before.contains(key) {
            "reused"
        } else {
            "built"
        };
        let verdict = second.verdict(project.as_str()).name();
        assert_eq!(verdict, expected, "{point}: {project}");
    }
    assert!(world.recorded().iter().eq(keys.keys()), "{point}");
    let third = world.run().plan().plan;
    assert_eq!(third.builds().count(), 0, "{point}");
    was_killed
}

/// Kills at the first, the second, … point of a kind, until a child comes through; says at how
/// many it was killed.
fn enumerate(kind: &str, repo: &Path, keys: &Keys) -> usize {
    let (next, reached, over) = (
        AtomicUsize::new(1),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if experiment(&format!("{kind}:{number}"), repo, keys) {
                        reached.fetch_add(1, Ordering::SeqCst);
                    } else {
                        over.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    reached.into_inner()
}

#[test]
fn killed_at_any_point_a_build_is_gone_on_with() {
    let repo = ten();
    let registry = memory_directory();
    let world = world_at(repo.path(), registry.path());
    world.make_base(false);
    let plan = world.run().plan().plan.projects;
    let keys: Keys = plan
        .into_values()
        .map(|planned| (planned.key.key, planned.name))
        .collect();
    let events = enumerate("event", repo.path(), &keys);
    let requests = enumerate("request", repo.path(), &keys);
    report(&format!(
        "killed at {requests} requests to the registry and at {events} events"
    ));
    // 1 planned; started, three phases and finished for each of ten.
    assert_eq!(events, 51);
    // At the very least each project's layer, config, image, record and its parts.
    assert!(requests > 100, "{requests}");
}
