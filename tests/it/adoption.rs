//! Images known only by Aztec's `cache-<commit>` tags: what is planned is what the diff calls for,
//! and nothing else.
//!
//! `story` makes random histories, `written` writes them with `git fast-import` and asks `git`
//! what differs, `oracle` says from that alone what should be planned, and `images` is the
//! registry. The key is in none of them.

mod cases;
mod images;
mod keys;
mod oracle;
mod story;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use waybill::gather::{self, CommitOptions, PlanRequest};
use waybill::git::Repository;
use waybill::ledger::{Bases, Ledger, Marker, names};
use waybill::manifest::Shape;
use waybill::model::{CommitId, ProjectName, Reason};
use waybill::plan::{Action, Plan};
use waybill::registry::{Client, Credentials, Options};

use crate::program::report;
use images::{Image, Images};
use oracle::{Expected, Oracle, Regexes, Tags, is_plannable};
use story::{Story, Tagged, Told, story};
use written::{Changed, Written, name};

/// How many histories share a repository.
const BATCH: usize = 250;
/// How many batches there are.
const BATCHES: u64 = 10;

/// A registry in memory with an empty base, served by a thread of its own.
struct Registry {
    images: Images,
    bases: Bases,
    runtime: tokio::runtime::Runtime,
}

impl Registry {
    fn start() -> Self {
        let images = Images::default();
        let served = images.clone();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            current_thread().block_on(async {
                tell.send(served.serve().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let base = format!("{}/acme", told.recv().unwrap());
        let runtime = current_thread();
        let client = Client::new(
            base.parse().unwrap(),
            Credentials::Anonymous,
            Options::default(),
        );
        let marker = Marker {
            id: "test".into(),
            upstream: false,
        };
        let ledger = Ledger::create(client.unwrap(), marker, "2026-01-01T00:00:00Z");
        let bases = Bases {
            registry: runtime.block_on(ledger).unwrap(),
            upstream: None,
        };
        Self {
            images,
            bases,
            runtime,
        }
    }

    /// Takes another base as the upstream, with connections of its own.
    fn read_too(&mut self, upstream: &Self) {
        let base = upstream.bases.registry.client().base().clone();
        let client = Client::new(base, Credentials::Anonymous, Options::default());
        let ledger = self.runtime.block_on(Ledger::open(client.unwrap()));
        self.bases.upstream = Some(ledger.unwrap());
    }

    fn plan(&self, repository: &Repository, request: &PlanRequest) -> Plan {
        let planning = gather::plan(repository, &self.bases, request);
        self.runtime.block_on(planning).unwrap().plan
    }
}

fn current_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn request(commit: CommitId) -> PlanRequest {
    PlanRequest {
        commit,
        options: CommitOptions::default(),
        projects: None,
        force: BTreeSet::new(),
        history: 500,
        verify: false,
        by: "test".into(),
        work_tree_of: None,
        carried: None,
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.reused += other.reused;
        self.reused_from_afar += other.reused_from_afar;
        self.reused_with_used_images += other.reused_with_used_images;
        self.built += other.built;
        self.built_though_tagged += other.built_though_tagged;
        self.nothing += other.nothing;
    }
}

/// The images of a story, put into the registry under the tags of its commits.
fn put_images(registry: &Registry, number: usize, story: &Story, commits: &[CommitId]) -> Tags {
    let mut tags = Tags::new();
    for (project, index, tagged) in &story.tags {
        let Some(commit) = commits.get(*index) else {
            continue;
        };
        let (repository, tag) = (
            format!("acme/{}", name(number, *project)),
            names::alias(*commit),
        );
        let mut image = Image {
            content: u32::try_from(project * 100 + index).unwrap(),
            architecture: "amd64",
            key: None,
        };
        match tagged {
            Tagged::Own => {}
            Tagged::Shared(content) => image.content = u32::from(*content) + 1000,
            Tagged::Arm => image.architecture = "arm64",
            Tagged::OtherKey => image.key = Some("0".repeat(64)),
            Tagged::Lost => {
                tags.entry((*project, *commit)).or_insert_with(|| {
                    registry.images.put_lost(&repository, &tag);
                    None
                });
                continue;
            }
        }
        if let std::collections::btree_map::Entry::Vacant(place) = tags.entry((*project, *commit)) {
            registry.images.put(&repository, &tag, &image);
            place.insert(Some(image));
        }
    }
    tags
}

/// How often each outcome was seen.
#[derive(Debug, Default)]
struct Seen {
    planned: usize,
    reused: usize,
    reused_from_afar: usize,
    reused_with_used_images: usize,
    built: usize,
    built_though_tagged: usize,
    nothing: usize,
}

/// What differs between two commits, by the later one and then the earlier.
type Differences = HashMap<CommitId, HashMap<CommitId, Vec<Changed>>>;

/// Pairs of commits with what differs, and commits alone with all they hold.
fn ask_git(
    written: &Written,
    pairs: &[(Option<CommitId>, CommitId)],
) -> (Differences, HashMap<CommitId, Vec<Changed>>) {
    let mut differences = Differences::new();
    let mut listings = HashMap::new();
    for ((before, after), changes) in pairs.iter().zip(written.differences(pairs)) {
        match before {
            Some(before) => {
                differences
                    .entry(*after)
                    .or_default()
                    .insert(*before, changes);
            }
            None => {
                listings.insert(*after, changes);
            }
        }
    }
    (differences, listings)
}

/// The first story of some, by its place, whose plan is not what it should be, with what is wrong.
fn first_wrong(stories: &[Story], seen: &mut Seen) -> Option<(usize, String)> {
    let registry = Registry::start();
    let told: Vec<Vec<Told>> = stories.iter().map(Story::tell).collect();
    let written = Written::new(Shape::Aztec, &told);
    let repository = Repository::open(written.repo.path()).unwrap();
    let mut cases = Vec::new();
    let mut pairs = Vec::new();
    for (number, story) in stories.iter().enumerate() {
        let commits = &written.commits[number];
        let back = story.target.back.min(commits.len() - 1);
        let target = commits.len() - 1 - back;
        if !is_plannable(&told[number][target].state) {
            continue;
        }
        let tags = put_images(&registry, number, story, commits);
        let target = commits[target];
        let tagged: BTreeSet<CommitId> = tags.keys().map(|(_, commit)| *commit).collect();
        pairs.extend(tagged.iter().map(|commit| (Some(*commit), target)));
        pairs.extend(tagged.iter().chain([&target]).map(|commit| (None, *commit)));
        cases.push((number, target, tags));
    }
    let (mut differences, listings) = ask_git(&written, &pairs);
    let mut regexes = Regexes::default();
    for (number, target, tags) in cases {
        let story = &stories[number];
        let oracle = Oracle {
            told: &told[number],
            commits: &written.commits[number],
            written: &written,
            tags: &tags,
            differences: &differences.remove(&target).unwrap_or_default(),
            listings: &listings,
            target,
            history: story.target.history,
            rebuild_all: BTreeSet::new(),
        };
        let expected = oracle.expected(&mut regexes);
        let only = story.target.only.filter(|only| expected.contains_key(only));
        let plan = registry.plan(
            &repository,
            &PlanRequest {
                history: story.target.history,
                projects: only.map(|only| [name(number, only).parse().unwrap()].into()),
                ..request(target)
            },
        );
        seen.planned += 1;
        if let Err(wrong) = compare(number, only, &plan, &expected, &tags, seen) {
            return Some((number, wrong));
        }
    }
    None
}

fn compare(
    number: usize,
    only: Option<usize>,
    plan: &Plan,
    expected: &BTreeMap<usize, Expected>,
    tags: &Tags,
    seen: &mut Seen,
) -> Result<(), String> {
    if only.is_none() && plan.projects.len() != expected.len() {
        return Err(format!("{} projects planned", plan.projects.len()));
    }
    for (project, expected) in expected {
        let name: ProjectName = name(number, *project).parse().unwrap();
        let Some(planned) = plan.projects.get(&name) else {
            if only.is_none_or(|only| only == *project) {
                return Err(format!("{name} is not planned"));
            }
            continue;
        };
        let found = match (&planned.action, &planned.reason) {
            (
                Action::Reuse {
                    digest,
                    adopt: true,
                    ..
                },
                Reason::UnchangedSince { commit },
            ) => {
                seen.reused += 1;
                seen.reused_from_afar += usize::from(*commit != plan.commit);
                seen.reused_with_used_images += usize::from(!planned.uses.is_empty());
                Expected::Reuse(*commit, *digest)
            }
            (Action::Build(_), _) => {
                seen.built += 1;
                let tagged = tags.keys().any(|(tagged, _)| tagged == project);
                seen.built_though_tagged += usize::from(tagged);
                Expected::Build
            }
            (Action::None, _) => {
                seen.nothing += 1;
                Expected::Nothing
            }
            (action, reason) => return Err(format!("{name}: {action:?} because of {reason:?}")),
        };
        if found != *expected {
            let reason = &planned.reason;
            return Err(format!(
                "{name}: {found:?} ({reason:?}) and not {expected:?}"
            ));
        }
    }
    Ok(())
}

/// Makes a story that is planned wrongly as small as it gets in half a minute.
fn shrink(mut tree: impl ValueTree<Value = Story>, mut wrong: String) -> (Story, String) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut smallest = tree.current();
    while Instant::now() < end && tree.simplify() {
        loop {
            let current = tree.current();
            if let Some((_, still)) =
                first_wrong(std::slice::from_ref(&current), &mut Seen::default())
            {
                (smallest, wrong) = (current, still);
                break;
            }
            if !tree.complicate() {
                return (smallest, wrong);
            }
        }
    }
    (smallest, wrong)
}

/// The first of some stories that is planned wrongly, made small, is a panic.
fn check_batch(number: u64, seen: &Mutex<Seen>) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let mut trees: Vec<_> = (0..BATCH)
        .map(|_| story().new_tree(&mut runner).unwrap())
        .collect();
    let stories: Vec<Story> = trees.iter().map(ValueTree::current).collect();
    let mut own = Seen::default();
    if let Some((index, wrong)) = first_wrong(&stories, &mut own) {
        let (story, wrong) = shrink(trees.swap_remove(index), wrong);
        panic!("{wrong}\n{story:#?}");
    }
    seen.lock().unwrap().add(&own);
}

#[test]
fn what_the_diff_calls_for_is_planned_and_nothing_else() {
    let seen = Mutex::default();
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(4) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= BATCHES || seen.is_poisoned() {
                        break;
                    }
                    check_batch(number, &seen);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    report(&format!("{seen:?}"));
    // Both outcomes, in numbers: a test that sees only one of them proves nothing.
    let stories = BATCH * usize::try_from(BATCHES).unwrap();
    assert!(seen.planned > stories / 2, "{seen:?}");
    assert!(seen.reused_from_afar > stories / 2, "{seen:?}");
    assert!(seen.reused_with_used_images > stories / 20, "{seen:?}");
    assert!(seen.built_though_tagged > stories / 2, "{seen:?}");
    assert!(seen.nothing > stories / 20, "{seen:?}");
}
