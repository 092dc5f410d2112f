//! Projects of several platforms: the real program, the container engine, a real registry.
//!
//! linux/386 stands for the second platform: an amd64 kernel runs its programs without emulation.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::front::{Fault, Front, Rule};
use crate::program::{Ran, command, output, report, run, waybill};
use crate::repo::Repo;
use crate::servers::DockerRegistry;

/// A base of busybox, which keeps the platform that it was built for.
const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY mark /mark\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    ARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /base-platform\n";

const BOTH: [&str; 2] = ["linux/386", "linux/amd64"];
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A repository with a base project, and a registry that holds its images.
struct Yard {
    repo: Repo,
    registry: DockerRegistry,
    base: String,
}

impl Yard {
    /// A base for these platforms, and further projects by name, Dockerfile and fields.
    fn new(platforms: &[&str], projects: &[(&str, &str, Value)]) -> Self {
        let repo = Repo::new();
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).unwrap();
        repo.write_executable("base/busybox", fs::read("/bin/busybox").unwrap());
        repo.write("base/mark", hex::encode(mark));
        repo.write("base/Dockerfile", BASE);
        let mut all = json!({"base": {"buildDir": "base", "platforms": platforms}});
        for (name, dockerfile, fields) in projects {
            repo.write(format!("{name}/Dockerfile"), dockerfile);
            repo.write(format!("{name}/file"), name);
            let mut project = json!({"buildDir": name, "dependencies": ["base"]});
            let fields = fields.as_object().unwrap().clone();
            project.as_object_mut().unwrap().extend(fields);
            all[name] = project;
        }
        let manifest = json!({"version": 1, "projects": all});
        repo.write("build_manifest.json", manifest.to_string());
        repo.commit("the yard");
        let registry = DockerRegistry::start();
        let base = registry.base("acme");
        let yard = Self {
            repo,
            registry,
            base,
        };
        let made = yard.waybill(&["registry", "init"]);
        assert_eq!(made.code, 0, "{}", made.err);
        yard
    }

    fn waybill(&self, arguments: &[&str]) -> Ran {
        self.through(&self.base, arguments)
    }

    /// With another way to the registry.
    fn through(&self, base: &str, arguments: &[&str]) -> Ran {
        run(command(&self.repo)
            .env("WAYBILL_REGISTRY", base)
            .env("WAYBILL_PROGRESS", "plain")
            .args(arguments))
    }

    /// Builds, and returns each project's verdict.
    fn build(&self) -> Vec<(String, String)> {
        let ran = self.waybill(&["build", "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let document = ran.json();
        let projects = document["projects"].as_array().unwrap().iter();
        projects
            .map(|project| (text(&project["name"]), text(&project["verdict"])))
            .collect()
    }

    /// The image of a project by digest.
    fn image(&self, project: &str) -> String {
        let ran = self.waybill(&["image", project]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out.trim().to_owned()
    }

    fn tags(&self, project: &str) -> Vec<String> {
        let image = format!("docker://{}/{project}", self.base);
        let mut list = Command::new("skopeo");
        let listed = list.args(["list-tags", "--tls-verify=false", &image]);
        let listed = listed.output().unwrap();
        if !listed.status.success() {
            let errors = String::from_utf8_lossy(&listed.stderr);
            assert!(errors.contains("repository name not known"), "{errors}");
            return Vec::new();
        }
        let listed = String::from_utf8(listed.stdout).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let tags = listed["Tags"].as_array().unwrap().iter();
        let mut tags: Vec<String> = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort_unstable();
        tags
    }

    /// The projects whose key at the commit has a record in the ledger, by its tag.
    fn standing(&self) -> Vec<String> {
        let tags = self.tags("waybill-ledger");
        let plan = self.waybill(&["plan", "--json"]).json();
        let projects = plan["projects"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        projects
            .filter(|project| tags.contains(&format!("v1-built-{}", text(&project["key"]))))
            .map(|project| text(&project["name"]))
            .collect()
    }

    /// What an index names: platform and full reference of each image.
    fn children(&self, project: &str) -> Vec<(String, String)> {
        let image = self.image(project);
        let index = inspect(&["--raw"], &image);
        assert_eq!(index["mediaType"], LIST, "{index}");
        let entries = index["manifests"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        entries
            .map(|entry| {
                let platform = &entry["platform"];
                let platform = [text(&platform["os"]), text(&platform["architecture"])];
                let digest = text(&entry["digest"]);
                (
                    platform.join("/"),
                    format!("{}/{project}@{digest}", self.base),
                )
            })
            .collect()
    }
}

fn inspect(arguments: &[&str], image: &str) -> Value {
    let image = format!("docker://{image}");
    let inspect = ["inspect", "--tls-verify=false"];
    let told = output("skopeo", &[&inspect, arguments, &[&image]].concat());
    serde_json::from_str(&told).unwrap()
}

/// Runs a command in an image of the registry, which goes from the engine again.
fn run_in(platform: &str, image: &str, command: &[&str]) -> String {
    let arguments = ["run", "--rm", "--platform", platform, image];
    let said = output("docker", &[&arguments, command].concat());
    let _ = Command::new("docker")
        .args(["image", "rm", "--force", image])
        .output();
    said
}

const API: &str = "FROM base\nCOPY . /api\nARG TARGETPLATFORM\n\
    RUN echo $TARGETPLATFORM > /own-platform\nRUN cat /base-platform\n";
const TOOL: &str = "FROM scratch\nCOPY --from=base /bin /bin\nCOPY --from=base /base-platform /\n\
    ARG TARGETPLATFORM\nRUN [\"/bin/sh\", \"-c\", \"echo $TARGETPLATFORM > /own-platform\"]\n";

#[test]
fn two_platforms_from_the_base_to_its_users() {
    let both = json!({"platforms": BOTH});
    let yard = Yard::new(&BOTH, &[("api", API, both.clone()), ("tool", TOOL, both)]);
    let verdicts = |verdict: &str, projects: &[&str]| -> Vec<(String, String)> {
        let projects = projects.iter();
        projects
            .map(|project| ((*project).to_owned(), verdict.to_owned()))
            .collect()
    };
    let all = ["api", "base", "tool"];
    assert_eq!(yard.build(), verdicts("built", &all));
    for project in all {
        let children = yard.children(project);
        let platforms: Vec<_> = children.iter().map(|(platform, _)| platform).collect();
        assert_eq!(platforms, BOTH, "{project}");
        for (platform, image) in &children {
            let config = inspect(&["--config"], image);
            let stated = format!(
                "{}/{}",
                config["os"].as_str().unwrap(),
                config["architecture"].as_str().unwrap()
            );
            assert_eq!(&stated, platform);
            let labels = &config["config"]["Labels"];
            assert_eq!(
                labels["org.opencontainers.image.revision"],
                yard.repo.head()
            );
            let key = labels["io.waybill.key"].as_str().unwrap();
            assert_eq!(
                yard.tags(project),
                tags(key, &yard.repo.head()),
                "{project}"
            );
            if project != "base" {
                let files = ["/bin/cat", "/base-platform", "/own-platform"];
                let said = run_in(platform, image, &files);
                assert_eq!(said, format!("{platform}\n{platform}"), "{project}");
            }
        }
        let digest = |tag: String| {
            let image = format!("{}/{project}:{tag}", yard.base);
            let whole = inspect(&["--override-arch", "amd64"], &image);
            whole["Digest"].as_str().unwrap().to_owned()
        };
        let own = yard.image(project);
        let own = own.rsplit('@').next().unwrap();
        for tag in yard.tags(project) {
            let is_whole = !BOTH.iter().any(|own| tag.ends_with(&own.replace('/', "-")));
            assert_eq!(digest(tag.clone()) == own, is_whole, "{project}:{tag}");
        }
    }
    let log = yard.waybill(&["log", "api"]).out;
    for platform in BOTH {
        assert!(
            log.contains(&format!("=== [{platform} 4/4] RUN cat")),
            "{log}"
        );
    }
    let why = yard.waybill(&["why", "api", "--json"]).json();
    let durations = why.to_string();
    for phase in [
        "build linux/386",
        "build linux/amd64",
        "push linux/386",
        "push linux/amd64",
    ] {
        assert!(durations.contains(&format!("\"{phase}\":")), "{durations}");
    }
    // Nothing changed: nothing is built. One file changed: what uses it is.
    let plan = yard.waybill(&["plan", "--verify", "--exit-code"]);
    assert_eq!(plan.code, 0, "{}", plan.out);
    assert_eq!(yard.build(), verdicts("reused", &all));
    let before = yard.image("api");
    yard.repo.write("api/file", "another");
    yard.repo.commit("another file");
    let mut expected = verdicts("reused", &all);
    expected[0].1 = "built".to_owned();
    assert_eq!(yard.build(), expected);
    assert_ne!(yard.image("api"), before);
    assert_eq!(yard.children("api").len(), 2);
}

/// Every tag that a project's repository has after one build, sorted.
fn tags(key: &str, commit: &str) -> Vec<String> {
    vec![
        format!("cache-{commit}"),
        format!("in-{key}"),
        format!("in-{key}-linux-386"),
        format!("in-{key}-linux-amd64"),
    ]
}

#[test]
fn a_base_of_another_platform_is_an_error_before_anything_is_built() {
    let yard = Yard::new(
        &["linux/386"],
        &[
            ("api", API, json!({"platforms": BOTH})),
            ("web", TOOL, json!({})),
            (
                "data",
                "FROM --platform=linux/386 base AS old\nFROM scratch\n\
                 COPY --from=old /base-platform /\n",
                json!({}),
            ),
            ("wrong", "FROM --platform=linux/386 base\n", json!({})),
        ],
    );
    let checked = yard.waybill(&["check"]);
    assert_eq!(checked.code, 2, "{}", checked.out);
    let said = checked.out + &checked.err;
    let told = "the image of base is wanted for linux/amd64, and is there for linux/386";
    for project in ["api", "web"] {
        let problem = format!("error[base-of-another-platform]: {project}: {told}");
        assert!(said.contains(&problem), "{said}");
    }
    assert!(!said.contains("-platform]: data"), "{said}");
    let ran = yard.waybill(&["build"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for project in ["api", "web"] {
        let problem = format!("error[base-of-another-platform]: {project}: {told}");
        assert!(ran.err.contains(&problem), "{}", ran.err);
        assert!(!ran.err.contains(&format!("{project} | [")), "{}", ran.err);
    }
    assert!(
        ran.err
            .contains("add linux/amd64 to the `platforms` of base"),
        "{}",
        ran.err
    );
    let begins = "error[base-of-another-platform]: wrong: what is built for linux/amd64 begins \
                  with the image of base for linux/386";
    assert!(said.contains(begins), "{said}");
    assert!(ran.err.contains(begins), "{}", ran.err);
    assert!(ran.err.contains("2 built, 3 error"), "{}", ran.err);

    // The same image, as one from elsewhere.
    let image = yard.image("base");
    let (name, digest) = image.split_once('@').unwrap();
    let elsewhere = format!("{}/elsewhere/base:1", yard.registry.address);
    let copy = [
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{name}@{digest}"),
        &format!("docker://{elsewhere}"),
    ];
    output("skopeo", &copy);
    for (dockerfile, code, problem) in [
        (format!("FROM {elsewhere}\n"), 2, "base-of-another-platform"),
        (
            format!("FROM scratch\nCOPY --from={elsewhere} /mark /\n"),
            2,
            "base-of-another-platform",
        ),
        (
            format!(
                "FROM --platform=linux/386 {elsewhere} AS a\nFROM scratch\nCOPY --from=a /mark /\n"
            ),
            0,
            "1 built",
        ),
    ] {
        yard.repo.write("web/Dockerfile", &dockerfile);
        yard.repo.commit("a base from elsewhere");
        let ran = yard.waybill(&["build", "web"]);
        assert_eq!(ran.code, code, "{dockerfile}{}", ran.err);
        assert!(ran.err.contains(problem), "{dockerfile}{}", ran.err);
    }
}

#[test]
fn a_base_that_nobody_could_ask_for_is_left_to_the_engine_for_its_own_platform_only() {
    let old = json!({"platforms": ["linux/386"]});
    let yard = Yard::new(&BOTH, &[("old", TOOL, old), ("web", TOOL, json!({}))]);
    let ran = yard.waybill(&["build", "base"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let tags = yard.tags("base");
    let whole = tags
        .iter()
        .find(|tag| tag.len() == "in-".len() + 64)
        .unwrap();
    let front = Front::start(yard.registry.address);
    for project in ["old", "web"] {
        let dockerfile = format!("FROM {}/base:{whole}\n", front.base("acme"));
        yard.repo.write(format!("{project}/Dockerfile"), dockerfile);
    }
    yard.repo.commit("a base from elsewhere");
    let mut harmed = 0;
    for (project, code, told) in [
        ("old", 3, "error[registry-"),
        (
            "web",
            0,
            "warning[base-not-asked]: web: nobody looked which platforms '",
        ),
    ] {
        // The tag's digest is told, and no manifest; the engine asks after waybill.
        front.reset();
        front.add(
            Rule::on("GET", "/manifests/sha256")
                .nth(1)
                .does(Fault::status(400)),
        );
        let ran = yard.waybill(&["build", project]);
        assert_eq!(ran.code, code, "{project}: {}", ran.err);
        assert!(ran.err.contains(told), "{project}: {}", ran.err);
        harmed += 1;
        assert_eq!(front.harmed(), harmed);
    }
    assert_eq!(yard.waybill(&["build", "old"]).code, 0);
}

#[test]
fn a_push_that_fails_leaves_nothing_recorded() {
    let yard = Yard::new(&BOTH, &[]);
    let front = Front::start(yard.registry.address);
    let base = front.base("acme");
    for refused in ["in-[0-9a-f]{64}-linux-amd64", "in-[0-9a-f]{64}$"] {
        front.reset();
        let path = format!("/base/manifests/{refused}");
        front.add(Rule::on("PUT", &path).does(Fault::error(403, "DENIED", "not here")));
        let ran = yard.through(&base, &["build"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        let tags = yard.tags("base");
        assert!(tags.iter().all(|tag| tag.contains("-linux-")), "{tags:?}");
        let plan = yard.waybill(&["plan", "--exit-code"]);
        assert_eq!(plan.code, 10, "{}", plan.out);
    }
    front.reset();
    let ran = yard.through(&base, &["build"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(yard.tags("base").len(), 4);
}

#[test]
fn killed_between_its_platforms_a_build_is_gone_on_with() {
    let yard = Yard::new(&BOTH, &[("api", API, json!({"platforms": BOTH}))]);
    let front = Front::start(yard.registry.address);
    // What is put, for which time, and what is recorded by then.
    for (put, nth, recorded) in [
        ("base/blobs/uploads/.*digest=", 2, &[] as &[&str]),
        ("base/manifests/in-.*-386", 1, &[]),
        ("base/manifests/in-.*-amd64", 1, &[]),
        ("base/manifests/in-[0-9a-f]*$", 1, &[]),
        ("waybill-ledger/manifests/v1-built-", 1, &[]),
        ("api/manifests/in-.*-386", 1, &["base"]),
        ("waybill-ledger/manifests/v1-built-", 1, &["base"]),
    ] {
        let mut build = command(&yard.repo);
        build.args(["build", "--registry", &front.base("acme")]);
        let killed = front.kill_at(&mut build, &format!("PUT /v2/acme/{put}"), nth);
        assert!(killed, "{put}: it ended by itself");
        let standing = yard.standing();
        assert_eq!(standing, recorded, "{put}");
        for project in standing {
            // Whatever is recorded is whole: an image of each platform, and both together.
            let images = yard.children(&project);
            assert_eq!(images.len(), 2, "{put}");
            for (_, image) in images {
                inspect(&["--config"], &image);
            }
            assert_eq!(yard.tags(&project).len(), 4, "{put}");
        }
        let plan = yard.waybill(&["plan", "--verify", "--json"]).json();
        let reused = |project: &&Value| project["action"] == "reuse";
        let planned = plan["projects"].as_array().unwrap().iter().filter(reused);
        let planned: Vec<&str> = planned.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(planned, recorded, "{put}");
    }
    let verdict = |project: &str, verdict: &str| (project.to_owned(), verdict.to_owned());
    assert_eq!(
        yard.build(),
        [verdict("api", "built"), verdict("base", "reused")]
    );
    assert_eq!(yard.standing(), ["api", "base"]);
    assert_eq!(yard.children("api").len(), 2);
    let plan = yard.waybill(&["plan", "--verify", "--exit-code"]);
    assert_eq!(plan.code, 0, "{}", plan.out);
}

#[test]
fn an_embedded_base_and_stages_of_several_platforms() {
    let staged = "FROM base AS one\nRUN echo one > /one\n\
        FROM one\nCOPY . /api\nRUN echo two\n";
    let fields = json!({"platforms": BOTH, "layerCache": "stages"});
    let yard = Yard::new(&BOTH, &[("api", staged, fields)]);
    let built = waybill(&yard.repo, &["build", "--progress", "plain"]);
    assert_eq!(built.code, 0, "{}", built.err);
    let kept = format!("waybill/api:{}", yard.repo.head());
    let said = output(
        "docker",
        &["run", "--rm", &kept, "/bin/cat", "/base-platform"],
    );
    assert_eq!(said, "linux/amd64", "the engine's own stays");
    for name in ["api", "base"] {
        let kept = format!("waybill/{name}:{}", yard.repo.head());
        output("docker", &["image", "rm", "--force", &kept]);
    }
    yard.build();
    let tags = yard.tags("api");
    let stages: Vec<&String> = tags
        .iter()
        .filter(|tag| tag.starts_with("stage-"))
        .collect();
    assert_eq!(stages.len(), 3, "{tags:?}");
    assert!(stages.iter().all(|tag| tag.contains("-one")), "{tags:?}");
    let stage = stages.iter().find(|tag| tag.ends_with("-one")).unwrap();
    let index = inspect(&["--raw"], &format!("{}/api:{stage}", yard.base));
    assert_eq!(index["mediaType"], LIST);
    // Caches that are indexes do no harm to the next build.
    yard.repo.write("api/file", "another");
    yard.repo.commit("another file");
    let ran = yard.waybill(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for platform in BOTH {
        let cached = format!("[{platform} one 2/2] RUN echo one > /one: cached");
        assert!(ran.err.contains(&cached), "{}", ran.err);
    }
}

/// With emulation, a build for arm64; without, the refusal of one: never a wrong image.
#[test]
fn arm64_is_emulated_or_refused() {
    let both = ["linux/amd64", "linux/arm64"];
    let yard = Yard::new(&both, &[("api", API, json!({"platforms": both}))]);
    // As registered by Debian's qemu-user-static.
    if !Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() {
        report("no emulation of arm64 on this machine: only its refusal was tried");
        let ran = yard.waybill(&["build"]);
        ran.stops(3, "platform-not-runnable: base");
        assert_eq!(yard.tags("base"), Vec::<String>::new());
        return;
    }
    // `scripts/test setup` fetches it.
    let arm = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/busybox-arm64");
    let arm = fs::read(arm).expect("a busybox for arm64: run `scripts/test setup`");
    yard.repo.write_executable("base/busybox-arm64", arm);
    yard.repo
        .write_executable("base/busybox-amd64", fs::read("/bin/busybox").unwrap());
    let dockerfile = BASE.replace("COPY busybox", "ARG TARGETARCH\nCOPY busybox-$TARGETARCH");
    yard.repo
        .write("base/Dockerfile", dockerfile + "RUN uname -m > /machine\n");
    yard.repo.commit("a busybox for each");
    assert_eq!(yard.build().len(), 2);
    for project in ["api", "base"] {
        let children = yard.children(project);
        let platforms: Vec<_> = children.iter().map(|(platform, _)| platform).collect();
        assert_eq!(platforms, both, "{project}");
        for ((platform, image), machine) in children.iter().zip(["x86_64", "aarch64"]) {
            let said = run_in(platform, image, &["/bin/cat", "/base-platform", "/machine"]);
            assert_eq!(said, format!("{platform}\n{machine}"), "{project}");
        }
    }
}
