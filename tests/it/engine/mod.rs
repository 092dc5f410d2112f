//! Builds and pushes against the container engine of this machine; they fail without one.
//!
//! Base images are made from Debian's static busybox, registries are docker-registry.

mod connection;
mod context;
mod image;
mod registry;
mod scripted;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use waybill::build::engine::{BuildEvent, BuiltImage, Engine, EngineError, ImageBuild};
use waybill::build::tar::{ContextStream, TarWriter};
use waybill::model::Platform;
use waybill::problem::{Class, Failure, Problem};

const BASE: &str =
    "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n";

/// A local tag that no other test uses; the image goes when the test ends, however it ends.
struct Tag(String);

impl Tag {
    fn new() -> Self {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        Self(format!("waybill-test:{}", hex::encode(bytes)))
    }

    fn build(&self) -> ImageBuild {
        ImageBuild {
            dockerfile: "Dockerfile".into(),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: Platform::default(),
            cache_from: Vec::new(),
            inline_cache: false,
            no_cache: true,
            tag: self.0.clone(),
            secrets: BTreeMap::new(),
            logins: BTreeMap::new(),
        }
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", &self.0]);
    }
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

async fn engine() -> Engine {
    Engine::connect()
        .await
        .expect("these tests need a container engine")
}

/// A Dockerfile on top of busybox, with whatever else `more` adds to the context.
fn context(
    dockerfile: &str,
    more: impl FnOnce(&mut TarWriter<'_>) -> Result<(), Failure> + Send + 'static,
) -> ContextStream {
    let dockerfile = format!("{BASE}{dockerfile}");
    ContextStream::spawn(move |tar| {
        tar.bytes(b"Dockerfile", false, dockerfile.as_bytes())?;
        tar.bytes(b"busybox", true, &std::fs::read("/bin/busybox").unwrap())?;
        more(tar)
    })
}

#[expect(clippy::unnecessary_wraps, reason = "stands where more could fail")]
fn nothing_more(_: &mut TarWriter<'_>) -> Result<(), Failure> {
    Ok(())
}

/// Builds, and returns the output of all steps and the events beside.
async fn build(
    engine: &Engine,
    request: &ImageBuild,
    context: ContextStream,
) -> (Result<BuiltImage, EngineError>, String, Vec<BuildEvent>) {
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let result = engine.build(request, context, &listener).await;
    let events = events.into_inner().unwrap();
    let mut output = Vec::new();
    for event in &events {
        if let BuildEvent::Log { bytes, .. } = event {
            output.extend_from_slice(bytes);
        }
    }
    (
        result,
        String::from_utf8_lossy(&output).into_owned(),
        events,
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited too long: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn copied(content: &mut dyn Read, out: &mut dyn Write) -> Result<(), Failure> {
    io::copy(content, out).map(drop).map_err(|error| {
        Failure::new(
            Class::Failed,
            Problem::error("not-copied", error.to_string()),
        )
    })
}

/// Runs a test of this file that is marked as ignored, in a process of its own, and returns its
/// output.
fn in_process_of_its_own(test: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("engine::{test}"),
            "--ignored",
            "--nocapture",
        ])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    said
}
