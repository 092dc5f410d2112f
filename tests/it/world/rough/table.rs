//! What a registry does, and what a build comes to.

use std::time::Duration;

use crate::front::{Fault, Rule};

/// What a build comes to while something is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Everything is built.
    Built,
    /// It ends with exit code 3, and this error, for at least one project or as a whole.
    Stops(&'static str),
}
use Expected::{Built, Stops};

/// What is wrong, by name.
pub(super) type Row = (&'static str, fn() -> Rule, Expected);

const RECORD: &str = "/waybill-ledger/manifests/v1-built-";
const IMAGE: &str = "/manifests/in-";
const UPLOADS: &str = "/blobs/uploads/";
const MANIFESTS: &str = "/manifests/";

pub(super) const TABLE: &[Row] = &[
    ("nothing", || Rule::on("*", ".").does(Fault::Pass), Built),
    (
        "429 now and then",
        || Rule::on("*", MANIFESTS).times(3).does(Fault::status(429)),
        Built,
    ),
    (
        "429 with Retry-After",
        || Rule::on("PUT", MANIFESTS).nth(2).does(later("1")),
        Built,
    ),
    (
        "429 with Retry-After in ms",
        || Rule::on("GET", RECORD).times(3).does(later("80.5ms")),
        Built,
    ),
    (
        "429 for good",
        || put(RECORD).does(Fault::status(429)),
        Stops("registry-throttled"),
    ),
    (
        "500 to a record",
        || put(RECORD).times(2).does(Fault::status(500)),
        Built,
    ),
    (
        "500 to records for good",
        || put(RECORD).does(Fault::status(500)),
        Stops("registry-refused"),
    ),
    (
        "500 to images for good",
        || put(IMAGE).does(Fault::status(500)),
        Stops("registry-refused"),
    ),
    (
        "500 to blobs for good",
        || put(UPLOADS).does(Fault::status(500)),
        Stops("registry-refused"),
    ),
    (
        "500 to the taints",
        || Rule::on("GET", "/tags/").does(Fault::status(500)),
        Stops("registry-refused"),
    ),
    (
        "502 now and then",
        || Rule::on("*", ".").times(4).does(Fault::status(502)),
        Built,
    ),
    (
        "502 for good",
        || put(".").does(Fault::status(502)),
        Stops("registry-refused"),
    ),
    (
        "503 now and then",
        || put(".").times(4).does(Fault::status(503)),
        Built,
    ),
    (
        "503 for good, to heads",
        || Rule::on("HEAD", ".").does(Fault::status(503)),
        Stops("registry-refused"),
    ),
    (
        "a blob breaks off once",
        || put(UPLOADS).times(2).does(Fault::CutUpload(10)),
        Built,
    ),
    (
        "blobs break off",
        || put(UPLOADS).does(Fault::CutUpload(10)),
        Stops("registry-unreachable"),
    ),
    (
        "a record breaks off on its way here once",
        || read_back().times(2).does(Fault::CutBody(30)),
        Built,
    ),
    (
        "records break off on their way here",
        || read_back().does(Fault::CutBody(30)),
        Stops("registry-unreachable"),
    ),
    (
        "a connection ends",
        || Rule::on("*", ".").nth(20).does(Fault::Cut),
        Built,
    ),
    (
        "a connection is reset",
        || Rule::on("*", ".").nth(20).does(Fault::Reset),
        Built,
    ),
    (
        "a connection is reset while a record comes",
        || read_back().times(2).does(Fault::ResetBody(30)),
        Built,
    ),
    (
        "connections are reset while records come",
        || read_back().does(Fault::ResetBody(30)),
        Stops("registry-unreachable"),
    ),
    (
        "answers are lost",
        || put(".").times(3).does(Fault::LoseAnswer),
        Built,
    ),
    (
        "answers to records are lost",
        || put(RECORD).does(Fault::LoseAnswer),
        Stops("registry-unreachable"),
    ),
    (
        "records are truncated",
        || read_back().does(Fault::Truncate(40)),
        Stops("registry-corrupt"),
    ),
    (
        "records are damaged",
        || read_back().does(Fault::Corrupt),
        Stops("registry-corrupt"),
    ),
    (
        "everything is slow",
        || Rule::on("*", ".").does(Fault::Delay(Duration::from_millis(30))),
        Built,
    ),
    (
        "an answer never comes",
        || {
            put(RECORD)
                .nth(1)
                .does(Fault::Delay(Duration::from_secs(60)))
        },
        Built,
    ),
    (
        "answers never come",
        || put(RECORD).does(Fault::Delay(Duration::from_secs(60))),
        Stops("registry-unreachable"),
    ),
    (
        "a body stalls",
        || read_back().nth(1).does(Fault::Stall(20)),
        Built,
    ),
    (
        "bodies stall",
        || read_back().does(Fault::Stall(20)),
        Stops("registry-unreachable"),
    ),
    (
        "uploads stall",
        || put(UPLOADS).does(Fault::StallUpload(5)),
        Stops("registry-unreachable"),
    ),
    (
        "401 to what is put",
        || put(".").does(Fault::status(401)),
        Stops("credential-refused"),
    ),
    (
        "403 to what is put",
        || put(".").does(Fault::error(403, "DENIED", "no")),
        Stops("credential-refused"),
    ),
    (
        "403 to records",
        || put(RECORD).does(Fault::status(403)),
        Stops("credential-refused"),
    ),
    (
        "401 in the middle",
        || Rule::on("GET", RECORD).after_put().does(Fault::status(401)),
        Stops("credential-refused"),
    ),
    (
        "a record shows late",
        || read_back().times(3).does(unknown()),
        Built,
    ),
    (
        "records do not show",
        || read_back().does(unknown()),
        Stops("push-not-shown"),
    ),
    (
        "a record is hidden by a proxy",
        || read_back().does(Fault::status(404)),
        Stops("push-not-shown"),
    ),
    (
        "blobs show late",
        || {
            put(IMAGE)
                .times(2)
                .does(Fault::error(404, "MANIFEST_BLOB_UNKNOWN", ""))
        },
        Built,
    ),
    (
        "no room",
        || put(UPLOADS).does(Fault::status(507)),
        Stops("registry-refused"),
    ),
];

fn put(path: &str) -> Rule {
    Rule::on("PUT", path)
}

/// What was written is read.
fn read_back() -> Rule {
    Rule::on("GET", RECORD).after_put()
}

fn later(wait: &str) -> Fault {
    Fault::status(429).header("retry-after", wait)
}

fn unknown() -> Fault {
    Fault::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
}
