//! `[ci rebuild]` in a commit's message.

use std::collections::BTreeSet;

use crate::model::ProjectName;

/// What a commit's message asks to have rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// `[ci rebuild]`: every project.
    pub all: bool,
    /// `[ci rebuild <project>]`: these.
    pub projects: BTreeSet<String>,
}

impl Rebuild {
    /// Reads every directive in `messages`.
    #[must_use]
    pub fn in_messages<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        let mut rebuild = Self::default();
        for directive in messages.into_iter().flat_map(directives) {
            match directive {
                "" => rebuild.all = true,
                project => {
                    rebuild.projects.insert(project.to_owned());
                }
            }
        }
        rebuild
    }

    /// Whether it names this project.
    #[must_use]
    pub fn asks_for(&self, project: &ProjectName) -> bool {
        self.all || self.projects.contains(project.as_str())
    }
}

/// The text after `ci rebuild` of each directive in a message.
fn directives(message: &str) -> impl Iterator<Item = &str> {
    message.split('[').skip(1).filter_map(|rest| {
        let inside = rest.split_once(']')?.0;
        let mut words = inside.split_whitespace();
        if words.next()? != "ci" || words.next()? != "rebuild" {
            return None;
        }
        let project = words.next().unwrap_or_default();
        words.next().is_none().then_some(project)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_nothing_else() {
        let rebuild = Rebuild::in_messages(["Fix\n\n[ci rebuild api] and [ci  rebuild web]"]);
        assert_eq!(
            rebuild.projects,
            ["api".to_owned(), "web".to_owned()].into()
        );
        assert!(!rebuild.all);
        assert!(Rebuild::in_messages(["x", "[ci rebuild]"]).all);
        for none in [
            "ci rebuild",
            "[ci rebuild",
            "[ci rebuilds]",
            "[ci rebuild a b]",
            "[rebuild]",
        ] {
            assert_eq!(Rebuild::in_messages([none]), Rebuild::default(), "{none}");
        }
    }
}
