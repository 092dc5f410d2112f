//! Keys of random commits of random histories, against a plain diff of their trees.

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::TestRunner;
use waybill::gather::{CommitFacts, CommitOptions};
use waybill::git::Repository;
use waybill::key::effective_keys;
use waybill::manifest::Shape;
use waybill::model::{CommitId, Key, ProjectName};

use crate::program::report;

use super::ask_git;
use super::oracle::{Oracle, Regexes, Tags, is_plannable};
use super::story::{PatternText, REBUILD_ALL, Story, Told, story};
use super::written::{Written, name};

const STORIES: usize = 300;

fn keys(repository: &Repository, commit: CommitId) -> BTreeMap<ProjectName, Key> {
    let options = CommitOptions::default();
    let facts = CommitFacts::load(repository, commit, &options, None, false).unwrap();
    let keys = effective_keys(facts.in_order(), |_, _, _| false);
    keys.into_iter()
        .map(|(name, key)| (name, key.key))
        .collect()
}

#[test]
fn keys_are_equal_exactly_where_no_relevant_file_differs() {
    let mut runner = TestRunner::deterministic();
    let mut tell = || story().new_tree(&mut runner).unwrap().current();
    let stories: Vec<Story> = (0..STORIES).map(|_| tell()).collect();
    let told: Vec<Vec<Told>> = stories.iter().map(Story::tell).collect();
    let written = Written::new(Shape::Full, &told);
    let repository = Repository::open(written.repo.path()).unwrap();
    // Each commit of a story against the last one that can be read.
    let mut cases = Vec::new();
    let mut pairs = Vec::new();
    for (number, told) in told.iter().enumerate() {
        let ids = written.commits[number].iter().zip(told);
        let ids = ids.filter(|(_, told)| is_plannable(&told.state));
        let mut readable: Vec<CommitId> = ids.map(|(id, _)| *id).collect();
        if let Some(target) = readable.pop() {
            pairs.extend(readable.iter().map(|commit| (Some(*commit), target)));
            pairs.extend(
                readable
                    .iter()
                    .chain([&target])
                    .map(|commit| (None, *commit)),
            );
            cases.push((number, target, readable));
        }
    }
    let (mut differences, listings) = ask_git(&written, &pairs);
    let rebuild_all = REBUILD_ALL.map(|(text, prefix)| PatternText {
        text: text.to_owned(),
        prefix: prefix.map(str::to_owned),
        plain: false,
    });
    let mut regexes = Regexes::default();
    let (mut equal, mut different) = (0, 0);
    for (number, target, readable) in cases {
        let oracle = Oracle {
            told: &told[number],
            commits: &written.commits[number],
            written: &written,
            tags: &Tags::new(),
            differences: &differences.remove(&target).unwrap_or_default(),
            listings: &listings,
            target,
            history: 0,
            rebuild_all: BTreeSet::from(rebuild_all.clone()),
        };
        let now = keys(&repository, target);
        for commit in readable {
            let then = keys(&repository, commit);
            for project in 0..6 {
                let name: ProjectName = name(number, project).parse().unwrap();
                let Some(key) = now.get(&name) else { continue };
                let is_equal = then.get(&name) == Some(key);
                let expected = oracle.is_unchanged(commit, project, &mut regexes);
                assert_eq!(
                    is_equal, expected,
                    "{name} at {commit} and {target}: {:#?}",
                    stories[number]
                );
                equal += usize::from(is_equal);
                different += usize::from(!is_equal);
            }
        }
    }
    report(&format!("{equal} equal, {different} different"));
    assert!(
        equal > STORIES && different > STORIES,
        "{equal} equal, {different} different"
    );
}
