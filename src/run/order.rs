//! In order and in parallel: each begins once all that it waits for has ended well.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// What is to become of one that waits for others.
pub(super) enum Turn<N> {
    /// It may begin.
    Begin(N),
    /// It never can: the second of them did not end well.
    Blocked(N, N),
    /// Nothing can begin before something ends.
    Wait,
}

/// What waits, and for what.
pub(super) struct Order<N> {
    waiting: BTreeMap<N, BTreeSet<N>>,
    /// In which order those begin that may.
    rank: BTreeMap<N, usize>,
    well: BTreeSet<N>,
    badly: BTreeSet<N>,
}

impl<N: Ord + Clone> Order<N> {
    /// `before` names for each what it waits for; of those that may begin, the first of it does.
    pub(super) fn new(before: Vec<(N, BTreeSet<N>)>) -> Self {
        let rank = before.iter().enumerate();
        Self {
            rank: rank.map(|(rank, (name, _))| (name.clone(), rank)).collect(),
            waiting: before.into_iter().collect(),
            well: BTreeSet::new(),
            badly: BTreeSet::new(),
        }
    }

    /// The next, which no longer waits then.
    pub(super) fn next(&mut self) -> Turn<N> {
        let blocked = self.waiting.iter().find_map(|(name, before)| {
            let by = before.iter().find(|name| self.badly.contains(*name))?;
            Some((name.clone(), by.clone()))
        });
        if let Some((name, by)) = blocked {
            self.waiting.remove(&name);
            return Turn::Blocked(name, by);
        }
        let ready = self
            .waiting
            .iter()
            .filter(|(_, before)| before.is_subset(&self.well));
        let ready = ready.min_by_key(|(name, _)| self.rank.get(*name));
        match ready.map(|(name, _)| name.clone()) {
            Some(name) => {
                self.waiting.remove(&name);
                Turn::Begin(name)
            }
            None => Turn::Wait,
        }
    }

    /// Notes how one ended.
    pub(super) fn ended(&mut self, name: N, well: bool) {
        if well {
            self.well.insert(name);
        } else {
            self.badly.insert(name);
        }
    }

    /// What still waits, in order; nothing does any more then.
    pub(super) fn rest(&mut self) -> Vec<N> {
        let mut rest: Vec<N> = std::mem::take(&mut self.waiting).into_keys().collect();
        rest.sort_by_key(|name| self.rank.get(name).copied());
        rest
    }
}

/// Carries everything out, at most `jobs` at once. `begin` starts one; `end` hears how each ended,
/// with those that never began because of another, and says whether it ended well; `goes_on` says
/// whether more may begin. What never began is returned, in order.
pub(super) async fn in_order<N, V, F>(
    before: Vec<(N, BTreeSet<N>)>,
    jobs: usize,
    mut begin: impl FnMut(&N) -> F,
    mut end: impl FnMut(&N, Result<V, &N>) -> bool,
    goes_on: impl Fn() -> bool,
) -> Vec<N>
where
    N: Ord + Clone,
    F: Future<Output = V>,
{
    let mut order = Order::new(before);
    let mut running = FuturesUnordered::new();
    loop {
        while goes_on() && running.len() < jobs.max(1) {
            match order.next() {
                Turn::Begin(name) => {
                    let work = begin(&name);
                    running.push(async move { (name, work.await) });
                }
                Turn::Blocked(name, by) => {
                    let well = end(&name, Err(&by));
                    order.ended(name, well);
                }
                Turn::Wait => break,
            }
        }
        let Some((name, value)) = running.next().await else {
            return order.rest();
        };
        let well = end(&name, Ok(value));
        order.ended(name, well);
    }
}
