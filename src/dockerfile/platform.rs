//! The platform that an image in a Dockerfile is wanted for (Dockerfile reference, `FROM`).

use crate::model::Platform;
use crate::problem::Problem;

use super::variables::Scope;
use super::{Image, Reference};

/// The platform that an image is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedPlatform {
    /// The one that is built for. So it is for every image that is copied from or mounted,
    /// whatever the platform of the stage that does it.
    Target,
    /// The one that `FROM --platform=` names.
    Named(Platform),
    /// `FROM --platform=` names one that cannot be told: a variable is open, or it is no platform
    /// that is known here. The engine has the last word.
    Unknown,
}

impl Reference {
    /// What is wrong with the platform of an image, in a build for `target`: it is not `offered`
    /// for the one that is wanted (`None` where that is not known), or the image that is built
    /// begins with another platform's, which an engine labels with the target's all the same.
    /// `None` too where it cannot be told which platform is wanted.
    #[must_use]
    pub fn platform_problem(
        &self,
        image: &Image,
        target: &Platform,
        offered: Option<&[Platform]>,
    ) -> Option<Problem> {
        let (project, name) = match image {
            Image::Project(name) => (Some(name), format!("the image of {name}")),
            Image::External(name) => (None, format!("'{name}'")),
        };
        let wanted = match &self.platform {
            WantedPlatform::Unknown => return None,
            WantedPlatform::Target => target,
            WantedPlatform::Named(other) if self.begins && !other.serves(target) => {
                let message = format!(
                    "what is built for {target} begins with {name} for {other}, and would be \
                     called {target}'s"
                );
                let hint = "leave `--platform` out of this FROM, or write $TARGETPLATFORM there";
                return Some(self.problem(message, hint.to_owned()));
            }
            WantedPlatform::Named(platform) => platform,
        };
        let offered = offered?;
        if offered.iter().any(|offered| offered.serves(wanted)) {
            return None;
        }
        let message = format!(
            "{name} is wanted for {wanted}, and is there for {}",
            Platform::list(offered)
        );
        let way = match project {
            Some(name) => format!("add {wanted} to the `platforms` of {name}"),
            None => format!("name an image that is there for {wanted}"),
        };
        let hint = format!(
            "{way}; to copy from another platform's image, give it a stage of its own with `FROM \
             --platform=…`"
        );
        Some(self.problem(message, hint))
    }

    fn problem(&self, message: String, hint: String) -> Problem {
        Problem::error("base-of-another-platform", message)
            .at(self.location.clone())
            .hint(hint)
    }
}

/// What `--platform=` says; `global` is the scope of the `FROM` lines.
pub(super) fn wanted_platform(written: &str, global: &Scope) -> WantedPlatform {
    let expanded = global.expand(written);
    let told = expanded.ok().filter(|expanded| expanded.open.is_empty());
    let platform = told.and_then(|told| known(&told.text.to_ascii_lowercase()));
    platform.map_or(WantedPlatform::Unknown, WantedPlatform::Named)
}

/// A platform with other words for architectures put right, as containerd does; an architecture
/// alone is Linux's.
fn known(text: &str) -> Option<Platform> {
    let text = if text.contains('/') {
        text.to_owned()
    } else {
        format!("linux/{text}")
    };
    let mut platform: Platform = text.replace("x86_64", "amd64").parse().ok()?;
    let (architecture, variant) = match platform.architecture.as_str() {
        "i386" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        known @ ("amd64" | "386" | "arm64" | "arm" | "riscv64" | "ppc64le" | "s390x") => {
            (known, None)
        }
        _ => return None,
    };
    platform.architecture = architecture.to_owned();
    platform.variant = platform.variant.or(variant.map(str::to_owned));
    Some(platform)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Dockerfile, Values};
    use super::*;
    use crate::model::RepoPath;

    /// What the images of a file are wanted for, built for linux/arm/v7 on linux/amd64.
    fn wanted(file: &str) -> Vec<String> {
        let file = Dockerfile::parse(&RepoPath::from("Dockerfile"), file.as_bytes()).unwrap();
        let values = Values {
            build_args: &BTreeMap::new(),
            platform: &"linux/arm/v7".parse().unwrap(),
            engine_platform: Some(&Platform::default()),
        };
        let references = file.references(&values, None).unwrap().into_iter();
        let wanted = references.map(|reference| match reference.platform {
            WantedPlatform::Target => "target".to_owned(),
            WantedPlatform::Named(platform) => platform.to_string(),
            WantedPlatform::Unknown => "unknown".to_owned(),
        });
        wanted.collect()
    }

    #[test]
    fn only_from_names_a_platform() {
        let file = "ARG P=linux/arm64\nFROM --platform=$BUILDPLATFORM a AS build\n\
            COPY --from=b / /\nRUN --mount=from=c true\nFROM --platform=$P d\n\
            FROM e\nCOPY --from=build / /\n";
        assert_eq!(
            wanted(file),
            ["linux/amd64", "target", "target", "linux/arm64", "target"]
        );
    }

    #[test]
    fn what_is_wrong_with_a_platform_is_told() {
        let problems = |file: &str, offered: Option<&[&str]>| -> Vec<String> {
            let file = Dockerfile::parse(&RepoPath::from("Dockerfile"), file.as_bytes()).unwrap();
            let values = Values {
                build_args: &BTreeMap::new(),
                platform: &"linux/arm64".parse().unwrap(),
                engine_platform: Some(&Platform::default()),
            };
            let offered: Option<Vec<Platform>> =
                offered.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
            let references = file.references(&values, None).unwrap().into_iter();
            let problems = references.filter_map(|reference| {
                let image = Image::External(reference.text.clone());
                reference.platform_problem(&image, values.platform, offered.as_deref())
            });
            problems.map(|problem| problem.message).collect()
        };
        let amd64 = Some(&["linux/amd64"][..]);
        let missing = "'a' is wanted for linux/arm64, and is there for linux/amd64";
        let begins = "what is built for linux/arm64 begins with 'a' for linux/amd64, and would be \
                      called linux/arm64's";
        for (file, offered, expected) in [
            ("FROM a\n", amd64, &[missing][..]),
            (
                "FROM a\n",
                Some(&["linux/amd64", "linux/arm64/v8"][..]),
                &[],
            ),
            ("FROM a\n", None, &[]),
            ("FROM scratch\nCOPY --from=a / /\n", amd64, &[missing]),
            (
                "FROM --platform=$BUILDPLATFORM a AS b\nFROM scratch\nCOPY --from=b / /\n",
                amd64,
                &[],
            ),
            ("FROM --platform=$BUILDPLATFORM a\n", amd64, &[begins]),
            (
                "FROM --platform=linux/amd64 a AS b\nFROM b AS c\nFROM c\n",
                None,
                &[begins],
            ),
            ("FROM --platform=$OTHER a\n", amd64, &[]),
        ] {
            assert_eq!(problems(file, offered), expected, "{file}");
        }
    }

    #[test]
    fn platforms_go_by_several_words() {
        for (written, expected) in [
            ("$TARGETPLATFORM", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
            ("i386", "linux/386"),
            ("$OTHER", "unknown"),
            ("linux", "unknown"),
            ("a/b/c/d", "unknown"),
        ] {
            let file = format!("FROM --platform={written} a\n");
            assert_eq!(wanted(&file), [expected], "{written}");
        }
    }
}
