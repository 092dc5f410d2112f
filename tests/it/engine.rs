//! Builds and pushes against the container engine of this machine; they fail without one.
//!
//! Base images are made from Debian's static busybox, registries are docker-registry.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use waybill::build::engine::{
    BuildEvent, BuiltImage, Endpoint, Engine, EngineError, ImageBuild, Secret,
};
use waybill::build::tar::{ContextStream, TarWriter};
use waybill::model::{Digest, Platform};
use waybill::problem::{Class, Diagnose, Failure, Problem};

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

#[tokio::test]
async fn says_what_it_is() {
    let engine = engine().await;
    assert_eq!(engine.info().platform, Platform::default());
    assert!(
        engine
            .info()
            .version
            .starts_with(|c: char| c.is_ascii_digit())
    );
}

#[tokio::test]
async fn no_engine_is_unreachable() {
    for address in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"] {
        let endpoint = Endpoint::parse(address, None).unwrap();
        let error = Engine::connect_to(endpoint).await.err().unwrap();
        assert_eq!(error.class(), Class::Unreachable);
        let problem = &error.problems()[0];
        assert_eq!(problem.code, "engine-unreachable");
        assert!(problem.message.contains(address), "{}", problem.message);
        assert!(problem.hint.as_ref().unwrap().contains("DOCKER_HOST"));
    }
}

#[tokio::test]
async fn target_arguments_and_labels_reach_the_image() {
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    request.target = Some("wanted".into());
    request.args.insert("WORD".into(), "a b=\"c\"&d".into());
    request
        .labels
        .insert("org.example.key".into(), "ü & 1".into());
    let dockerfile = "FROM scratch AS base\nFROM 0 AS wanted\nARG WORD=none\n\
        RUN /bin/busybox echo \"<$WORD>\"\nFROM wanted\nRUN /bin/busybox false\n"
        .replace("FROM 0", "FROM first");
    let dockerfile = format!(
        "{}{dockerfile}",
        BASE.replace("FROM scratch", "FROM scratch AS first")
    );
    let context = ContextStream::spawn(move |tar| {
        tar.bytes(b"Dockerfile", false, dockerfile.as_bytes())?;
        tar.bytes(b"busybox", true, &std::fs::read("/bin/busybox").unwrap())
    });
    let (result, output, events) = build(&engine, &request, context).await;
    let image = result.unwrap();
    assert!(output.contains("<a b=\"c\"&d>"), "{output}");
    let info = engine.inspect(&tag.0).await.unwrap().unwrap();
    assert_eq!(info.id, image.id);
    assert_eq!(info.labels["org.example.key"], "ü & 1");
    assert_eq!(info.platform, Platform::default());
    let step = events.iter().find_map(|event| match event {
        BuildEvent::Step(step) if step.name.contains("RUN") => step.completed.map(|_| step),
        _ => None,
    });
    assert!(
        step.unwrap().name.starts_with("[wanted 1/1] RUN"),
        "{step:?}"
    );
    assert!(
        events
            .iter()
            .any(|event| matches!(event, BuildEvent::Upload { bytes } if *bytes > 1_000_000))
    );
}

#[tokio::test]
async fn a_secret_is_served_and_stays_out_of_the_image() {
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    let value = hex::encode(bytes);
    request
        .secrets
        .insert("token".into(), Secret::new(value.as_bytes()));
    let dockerfile = "RUN --mount=type=secret,id=token,required=true \
        /bin/busybox sha256sum /run/secrets/token\n";
    let (result, output, events) =
        build(&engine, &request, context(dockerfile, nothing_more)).await;
    result.unwrap();
    assert!(
        output.contains(&Digest::of(value.as_bytes()).hex()),
        "{output}"
    );
    assert!(!format!("{events:?}{request:?}").contains(&value));
    let history = docker(&["history", "--no-trunc", &tag.0]);
    assert!(
        history.contains("sha256sum") && !history.contains(&value),
        "{history}"
    );
    let saved = Command::new("docker")
        .args(["save", &tag.0])
        .output()
        .unwrap()
        .stdout;
    assert!(
        find(&saved, b"sha256sum /run/secrets/token"),
        "the search finds what is there"
    );
    assert!(!find(&saved, value.as_bytes()));
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[tokio::test]
async fn a_secret_that_nobody_gave_fails_the_step_that_requires_it() {
    let (engine, tag) = (engine().await, Tag::new());
    let dockerfile = "RUN --mount=type=secret,id=absent,required=true /bin/busybox true\n";
    let (result, ..) = build(&engine, &tag.build(), context(dockerfile, nothing_more)).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("absent"), "{error}");
}

#[tokio::test]
async fn a_failing_step_is_named_with_exit_code_and_output() {
    let (engine, tag) = (engine().await, Tag::new());
    let dockerfile = "RUN /bin/busybox echo last words; exit 42\n";
    let (result, output, events) =
        build(&engine, &tag.build(), context(dockerfile, nothing_more)).await;
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Failed);
    let EngineError::BuildFailed {
        step, exit_code, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        step.as_ref()
            .unwrap()
            .contains("RUN /bin/busybox echo last words"),
        "{step:?}"
    );
    assert_eq!(*exit_code, Some(42));
    assert!(output.contains("last words\n"), "{output}");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, BuildEvent::Step(step) if step.error.is_some()))
    );
    assert_eq!(engine.inspect(&tag.0).await.unwrap(), None);
}

#[tokio::test]
async fn a_missing_dockerfile_and_a_bad_one_fail() {
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    request.dockerfile = "other".into();
    let (result, ..) = build(&engine, &request, context("", nothing_more)).await;
    assert!(result.unwrap_err().to_string().contains("other"));
    let (result, ..) = build(&engine, &tag.build(), context("NONSENSE x\n", nothing_more)).await;
    assert!(
        result
            .unwrap_err()
            .to_string()
            .to_lowercase()
            .contains("nonsense")
    );
}

/// Processes of this machine whose arguments hold `text`.
fn processes(text: &str) -> usize {
    let commands = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
    commands
        .filter(|command| find(command, text.as_bytes()))
        .count()
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

#[tokio::test]
async fn dropping_the_future_stops_the_build_in_the_engine() {
    let (engine, tag) = (engine().await, Tag::new());
    let mark = format!("98{}", std::process::id());
    let request = tag.build();
    let dockerfile = format!("RUN exec /bin/busybox sleep {mark}\n");
    let running = tokio::spawn(async move {
        let _ = engine
            .build(&request, context(&dockerfile, nothing_more), &|_| ())
            .await;
    });
    // The name of the program and its argument are apart by a zero byte.
    let sleep = format!("sleep\0{mark}");
    wait_for("the step runs", || processes(&sleep) > 0).await;
    running.abort();
    wait_for("the step is gone", || processes(&sleep) == 0).await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_the_context_is_the_builds_error() {
    let (engine, tag) = (engine().await, Tag::new());
    let broken = context("RUN /bin/busybox true\n", |tar| {
        tar.bytes(b"before", false, &vec![1; 3_000_000])?;
        tar.file(b"broken", 100, false, |out| {
            out.write_all(b"ten bytes!").unwrap();
            Err(Failure::new(
                Class::Usage,
                Problem::error("blob-missing", "no such blob"),
            ))
        })
    });
    let (result, _, events) = build(&engine, &tag.build(), broken).await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.class(), error.problems()[0].code),
        (Class::Usage, "blob-missing")
    );
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, BuildEvent::Step(step) if step.name.contains("RUN")))
    );
    assert_eq!(engine.inspect(&tag.0).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_of_another_size_and_a_writer_that_panics_are_errors() {
    let (engine, tag) = (engine().await, Tag::new());
    for content in [&b"short"[..], b"much too long"] {
        let context = context("", move |tar| {
            tar.file(b"file", 8, false, move |out| {
                out.write_all(content).map_err(|error| {
                    Failure::new(Class::Failed, Problem::error("written", error.to_string()))
                })
            })
        });
        let (result, ..) = build(&engine, &tag.build(), context).await;
        assert!(matches!(result, Err(EngineError::Context(_))), "{result:?}");
    }
    let (result, ..) = build(&engine, &tag.build(), context("", |_| panic!("as meant"))).await;
    assert_eq!(result.unwrap_err().problems()[0].code, "context-failed");
}

#[tokio::test]
async fn strange_paths_arrive_as_they_are() {
    let (engine, tag) = (engine().await, Tag::new());
    let long = [b"long/".repeat(20), b"x".repeat(180)].concat();
    let exact = b"y".repeat(100);
    let target = b"t".repeat(150);
    let (long_copy, exact_copy, target_copy) = (long.clone(), exact.clone(), target.clone());
    let context = context(
        "COPY in /in\nRUN cd /in && /bin/busybox find . -exec /bin/busybox stat -c '%a %u:%g %Y %N %s' {} ';'\n\
         RUN /bin/busybox sha256sum /in/big /in/run\n",
        move |tar| {
            tar.bytes(b".dockerignore", false, b"in/big\n**/run\n")?;
            tar.bytes(b"in/caf\xe9/na\xefve", false, b"latin1")?;
            tar.bytes("in/ü/日本 space".as_bytes(), false, b"utf8")?;
            tar.bytes(&[b"in/", &long_copy[..]].concat(), false, b"long")?;
            tar.bytes(&[b"in/", &exact_copy[..]].concat(), false, b"100")?;
            tar.link(b"in/link", b"caf\xe9/na\xefve")?;
            tar.link(b"in/long-link", &target_copy)?;
            tar.directory(b"in/empty")?;
            tar.bytes(b"in/run", true, b"#!/bin/busybox sh\n")?;
            tar.bytes(b"in/big", false, &vec![7; 1_000_001])
        },
    );
    let (result, output, _) = build(&engine, &tag.build(), context).await;
    result.unwrap();
    let saved = Command::new("docker")
        .args(["save", &tag.0])
        .output()
        .unwrap()
        .stdout;
    for path in [
        &b"caf\xe9/na\xefve"[..],
        "ü/日本 space".as_bytes(),
        &long,
        &exact,
    ] {
        assert!(find(&saved, path), "{}", String::from_utf8_lossy(path));
    }
    assert!(find(&saved, &target));
    let line = |name: &str| {
        output
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_default()
    };
    assert!(
        line("/empty'").starts_with("755 0:0 ") || line("/empty").starts_with("755 0:0 "),
        "{output}"
    );
    assert!(line("./run").starts_with("755 0:0 946684800"), "{output}");
    assert!(line("./big").starts_with("644 0:0 946684800"), "{output}");
    assert!(line("./link").contains("->"), "{output}");
    assert!(
        output.contains(&Digest::of(&[7; 1_000_001]).hex()),
        "the ignore file is not applied again: {output}"
    );
}

#[tokio::test]
async fn foreign_platforms_are_probed_before_anything_is_built() {
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    request.platform = "linux/s390x".parse().unwrap();
    let (result, _, events) = build(&engine, &request, context("", nothing_more)).await;
    let error = result.unwrap_err();
    assert_eq!(error.problems()[0].code, "platform-not-runnable", "{error}");
    assert_eq!(events, []);
    request.platform = "plan9/mips".parse().unwrap();
    let (result, ..) = build(&engine, &request, context("", nothing_more)).await;
    assert_eq!(
        result.unwrap_err().problems()[0].code,
        "platform-not-runnable"
    );
    // The positive control: an amd64 kernel runs 386 programs.
    engine
        .probe_platform(&"linux/386".parse().unwrap())
        .await
        .unwrap();
}
