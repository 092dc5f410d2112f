//! Patterns that match nothing.

use super::Checker;
use crate::gather::Files;
use crate::manifest::Pattern;
use crate::model::ProjectName;
use crate::problem::Problem;

impl<F: Files> Checker<'_, F> {
    /// A warning for each pattern that no file matches. A project that lacks everything says so
    /// in one warning of its own.
    pub(super) fn unmatched_patterns(&self) -> Vec<Problem> {
        let mut problems = self.unmatched(None, "rebuildAll", &self.manifest.rebuild_all);
        for project in self.manifest.projects.values() {
            let Some(facts) = self.facts.get(&project.name) else {
                continue;
            };
            let is_dead = facts.dockerfile.is_none() && !facts.has_sources;
            if is_dead || self.manifest.expect_absent.contains(&project.name) {
                continue;
            }
            let name = Some(&project.name);
            let own = project.patterns.as_deref().unwrap_or_default();
            problems.extend(self.unmatched(name, "rebuildPatterns", own));
            problems.extend(self.unmatched(name, "ignorePatterns", &project.ignore_patterns));
        }
        problems
    }

    fn unmatched(
        &self,
        project: Option<&ProjectName>,
        field: &str,
        patterns: &[Pattern],
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            if !self.coverage.matches(pattern).is_empty() {
                continue;
            }
            let message = format!("'{}' in '{field}' matches no file", pattern.text());
            let problem = Problem::warning("pattern-matches-nothing", message)
                .at(self.raw.place(project, field, Some(index)))
                .hint("patterns are searched in paths from the repository's root");
            problems.push(match project {
                Some(name) => problem.project(name),
                None => problem,
            });
        }
        problems
    }
}
