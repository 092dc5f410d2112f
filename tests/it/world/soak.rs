//! A long random life of a monorepo: edits, branches, merges, reverts, builds that succeed, fail,
//! are killed or lose their registry, taints and seals, held against a model of what should be
//! there.
//!
//! `WAYBILL_SOAK_STEPS` and `WAYBILL_SOAK_SEED` make it longer, or another one: `scripts/soak`.

use std::collections::{BTreeMap, BTreeSet};
use waybill::gather;
use waybill::ledger::{Bases, Standing, TaintRecord, names};
use waybill::model::{Key, ProjectName, Reason};
use waybill::problem::Class;

use super::builder::Act;
use super::{NOW, World, name};
use crate::front::{Fault, Front, Rule};
use crate::program::{command, report};
use crate::repo::Repo;

/// Each project, with the earlier ones that it depends on and whether their images are used.
const PROJECTS: [&[(usize, bool)]; 7] = [
    &[],
    &[],
    &[(0, true)],
    &[(0, true), (1, false)],
    &[(2, true), (1, true)],
    &[(3, true)],
    &[(4, false)],
];

/// The content of each project's file.
type Files = [u8; PROJECTS.len()];

/// What a project's image is made of, written out, with how often it was distrusted.
type Made = (usize, String);

#[test]
fn a_long_life_leaves_what_the_model_says() {
    let variable = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let steps = variable("WAYBILL_SOAK_STEPS", 60);
    let mut life = Life::new(variable("WAYBILL_SOAK_SEED", 1));
    for number in 0..steps {
        let step = life.step();
        life.told.push(format!("{number}: {step}"));
        life.check_head();
    }
    life.check_whole();
    // A shorter one may end before there was something to merge, to kill or to seal.
    for kind in CARDS.iter().filter(|_| steps >= 60) {
        let times = life.done[kind];
        assert!(times > 0, "no {kind} came to anything: {:?}", life.done);
    }
    report(&format!(
        "{steps} steps: {:?}; {} records, {} taints, {} waybills",
        life.done,
        life.recorded.len(),
        life.taints,
        life.sealed.len()
    ));
}

/// The kinds of steps, with as many of each as there are in twenty steps. Every twenty steps have
/// all of them, in an order of their own.
const CARDS: [&str; 20] = [
    "edit",
    "edit",
    "edit",
    "edit",
    "edit",
    "branch",
    "merge",
    "revert",
    "build",
    "build",
    "build",
    "failing build",
    "kill",
    "kill",
    "taint",
    "fault",
    "fault",
    "fault",
    "seal",
    "seal",
];

/// What a step came to; `Err` where it came to nothing, and why.
type Step = Result<String, String>;

struct Life {
    world: World,
    cards: Vec<&'static str>,
    dice: Dice,
    /// The files at the head of each branch.
    branches: BTreeMap<String, Vec<Files>>,
    branch: String,
    /// How often what is made so was distrusted.
    distrusted: BTreeMap<Made, u32>,
    keys: BTreeMap<Made, Key>,
    recorded: BTreeSet<Made>,
    taints: usize,
    /// The waybills that were written, by commit: what they shipped.
    sealed: BTreeMap<String, Vec<Vec<Made>>>,
    done: BTreeMap<&'static str, usize>,
    told: Vec<String>,
}

/// Numbers that look random and come again with the seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % bound as u64).unwrap()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.told.len().saturating_sub(12);
            report(&self.told[last..].join("\n"));
        }
    }
}

impl Life {
    fn new(seed: u64) -> Self {
        let world = World::of(Repo::numbered(&PROJECTS.map(<[_]>::to_vec)));
        let branch = world.repo.git(&["branch", "--show-current"]);
        let branch = branch.trim().to_owned();
        Self {
            world,
            cards: Vec::new(),
            dice: Dice(seed),
            branches: BTreeMap::from([(branch.clone(), vec![[0; PROJECTS.len()]])]),
            branch,
            distrusted: BTreeMap::new(),
            keys: BTreeMap::new(),
            recorded: BTreeSet::new(),
            taints: 0,
            sealed: BTreeMap::new(),
            done: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Does what the next card says. What came to nothing is told, and does not count.
    fn step(&mut self) -> String {
        if self.cards.is_empty() {
            self.cards = CARDS.to_vec();
        }
        let card = self.dice.below(self.cards.len());
        let kind = self.cards.swap_remove(card);
        let done = match kind {
            "edit" => Ok(self.edit().1),
            "branch" => Ok(self.branch()),
            "merge" => self.merge(),
            "revert" => Ok(self.revert()),
            "build" => Ok(self.build(None)),
            "failing build" => self.failing_build(),
            "kill" => self.kill(),
            "taint" => Ok(self.taint()),
            "fault" => self.fault(),
            "seal" => self.seal(),
            other => panic!("there is no step '{other}'"),
        };
        *self.done.entry(kind).or_default() += usize::from(done.is_ok());
        format!("{kind}: {}", done.unwrap_or_else(|nothing| nothing))
    }

    fn files(&self) -> Files {
        *self.branches[&self.branch].last().unwrap()
    }

    fn commit(&mut self, files: Files, message: &str) {
        for (number, content) in files.iter().enumerate() {
            let content = content.to_string();
            self.world.repo.write(format!("p{number}/file"), content);
        }
        self.world.repo.git(&["add", "--all"]);
        self.world
            .repo
            .git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.branches.get_mut(&self.branch).unwrap().push(files);
    }

    /// Changes the file of a project, which is returned, and commits.
    fn edit(&mut self) -> (usize, String) {
        let mut files = self.files();
        let project = self.dice.below(files.len());
        let further = u8::try_from(1 + self.dice.below(3)).unwrap();
        files[project] = (files[project] + further) % 4;
        self.commit(files, "Edit");
        (project, format!("p{project} is {}", files[project]))
    }

    fn branch(&mut self) -> String {
        let names: Vec<String> = self.branches.keys().cloned().collect();
        if names.len() > 3 || self.dice.below(2) == 0 {
            self.branch.clone_from(&names[self.dice.below(names.len())]);
            self.world.repo.git(&["checkout", "--quiet", &self.branch]);
        } else {
            let new = format!("branch-{}", names.len());
            self.world.repo.git(&["checkout", "--quiet", "-b", &new]);
            let history = self.branches[&self.branch].clone();
            self.branches.insert(new.clone(), history);
            self.branch = new;
        }
        self.branch.clone()
    }

    /// A merge commit that takes each project's file from either side.
    fn merge(&mut self) -> Step {
        let others: Vec<String> = self
            .branches
            .keys()
            .filter(|name| **name != self.branch)
            .cloned()
            .collect();
        if others.is_empty() {
            return Err("nothing to merge".to_owned());
        }
        let other = others[self.dice.below(others.len())].clone();
        let theirs = *self.branches[&other].last().unwrap();
        let mut files = self.files();
        for (ours, theirs) in files.iter_mut().zip(theirs) {
            if self.dice.below(2) == 0 {
                *ours = theirs;
            }
        }
        let merge = [
            "merge",
            "--quiet",
            "--no-commit",
            "--no-ff",
            "-s",
            "ours",
            &other,
        ];
        self.world.repo.git(&merge);
        self.commit(files, "Merge");
        Ok(other)
    }

    fn revert(&mut self) -> String {
        let history = &self.branches[&self.branch];
        let back = self.dice.below(history.len());
        let files = history[history.len() - 1 - back];
        self.commit(files, "Revert");
        format!("{back} back")
    }

    /// What each project at the head is made of.
    fn made(&self) -> Vec<Made> {
        let mut made: Vec<Made> = Vec::new();
        for (number, content) in self.files().iter().enumerate() {
            let below: Vec<&str> = PROJECTS[number]
                .iter()
                .map(|(other, _)| made[*other].1.as_str())
                .collect();
            let base = (number, format!("{content}{below:?}"));
            let times = self.distrusted.get(&base).copied().unwrap_or_default();
            made.push((number, format!("{}!{times}", base.1)));
        }
        made
    }

    /// The build of what an edit changed fails.
    fn failing_build(&mut self) -> Step {
        let (project, edit) = self.edit();
        let ends = self.build(Some(project));
        if ends.contains("=failed") {
            Ok(format!("{edit}, {ends}"))
        } else {
            Err(format!("{edit}, as it was before: {ends}"))
        }
    }

    fn build(&mut self, failing: Option<usize>) -> String {
        let mut ends: Vec<&str> = Vec::new();
        for made in self.made() {
            let used = PROJECTS[made.0].iter().filter(|(_, used)| *used);
            let mut used = used.map(|(other, _)| ends[*other]);
            let end = if self.recorded.contains(&made) {
                "reused"
            } else if used.any(|end| end == "failed" || end == "blocked") {
                "blocked"
            } else if failing == Some(made.0) {
                "failed"
            } else {
                self.recorded.insert(made);
                "built"
            };
            ends.push(end);
        }
        let expected = ends.iter().enumerate();
        let expected: Vec<String> = expected
            .map(|(number, end)| format!("p{number}={end}"))
            .collect();
        let mut run = self.world.run();
        if let Some(project) = failing {
            run = run.script(&format!("p{project}"), Act::Fail);
        }
        assert_eq!(run.build().verdicts(), expected.join(" "));
        expected.join(" ")
    }

    /// Another process builds what an edit changed, and is killed when it puts something for the
    /// n-th time.
    fn kill(&mut self) -> Step {
        let (_, edit) = self.edit();
        let nth = 1 + self.dice.below(24);
        let front = Front::start(self.world.registry.address);
        let mut building = command(&self.world.repo);
        building.args(["debug", "record-all", "--images", "--upstream", "none"]);
        building.args(["--registry", &front.base(super::PREFIX)]);
        let killed = front.kill_at(&mut building, "PUT .", nth);
        self.take_what_was_recorded();
        if killed {
            Ok(format!("{edit}, at the {nth}th PUT"))
        } else {
            Err(format!("{edit}, it put less than {nth} times"))
        }
    }

    /// A build whose registry fails once, or from some request on.
    fn fault(&mut self) -> Step {
        let front = Front::start(self.world.registry.address);
        let fault = match self.dice.below(6) {
            0 => Fault::status(500),
            1 => Fault::Cut,
            2 => Fault::LoseAnswer,
            3 => Fault::Corrupt,
            4 => Fault::ResetBody(10),
            _ => Fault::error(403, "DENIED", "not today"),
        };
        let method = ["GET", "PUT", "POST", "HEAD"][self.dice.below(4)];
        let path = ["/manifests/", "/blobs/", ""][self.dice.below(3)];
        let nth = 1 + self.dice.below(12);
        front.add(Rule::on(method, path).nth(nth).does(fault.clone()));
        let ran = self.world.run().base(front.base(super::PREFIX)).try_build();
        self.take_what_was_recorded();
        let ended = match ran {
            Ok(done) => done.verdicts(),
            Err(failure) => {
                assert!(failure.class == Class::Unreachable, "{failure:?}");
                failure.problems[0].code.to_owned()
            }
        };
        let told = format!("{fault:?} at {method} {path} number {nth}: {ended}");
        if front.harmed() > 0 {
            Ok(told)
        } else {
            Err(told)
        }
    }

    /// After a run that did not come to its end: nothing is lost, and what is new is of this
    /// commit and rests on records.
    fn take_what_was_recorded(&mut self) {
        self.learn_keys();
        let standing = self.world.recorded();
        for made in &self.recorded {
            assert!(standing.contains(&self.keys[made]), "lost: {made:?}");
        }
        let made = self.made();
        let is_recorded = |made: &Made| standing.contains(&self.keys[made]);
        let new: Vec<Made> = made
            .iter()
            .filter(|made| is_recorded(made))
            .cloned()
            .collect();
        for (number, _) in &new {
            for (other, used) in PROJECTS[*number] {
                assert!(
                    !used || is_recorded(&made[*other]),
                    "p{number} without p{other}"
                );
            }
        }
        self.recorded.extend(new);
    }

    fn taint(&mut self) -> String {
        let made = self.made().swap_remove(self.dice.below(PROJECTS.len()));
        self.learn_keys();
        let (base, times) = made.1.rsplit_once('!').unwrap();
        let times: u32 = times.parse().unwrap();
        let commit = self.world.repo.head().parse().unwrap();
        let by = "Eve".to_owned();
        let taint = TaintRecord {
            reason: Reason::Tainted {
                by: by.clone(),
                why: "doubt".to_owned(),
                commit,
            },
            commit,
            by,
        };
        let (key, project) = (self.keys[&made], project(made.0));
        let ledger = self.world.ledger();
        let written = ledger.write_taint(key, &project, &taint, NOW);
        self.world.block_on(written).unwrap();
        self.distrusted.insert((made.0, base.to_owned()), times + 1);
        self.taints += 1;
        format!("{project}")
    }

    fn seal(&mut self) -> Step {
        let made = self.made();
        let open = made.iter().filter(|made| !self.recorded.contains(made));
        let open: Vec<String> = open.map(|made| format!("p{}", made.0)).collect();
        let registry = self.world.ledger();
        let bases = Bases {
            registry,
            upstream: None,
        };
        let repository = waybill::git::Repository::open(self.world.repo.path()).unwrap();
        let request = self.world.run().request(&repository).unwrap();
        let sealing = gather::seal(&repository, &bases, &request, NOW);
        match self.world.block_on(sealing) {
            Ok((edition, is_new, _)) => {
                assert_eq!(open, Vec::<String>::new(), "sealed too early");
                let editions = self.sealed.entry(self.world.repo.head()).or_default();
                assert_eq!(is_new, !editions.contains(&made));
                if is_new {
                    editions.push(made);
                    assert_eq!(edition.number as usize, editions.len());
                }
                Ok(format!("edition {}", edition.number))
            }
            Err(failure) => {
                assert_eq!(failure.class, Class::Gate, "{failure:?}");
                let named: Vec<String> = failure
                    .problems
                    .iter()
                    .filter_map(|problem| problem.project.as_ref().map(ToString::to_string))
                    .collect();
                assert_eq!(named, open);
                Err(format!("{open:?} are in the way"))
            }
        }
    }

    /// The plan's keys: what is made alike has one key, and nothing else has it.
    fn learn_keys(&mut self) {
        let plan = self.world.run().plan().plan;
        for made in self.made() {
            let key = plan.projects[&project(made.0)].key.key;
            let known = *self.keys.entry(made.clone()).or_insert(key);
            assert_eq!(known, key, "{made:?}");
        }
        let different: BTreeSet<&Key> = self.keys.values().collect();
        assert_eq!(different.len(), self.keys.len(), "two are made differently");
    }

    /// A plan at the head builds what the model has no record of.
    fn check_head(&mut self) {
        self.learn_keys();
        let plan = self.world.run().plan().plan;
        let planned: Vec<String> = plan
            .builds()
            .map(|planned| planned.name.to_string())
            .collect();
        let open = self.made().into_iter();
        let open = open.filter(|made| !self.recorded.contains(made));
        let open: Vec<String> = open.map(|made| format!("p{}", made.0)).collect();
        assert_eq!(planned, open);
    }

    /// Registry and model are equal: records, images, taints, waybills.
    fn check_whole(&self) {
        let recorded: BTreeSet<Key> = self.recorded.iter().map(|made| self.keys[made]).collect();
        assert_eq!(self.world.recorded(), recorded);
        let (client, ledger) = (self.world.client(), self.world.ledger());
        for made in &self.recorded {
            let (key, project) = (self.keys[made], project(made.0));
            self.world.block_on(async {
                let Standing::Record(facts) = ledger.built(key, &project).await.unwrap() else {
                    panic!("{made:?}");
                };
                let digest = facts.image.to_string();
                let image = client.manifest(project.as_str(), &digest).await.unwrap();
                assert!(image.is_some(), "{made:?}: its image is gone");
                let tag = client.digest_of(project.as_str(), &names::image(key)).await;
                assert_eq!(tag.unwrap(), Some(facts.image), "{made:?}");
            });
        }
        let tags = self.world.block_on(client.tags(names::TAINTS)).unwrap();
        assert_eq!(tags.len(), self.taints + 1);
        let tags = self.world.block_on(client.tags(names::LEDGER)).unwrap();
        let waybills = tags.iter().filter_map(|tag| names::release_edition(tag));
        let editions: usize = self.sealed.values().map(Vec::len).sum();
        assert_eq!(waybills.count(), editions);
    }
}

fn project(number: usize) -> ProjectName {
    name(&format!("p{number}"))
}
