//! The variables that image names and paths in a Dockerfile are expanded with.

use std::collections::BTreeMap;

use crate::model::Platform;

use super::shell::{Expanded, Variable, expand};
use super::{Declaration, Dockerfile, Instruction};

/// What a build gives to a Dockerfile's variables.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Build arguments; only those that the file declares have an effect.
    pub build_args: &'a BTreeMap<String, String>,
    /// The platform that is built for: `TARGETPLATFORM`, `TARGETARCH`, and so on.
    pub platform: &'a Platform,
    /// The engine's own platform: `BUILDPLATFORM` and so on. Without it these stay open, since an
    /// image name must not depend on where it is read.
    pub engine_platform: Option<&'a Platform>,
}

impl Values<'_> {
    fn build_arg(&self, name: &str) -> Option<Variable> {
        self.build_args.get(name).cloned().map(Variable::Set)
    }
}

/// The variables at some place in a file.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    arguments: BTreeMap<String, Variable>,
    environment: BTreeMap<String, Variable>,
    /// What a variable is that nothing here declares.
    others: Variable,
    escape: char,
}

impl Scope {
    /// What `FROM` lines see: the predefined platform variables and the `ARG`s before them.
    pub(super) fn global(dockerfile: &Dockerfile, values: &Values<'_>) -> Self {
        let mut arguments = platform_variables("TARGET", Some(values.platform));
        arguments.extend(platform_variables("BUILD", values.engine_platform));
        for (name, value) in &mut arguments {
            if let Some(given) = values.build_arg(name) {
                *value = given;
            }
        }
        let mut scope = Self {
            arguments,
            environment: BTreeMap::new(),
            others: Variable::Unset,
            escape: dockerfile.escape,
        };
        for declaration in &dockerfile.global_arguments {
            let value = values.build_arg(&declaration.name).or_else(|| {
                let default = declaration.value.as_deref()?;
                Some(scope.value(default))
            });
            if let Some(value) = value {
                scope.arguments.insert(declaration.name.clone(), value);
            }
        }
        scope
    }

    /// What a stage begins with if its base is an image: the image may set any variable.
    pub(super) fn of_image(&self) -> Self {
        Self {
            arguments: BTreeMap::new(),
            environment: BTreeMap::new(),
            others: Variable::Open,
            escape: self.escape,
        }
    }

    /// Takes an instruction of a stage into account; `global` is the scope of the `FROM` lines.
    pub(super) fn apply(&mut self, instruction: &Instruction, values: &Values<'_>, global: &Self) {
        match instruction {
            Instruction::Arguments(declarations) => {
                for declaration in declarations {
                    let value = self.argument(declaration, values, global);
                    self.arguments.insert(declaration.name.clone(), value);
                }
            }
            Instruction::Variables(declarations) => {
                // All values of one instruction see what was set before it.
                let before = self.clone();
                for declaration in declarations {
                    let value = declaration.value.as_deref().unwrap_or_default();
                    self.environment
                        .insert(declaration.name.clone(), before.value(value));
                }
            }
            Instruction::Files { .. } | Instruction::Triggers(_) => {}
        }
    }

    fn argument(&self, declared: &Declaration, values: &Values<'_>, global: &Self) -> Variable {
        values
            .build_arg(&declared.name)
            .or_else(|| declared.value.as_deref().map(|default| self.value(default)))
            .or_else(|| global.arguments.get(&declared.name).cloned())
            .unwrap_or(Variable::Open)
    }

    /// Expands a word; what is open in it is named.
    pub(super) fn expand(&self, word: &str) -> Result<Expanded, String> {
        expand(word, self.escape, &|name| self.get(name))
    }

    /// A variable's value from its text; one that cannot be told is open.
    fn value(&self, text: &str) -> Variable {
        match self.expand(text) {
            Ok(expanded) if expanded.open.is_empty() => Variable::Set(expanded.text),
            _ => Variable::Open,
        }
    }

    /// `ENV` wins over `ARG`.
    fn get(&self, name: &str) -> Variable {
        self.environment
            .get(name)
            .or_else(|| self.arguments.get(name))
            .unwrap_or(&self.others)
            .clone()
    }
}

/// `TARGETPLATFORM`, `TARGETOS` and so on (Dockerfile reference, "Automatic platform ARGs").
fn platform_variables(prefix: &str, platform: Option<&Platform>) -> BTreeMap<String, Variable> {
    let part = |of: fn(&Platform) -> String| {
        platform.map_or(Variable::Open, |platform| Variable::Set(of(platform)))
    };
    let variables = [
        ("PLATFORM", part(Platform::to_string)),
        ("OS", part(|platform| platform.os.clone())),
        ("OSVERSION", part(|_| String::new())),
        ("ARCH", part(|platform| platform.architecture.clone())),
        (
            "VARIANT",
            part(|platform| platform.variant.clone().unwrap_or_default()),
        ),
    ];
    let named = variables.into_iter();
    named
        .map(|(name, value)| (format!("{prefix}{name}"), value))
        .collect()
}
