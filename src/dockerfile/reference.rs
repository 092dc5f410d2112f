//! Which images a Dockerfile needs, and where their names stand.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::problem::Location;

use super::platform::{WantedPlatform, wanted_platform};
use super::variables::{Scope, Values};
use super::{Dockerfile, DockerfileError, Fault, FaultKind, Instruction, Stage, Text};

/// What kind of place an image name stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `FROM`.
    From,
    /// `COPY --from=`.
    Copy,
    /// `RUN --mount=…,from=`.
    Mount,
}

/// An image name in a Dockerfile that names no stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What kind of place it stands in.
    pub place: Place,
    /// The stage that it stands in.
    pub stage: usize,
    /// The bytes of the file that hold it.
    pub span: Range<usize>,
    /// As written.
    pub written: String,
    /// After variables were expanded.
    pub text: String,
    /// Line and column.
    pub location: Location,
    /// Whether the engine needs the image to build the target.
    pub needed: bool,
    /// The platform that the image is wanted for.
    pub platform: WantedPlatform,
    /// Whether the image that is built begins with it, at once or through stages.
    pub begins: bool,
}

/// What a name in a Dockerfile stands for.
enum Meaning {
    Stage(usize),
    Scratch,
    Image(Reference),
}

/// The name of the empty image.
const SCRATCH: &str = "scratch";

impl Dockerfile {
    /// The image references, in the order of the file, for a build of `target` (the last stage if
    /// `None`). Those of stages that the target does not need are there with `needed: false`,
    /// unless their name cannot be told without a variable that is open.
    ///
    /// As in BuildKit, `FROM` names only earlier stages and expands variables from the `ARG`s
    /// before the first `FROM`; `COPY --from` names any stage, or counts them; mounts name any
    /// stage; neither of these expands variables. `scratch` is no reference.
    ///
    /// # Errors
    ///
    /// All that is found: `open-variable`, `unknown-stage`, `unknown-target`, and
    /// `invalid-reference` for an empty name.
    pub fn references(
        &self,
        values: &Values<'_>,
        target: Option<&str>,
    ) -> Result<Vec<Reference>, DockerfileError> {
        let target = self.target(target)?;
        let resolved = Resolved::of(self, values);
        let needed = resolved.needed(target);
        let first = resolved.first(target);
        let mut references = Vec::new();
        let mut faults = Vec::new();
        for (index, stage) in resolved.stages.into_iter().enumerate() {
            let needed = needed.contains(&index);
            match stage.base {
                Ok(Meaning::Image(reference)) => references.push(Reference {
                    needed,
                    begins: index == first,
                    ..reference
                }),
                Err(fault) if needed => faults.push(fault),
                _ => {}
            }
            for other in stage.others {
                match other {
                    Ok(Meaning::Image(reference)) => {
                        references.push(Reference {
                            needed,
                            ..reference
                        });
                    }
                    Ok(_) => {}
                    // The engine looks at these in every stage.
                    Err(fault) => faults.push(fault),
                }
            }
        }
        DockerfileError::check(faults)?;
        Ok(references)
    }

    fn target(&self, name: Option<&str>) -> Result<usize, Fault> {
        let Some(name) = name else {
            return Ok(self.stages.len().saturating_sub(1));
        };
        self.stage_named(&name.to_lowercase()).ok_or_else(|| Fault {
            kind: FaultKind::UnknownTarget(name.to_owned()),
            location: Location::file(self.path.to_string()),
        })
    }

    /// The stage of this name in lower case; of several, the last.
    fn stage_named(&self, name: &str) -> Option<usize> {
        let mut stages = self.stages.iter();
        stages.rposition(|stage| stage.name.as_deref() == Some(name))
    }

    /// The stage that `FROM` in this stage begins with, if it begins with one.
    pub(super) fn base_stage(&self, index: usize, global: &Scope) -> Option<usize> {
        let stage = self.stages.get(index)?;
        match self.base(stage, global).ok()? {
            Meaning::Stage(base) => Some(base),
            Meaning::Scratch | Meaning::Image(_) => None,
        }
    }

    fn base(&self, stage: &Stage, global: &Scope) -> Result<Meaning, Fault> {
        let text = self.expanded_base(stage, global)?;
        let earlier = &self.stages[..stage.index];
        // The name is compared as it is: `FROM` is case-sensitive, and stage names are lower case.
        let named = |stage: &Stage| stage.name.as_deref() == Some(text.as_str());
        if let Some(index) = earlier.iter().rposition(named) {
            return Ok(Meaning::Stage(index));
        }
        if text == SCRATCH {
            return Ok(Meaning::Scratch);
        }
        let mut image = self.image(Place::From, stage, &stage.base, text);
        if let Some(written) = &stage.platform {
            image.platform = wanted_platform(written, global);
        }
        Ok(Meaning::Image(image))
    }

    fn expanded_base(&self, stage: &Stage, global: &Scope) -> Result<String, Fault> {
        let written = &stage.base.text;
        let fault = |kind| Fault {
            kind,
            location: self.location_of(&stage.base.span),
        };
        let expanded = global.expand(written).map_err(|message| {
            fault(FaultKind::Syntax(format!(
                "'{written}' cannot be expanded: {message}"
            )))
        })?;
        if let Some(name) = expanded.open.into_iter().next() {
            let text = written.clone();
            return Err(fault(FaultKind::OpenVariable { name, text }));
        }
        if expanded.text.is_empty() {
            let text = written.clone();
            let reason = "nothing is left after its variables were replaced";
            return Err(fault(FaultKind::InvalidReference { text, reason }));
        }
        Ok(expanded.text)
    }

    fn copied(&self, stage: &Stage, from: &Text) -> Result<Meaning, Fault> {
        self.refuse_variable(from)?;
        let Ok(number) = from.text.parse::<i64>() else {
            return Ok(self.stage_or_image(Place::Copy, stage, from));
        };
        match usize::try_from(number) {
            Ok(index) if index < self.stages.len() => Ok(Meaning::Stage(index)),
            _ => Err(Fault {
                kind: FaultKind::UnknownStage(from.text.clone()),
                location: self.location_of(&from.span),
            }),
        }
    }

    fn mounted(&self, stage: &Stage, from: &Text) -> Result<Meaning, Fault> {
        self.refuse_variable(from)?;
        Ok(self.stage_or_image(Place::Mount, stage, from))
    }

    fn refuse_variable(&self, from: &Text) -> Result<(), Fault> {
        if !from.text.contains('$') {
            return Ok(());
        }
        Err(Fault {
            kind: FaultKind::VariableInFrom(from.text.clone()),
            location: self.location_of(&from.span),
        })
    }

    fn stage_or_image(&self, place: Place, stage: &Stage, from: &Text) -> Meaning {
        match self.stage_named(&from.text.to_lowercase()) {
            Some(index) => Meaning::Stage(index),
            None if from.text == SCRATCH => Meaning::Scratch,
            None => Meaning::Image(self.image(place, stage, from, from.text.clone())),
        }
    }

    fn image(&self, place: Place, stage: &Stage, written: &Text, text: String) -> Reference {
        Reference {
            place,
            stage: stage.index,
            span: written.span.clone(),
            written: written.text.clone(),
            text,
            location: self.location_of(&written.span),
            needed: false,
            platform: WantedPlatform::Target,
            begins: false,
        }
    }
}

/// What each name in a file means.
struct Resolved {
    stages: Vec<ResolvedStage>,
}

struct ResolvedStage {
    base: Result<Meaning, Fault>,
    /// Copies and mounts.
    others: Vec<Result<Meaning, Fault>>,
}

impl Resolved {
    fn of(dockerfile: &Dockerfile, values: &Values<'_>) -> Self {
        let global = Scope::global(dockerfile, values);
        let stages = dockerfile.stages.iter().map(|stage| ResolvedStage {
            base: dockerfile.base(stage, &global),
            others: others(dockerfile, stage),
        });
        Self {
            stages: stages.collect(),
        }
    }

    /// The stage that a target begins with: through the stages that `FROM` names, itself if none.
    fn first(&self, target: usize) -> usize {
        let mut first = target;
        // `FROM` names only earlier stages.
        while let Some(ResolvedStage {
            base: Ok(Meaning::Stage(base)),
            ..
        }) = self.stages.get(first)
        {
            first = *base;
        }
        first
    }

    /// The stages that a target needs, itself included.
    fn needed(&self, target: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            let Some(stage) = self.stages.get(index).filter(|_| needed.insert(index)) else {
                continue;
            };
            let meanings = std::iter::once(&stage.base).chain(&stage.others);
            open.extend(meanings.filter_map(|meaning| match meaning {
                Ok(Meaning::Stage(index)) => Some(*index),
                _ => None,
            }));
        }
        needed
    }
}

/// What the copies and mounts of a stage name, in the order of the file.
fn others(dockerfile: &Dockerfile, stage: &Stage) -> Vec<Result<Meaning, Fault>> {
    let mut meanings = Vec::new();
    for instruction in &stage.instructions {
        if let Instruction::Files {
            copies_from,
            mounts_from,
            ..
        } = instruction
        {
            let copies = copies_from.iter();
            meanings.extend(copies.map(|from| dockerfile.copied(stage, from)));
            let mounts = mounts_from.iter();
            meanings.extend(mounts.map(|from| dockerfile.mounted(stage, from)));
        }
    }
    meanings
}
