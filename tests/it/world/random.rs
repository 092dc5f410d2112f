//! Random small monorepos and random histories of them, held against a model that shares no code
//! with the key: what a project is made of, written out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::World;
use super::builder::Act;
use crate::repo::Repo;

/// A project: its dependencies among those before it, and whether their images are used.
type Dependencies = BTreeMap<usize, bool>;

/// A monorepo, and what happens to it: at each step some files get some content, and maybe one
/// project's build fails.
#[derive(Clone, Debug)]
struct Story {
    projects: Vec<Dependencies>,
    steps: Vec<Step>,
}

/// Which projects' files get which content, and whose build fails.
type Step = (Vec<(usize, u8)>, Option<usize>);

fn story() -> impl Strategy<Value = Story> {
    (2_usize..7).prop_flat_map(|count| {
        let link = prop_oneof![3 => Just(None), 1 => Just(Some(false)), 2 => Just(Some(true))];
        let step = (
            vec((0..count, 0_u8..3), 0..3),
            prop_oneof![2 => Just(None), 1 => (0..count).prop_map(Some)],
        );
        (vec(vec(link, count), count), vec(step, 1..5)).prop_map(|(links, steps)| {
            let projects = links.into_iter().enumerate().map(|(number, links)| {
                let before = links.into_iter().take(number).enumerate();
                before
                    .filter_map(|(other, link)| Some((other, link?)))
                    .collect()
            });
            Story {
                projects: projects.collect(),
                steps,
            }
        })
    })
}

fn lay_out(projects: &[Dependencies]) -> Repo {
    let projects = projects.iter();
    let projects = projects.map(|dependencies| dependencies.clone().into_iter().collect());
    Repo::numbered(&projects.collect::<Vec<_>>())
}

/// What the projects are made of: their files and those of all that they depend on.
fn made_of(projects: &[Dependencies], files: &[u8]) -> Vec<String> {
    let mut made = Vec::new();
    for (number, dependencies) in projects.iter().enumerate() {
        let below: Vec<&String> = dependencies.keys().map(|other| &made[*other]).collect();
        let whole = format!("{} {below:?}", files[number]);
        made.push(whole);
    }
    made
}

/// How each project must end, by the model.
fn expected(
    story: &Story,
    files: &[u8],
    failing: Option<usize>,
    recorded: &mut BTreeSet<(usize, String)>,
) -> String {
    let mut ends: Vec<&str> = Vec::new();
    for (number, made) in made_of(&story.projects, files).into_iter().enumerate() {
        let used = story.projects[number].iter().filter(|(_, used)| **used);
        let mut used = used.map(|(other, _)| ends[*other]);
        let end = if recorded.contains(&(number, made.clone())) {
            "reused"
        } else if used.any(|end| end == "failed" || end == "blocked") {
            "blocked"
        } else if failing == Some(number) {
            "failed"
        } else {
            recorded.insert((number, made));
            "built"
        };
        ends.push(end);
    }
    let words = ends.iter().enumerate();
    let words: Vec<String> = words
        .map(|(number, end)| format!("p{number}={end}"))
        .collect();
    words.join(" ")
}

fn live(story: &Story) {
    let world = World::of(lay_out(&story.projects));
    let mut files = vec![0_u8; story.projects.len()];
    let mut recorded = BTreeSet::new();
    for (edits, failing) in &story.steps {
        for (project, content) in edits {
            files[*project] = *content;
            world
                .repo
                .write(format!("p{project}/file"), content.to_string());
        }
        world.repo.commit("Edit");
        let run = match failing {
            None => world.run(),
            Some(project) => world.run().script(&format!("p{project}"), Act::Fail),
        };
        let ends = expected(story, &files, *failing, &mut recorded);
        assert_eq!(run.build().verdicts(), ends);
        if failing.is_none() {
            assert_eq!(world.run().plan().plan.builds().count(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// After a success nothing is to be built; a change builds what is made of it and no more;
    /// what was made before is not made again; what failed is.
    #[test]
    fn builds_what_the_model_calls_for(story in story()) {
        live(&story);
    }
}
