//! What decides about a single image, case by case.

use waybill::ledger::{TaintRecord, names};
use waybill::model::{CommitId, ProjectName, Reason};
use waybill::plan::{Action, Place, Plan};

use super::images::Image;
use super::{PlanRequest, Registry, Repository, request};
use crate::repo::Repo;

const PROJECTS: &str = r#"
    "base": {"buildDir": "base"},
    "api": {"buildDir": "api", "dependencies": ["base"]},
    "web": {"buildDir": "web", "dependencies": ["base"]},
    "doc": {"buildDir": "doc"}
"#;

/// A base, one project that uses its image, one that it only triggers, and one beside them.
struct Town {
    repo: Repo,
    registry: Registry,
}

impl Town {
    fn new() -> Self {
        let repo = Repo::new();
        repo.write("build_manifest.json", format!("{{{PROJECTS}}}"));
        for project in ["base", "api", "web", "doc"] {
            repo.write(format!("{project}/file"), "1");
            repo.write(format!("{project}/Dockerfile"), "FROM scratch\n");
        }
        repo.write("api/Dockerfile", "FROM registry.example.com/base\n");
        Self {
            repo,
            registry: Registry::start(),
        }
    }

    fn commit(&self) -> CommitId {
        self.repo.commit("x").parse().unwrap()
    }

    /// Puts an image under a commit's tag, and returns it.
    fn tag(&self, project: &str, commit: CommitId, content: u32) -> Image {
        let image = Image {
            content,
            architecture: "amd64",
            key: None,
        };
        self.put(project, commit, &image);
        image
    }

    fn put(&self, project: &str, commit: CommitId, image: &Image) {
        let repository = format!("acme/{project}");
        self.registry
            .images
            .put(&repository, &names::alias(commit), image);
    }

    fn tag_all(&self, commit: CommitId) {
        for (content, project) in (10..).zip(["base", "api", "web", "doc"]) {
            self.tag(project, commit, content);
        }
    }

    fn plan(&self, request: &PlanRequest) -> Plan {
        let repository = Repository::open(self.repo.path()).unwrap();
        self.registry.plan(&repository, request)
    }

    /// `project@commit` of each image that is taken over, by the number of the commit.
    fn adopted(&self, request: &PlanRequest, commits: &[CommitId]) -> String {
        let plan = self.plan(request);
        let adopted = plan.projects.values().filter_map(|planned| {
            assert!(!matches!(planned.action, Action::None));
            match &planned.reason {
                Reason::UnchangedSince { commit } => {
                    let number = commits.iter().position(|known| known == commit).unwrap();
                    Some(format!("{}@{number}", planned.name))
                }
                _ => None,
            }
        });
        adopted.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_revert_makes_the_older_image_good_again() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    town.repo.write("web/file", "2");
    let second = town.commit();
    town.tag("web", second, 22);
    town.repo.write("web/file", "1");
    let third = town.commit();
    let commits = [first, second, third];
    let at = |commit| town.adopted(&request(commit), &commits);
    assert_eq!(at(second), "api@0 base@0 doc@0 web@1");
    assert_eq!(at(third), "api@0 base@0 doc@0 web@0");
}

#[test]
fn an_edit_builds_the_project_and_its_dependents() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    town.repo.write("base/file", "2");
    let second = town.commit();
    assert_eq!(town.adopted(&request(second), &[first]), "doc@0");
}

#[test]
fn a_used_image_must_carry_the_same_tag() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    town.repo.write("unrelated", "2");
    let second = town.commit();
    // The base was built again there: what stands under the first tag is not what is current.
    town.tag("base", second, 99);
    let commits = [first, second];
    assert_eq!(
        town.adopted(&request(second), &commits),
        "base@1 doc@0 web@0"
    );
    // Two tags of one image are the same image.
    town.tag("base", second, 10);
    assert_eq!(
        town.adopted(&request(second), &commits),
        "api@0 base@1 doc@0 web@0"
    );
}

/// An image of other content for another platform.
const ARM: Image = Image {
    content: 1,
    architecture: "arm64",
    key: None,
};

#[test]
fn an_image_for_another_platform_is_refused() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    town.put("web", first, &ARM);
    assert_eq!(
        town.adopted(&request(first), &[first]),
        "api@0 base@0 doc@0"
    );
}

#[test]
fn of_several_platforms_an_index_must_have_every_one() {
    let town = Town::new();
    let several = PROJECTS.replace(
        r#""doc": {"buildDir": "doc""#,
        r#""doc": {"multiarch": "buildx", "buildDir": "doc""#,
    );
    town.repo
        .write("build_manifest.json", format!("{{{several}}}"));
    let first = town.commit();
    let image = |architecture, key: Option<&str>| Image {
        content: 1,
        architecture,
        key: key.map(str::to_owned),
    };
    let (amd, arm) = (image("amd64", None), image("arm64", None));
    let adopted = |images: &[Image]| {
        let images_of = &town.registry.images;
        images_of.put_index("acme/doc", &names::alias(first), images);
        town.adopted(&request(first), &[first])
    };
    town.put("doc", first, &amd);
    assert_eq!(town.adopted(&request(first), &[first]), "");
    assert_eq!(
        refused(&town, "doc", first),
        "its image is for linux/amd64, and linux/amd64, linux/arm64 are wanted"
    );
    assert_eq!(adopted(&[arm.clone(), amd.clone()]), "doc@0");
    assert_eq!(adopted(&[arm.clone(), image("s390x", None)]), "");
    assert_eq!(
        refused(&town, "doc", first),
        "its image is for linux/arm64, linux/s390x, and linux/amd64, linux/arm64 are wanted"
    );
    let more = [image("s390x", None), arm.clone(), amd.clone()];
    assert_eq!(adopted(&more), "doc@0", "others may stand beside");
    let other_key = image("arm64", Some(&"0".repeat(64)));
    assert_eq!(adopted(&[amd, other_key]), "");
    assert_eq!(
        refused(&town, "doc", first),
        "its image carries the label of another key"
    );
    assert_eq!(adopted(&[]), "");
    assert_eq!(
        refused(&town, "doc", first),
        "its image states no platform, and linux/amd64, linux/arm64 are wanted"
    );
}

#[test]
fn an_index_is_right_for_one_platform_too() {
    let town = Town::new();
    let first = town.commit();
    let image = |architecture| Image {
        content: 1,
        architecture,
        key: None,
    };
    let tag = names::alias(first);
    let images = &town.registry.images;
    images.put_index("acme/web", &tag, &[image("amd64"), image("arm64")]);
    images.put_index("acme/doc", &tag, &[image("arm64")]);
    town.tag("base", first, 1);
    assert_eq!(town.adopted(&request(first), &[first]), "base@0 web@0");
}

#[test]
fn an_image_of_another_key_is_refused_and_one_of_this_key_is_not() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    let key = town.plan(&request(first)).projects["web"].key.key;
    let labelled = |key: String| Image {
        content: 1,
        architecture: "amd64",
        key: Some(key),
    };
    town.put("web", first, &labelled("0".repeat(64)));
    assert_eq!(
        town.adopted(&request(first), &[first]),
        "api@0 base@0 doc@0"
    );
    town.put("web", first, &labelled(key.to_string()));
    assert_eq!(
        town.adopted(&request(first), &[first]),
        "api@0 base@0 doc@0 web@0"
    );
}

#[test]
fn nothing_is_adopted_where_the_key_comes_from_a_taint() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    let base: ProjectName = "base".parse().unwrap();
    let key = town.plan(&request(first)).projects[&base].key.key;
    let taint = TaintRecord {
        reason: Reason::Forced {
            by: "Ada".into(),
            why: "test".into(),
            commit: first,
        },
        commit: first,
        by: "Ada".into(),
    };
    let ledger = &town.registry.bases.registry;
    let written = ledger.write_taint(key, &base, &taint, "2026-01-01T00:00:00Z");
    town.registry.runtime.block_on(written).unwrap();
    // Neither the base, nor what uses it, nor what it only triggers.
    assert_eq!(town.adopted(&request(first), &[first]), "doc@0");
    let forced = PlanRequest {
        force: ["doc".parse().unwrap()].into(),
        ..request(first)
    };
    assert_eq!(town.adopted(&forced, &[first]), "");
}

#[test]
fn nothing_is_adopted_where_the_key_holds_a_release_tag() {
    let town = Town::new();
    town.repo
        .write("base/Dockerfile", "FROM scratch\nARG COMMIT_TAG\n");
    let first = town.commit();
    town.tag_all(first);
    let mut tagged = request(first);
    tagged.options.tag = Some("v1".into());
    assert_eq!(town.adopted(&tagged, &[first]), "doc@0");
    assert_eq!(
        town.adopted(&request(first), &[first]),
        "api@0 base@0 doc@0 web@0"
    );
}

#[test]
fn the_full_shape_adopts_only_where_it_says_so() {
    for (adopt, expected) in [
        ("", ""),
        (r#""adopt": false,"#, ""),
        (r#""adopt": true,"#, "base@0 doc@0 web@0"),
    ] {
        let town = Town::new();
        let manifest = format!(r#"{{"version": 1, {adopt} "projects": {{{PROJECTS}}}}}"#);
        town.repo.write("build_manifest.json", manifest);
        // In the full shape a host must be the registry's: this one is somebody else's image.
        town.repo.write("api/Dockerfile", "FROM base\n");
        let first = town.commit();
        for project in ["base", "web", "doc"] {
            town.tag(project, first, 1);
        }
        assert_eq!(town.adopted(&request(first), &[first]), expected);
    }
}

#[test]
fn what_is_wrong_with_one_project_of_an_ancestor_says_nothing_against_the_others() {
    let town = Town::new();
    let split = PROJECTS.replace(
        r#""buildDir": "doc""#,
        r#""buildDir": "doc", "projectDir": "doc/src""#,
    );
    town.repo
        .write("build_manifest.json", format!("{{{split}}}"));
    town.repo.write("doc/src/Dockerfile", "FROM busybox\n");
    let first = town.commit();
    town.tag_all(first);
    town.repo.remove("doc/src/Dockerfile");
    town.repo.write("doc/src/file", "1");
    let second = town.commit();
    assert_eq!(
        town.adopted(&request(second), &[first]),
        "api@0 base@0 web@0"
    );
}

#[test]
fn a_change_is_told_though_another_project_of_the_ancestor_is_wrong() {
    let town = Town::new();
    let wrong = PROJECTS.replace(
        r#""buildDir": "doc""#,
        r#""buildDir": "doc", "projectDir": "doc/src", "dependencies": ["base"]"#,
    );
    let wrong = wrong.replace(
        r#""buildDir": "web", "dependencies": ["base"]"#,
        r#""buildDir": "web", "dependencies": ["base", "doc"]"#,
    );
    town.repo
        .write("build_manifest.json", format!("{{{wrong}}}"));
    town.repo.write("doc/src/Dockerfile", "FROM busybox\n");
    let first = town.commit();
    town.tag_all(first);
    town.repo
        .write("build_manifest.json", format!("{{{PROJECTS}}}"));
    town.repo.write("api/file", "2");
    town.repo.write("web/file", "2");
    let second = town.commit();
    let plan = town.plan(&request(second));
    assert_eq!(plan.projects["api"].reason.commit(), Some(first));
    let reason = |project: &str| serde_json::to_value(&plan.projects[project].reason).unwrap();
    assert_eq!(reason("api")["files"][0]["path"], "api/file");
    for project in ["doc", "web"] {
        let reason = reason(project);
        assert_eq!(reason["kind"], "history-unavailable", "{project}");
        let missing = reason["missing"].as_str().unwrap();
        assert!(missing.contains("Dockerfile"), "{missing}");
    }
}

/// What is told of a project that is built though nothing of it changed.
fn refused(town: &Town, project: &str, commit: CommitId) -> String {
    let plan = town.plan(&request(commit));
    let reason = serde_json::to_value(&plan.projects[project].reason).unwrap();
    assert_eq!(reason["kind"], "inputs-changed", "{reason}");
    let nothing = (&serde_json::json!([]), &serde_json::json!([]));
    assert_eq!((&reason["files"], &reason["fields"]), nothing, "{reason}");
    reason["refused"].as_str().unwrap().to_owned()
}

#[test]
fn why_an_image_with_the_same_inputs_is_not_taken_over_is_told() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    town.put("web", first, &ARM);
    assert_eq!(
        refused(&town, "web", first),
        "its image is for linux/arm64, and linux/amd64 is wanted"
    );
    let other = Image {
        architecture: "amd64",
        key: Some("0".repeat(64)),
        ..ARM
    };
    town.put("web", first, &other);
    assert_eq!(
        refused(&town, "web", first),
        "its image carries the label of another key"
    );
    // What cannot be pulled is not taken over, and is no reason to stop; no more is a part of an
    // index.
    town.put("web", first, &other);
    town.registry.images.lose_config(&other, true);
    let told = refused(&town, "web", first);
    assert!(told.starts_with("the config sha256:"), "{told}");
    assert!(told.ends_with(" of its image is missing"), "{told}");
    let tag = names::alias(first);
    let images = &town.registry.images;
    images.put_index("acme/web", &tag, std::slice::from_ref(&other));
    images.lose_config(&other, true);
    let told = refused(&town, "web", first);
    assert!(told.ends_with(" of its image is missing"), "{told}");
    town.put("web", first, &other);
    town.repo.write("unrelated", "2");
    let second = town.commit();
    town.tag("base", second, 99);
    assert_eq!(
        refused(&town, "api", second),
        "its image uses that of base, and the current one does not carry the same tag"
    );
    town.put("base", first, &ARM);
    town.put("base", second, &ARM);
    assert_eq!(
        refused(&town, "api", second),
        "its image uses that of base, which is built"
    );
    let mut tagged = request(second);
    tagged.options.tag = Some("v1".to_owned());
    town.repo
        .write("doc/Dockerfile", "FROM scratch\nARG COMMIT_TAG\n");
    let third = town.commit();
    town.tag("doc", third, 7);
    tagged.commit = third;
    let reason = town.plan(&tagged).projects["doc"].reason.clone();
    let reason = serde_json::to_value(reason).unwrap();
    assert_eq!(reason["refused"], "no record stands for it");
}

#[test]
fn of_the_images_of_two_bases_the_one_that_is_right_is_taken() {
    let upstream = Town::new();
    let mut town = Town::new();
    town.registry.read_too(&upstream.registry);
    let first = town.commit();
    town.tag_all(first);
    town.put("doc", first, &ARM);
    for (content, project) in (20..).zip(["base", "doc"]) {
        let image = Image {
            content,
            architecture: "amd64",
            key: None,
        };
        upstream.put(project, first, &image);
    }
    let plan = town.plan(&request(first));
    let place = |project: &str| match &plan.projects[project].action {
        Action::Reuse { place, .. } => *place,
        other => panic!("{project}: {other:?}"),
    };
    assert_eq!(place("doc"), Place::Upstream);
    assert_eq!(place("base"), Place::Registry, "both are right");
}

#[test]
fn history_is_searched_no_further_than_asked() {
    let town = Town::new();
    let first = town.commit();
    town.tag_all(first);
    let second = town.commit();
    let third = town.commit();
    let limited = |history| PlanRequest {
        history,
        ..request(third)
    };
    let commits = [first, second, third];
    assert_eq!(town.adopted(&limited(2), &commits), "");
    assert_eq!(
        town.adopted(&limited(3), &commits),
        "api@0 base@0 doc@0 web@0"
    );
}
