//! How projects end: stopped, out of time, failed with secrets on their lips.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use tokio_util::sync::CancellationToken;
use waybill::event::{Event, Verdict};

use super::builder::Act;
use super::{PATIENCE, World, name};

#[test]
fn one_failure_blocks_its_users_and_nobody_else() {
    let world = World::shop();
    let done = world.run().script("log", Act::Fail).build();
    assert_eq!(
        done.verdicts(),
        "api=blocked base=built docs=built log=failed web=built"
    );
    assert_eq!(world.build().built(), ["api", "log"]);
}

#[test]
fn what_could_not_be_tried_is_an_error_and_blocks_too() {
    let world = World::shop();
    let done = world.run().script("base", Act::Unreachable).build();
    assert_eq!(
        done.verdicts(),
        "api=blocked base=error docs=built log=built web=blocked"
    );
    assert_eq!(done.code("base"), "engine-unreachable");
}

#[test]
fn fail_fast_stops_what_runs_and_starts_nothing_more() {
    let world = World::shop();
    let done = world
        .run()
        .script("log", Act::Fail)
        .script("base", Act::Hang)
        .script("docs", Act::Hang)
        .options(|options| options.fail_fast = true)
        .build();
    assert_eq!(done.verdict("log").name(), "failed");
    assert_eq!(done.verdict("base").name(), "interrupted");
    assert_eq!(done.verdict("docs").name(), "interrupted");
    assert_eq!(done.built(), ["base", "docs", "log"]);
    assert_eq!(world.build().built().len(), 5, "nothing was recorded");
}

#[test]
fn a_build_that_takes_too_long_fails_alone() {
    let world = World::shop();
    let done = world
        .run()
        .script("base", Act::Hang)
        .options(|options| options.timeout = Some(Duration::from_secs(2)))
        .build();
    assert_eq!(
        done.verdicts(),
        "api=blocked base=failed docs=built log=built web=blocked"
    );
    assert_eq!(done.code("base"), "build-timeout");
}

#[test]
fn an_interruption_ends_everything_soon_and_loses_nothing() {
    let world = World::shop();
    let stop = CancellationToken::new();
    let at_first_end = stop.clone();
    let started = Instant::now();
    let done = world
        .run()
        .script("base", Act::Hang)
        .script("log", Act::Hang)
        .stopped_by(&stop)
        .telling(Arc::new(move |event| {
            if matches!(event, Event::Finished { .. }) {
                at_first_end.cancel();
            }
        }))
        .build();
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(done.verdict("docs").name(), "built");
    assert_eq!(done.verdict("base").name(), "interrupted");
    assert_eq!(done.verdict("log").name(), "interrupted");
    assert_eq!(world.build().built(), ["api", "base", "log", "web"]);
}

#[test]
fn a_run_that_is_stopped_before_it_begins_builds_nothing() {
    let world = World::shop();
    let stop = CancellationToken::new();
    stop.cancel();
    let done = world.run().stopped_by(&stop).build();
    let none: [&str; 0] = [];
    assert_eq!(done.built(), none);
    assert_eq!(
        done.verdicts(),
        "api=interrupted base=interrupted docs=interrupted log=interrupted web=interrupted"
    );
}

const SECRET: &[u8] = b"hunter2-hunter2";

/// What a run with a chatty, failing build shows and keeps.
fn everything_said(masked: bool) -> String {
    let world = World::shop();
    let pieces = vec![
        b"the password is hunt".to_vec(),
        b"er2-hunter2\nand ".to_vec(),
        SECRET.to_vec(),
    ];
    let run = world.run().script("docs", Act::Say(pieces));
    let run = if masked { run.secret(SECRET) } else { run };
    let done = run.build();
    assert_eq!(done.verdict("docs").name(), "failed");
    let mut said = String::new();
    for event in &done.events {
        if let Event::Output { bytes, .. } = event {
            said.push_str(&String::from_utf8_lossy(bytes));
        }
    }
    if let Verdict::Failed { problem } = done.verdict("docs") {
        said.push_str(&problem.message);
    }
    let ledger = world.ledger();
    let failed = world.block_on(ledger.failed(done.key("docs"), &name("docs")));
    let failed = failed.unwrap().unwrap();
    said.push_str(&serde_json::to_string(&failed.record).unwrap());
    let mut log = String::new();
    GzDecoder::new(failed.log.unwrap().as_ref())
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("the password is"), "{log}");
    said + &log
}

#[test]
fn secrets_are_in_no_event_record_or_log() {
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    let said = everything_said(true);
    assert!(!said.contains(&secret), "{said}");
    assert!(said.contains("the password is ***"), "{said}");
    assert!(everything_said(false).matches(&secret).count() >= 6);
}

#[test]
fn a_failure_leaves_its_log_and_a_success_too() {
    let world = World::shop();
    let done = world.run().script("docs", Act::Fail).build();
    let ledger = world.ledger();
    let (docs, log) = (done.key("docs"), done.key("log"));
    let failed = world.block_on(ledger.failed(docs, &name("docs")));
    let failed = failed.unwrap().unwrap();
    assert_eq!(failed.record.code, "build-failed");
    assert_eq!(failed.record.commit, done.plan.commit);
    let built = world.block_on(ledger.built_record(log, &name("log")));
    let built = built.unwrap().unwrap();
    assert!(built.log.is_some());
    assert_eq!(built.record.facts.image, done.image("log"));
    assert_eq!(built.record.reason.kind(), "never-built");
}
