//! What happens to the context on its way.

use std::io::{self, Read};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use waybill::build::engine::{BuildEvent, EngineError};
use waybill::mask::Secret;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose, Failure, Problem};

use super::{Tag, build, context, copied, engine, find, in_process_of_its_own, wait_for};

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
async fn giving_up_during_the_upload_ends_the_writer() {
    let (engine, tag) = (engine().await, Tag::new());
    let (ended, end) = mpsc::channel();
    let endless = context("", move |tar| {
        let result = tar.file(b"endless", u64::MAX / 2, false, |out| {
            copied(&mut io::repeat(1), out)
        });
        ended.send(result.is_err()).unwrap();
        result
    });
    let request = tag.build();
    let sent = AtomicBool::new(false);
    let listener = |event| {
        // More than what stands before the endless file.
        if matches!(event, BuildEvent::Upload { bytes } if bytes > 10 << 20) {
            sent.store(true, Ordering::Relaxed);
        }
    };
    tokio::select! {
        result = engine.build(&request, endless, &listener) => panic!("{result:?}"),
        () = wait_for("the upload goes on", || sent.load(Ordering::Relaxed)) => {}
    }
    let wait = move || end.recv_timeout(Duration::from_secs(20));
    assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), Ok(true));
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
        output.contains(&Digest::of(&vec![7; 1_000_001]).hex()),
        "the ignore file is not applied again: {output}"
    );
}

#[test]
fn a_large_context_with_a_secret_takes_little_memory() {
    let output = in_process_of_its_own("context::builds_a_large_context", &[]);
    let peak = output
        .lines()
        .find_map(|line| line.strip_prefix("peak KiB: "))
        .unwrap();
    let peak: u64 = peak.parse().unwrap();
    assert!(peak > 1_000, "{peak} cannot be");
    assert!(peak < 100 * 1024, "{peak} KiB for a context of 300 MiB");
}

#[expect(clippy::print_stdout, reason = "this is how the process answers")]
#[tokio::test]
#[ignore = "run by a_large_context_with_a_secret_takes_little_memory, to measure its process"]
async fn builds_a_large_context() {
    let size = std::env::var("WAYBILL_TEST_CONTEXT_MIB").map_or(300, |size| size.parse().unwrap());
    let (engine, tag) = (engine().await, Tag::new());
    let mut request = tag.build();
    request.secrets.insert("token".into(), Secret::new("x"));
    let dockerfile = "RUN --mount=type=secret,id=token,required=true /bin/busybox true\n";
    let context = context(dockerfile, move |tar| {
        for part in 0..size / 10 {
            let name = format!("large/{part}");
            tar.file(name.as_bytes(), 10 << 20, false, |out| {
                copied(&mut io::repeat(b'x').take(10 << 20), out)
            })?;
        }
        Ok(())
    });
    let (result, _, events) = build(&engine, &request, context).await;
    result.unwrap();
    let sent = events.iter().filter_map(|event| match event {
        BuildEvent::Upload { bytes } => Some(*bytes),
        _ => None,
    });
    assert!(sent.max().unwrap() > (size / 10 * 10) << 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    println!("\npeak KiB: {}", peak.trim().trim_end_matches(" kB"));
}
