//! Which instruction a step of a build is.
//!
//! BuildKit tells of a step only by a name for people, such as `[builder 2/5] RUN make`
//! (`frontend/dockerfile/dockerfile2llb`, `prefixCommand`): the stage, the number of the step in
//! it, how many there are, and the instruction with its variables expanded. Number and text must
//! both fit: no line is better than a wrong one.

use super::{Dockerfile, Stage, Text};
use crate::problem::Location;

/// Instructions that BuildKit counts as steps, beside a `FROM` that pulls.
const COUNTED: [&str; 4] = ["add", "copy", "run", "workdir"];

/// The base image that is none, and therefore no step.
const NO_IMAGE: &str = "scratch";

/// Whether an instruction is a step, by its keyword in lower case.
pub(super) fn is_step(keyword: &str) -> bool {
    COUNTED.contains(&keyword)
}

/// A step's name, taken apart.
#[derive(Debug, PartialEq)]
struct StepName<'a> {
    /// As BuildKit calls it; `None` in a file of one stage.
    stage: Option<&'a str>,
    /// From 1.
    number: usize,
    total: usize,
    instruction: &'a str,
}

impl<'a> StepName<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let (inside, instruction) = name.strip_prefix('[')?.split_once("] ")?;
        // A platform may stand before the stage; the number is padded.
        let mut words = inside.split_whitespace().rev();
        let (number, total) = words.next()?.split_once('/')?;
        Some(Self {
            stage: words.next(),
            number: number.parse().ok()?,
            total: total.parse().ok()?,
            instruction,
        })
    }
}

impl Dockerfile {
    /// Where the instruction stands that a step of this file's build is, by the step's name;
    /// `None` where that cannot be told for sure.
    #[must_use]
    pub fn location_of_step(&self, name: &str) -> Option<Location> {
        let name = StepName::parse(name)?;
        let mut called = (self.stages.iter()).filter(|stage| self.is_called(stage, name.stage));
        let (Some(stage), None) = (called.next(), called.next()) else {
            return None;
        };
        let pulls = usize::from(self.pulls(stage));
        if name.total != stage.steps.len() + pulls {
            return None;
        }
        if pulls == 1 && name.number == 1 {
            let is_from = name.instruction.starts_with("FROM ");
            return is_from.then(|| self.location_of(&stage.base.span));
        }
        let step = stage.steps.get(name.number.checked_sub(pulls + 1)?)?;
        may_be(step, name.instruction).then(|| self.location_of(&step.span))
    }

    /// A file's only stage has no name; one of several that has none is called by its number.
    fn is_called(&self, stage: &Stage, name: Option<&str>) -> bool {
        match (name, &stage.name) {
            (None, _) => self.stages.len() == 1,
            (Some(called), Some(name)) => called == name,
            (Some(called), None) => called == format!("stage-{}", stage.index),
        }
    }

    /// Whether a stage begins with an image, and not with another stage or with nothing.
    fn pulls(&self, stage: &Stage) -> bool {
        let base = stage.base.text.as_str();
        let mut earlier = self.stages.iter().take(stage.index);
        base != NO_IMAGE
            && !earlier.any(|earlier| {
                let name = earlier.name.as_deref();
                name.is_some_and(|name| name.eq_ignore_ascii_case(base))
            })
    }
}

/// Whether a step's text may be this instruction's: the same up to where BuildKit may have put
/// something else (a variable, an escape, the words of a here-document).
fn may_be(step: &Text, told: &str) -> bool {
    let written = step.text.as_str();
    let ends = [written.find(['$', '\\']), written.find("<<")];
    let told = words(told);
    match ends.into_iter().flatten().min() {
        Some(end) => told.starts_with(&words(&written[..end])),
        None => told == words(written),
    }
}

/// The keyword in upper case and the rest, with single spaces.
fn words(text: &str) -> String {
    let mut words = text.split_whitespace();
    let keyword = words.next().unwrap_or_default().to_uppercase();
    let words = std::iter::once(keyword).chain(words.map(str::to_owned));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RepoPath;

    const STAGES: &str = "\
FROM scratch AS Base
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"--install\"]
FROM base
WORKDIR /a
ENV FOO=bar
run echo $FOO  \\
   # a comment
   && echo \"a b\"
RUN true
RUN true
COPY --from=base /x /y
FROM debian:12 AS last
ONBUILD RUN nothing
RUN cat <<E
words
E
";

    fn dockerfile(text: &str) -> Dockerfile {
        let path = RepoPath::from_git(b"a/Dockerfile".to_vec());
        Dockerfile::parse(&path, text.as_bytes()).unwrap()
    }

    fn line(dockerfile: &Dockerfile, step: &str) -> Option<usize> {
        let location = dockerfile.location_of_step(step)?;
        assert_eq!(location.file, "a/Dockerfile");
        location.line
    }

    #[test]
    fn steps_are_found_by_stage_number_and_text() {
        let file = dockerfile(STAGES);
        for (step, expected) in [
            ("[base 1/2] COPY busybox /bin/busybox", 2),
            (
                "[linux/amd64 base 2/2] RUN [\"/bin/busybox\", \"--install\"]",
                3,
            ),
            ("[stage-1 1/5] WORKDIR /a", 5),
            ("[stage-1 2/5] RUN echo bar     && echo \"a b\"", 7),
            ("[stage-1 3/5] RUN true", 10),
            ("[stage-1 4/5] RUN true", 11),
            ("[stage-1  5/5] COPY --from=base /x /y", 12),
            ("[last 1/2] FROM docker.io/library/debian:12@sha256:00", 13),
            ("[last 2/2] RUN cat <<E (words)", 15),
        ] {
            assert_eq!(line(&file, step), Some(expected), "{step}");
        }
        let single = dockerfile("\nFROM debian\n\nRUN make\n");
        for (step, expected) in [
            ("[2/2] RUN make", 4),
            ("[1/2] FROM docker.io/library/debian", 2),
        ] {
            assert_eq!(line(&single, step), Some(expected), "{step}");
        }
    }

    #[test]
    fn what_cannot_be_told_has_no_line() {
        let file = dockerfile(STAGES);
        for step in [
            "[internal] load build context",
            "copy /context /",
            "RUN true",
            "[3/5] RUN true",
            "[other 1/2] COPY busybox /bin/busybox",
            // Triggers of the base image came in between: one more step, another text.
            "[stage-1 3/6] RUN true",
            "[stage-1 1/5] RUN true",
            "[stage-1 6/5] RUN true",
            "[stage-1 0/5] RUN true",
            "[last 1/2] RUN cat <<E",
            "[last 2/2] RUN dog",
        ] {
            assert_eq!(line(&file, step), None, "{step}");
        }
        // Two stages that go by one name.
        let file = dockerfile("FROM scratch AS stage-1\nCOPY a /\nFROM scratch\nCOPY a /\n");
        assert_eq!(line(&file, "[stage-1 1/1] COPY a /"), None);
    }
}
