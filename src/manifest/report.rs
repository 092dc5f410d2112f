//! What is found wrong, gathered with places and suggestions.

use super::node::Position;
use crate::model::RepoPath;
use crate::problem::{Location, Problem, Severity};

/// How often a near word is searched for in one manifest: beyond that, more hints help nobody and
/// only cost time.
const MAX_SEARCHES: usize = 100;

/// The problems of one manifest.
pub(super) struct Report {
    file: String,
    project: Option<String>,
    problems: Vec<Problem>,
    searches: usize,
}

impl Report {
    pub(super) fn new(file: &RepoPath) -> Self {
        Self {
            file: file.to_string(),
            project: None,
            problems: Vec::new(),
            searches: 0,
        }
    }

    /// Names the project that the problems from here on are about.
    pub(super) fn about(&mut self, project: Option<&str>) {
        self.project = project.map(str::to_owned);
    }

    /// Adds a problem at a place in the manifest.
    pub(super) fn add(&mut self, at: Position, problem: Problem) {
        let location = Location::at(&self.file, at.line, at.column);
        self.add_at(location, problem);
    }

    /// Adds a problem at a place in any file.
    pub(super) fn add_at(&mut self, location: Location, mut problem: Problem) {
        problem.project = problem.project.or_else(|| self.project.clone());
        self.problems.push(problem.at(location));
    }

    /// Adds "did you mean" to a problem, if one of the words is near to `wrong`; otherwise the
    /// other hint.
    pub(super) fn suggest<'a>(
        &mut self,
        problem: Problem,
        wrong: &str,
        words: impl IntoIterator<Item = &'a str>,
        otherwise: &str,
    ) -> Problem {
        self.searches += 1;
        let near = if self.searches <= MAX_SEARCHES {
            nearest(wrong, words)
        } else {
            None
        };
        match near {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None if otherwise.is_empty() => problem,
            None => problem.hint(otherwise),
        }
    }

    /// All problems, those of the manifest before those of other files, in the order in which they
    /// stand there.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let file = self.file;
        self.problems.sort_by_key(|problem| {
            let location = problem.location.clone();
            let elsewhere = location.as_ref().is_none_or(|place| place.file != file);
            (elsewhere, location, problem.severity)
        });
        self.problems
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

/// The word that is most like `wrong`, if one is like it at all.
fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    words
        .into_iter()
        .filter(|word| word.len().abs_diff(lower.len()) <= allowed)
        .map(|word| (strsim::osa_distance(&lower, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let words = ["buildDir", "projectDir", "api", "app"];
        assert_eq!(nearest("builddir", words), Some("buildDir"));
        assert_eq!(nearest("buidlDir", words), Some("buildDir"));
        assert_eq!(nearest("Api", words), Some("api"));
        assert_eq!(nearest("zz", words), None);
        assert_eq!(nearest("", words), None);
    }
}
