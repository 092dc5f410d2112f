//! What is wrong, and what each command makes of it.

use waybill::ledger::names;

use super::Scene;
use crate::front::{Fault, Rule};

/// What a command must make of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// It stops, with this exit code, error code and message. The message begins with the project
    /// that it concerns; what differs from run to run is [`super::normal`].
    Stops(i32, &'static str, &'static str),
    /// It goes on, and the record of `docs` counts as none.
    Distrusts,
    /// Nothing is wrong: everything is reused, and shown as built.
    Reuses,
}
use Expected::{Distrusts, Reuses, Stops};

/// The commands that ask a registry, in the order of the table's columns.
pub(super) const COMMANDS: [&[&str]; 6] = [
    &["plan"],
    &["build"],
    &["why", "docs"],
    &["image", "docs"],
    &["history", "docs"],
    &["log", "docs"],
];

/// A fault: how it comes about, and what each of [`COMMANDS`] makes of it. There is no engine
/// here: a build that has something to build stops for want of one.
pub(super) type Row = (&'static str, fn(&mut Scene), [Expected; 6]);

/// A record that counts as none is built anew, and is no image and no log until then.
const fn distrusted(why: &'static str) -> [Expected; 6] {
    let no_engine =
        "no container engine answers at {engine}: No such file or directory (os error 2)";
    [
        Distrusts,
        Stops(3, "engine-unreachable", no_engine),
        Distrusts,
        Stops(2, "not-built", "docs: it is not built at {hash}"),
        Distrusts,
        Stops(3, "record-unreadable", why),
    ]
}

const fn each_stops(exit: i32, code: &'static str, message: &'static str) -> [Expected; 6] {
    [Stops(exit, code, message); 6]
}

pub(super) const TABLE: &[Row] = &[
    ("nothing is wrong", |_| {}, [Reuses; 6]),
    (
        "the registry is unreachable",
        |scene| scene.base = format!("{}/acme", scene.refusing.address),
        each_stops(
            3,
            "registry-unreachable",
            "GET {api}/{marker}: error sending request: client error (Connect): tcp connect \
             error: Connection refused (os error 111)",
        ),
    ),
    (
        "the registry answers with 500",
        |scene| scene.front.add(Rule::on("*", ".").does(Fault::status(500))),
        each_stops(
            3,
            "registry-refused",
            "GET {api}/{marker}: the registry answered with status 500",
        ),
    ),
    (
        "the registry is no registry",
        |scene| {
            let page = Fault::answer(404, "text/html", "<html>");
            scene.front.add(Rule::on("*", ".").does(page));
        },
        each_stops(
            3,
            "registry-refused",
            "GET {api}/{marker}: the registry answered with status 404",
        ),
    ),
    (
        "answers are damaged on their way",
        |scene| {
            let record = Rule::on("GET", "/waybill-ledger/manifests/v1-built-");
            scene.front.add(record.does(Fault::Corrupt));
        },
        each_stops(
            3,
            "registry-corrupt",
            "GET {api}/waybill-ledger/manifests/v1-built-{hash}: the answer cannot be trusted: it \
             states digest sha256:{hash} and has sha256:{hash}",
        ),
    ),
    (
        "a credential is refused with 401",
        |scene| {
            scene.credential = true;
            scene.front.add(Rule::on("*", ".").does(asks_for_basic()));
        },
        each_stops(
            3,
            "credential-refused",
            "GET {api}/{marker}: the registry does not accept the credential configured for \
             {registry} (status 401): UNAUTHORIZED, who are you?",
        ),
    ),
    (
        "a credential is refused with 403",
        |scene| {
            scene.credential = true;
            let denied = Fault::error(403, "DENIED", "not for you");
            scene.front.add(Rule::on("*", ".").does(denied));
        },
        each_stops(
            3,
            "credential-refused",
            "GET {api}/{marker}: the registry does not accept the credential configured for \
             {registry} (status 403): DENIED, not for you",
        ),
    ),
    (
        "a credential is asked for and none is there",
        |scene| scene.front.add(Rule::on("*", ".").does(asks_for_basic())),
        each_stops(
            3,
            "credential-missing",
            "GET {api}/{marker}: {registry} asks for a credential, and none is configured",
        ),
    ),
    (
        "the taints cannot be listed",
        |scene| {
            let list = Rule::on("GET", "/waybill-taints/tags/list");
            scene.front.add(list.does(Fault::status(500)));
        },
        each_stops(
            3,
            "registry-refused",
            "GET {api}/waybill-taints/tags/list: the registry answered with status 500",
        ),
    ),
    (
        "the list of taints is not that of the taints",
        |scene| {
            let list = Rule::on("GET", "/waybill-taints/tags/list");
            let other = r#"{"name": "acme/other", "tags": ["latest"]}"#;
            let other = Fault::answer(200, "application/json", other);
            scene.front.add(list.does(other));
        },
        each_stops(
            3,
            "list-incomplete",
            "the list of tags of {base}/waybill-taints lacks the marker v1-ledger, which stands \
             there",
        ),
    ),
    (
        "the taints are said to be no repository",
        |scene| {
            let list = Rule::on("GET", "/waybill-taints/tags/list");
            scene.front.add(list.does(unknown_repository()));
        },
        each_stops(
            3,
            "list-incomplete",
            "the list of tags of {base}/waybill-taints lacks the marker v1-ledger, which stands \
             there",
        ),
    ),
    (
        "the ledger is said to be no repository once its marker was read",
        |scene| {
            let record = Rule::on("GET", "/waybill-ledger/manifests/v1-(built|release)-");
            scene.front.add(record.does(unknown_repository()));
        },
        [
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-release-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-release-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-built-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-built-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-built-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
            Stops(
                3,
                "repository-gone",
                "GET {api}/waybill-ledger/manifests/v1-built-{hash}: the registry does not know \
                 the repository that it had a moment ago",
            ),
        ],
    ),
    (
        "the project's tags cannot be listed",
        |scene| {
            let list = Rule::on("GET", "/docs/tags/list");
            scene.front.add(list.does(Fault::status(500)));
        },
        [
            Reuses,
            Reuses,
            Reuses,
            Reuses,
            Stops(
                3,
                "registry-refused",
                "GET {api}/docs/tags/list: the registry answered with status 500",
            ),
            Reuses,
        ],
    ),
    (
        "what records hold beside their header cannot be had",
        |scene| {
            let blobs = Rule::on("GET", "/waybill-ledger/blobs/");
            scene.front.add(blobs.does(Fault::status(500)));
        },
        [
            Reuses,
            Reuses,
            Stops(
                3,
                "registry-refused",
                "GET {api}/waybill-ledger/blobs/sha256:{hash}: the registry answered with status \
                 500",
            ),
            Reuses,
            Reuses,
            Stops(
                3,
                "registry-refused",
                "GET {api}/waybill-ledger/blobs/sha256:{hash}: the registry answered with status \
                 500",
            ),
        ],
    ),
    (
        "the marker is missing",
        |scene| {
            scene
                .world
                .registry
                .forget_tag(names::LEDGER, names::MARKER);
        },
        each_stops(
            3,
            "marker-missing",
            "{base} holds no waybill ledger: the marker waybill-ledger:v1-ledger is missing",
        ),
    ),
    (
        "the marker of the taints is missing",
        |scene| {
            scene
                .world
                .registry
                .forget_tag(names::TAINTS, names::MARKER);
        },
        each_stops(
            3,
            "marker-missing",
            "{base} holds no waybill ledger: the marker waybill-taints:v1-ledger is missing",
        ),
    ),
    (
        "the marker is no marker",
        |scene| scene.world.put_garbage(names::LEDGER, names::MARKER),
        each_stops(
            3,
            "marker-unreadable",
            "{base}/waybill-ledger:v1-ledger cannot be read: it is no record: missing field \
             `artifactType` at line 1 column 394",
        ),
    ),
    (
        "a record is no record",
        |scene| {
            scene
                .world
                .put_garbage(names::LEDGER, &record_of_docs(scene));
        },
        distrusted(
            "docs: the record {base}/waybill-ledger:v1-built-{hash} cannot be read: it is no \
             record: missing field `artifactType` at line 1 column 394",
        ),
    ),
    (
        "a record is another base's",
        |scene| annotate(scene, "io.waybill.ledger", "another"),
        distrusted(
            "docs: the record {base}/waybill-ledger:v1-built-{hash} cannot be read: it is a \
             record of another ledger: 'another' instead of 'base false'",
        ),
    ),
    (
        "a record is another project's",
        |scene| annotate(scene, "io.waybill.project", "api"),
        distrusted(
            "docs: the record {base}/waybill-ledger:v1-built-{hash} cannot be read: it is a \
             record of another project: 'api' instead of 'docs'",
        ),
    ),
    (
        "a record is of a newer version",
        |scene| annotate(scene, "io.waybill.version", "2"),
        each_stops(
            3,
            "record-newer",
            "docs: {base}/waybill-ledger:v1-built-{hash} cannot be read: it is a record of \
             version 2, and this program reads versions up to 1",
        ),
    ),
    (
        "an object is missing from the clone",
        |scene| {
            let repo = &scene.world.repo;
            let id = repo.git(&["rev-parse", "HEAD^{tree}"]);
            let objects = repo.path().join(".git/objects");
            std::fs::remove_file(objects.join(&id[..2]).join(&id[2..])).unwrap();
        },
        each_stops(2, "missing-object", "the tree {hash} is not in this clone"),
    ),
    (
        "a pattern is no regex",
        |scene| {
            let manifest = r#"{"version": 1, "projects": {
              "docs": {"buildDir": "docs", "rebuildPatterns": ["^docs/("]}}}"#;
            scene.world.repo.write("build_manifest.json", manifest);
            scene.world.repo.commit("Bad");
        },
        each_stops(
            2,
            "bad-pattern",
            "docs: '^docs/(' is no valid pattern: unclosed group",
        ),
    ),
    (
        "there is no manifest",
        |scene| {
            scene.world.repo.remove("build_manifest.json");
            scene.world.repo.commit("Gone");
        },
        each_stops(
            2,
            "no-manifest",
            "there is no manifest at commit {hash}: tried build_manifest.json, \
             build_manifest.yml, build_manifest.yaml",
        ),
    ),
];

fn unknown_repository() -> Fault {
    Fault::error(404, "NAME_UNKNOWN", "repository name not known to registry")
}

fn asks_for_basic() -> Fault {
    Fault::error(401, "UNAUTHORIZED", "who are you?")
        .header("www-authenticate", "Basic realm=\"test\"")
}

fn record_of_docs(scene: &Scene) -> String {
    names::built(scene.world.run().plan().plan.projects["docs"].key.key)
}

fn annotate(scene: &Scene, annotation: &str, value: &str) {
    let tag = record_of_docs(scene);
    scene.world.annotate(names::LEDGER, &tag, annotation, value);
}
