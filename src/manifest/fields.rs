//! Every field of the manifest, once: what it may hold, whether the key covers it, what it is for.
//! The reader, the JSON Schema and the test of the key's completeness all read this list.

/// Whether a field can change an image, and so belongs to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// The key covers it.
    InKey,
    /// The key does not need it, and why.
    Exempt(&'static str),
}

/// A field of an object of the manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) role: KeyRole,
    /// What it is for, one sentence.
    pub(crate) about: &'static str,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number, 0 or more; anything else has this code.
    Whole {
        code: &'static str,
    },
    /// The number 1.
    Version,
    /// One of some words; another string has this code.
    Choice {
        words: &'static [&'static str],
        code: &'static str,
    },
    /// An array of strings.
    Texts,
    /// An array of strings, or a string that names a file of them.
    TextsOrFile,
    /// An array of strings; a string names a script, which is refused with advice.
    TextsNotScript,
    /// An object of strings; anything else in it has this code.
    TextMap {
        code: &'static str,
    },
    /// An object of tasks, by name; with `shared`, a string may name one at the top.
    Tasks {
        shared: bool,
    },
    /// An object of arrays of strings.
    Sequences,
    /// A registry: a string, or an object with `url`.
    Base,
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object of objects with these fields, by project name.
    Projects,
    /// An object whose entries are read elsewhere.
    AnyObject,
    /// An array whose items are read elsewhere.
    AnyArray,
    /// `run`: an object of objects; of each, `dependencies` is read here.
    Runs,
}

const fn field(name: &'static str, kind: Kind, role: KeyRole, about: &'static str) -> Field {
    Field {
        name,
        kind,
        role,
        about,
    }
}

use KeyRole::{Exempt, InKey};
use Kind::{
    AnyArray, AnyObject, Base, Choice, Flag, Object, Projects, Runs, Sequences, Tasks, Text,
    TextMap, Texts, TextsNotScript, TextsOrFile, Version, Whole,
};

const WHERE_STORED: KeyRole = Exempt("says where images are kept, not what is in them");
const AFTER_BUILD: KeyRole = Exempt("is about what happens with an image once it is built");
const HOW_BUILT: KeyRole = Exempt("changes how fast an image is built, not what is in it");
const WHETHER_REUSED: KeyRole = Exempt("is part of the decision, not of the image");
const ABOUT_FILE: KeyRole = Exempt("is about the manifest itself");

/// The fields of the full shape.
pub(crate) const TOP: &[Field] = &[
    field(
        "$schema",
        Text,
        ABOUT_FILE,
        "Where an editor finds this schema.",
    ),
    field(
        "version",
        Version,
        ABOUT_FILE,
        "The version of the manifest's form: 1.",
    ),
    field(
        "registry",
        Base,
        InKey,
        "The base that holds images and ledger: host[:port]/prefix, or 'embedded'.",
    ),
    field(
        "upstream",
        Base,
        WHERE_STORED,
        "A base that is read after the registry and never written.",
    ),
    field(
        "imageAliases",
        Texts,
        InKey,
        "Prefixes that stand for the registry in a Dockerfile's image names.",
    ),
    field(
        "rebuildAll",
        Texts,
        InKey,
        "Patterns (regexes over paths from the repository's root) that count for every project.",
    ),
    field(
        "adopt",
        Flag,
        WHETHER_REUSED,
        "Whether images known only by 'cache-<commit>' tags may be taken over; default false.",
    ),
    field(
        "projects",
        Projects,
        InKey,
        "The projects, by name; the name is also that of the image's repository below the base.",
    ),
    field(
        "tasks",
        Tasks { shared: false },
        AFTER_BUILD,
        "Tasks that projects may share, by name.",
    ),
    field("sequences", Sequences, AFTER_BUILD, "Named lists of tasks."),
    field(
        "environments",
        AnyObject,
        AFTER_BUILD,
        "Where waybills are deployed, by name.",
    ),
    field(
        "builders",
        AnyObject,
        HOW_BUILT,
        "Machines that build, by name.",
    ),
    field(
        "retention",
        AnyObject,
        WHERE_STORED,
        "What 'waybill prune' keeps.",
    ),
    field(
        "expect",
        Object(EXPECT),
        WHETHER_REUSED,
        "What is known to be so.",
    ),
];

/// Which of them must be there.
pub(crate) const TOP_REQUIRED: &[&str] = &["version", "projects"];

/// The fields of `registry` and `upstream` as objects.
pub(crate) const BASE: &[Field] = &[
    field("url", Text, InKey, "host[:port]/prefix, or 'embedded'."),
    field(
        "kind",
        Choice {
            words: &["oci", "ecr"],
            code: "invalid-registry-kind",
        },
        WHERE_STORED,
        "What API it has beside the OCI one; default: by the host's name.",
    ),
    field(
        "region",
        Text,
        WHERE_STORED,
        "The AWS region of an ECR registry; default: from the host's name, else as AWS's tools have it.",
    ),
    field(
        "account",
        Text,
        WHERE_STORED,
        "The AWS account of an ECR registry, 12 digits; default: from the host's name, else the caller's.",
    ),
];

/// Which of them must be there.
pub(crate) const BASE_REQUIRED: &[&str] = &["url"];

/// The fields of `expect`.
pub(crate) const EXPECT: &[Field] = &[field(
    "absent",
    Texts,
    WHETHER_REUSED,
    "Projects that may have no Dockerfile or no sources.",
)];

/// The fields of a project, in both shapes.
pub(crate) const PROJECT: &[Field] = &[
    field(
        "buildDir",
        Text,
        InKey,
        "The build context, from the repository's root; default projectDir.",
    ),
    field(
        "projectDir",
        Text,
        InKey,
        "The directory whose files are the project's; default buildDir.",
    ),
    field(
        "dockerfile",
        Text,
        InKey,
        "Relative to buildDir or projectDir; default 'Dockerfile'.",
    ),
    field(
        "rebuildPatterns",
        TextsOrFile,
        InKey,
        "Regexes over paths from the repository's root, or the name of a file of them, relative \
         to projectDir; default: everything below projectDir.",
    ),
    field(
        "ignorePatterns",
        Texts,
        InKey,
        "Regexes: what of the rebuild patterns does not count.",
    ),
    field(
        "dependencies",
        TextsNotScript,
        InKey,
        "Projects whose change rebuilds this one.",
    ),
    field(
        "runDependencies",
        Texts,
        AFTER_BUILD,
        "Projects whose images its tasks run beside.",
    ),
    field(
        "run",
        Runs,
        AFTER_BUILD,
        "Jobs, by name, as in Aztec's build system.",
    ),
    field(
        "multiarch",
        Choice {
            words: &["buildx", "host"],
            code: "invalid-multiarch",
        },
        InKey,
        "Aztec's word for the platforms linux/amd64 and linux/arm64.",
    ),
    field(
        "target",
        Text,
        InKey,
        "The stage of the Dockerfile to build; default the last.",
    ),
    field(
        "buildArgs",
        TextMap {
            code: "invalid-build-arg",
        },
        InKey,
        "Build arguments; they are no place for secrets.",
    ),
    field(
        "secrets",
        Texts,
        InKey,
        "Ids of build secrets; the caller maps them to values.",
    ),
    field(
        "platforms",
        Texts,
        InKey,
        "os/architecture[/variant]; default linux/amd64.",
    ),
    field(
        "hermetic",
        Flag,
        InKey,
        "Whether the context holds only what the key covers; default true (false in Aztec's \
         shape).",
    ),
    field(
        "layerCache",
        Choice {
            words: &["none", "final", "stages"],
            code: "invalid-layer-cache",
        },
        HOW_BUILT,
        "Layer cache in the registry; default 'final', inline in the image.",
    ),
    field(
        "epoch",
        Whole {
            code: "invalid-epoch",
        },
        InKey,
        "A number to raise when every image of the project is to be distrusted.",
    ),
    field(
        "tasks",
        Tasks { shared: true },
        AFTER_BUILD,
        "Tasks of the project, by name; a string names one at the top of the manifest.",
    ),
    field(
        "deploy",
        AnyArray,
        AFTER_BUILD,
        "What is deployed, and how.",
    ),
];

/// The fields of a task.
pub(crate) const TASK: &[Field] = &[
    field(
        "use",
        Text,
        AFTER_BUILD,
        "The task at the top of the manifest that has the fields which are not here.",
    ),
    field(
        "kind",
        Choice {
            words: &["script", "container", "compose"],
            code: "invalid-task-kind",
        },
        AFTER_BUILD,
        "Where it runs; default 'compose' with 'file', 'container' with 'image', else 'script'.",
    ),
    field(
        "run",
        Text,
        AFTER_BUILD,
        "An executable of the repository, relative to projectDir, if it has a slash and no space; \
         else a command line for sh. Default: the executable '<projectDir>/waybill/<task>'.",
    ),
    field("args", Texts, AFTER_BUILD, "Arguments."),
    field(
        "env",
        TextMap {
            code: "invalid-task-env",
        },
        AFTER_BUILD,
        "Variables of its environment; they are no place for secrets.",
    ),
    field(
        "secrets",
        Texts,
        AFTER_BUILD,
        "Ids of secrets, which are also the names of its variables; the caller maps them to values.",
    ),
    field(
        "needs",
        Texts,
        AFTER_BUILD,
        "Tasks that must have passed: of this project, or with '^' before the name of each dependency \
         that has one.",
    ),
    field(
        "inputs",
        Texts,
        AFTER_BUILD,
        "Patterns of what its result rests on; default: all that the project's key covers.",
    ),
    field(
        "artifacts",
        Texts,
        AFTER_BUILD,
        "Files, relative to the folder that it is given for them, that are kept with its record.",
    ),
    field(
        "timeout",
        Text,
        AFTER_BUILD,
        "How long it may take, such as '90s' or '10m'.",
    ),
    field(
        "retries",
        Whole {
            code: "invalid-retries",
        },
        AFTER_BUILD,
        "How often it is tried again when it failed; default 0.",
    ),
    field(
        "required",
        Flag,
        AFTER_BUILD,
        "Whether it must have passed before the commit is sealed; default true.",
    ),
    field(
        "always",
        Flag,
        AFTER_BUILD,
        "Whether it is run although it has passed; default false.",
    ),
    field(
        "image",
        Text,
        AFTER_BUILD,
        "The image that a container is made from: a project or a reference; default the project's own.",
    ),
    field(
        "file",
        Text,
        AFTER_BUILD,
        "The compose file, relative to projectDir; default 'compose.yml'.",
    ),
    field(
        "service",
        Text,
        AFTER_BUILD,
        "The compose service whose exit code counts; default the project's name.",
    ),
];

/// Every field by its path, e.g. `projects.<name>.buildDir`, and whether the key covers it. That of
/// `projects` stands for the projects' names.
#[must_use]
pub fn manifest_fields() -> Vec<(String, KeyRole)> {
    let mut found = Vec::new();
    collect("", TOP, &mut found);
    found
}

fn collect(prefix: &str, fields: &[Field], found: &mut Vec<(String, KeyRole)>) {
    for field in fields {
        let path = format!("{prefix}{}", field.name);
        found.push((path.clone(), field.role));
        match field.kind {
            Object(fields) => collect(&format!("{path}."), fields, found),
            Base => collect(&format!("{path}."), &of_base(field.role), found),
            Projects => collect(&format!("{path}.<name>."), PROJECT, found),
            Tasks { .. } => collect(&format!("{path}.<task>."), TASK, found),
            _ => {}
        }
    }
}

/// The fields of a base: the key covers none of them where it does not cover the base.
fn of_base(role: KeyRole) -> Vec<Field> {
    let exempt = |field: &Field| match role {
        InKey => *field,
        Exempt(_) => Field { role, ..*field },
    };
    BASE.iter().map(exempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that joins the key must be added to `KeyInputs` too: this list is the reminder.
    #[test]
    fn the_key_covers_these_fields_and_no_others() {
        let in_key: Vec<String> = manifest_fields()
            .into_iter()
            .filter(|(_, role)| *role == InKey)
            .map(|(path, _)| path.replace("projects.<name>.", ""))
            .collect();
        assert_eq!(
            in_key,
            [
                "registry",
                "registry.url",
                "imageAliases",
                "rebuildAll",
                "projects",
                "buildDir",
                "projectDir",
                "dockerfile",
                "rebuildPatterns",
                "ignorePatterns",
                "dependencies",
                "multiarch",
                "target",
                "buildArgs",
                "secrets",
                "platforms",
                "hermetic",
                "epoch",
            ]
        );
    }

    #[test]
    fn every_exemption_has_a_reason_and_every_field_a_purpose() {
        for field in TOP
            .iter()
            .chain(BASE)
            .chain(EXPECT)
            .chain(PROJECT)
            .chain(TASK)
        {
            assert!(field.about.ends_with('.'), "{}", field.name);
            if let Exempt(reason) = field.role {
                assert!(reason.len() > 10, "{}", field.name);
            }
        }
    }
}
