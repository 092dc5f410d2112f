//! Builds while a registry misbehaves, for real, over the embedded registry and docker-registry:
//! what passes is outlived; what does not is told; nothing is recorded that is not there; and the
//! next build goes on from what was recorded.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use waybill::event::Verdict;
use waybill::ledger::names;
use waybill::model::Digest;
use waybill::plan::Action;
use waybill::problem::Class;
use waybill::registry::manifest::OciManifest;
use waybill::registry::{Base, Client, Credentials, Options, Secret, embedded};

use super::{PREFIX, World, runtime};
use crate::front::Front;
use crate::program::report;
use crate::servers::{DockerRegistry, Setup, free_address};
use table::{Expected, TABLE};

const PASSWORD: &str = "lovelace-the-password";

/// A client as the program has it, but that nothing takes long.
fn patient(base: &str) -> Client {
    let options = Options {
        idle_timeout: Duration::from_secs(1),
        base_delay: Duration::from_millis(5),
        longest_wait: Duration::from_millis(1200),
        ..Options::default()
    };
    let credentials = Credentials::Basic {
        user: "ada".into(),
        password: Secret::new(PASSWORD),
    };
    Client::new(base.parse::<Base>().unwrap(), credentials, options).unwrap()
}

/// A registry that can be served again.
enum Registry {
    Docker(DockerRegistry),
    Embedded {
        runtime: Runtime,
        server: Option<embedded::Server>,
        address: SocketAddr,
        directory: std::path::PathBuf,
    },
}

const KINDS: [&str; 2] = ["docker-registry", "embedded"];

impl Registry {
    fn start(kind: &str, directory: &Path) -> Self {
        if kind == "docker-registry" {
            let data = Some(directory);
            return Self::Docker(DockerRegistry::start_with(&Setup {
                data,
                ..Setup::default()
            }));
        }
        let (runtime, directory) = (runtime(), directory.join("registry"));
        // One whose port is taken meanwhile is served on another.
        let mut ports = (0..5).map(|_| free_address());
        let served = ports.find_map(|address| {
            let served = runtime.block_on(embedded::serve(&directory, address));
            served.ok().map(|server| (address, server))
        });
        let (address, server) = served.expect("a registry is served on one of five ports");
        Self::Embedded {
            runtime,
            server: Some(server),
            address,
            directory,
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Docker(registry) => registry.address,
            Self::Embedded { address, .. } => *address,
        }
    }

    fn stop(&mut self) {
        match self {
            Self::Docker(registry) => registry.stop(),
            Self::Embedded {
                runtime, server, ..
            } => {
                if let Some(server) = server.take() {
                    runtime.block_on(server.stop());
                }
            }
        }
    }

    fn serve_again(&mut self) {
        match self {
            Self::Docker(registry) => registry.serve_again(),
            Self::Embedded {
                runtime,
                server,
                address,
                directory,
            } => {
                let served = embedded::serve(directory, *address);
                *server = Some(runtime.block_on(served).unwrap());
            }
        }
    }
}

/// A world, with a registry behind a front.
struct Scene {
    name: String,
    world: World,
    front: Front,
    registry: Arc<Mutex<Registry>>,
    _directory: TempDir,
}

impl Scene {
    fn new(kind: &str, name: &str) -> Self {
        let directory = super::memory_directory();
        let registry = Registry::start(kind, directory.path());
        Self::over(registry, directory, format!("{name} ({kind})"))
    }

    fn over(registry: Registry, directory: TempDir, name: String) -> Self {
        let world = World::shop();
        world.make_base_at(&format!("{}/{PREFIX}", registry.address()), false);
        let front = Front::start(registry.address());
        Self {
            name,
            world,
            front,
            registry: Arc::new(Mutex::new(registry)),
            _directory: directory,
        }
    }

    fn base(&self) -> String {
        self.front.base(PREFIX)
    }

    /// Builds; returns the codes and classes of what went wrong.
    fn build(&self) -> (BTreeSet<&'static str>, BTreeSet<String>) {
        let name = &self.name;
        let run = self.world.run().base(self.base()).through(patient);
        let done = match run.try_build() {
            Ok(done) => done,
            Err(failure) => {
                assert_eq!(failure.class, Class::Unreachable, "{name}: {failure:?}");
                check_text(&format!("{failure:?}"));
                report(&format!("{name}: {failure:?}"));
                let codes = failure.problems.iter().map(|problem| problem.code);
                return (codes.collect(), BTreeSet::new());
            }
        };
        check_text(&format!("{:?}{:?}", done.report, done.events));
        let mut codes = BTreeSet::new();
        for (project, (verdict, _)) in &done.report.verdicts {
            match verdict {
                Verdict::Error { problem, class } => {
                    report(&format!("{name}, {project}: {problem:?}"));
                    assert_eq!(*class, Class::Unreachable, "{name}, {project}: {problem:?}");
                    assert!(problem.hint.is_some(), "{name}: {problem:?}");
                    codes.insert(problem.code);
                }
                Verdict::Built { .. } | Verdict::Reused { .. } | Verdict::Blocked { .. } => {}
                other => panic!("{name}, {project}: {other:?}"),
            }
        }
        (codes, done.built().into_iter().collect())
    }

    /// The tag of each project's record.
    fn tags_of_records(&self) -> BTreeMap<String, String> {
        let plan = self.world.run().plan().plan;
        let projects = plan.projects.iter();
        projects
            .map(|(project, planned)| (names::built(planned.key.key), project.to_string()))
            .collect()
    }

    /// Everything that is recorded is there, whole, and is what a plan reuses. Returns the
    /// projects that are recorded.
    fn audit(&self) -> BTreeSet<String> {
        let name = &self.name;
        let plan = self.world.run().base(self.base()).plan();
        let client = super::client(&self.base());
        let mut recorded = BTreeSet::new();
        for (project, planned) in &plan.plan.projects {
            let tag = names::built(planned.key.key);
            let stands = self.world.block_on(client.manifest(names::LEDGER, &tag));
            let Action::Reuse { digest, .. } = &planned.action else {
                assert_eq!(stands.unwrap(), None, "{name}: {project} is not reused");
                continue;
            };
            assert!(stands.unwrap().is_some(), "{name}: {project} is reused");
            self.world
                .block_on(check_image(&client, project.as_str(), digest));
            let tag = names::image(planned.key.key);
            let tagged = client.digest_of(project.as_str(), &tag);
            let tagged = self.world.block_on(tagged).unwrap();
            assert_eq!(tagged, Some(*digest), "{name}: {project}");
            recorded.insert(project.to_string());
        }
        recorded
    }

    /// Whatever came of the build before: what it recorded is true, and one more build finishes it.
    fn goes_on(&self) {
        self.front.reset();
        let recorded = self.audit();
        let (codes, built) = self.build();
        let name = &self.name;
        assert_eq!(codes, BTreeSet::new(), "{name}: the next build");
        let twice: Vec<_> = built.intersection(&recorded).collect();
        assert!(twice.is_empty(), "{name}: built again: {twice:?}");
        assert_eq!(built.len() + recorded.len(), 5, "{name}");
        assert_eq!(self.audit().len(), 5, "{name}");
    }
}

#[track_caller]
fn check_text(text: &str) {
    assert!(!text.contains(PASSWORD), "{text}");
}

async fn check_image(client: &Client, project: &str, digest: &Digest) {
    let manifest = client.manifest(project, &digest.to_string()).await.unwrap();
    let Some(OciManifest::Image(image)) = manifest.unwrap().parse() else {
        panic!("{project}: no image");
    };
    for blob in image.layers.iter().chain([&image.config]) {
        let digest = blob.digest.parse().unwrap();
        let found = client.blob(project, &digest, 1 << 20).await;
        assert!(found.unwrap().is_some(), "{project}: {}", blob.digest);
    }
}

fn check(scene: &Scene, expected: Expected) {
    let name = &scene.name;
    let (codes, _) = scene.build();
    let codes: Vec<_> = codes.into_iter().collect();
    assert!(scene.front.harmed() > 0, "{name}: the fault never came");
    match expected {
        Expected::Built => assert_eq!(codes, [""; 0], "{name}"),
        Expected::Stops(code) => assert_eq!(codes, [code], "{name}"),
    }
    if matches!(expected, Expected::Built) {
        scene.front.reset();
        assert_eq!(scene.audit().len(), 5, "{name}");
    }
    scene.goes_on();
}

/// How many scenes are played at once.
const WORKERS: usize = 4;

#[test]
fn a_build_outlives_or_names_each_fault_of_a_registry() {
    let rows = TABLE.iter().flat_map(|row| KINDS.map(|kind| (kind, row)));
    let rows = Mutex::new(rows.collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = rows.lock().unwrap().pop();
                    let Some((kind, (name, rule, expected))) = next else {
                        return;
                    };
                    let scene = Scene::new(kind, name);
                    scene.front.add(rule());
                    check(&scene, *expected);
                }
            });
        }
    });
}

#[test]
fn a_build_outlives_a_registry_that_is_started_again() {
    let requests = {
        let scene = Scene::new(KINDS[0], "count");
        assert_eq!(scene.build().0, BTreeSet::new());
        scene.front.log().len()
    };
    for kind in KINDS {
        let mut outlived = 0;
        for at in (5..requests).step_by(requests / 8) {
            let scene = Scene::new(kind, &format!("started again at request {at}"));
            let interlude = Interlude::at(&scene, at);
            let (codes, _) = scene.build();
            // Five attempts within less than the time of the start may not be enough.
            let allowed = BTreeSet::from(["registry-unreachable"]);
            assert!(codes.is_subset(&allowed), "{}: {codes:?}", scene.name);
            let before = interlude.end(&scene);
            let audited = scene.audit();
            assert!(before.is_subset(&audited), "{}: {before:?}", scene.name);
            outlived += before.len();
            scene.goes_on();
        }
        assert!(
            outlived > 5,
            "{kind}: {outlived} records were there to be lost"
        );
    }
}

/// A registry is stopped at some request, and comes back a while later.
struct Interlude {
    /// The projects that had a record when it stopped, and what serves it again.
    seen: mpsc::Receiver<(BTreeSet<String>, JoinHandle<()>)>,
}

impl Interlude {
    fn at(scene: &Scene, at: usize) -> Self {
        let registry = Arc::clone(&scene.registry);
        let tags = scene.tags_of_records();
        let (send, seen) = mpsc::channel();
        scene.front.on_request(Arc::new(move |number, _| {
            if number != at {
                return;
            }
            let (stopped, started) = (Arc::clone(&registry), Arc::clone(&registry));
            let tags = tags.clone();
            // Stopped when this returns, and back a while later.
            let stop = thread::spawn(move || {
                let mut registry = stopped.lock().unwrap();
                let recorded = recorded(registry.address(), &tags);
                registry.stop();
                recorded
            });
            let recorded = stop.join().unwrap();
            let back = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                started.lock().unwrap().serve_again();
            });
            send.send((recorded, back)).unwrap();
        }));
        Self { seen }
    }

    /// Waits until the registry is back; returns the projects that had a record when it stopped.
    fn end(self, scene: &Scene) -> BTreeSet<String> {
        scene.front.on_request(Arc::new(|_, _| {}));
        let (recorded, back) = self.seen.try_recv().expect("it was stopped");
        back.join().unwrap();
        recorded
    }
}

/// The projects whose record stands, of those whose records would have these tags.
fn recorded(registry: SocketAddr, tags: &BTreeMap<String, String>) -> BTreeSet<String> {
    let client = super::client(&format!("{registry}/{PREFIX}"));
    let standing = runtime().block_on(client.tags(names::LEDGER)).unwrap();
    let projects = standing.iter().filter_map(|tag| tags.get(tag));
    projects.cloned().collect()
}

/// A file system of its own, with little room.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Self {
        let place = tempfile::tempdir().unwrap();
        let size = format!("size={kilobytes}k");
        let options = ["-t", "tmpfs", "-o", &size, "waybill-test"];
        let mut mount = as_root("mount");
        let mounted = mount.args(options).arg(place.path()).output();
        let mounted =
            mounted.expect("this test mounts a file system: run it as root, or with sudo");
        assert!(
            mounted.status.success(),
            "this test mounts a file system, which takes root, or sudo without a password: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(place)
    }

    /// Leaves room for so much.
    fn fill(&self, left: usize) {
        let filler = self.0.path().join("filler");
        let mut content = vec![0; 64 << 20];
        // What does not fit is not written.
        let _ = std::fs::write(&filler, &content);
        let length = std::fs::metadata(&filler).unwrap().len();
        content.clear();
        let file = std::fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(length.saturating_sub(left as u64 * 1024))
            .unwrap();
    }

    /// Does what docker-registry's keeper has to do: where there was no room, it leaves links that
    /// are empty, and answers for them with 500. Until then nothing is planned.
    fn mend(&self, scene: &Scene) {
        let plan = scene.world.run().base(scene.base()).try_plan();
        if let Err(failure) = plan {
            assert_eq!(failure.problems[0].code, "registry-refused");
            assert!(scene.name.contains(KINDS[0]), "{}: {failure:?}", scene.name);
        }
        let found = Command::new("find")
            .arg(self.0.path())
            .args(["-type", "f", "-name", "link", "-empty", "-print", "-delete"])
            .output()
            .unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        report(&format!(
            "{}: {} empty links",
            scene.name,
            found.lines().count()
        ));
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A program of root's: run as it is by root, by others through `sudo`.
fn as_root(program: &str) -> Command {
    let who = Command::new("id").arg("-u").output().unwrap();
    if who.stdout == b"0\n" {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

#[test]
fn a_full_disk_is_told_and_what_was_recorded_before_it_is_true() {
    for kind in KINDS {
        for left in [0, 32, 90, 150, 220, 300] {
            let disk = SmallDisk::mount(4096);
            let registry = Registry::start(kind, disk.0.path());
            let spare = tempfile::tempdir().unwrap();
            let scene = Scene::over(registry, spare, format!("{left} kB left ({kind})"));
            disk.fill(left);
            let (codes, built) = scene.build();
            let codes: Vec<_> = codes.into_iter().collect();
            report(&format!("{}: {codes:?}, {} built", scene.name, built.len()));
            assert!(
                codes == ["registry-refused"] || (left > 200 && codes.is_empty()),
                "{}: {codes:?}",
                scene.name
            );
            disk.free();
            disk.mend(&scene);
            scene.goes_on();
            scene.registry.lock().unwrap().stop();
        }
    }
}
