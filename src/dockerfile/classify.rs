//! Which image references are projects of this repository.

use std::collections::BTreeSet;

use crate::manifest::{Manifest, Shape};
use crate::model::ProjectName;

use super::name::full_prefix;
use super::{Fault, FaultKind, ImageName, Reference};

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A project of this repository; which image of it is decided by the plan.
    Project(ProjectName),
    /// An image from elsewhere, its name with tag and digest as it stands there.
    External(String),
}

/// How the references of one project's Dockerfile are read: by the commit's manifest, never by
/// the registry that happens to be written to.
#[derive(Debug, Clone)]
pub struct ReferenceRules {
    /// The registry and the aliases that stand for it, with Docker Hub's host made explicit.
    prefixes: Vec<String>,
    /// The project's dependencies, direct and transitive.
    dependencies: BTreeSet<ProjectName>,
    /// All projects of the manifest.
    projects: BTreeSet<ProjectName>,
    shape: Shape,
}

impl ReferenceRules {
    /// The rules for a project whose dependencies, direct and transitive, are these.
    #[must_use]
    pub fn new(manifest: &Manifest, dependencies: BTreeSet<ProjectName>) -> Self {
        let registry = manifest.registry.as_deref();
        let registry = registry.filter(|registry| *registry != "embedded");
        let aliases = manifest.image_aliases.iter().map(String::as_str);
        Self {
            prefixes: registry
                .into_iter()
                .chain(aliases)
                .map(full_prefix)
                .collect(),
            dependencies,
            projects: manifest.projects.keys().cloned().collect(),
            shape: manifest.shape,
        }
    }

    /// What a reference names. A project's tag has no meaning and is ignored.
    ///
    /// # Errors
    ///
    /// `invalid-reference`; `project-by-digest`; `undeclared-dependency` for a project, named by
    /// the registry or an alias, that is not among the dependencies.
    pub fn classify(&self, reference: &Reference) -> Result<Image, Fault> {
        let fault = |kind| Fault {
            kind,
            location: reference.location.clone(),
        };
        let name = ImageName::parse(&reference.text).map_err(|reason| {
            let text = reference.text.clone();
            fault(FaultKind::InvalidReference { text, reason })
        })?;
        let full = name.full();
        let below = |prefix: &String| full.strip_prefix(prefix)?.strip_prefix('/');
        for candidate in self.prefixes.iter().filter_map(below) {
            if let Some(project) = self.projects.get(candidate) {
                if !self.dependencies.contains(project) {
                    return Err(fault(FaultKind::UndeclaredDependency(project.clone())));
                }
                return project_image(project, &name).map_err(fault);
            }
        }
        match self
            .dependencies
            .get(name.path())
            .filter(|_| self.may_be_bare(&name))
        {
            Some(project) => project_image(project, &name).map_err(fault),
            None => Ok(Image::External(reference.text.clone())),
        }
    }

    /// The project that an external reference may have been meant for: its name is a project's,
    /// but not a dependency's.
    #[must_use]
    pub fn resembles(&self, reference: &Reference) -> Option<&ProjectName> {
        let name = ImageName::parse(&reference.text).ok()?;
        let project = self.projects.get(name.path())?;
        (self.may_be_bare(&name) && !self.dependencies.contains(project)).then_some(project)
    }

    /// Whether a project may be named so: without a host; in Aztec's shape also with any but
    /// Docker Hub's, since its Dockerfiles hold the account's own.
    fn may_be_bare(&self, name: &ImageName<'_>) -> bool {
        match name.host() {
            None => true,
            Some(_) => self.shape == Shape::Aztec && !name.is_docker_hub(),
        }
    }
}

fn project_image(project: &ProjectName, name: &ImageName<'_>) -> Result<Image, FaultKind> {
    match name.digest {
        Some(_) => Err(FaultKind::ProjectByDigest(project.clone())),
        None => Ok(Image::Project(project.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Dockerfile, Values};
    use super::*;
    use crate::model::{Platform, RepoPath};

    fn names(names: &[&str]) -> BTreeSet<ProjectName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn rules(shape: Shape) -> ReferenceRules {
        ReferenceRules {
            prefixes: ["https://r.example:5000/acme/", "acmehub", "old.example"]
                .map(full_prefix)
                .into(),
            dependencies: names(&["base", "libs/log"]),
            projects: names(&["base", "libs/log", "web", "redis"]),
            shape,
        }
    }

    fn reference(text: &str) -> Reference {
        let file = format!("FROM {text}");
        let file = Dockerfile::parse(&RepoPath::from("Dockerfile"), file.as_bytes()).unwrap();
        let values = Values {
            build_args: &BTreeMap::new(),
            platform: &Platform::default(),
            engine_platform: None,
        };
        file.references(&values, None).unwrap().remove(0)
    }

    fn classify(shape: Shape, text: &str) -> Result<Image, &'static str> {
        let classified = rules(shape).classify(&reference(text));
        classified.map_err(|fault| fault.kind.code())
    }

    #[test]
    fn projects_by_registry_alias_or_bare_name() {
        for (text, project) in [
            ("r.example:5000/acme/base", "base"),
            ("r.example:5000/acme/base:v1", "base"),
            ("r.example:5000/acme/libs/log", "libs/log"),
            ("acmehub/base", "base"),
            ("docker.io/acmehub/base:x", "base"),
            ("index.docker.io/acmehub/libs/log", "libs/log"),
            ("old.example/base", "base"),
            ("base", "base"),
            ("base:latest", "base"),
            ("libs/log", "libs/log"),
        ] {
            let expected = Ok(Image::Project(project.parse().unwrap()));
            assert_eq!(classify(Shape::Full, text), expected, "{text}");
            assert_eq!(classify(Shape::Aztec, text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_external() {
        for text in [
            "alpine:3",
            "docker.io/library/base",
            "docker.io/base",
            "acme/base",
            "r.example:5000/base",
            "r.example:5000/acmex/base",
            "r.example:5000/acme/other",
            "web",
            "redis:7",
            "log",
        ] {
            let expected = Ok(Image::External(text.into()));
            assert_eq!(classify(Shape::Full, text), expected, "{text}");
        }
    }

    #[test]
    fn any_host_but_docker_hub_in_aztecs_shape() {
        let ecr = "123456789012.dkr.ecr.eu-west-2.amazonaws.com";
        let base = format!("{ecr}/base:latest");
        let project = Ok(Image::Project("base".parse().unwrap()));
        assert_eq!(classify(Shape::Aztec, &base), project);
        assert_eq!(
            classify(Shape::Full, &base),
            Ok(Image::External(base.clone()))
        );
        for text in [
            "docker.io/base",
            "someone/base",
            "registry-1.docker.io/base",
        ] {
            let expected = Ok(Image::External(text.into()));
            assert_eq!(classify(Shape::Aztec, text), expected, "{text}");
        }
        let nested = format!("{ecr}/prefix/base");
        assert_eq!(
            classify(Shape::Aztec, &nested),
            Ok(Image::External(nested.clone()))
        );
    }

    #[test]
    fn refuses_what_the_plan_could_not_decide() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, code) in [
            (
                "r.example:5000/acme/web".to_owned(),
                "undeclared-dependency",
            ),
            ("acmehub/redis:7".to_owned(), "undeclared-dependency"),
            (format!("base@{digest}"), "project-by-digest"),
            (format!("acmehub/base:x@{digest}"), "project-by-digest"),
            ("Base".to_owned(), "invalid-reference"),
            ("base:".to_owned(), "invalid-reference"),
        ] {
            assert_eq!(classify(Shape::Full, &text), Err(code), "{text}");
        }
    }

    #[test]
    fn notices_names_of_projects_that_are_no_dependencies() {
        let resembles = |text: &str| {
            let rules = rules(Shape::Full);
            rules.resembles(&reference(text)).map(ToString::to_string)
        };
        assert_eq!(resembles("redis:7"), Some("redis".into()));
        assert_eq!(resembles("base"), None);
        assert_eq!(resembles("docker.io/library/redis"), None);
        assert_eq!(resembles("alpine"), None);
    }
}
