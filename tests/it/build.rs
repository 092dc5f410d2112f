//! `waybill build` whole: the real program, git, and the container engine.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::front::{Fault, Front, Rule, Seen};
use crate::program::{Ran, command, output, report, run, waybill};
use crate::repo::Repo;
use crate::search::search;
use crate::servers::DockerRegistry;

/// A repository whose images no other test builds; they go from the engine with it.
struct Shop {
    repo: Repo,
    projects: Vec<&'static str>,
}

/// What every image here begins with.
const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY mark /mark\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

impl Shop {
    /// A base, and these projects by name, Dockerfile and more fields of the manifest.
    fn new(projects: &[(&'static str, &str, Value)]) -> Self {
        let repo = Repo::new();
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).unwrap();
        repo.write_executable("base/busybox", fs::read("/bin/busybox").unwrap());
        repo.write("base/mark", hex::encode(mark));
        repo.write("base/Dockerfile", BASE);
        let mut manifest = json!({"base": {"buildDir": "base"}});
        for (name, dockerfile, fields) in projects {
            repo.write(format!("{name}/Dockerfile"), dockerfile);
            repo.write(format!("{name}/file"), name);
            let mut project = json!({"buildDir": name, "dependencies": ["base"]});
            let fields = fields.as_object().unwrap().clone();
            project.as_object_mut().unwrap().extend(fields);
            manifest[name] = project;
        }
        let manifest = json!({"version": 1, "projects": manifest});
        repo.write("build_manifest.json", manifest.to_string());
        repo.commit("the shop");
        let names = projects.iter().map(|(name, ..)| *name);
        Self {
            repo,
            projects: names.chain(["base"]).collect(),
        }
    }

    fn build(&self, arguments: &[&str]) -> Ran {
        run(command(&self.repo)
            .args(["build", "--progress", "plain"])
            .args(arguments))
    }

    /// The projects that a build's document gives this verdict.
    fn with_verdict(document: &Value, verdict: &str) -> BTreeSet<String> {
        let projects = document["projects"].as_array().unwrap().iter();
        let projects = projects
            .filter(|project| project["verdict"] == verdict || project["action"] == verdict);
        projects
            .map(|project| project["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Shop {
    /// The projects of a plan whose key has a record, by what the registry itself lists.
    fn standing(registry: &DockerRegistry, plan: &Value) -> BTreeSet<String> {
        let list = format!(
            "http://{}/v2/acme/waybill-ledger/tags/list",
            registry.address
        );
        let listed: Value = serde_json::from_str(&output("curl", &["-sf", &list])).unwrap();
        let tags = listed["tags"].as_array().unwrap();
        let projects = plan["projects"].as_array().unwrap().iter();
        let recorded = |project: &&Value| {
            let tag = format!("v1-built-{}", project["key"].as_str().unwrap());
            tags.contains(&tag.into())
        };
        let names = projects.filter(recorded);
        names
            .map(|project| project["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let commits = self.repo.git(&["log", "--format=%H"]);
        for commit in commits.lines() {
            for project in &self.projects {
                let name = format!("waybill/{project}:{commit}");
                let mut docker = Command::new("docker");
                let _ = docker.args(["image", "rm", "--force", &name]).output();
            }
        }
    }
}

#[test]
fn what_fails_comes_last_and_whole_and_its_log_is_kept() {
    let shop = Shop::new(&[
        (
            "api",
            "# Says much.\nFROM base\nRUN true \\\n  # and\n  true\n\n\
             RUN echo the last words; exit 7\nRUN true\n",
            json!({}),
        ),
        ("front", "FROM api\n", json!({"dependencies": ["api"]})),
        ("web", "FROM base\nCOPY . /web\n", json!({})),
    ]);
    let ran = shop.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    let end = lines[lines.len() - 5..].join("\n");
    assert_eq!(
        end,
        "api | the last words\n\
         api | [3/4] RUN echo the last words; exit 7: failed\n\
         error[build-failed]: api: '[3/4] RUN echo the last words; exit 7' failed with exit code 7\n\
         \u{20} --> api/Dockerfile:7:1\n\
         \u{20} hint: its output stands above, and in the build's log",
    );
    assert!(
        ran.err.contains("blocked front: api did not succeed"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("2 built, 1 failed, 1 blocked"),
        "{}",
        ran.err
    );
    let log = waybill(&shop.repo, &["log", "api", "--failed"]);
    assert!(log.out.contains("the last words"), "{}{}", log.out, log.err);
    let again = shop.build(&["--json"]);
    assert_eq!(again.code, 1);
    let reused = Shop::with_verdict(&again.json(), "reused");
    assert_eq!(reused, ["base".to_owned(), "web".to_owned()].into());
}

#[test]
fn a_secret_reaches_its_step_and_nothing_that_is_shown_or_kept() {
    const SECRET: &str = "correct-horse-battery";
    const PLAIN: &str = "a-plain-word-beside-it";
    let dockerfile = format!(
        "FROM base\nCOPY file /file\n\
         RUN --mount=type=secret,id=token cat /run/secrets/token && echo && echo {PLAIN} && \
         test $(cat /run/secrets/token | wc -c) = {}\n",
        SECRET.len()
    );
    let shop = Shop::new(&[("app", &dockerfile, json!({"secrets": ["token"]}))]);
    let without = shop.build(&[]);
    assert!(without.err.contains("secret-missing"), "{}", without.err);
    let mut build = command(&shop.repo);
    build.args([
        "build",
        "--progress",
        "plain",
        "--secret",
        "id=token,env=TOKEN",
    ]);
    let ran = run(build.env("TOKEN", SECRET));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = waybill(&shop.repo, &["log", "app"]).out;
    let why = waybill(&shop.repo, &["why", "app", "--json"]).out;
    for shown in [&ran.err, &log] {
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(
            shown.contains("***") && shown.contains(PLAIN),
            "the step said both: {shown}"
        );
    }
    assert!(
        !why.contains(SECRET) && why.contains(PLAIN) == why.contains("echo"),
        "{why}"
    );
    let kept = |text: &str| search(&shop.repo.path().join(".waybill"), &[text.to_owned()]);
    let found = kept(SECRET);
    assert!(found.is_nothing(), "{found:?}");
    // The same search finds what was not a secret: the Dockerfile's text in the image's history,
    // and what the step said in the log.
    let control = kept(PLAIN);
    assert!(!control.plain.is_empty(), "{control:?}");
    assert_eq!(control.packed.len(), 1, "{control:?}");
}

#[test]
fn a_credential_that_cannot_be_had_is_never_left_out() {
    let digest = format!("@sha256:{}", "0".repeat(64));
    for (host, image) in [
        ("127.0.0.1:1", format!("127.0.0.1:1/thing{digest}")),
        ("127.0.0.1:1", "127.0.0.1:1/thing:1".to_owned()),
        ("https://index.docker.io/v1/", format!("thing{digest}")),
    ] {
        let shop = Shop::new(&[("app", &format!("FROM {image}\n"), json!({}))]);
        let docker = shop.repo.home().join(".docker");
        fs::create_dir_all(&docker).unwrap();
        let config = json!({"credHelpers": {host: "of-nobody"}});
        fs::write(docker.join("config.json"), config.to_string()).unwrap();
        let ran = shop.build(&["app"]);
        ran.stops(3, "credential-helper: app");
    }
}

/// What `docker login` stores of some registries: waybill and the engine both show it to the token
/// server, and neither goes there without.
#[test]
fn an_identity_token_is_passed_on_to_the_engine() {
    let shop = Shop::new(&[("app", "FROM base\nCOPY . /app\n", json!({}))]);
    let registry = DockerRegistry::start();
    let front = Front::start(registry.address);
    let token = front.base("token");
    let realm = format!("Bearer realm=\"http://{token}\",service=\"s\"");
    let asks = Fault::error(401, "UNAUTHORIZED", "who?").header("www-authenticate", &realm);
    front.add(Rule::on("GET", "^/v2/$").does(asks));
    let gives = Fault::answer(200, "application/json", r#"{"access_token": "access"}"#);
    front.add(Rule::on("POST", "^/token").does(gives));
    let docker = shop.repo.home().join(".docker");
    fs::create_dir_all(&docker).unwrap();
    let host = token.strip_suffix("/token").unwrap();
    let config = json!({"auths": {host: {"identitytoken": "the-refresh-token"}}});
    fs::write(docker.join("config.json"), config.to_string()).unwrap();
    let base = front.base("acme");
    let made = waybill(&shop.repo, &["registry", "init", "--registry", &base]);
    assert_eq!(made.code, 0, "{}", made.err);
    let ran = shop.build(&["--registry", &base]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = front.log();
    let asked = log.iter().filter(|seen| seen.path.starts_with("/token"));
    assert!(asked.clone().all(|seen| seen.method == "POST"), "{log:?}");
    let agent = |seen: &Seen| seen.headers["user-agent"].to_str().unwrap().to_owned();
    let agents: BTreeSet<bool> = asked
        .map(|seen| agent(seen).starts_with("docker/"))
        .collect();
    assert_eq!(agents, [false, true].into(), "the engine, and waybill");
}

/// Each builds an image of its own under the one name that the engine pushes it by.
#[test]
fn runs_that_share_an_engine_record_what_they_pushed() {
    let own = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /own\n";
    let shop = Shop::new(&[("api", own, json!({}))]);
    let registry = DockerRegistry::start();
    let base = registry.base("acme");
    let made = waybill(&shop.repo, &["registry", "init", "--registry", &base]);
    assert_eq!(made.code, 0, "{}", made.err);
    let ran = shop.build(&["base", "--registry", &base]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let several: Vec<_> = (0..6)
        .map(|_| {
            let mut build = command(&shop.repo);
            build.args(["build", "api", "--no-cache", "--json", "--registry", &base]);
            build.stdout(Stdio::piped()).stderr(Stdio::piped());
            build.spawn().unwrap()
        })
        .collect();
    let mut built = 0;
    let mut images = BTreeSet::new();
    for child in several {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let document = ran.json();
        let api = document["projects"].as_array().unwrap().iter();
        let api = api
            .clone()
            .find(|project| project["name"] == "api")
            .unwrap();
        built += usize::from(api["verdict"] == "built");
        images.insert(api["digest"].as_str().unwrap().to_owned());
    }
    report(&format!("{built} recorded their image, of six"));
    // BuildKit may have made one image for several of them.
    assert!(built >= 1 && images.len() == 1, "{built} {images:?}");
    let verified = waybill(
        &shop.repo,
        &["plan", "--verify", "--exit-code", "--registry", &base],
    );
    assert_eq!(verified.code, 0, "{}", verified.out);
}

/// A sample on the real engine of what `world::kill` enumerates with a scripted builder.
#[test]
fn killed_at_any_request_a_build_is_gone_on_with() {
    let shop = Shop::new(&[
        (
            "api",
            "FROM base\nCOPY . /api\nRUN cat /api/file\n",
            json!({}),
        ),
        (
            "front",
            "FROM api\nCOPY . /front\n",
            json!({"dependencies": ["api", "base"]}),
        ),
        (
            "web",
            "FROM base\nCOPY . /web\nRUN cat /web/file\n",
            json!({}),
        ),
    ]);
    let registry = DockerRegistry::start();
    let front = Front::start(registry.address);
    let base = front.base("acme");
    let at = |arguments: &[&str]| {
        run(command(&shop.repo)
            .args(["--registry", &base])
            .args(arguments))
    };
    let succeeds = |arguments: &[&str]| {
        let ran = at(arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran
    };
    succeeds(&["registry", "init"]);
    succeeds(&["build"]);
    let another_base = |mark: usize| {
        let mark = format!("{mark} {}", shop.repo.head());
        shop.repo.write("base/mark", mark);
        shop.repo.commit("another base");
    };
    another_base(0);
    front.reset();
    succeeds(&["build"]);
    let log = front.log();
    let puts = log.iter().filter(|seen| seen.method == "PUT").count();
    let mut recorded = Vec::new();
    for part in 1..=6 {
        another_base(part);
        let mut build = command(&shop.repo);
        build.args(["build", "--registry", &base]);
        let nth = puts * part / 7;
        assert!(
            front.kill_at(&mut build, "PUT .", nth),
            "PUT {nth} of {puts}"
        );
        let plan = at(&["plan", "--verify", "--json"]).json();
        let standing = Shop::standing(&registry, &plan);
        let reused = Shop::with_verdict(&plan, "reuse");
        assert_eq!(reused, standing, "nothing that is recorded is missing");
        recorded.push(standing.len());
        let document = succeeds(&["build", "--json"]).json();
        let reused = Shop::with_verdict(&document, "reused");
        assert_eq!(reused, standing, "nothing is built twice");
        let built = Shop::with_verdict(&document, "built");
        assert_eq!(built.len(), 4 - standing.len(), "{document:#}");
        succeeds(&["plan", "--verify", "--exit-code"]);
    }
    report(&format!(
        "killed at six of {puts} PUTs, with {recorded:?} projects recorded"
    ));
    assert_eq!(recorded[0], 0, "{recorded:?}");
    assert!(
        recorded.iter().any(|count| (1..4).contains(count)),
        "{recorded:?}"
    );
}
