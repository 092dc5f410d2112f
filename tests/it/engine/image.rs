//! What comes out of a build, and what is told when nothing does.

use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use waybill::build::engine::{BuildEvent, EngineError};
use waybill::build::tar::ContextStream;
use waybill::mask::Secret;
use waybill::model::{Digest, Platform};
use waybill::problem::{Class, Diagnose};

use super::{BASE, Tag, build, context, copied, docker, engine, find, nothing_more, wait_for};

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

#[tokio::test]
async fn a_refusal_before_the_context_is_sent_is_told_in_the_engines_words() {
    let engine = engine().await;
    let mut request = Tag::new().build();
    request.tag = "Not/A Name".into();
    let context = || {
        context("", |tar| {
            let size = 50 << 20;
            tar.file(b"large", size, false, |out| {
                copied(&mut io::repeat(1).take(size), out)
            })
        })
    };
    for _ in 0..20 {
        let error = build(&engine, &request, context()).await.0.unwrap_err();
        assert_eq!(error.problems()[0].code, "engine-refused", "{error}");
        assert!(error.to_string().contains("reference"), "{error}");
    }
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
async fn foreign_platforms_are_probed_before_anything_is_built() {
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    for architecture in ["riscv64", "s390x"] {
        request.platform = format!("linux/{architecture}").parse().unwrap();
        let (result, _, events) = build(&engine, &request, context("", nothing_more)).await;
        // As registered by Debian's qemu-user-static.
        let emulator = format!("/proc/sys/fs/binfmt_misc/qemu-{architecture}");
        if Path::new(&emulator).exists() {
            let image = engine.inspect(&result.unwrap().id).await.unwrap().unwrap();
            assert_eq!(image.platform, request.platform);
        } else {
            let error = result.unwrap_err();
            assert_eq!(error.problems()[0].code, "platform-not-runnable", "{error}");
            assert!(error.to_string().contains("/probe"), "{error}");
            assert_eq!(events, []);
        }
    }
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
