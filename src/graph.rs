//! Which projects depend on which: the manifest's dependencies, and the two kinds of them (an
//! image that is needed, a change that only propagates).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::manifest::Manifest;
use crate::model::ProjectName;
use crate::problem::{Class, Diagnose, Problem};

/// The dependencies of a manifest's projects. Every answer is in a fixed order: by name, unless it
/// says otherwise.
#[derive(Clone, Debug)]
pub struct Graph {
    /// From a project to its dependencies. Nodes are in the order of names.
    graph: DiGraph<ProjectName, ()>,
    nodes: BTreeMap<ProjectName, NodeIndex>,
}

impl Graph {
    /// The graph of a manifest; it has no cycle.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        Self::from_dependencies(
            manifest
                .projects
                .values()
                .map(|project| (&project.name, project.dependencies.as_slice())),
        )
    }

    /// A graph that may have cycles; dependencies that are no projects are left out.
    pub(crate) fn from_dependencies<'a>(
        projects: impl Iterator<Item = (&'a ProjectName, &'a [ProjectName])>,
    ) -> Self {
        let projects: BTreeMap<_, _> = projects.collect();
        let mut graph = DiGraph::with_capacity(projects.len(), projects.len());
        let nodes: BTreeMap<ProjectName, NodeIndex> = projects
            .keys()
            .map(|name| ((*name).clone(), graph.add_node((*name).clone())))
            .collect();
        for (name, dependencies) in projects {
            for dependency in dependencies {
                if let Some(to) = nodes.get(dependency) {
                    graph.update_edge(nodes[name], *to, ());
                }
            }
        }
        Self { graph, nodes }
    }

    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &ProjectName> {
        self.nodes.keys()
    }

    /// The projects that this one names as dependencies.
    #[must_use]
    pub fn dependencies(&self, of: &ProjectName) -> BTreeSet<ProjectName> {
        self.neighbours(of, Direction::Outgoing)
    }

    /// The projects that name this one.
    #[must_use]
    pub fn dependents(&self, of: &ProjectName) -> BTreeSet<ProjectName> {
        self.neighbours(of, Direction::Incoming)
    }

    /// Dependencies, and theirs, and so on.
    #[must_use]
    pub fn all_dependencies(&self, of: &ProjectName) -> BTreeSet<ProjectName> {
        let mut found = self.reach([of], Direction::Outgoing);
        found.remove(of);
        found
    }

    /// Dependents, and theirs, and so on.
    #[must_use]
    pub fn all_dependents(&self, of: &ProjectName) -> BTreeSet<ProjectName> {
        let mut found = self.reach([of], Direction::Incoming);
        found.remove(of);
        found
    }

    /// These projects and everything that they depend on.
    #[must_use]
    pub fn closure<'a>(
        &self,
        of: impl IntoIterator<Item = &'a ProjectName>,
    ) -> BTreeSet<ProjectName> {
        self.reach(of, Direction::Outgoing)
    }

    /// Every project after its dependencies; of those that could come next, the first by name.
    #[must_use]
    pub fn topological(&self) -> Vec<ProjectName> {
        let mut waiting: Vec<usize> = self
            .graph
            .node_indices()
            .map(|node| self.graph.neighbors(node).count())
            .collect();
        let mut ready: BinaryHeap<Reverse<NodeIndex>> = self
            .graph
            .node_indices()
            .filter(|node| waiting[node.index()] == 0)
            .map(Reverse)
            .collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(Reverse(node)) = ready.pop() {
            order.push(self.graph[node].clone());
            for dependent in self.graph.neighbors_directed(node, Direction::Incoming) {
                waiting[dependent.index()] -= 1;
                if waiting[dependent.index()] == 0 {
                    ready.push(Reverse(dependent));
                }
            }
        }
        order
    }

    /// The shortest way along dependencies, both ends included; of several, the first by name.
    /// Empty if there is none.
    #[must_use]
    pub fn shortest_path(&self, from: &ProjectName, to: &ProjectName) -> Vec<ProjectName> {
        let (Some(from), Some(to)) = (self.nodes.get(from), self.nodes.get(to)) else {
            return Vec::new();
        };
        self.path_between(*from, *to)
            .into_iter()
            .map(|node| self.graph[node].clone())
            .collect()
    }

    /// How many projects stand in the longest chain of dependencies; 0 if there are none.
    #[must_use]
    pub fn depth(&self) -> usize {
        let mut depths: BTreeMap<ProjectName, usize> = BTreeMap::new();
        for name in self.topological() {
            let below = self.dependencies(&name);
            let below = below.iter().filter_map(|dependency| depths.get(dependency));
            let depth = 1 + below.max().copied().unwrap_or(0);
            depths.insert(name, depth);
        }
        depths.into_values().max().unwrap_or(0)
    }

    /// One cycle for each set of projects that all depend on each other: the shortest one from the
    /// first of them by name, which is not repeated at the end.
    pub(crate) fn cycles(&self) -> Vec<Vec<ProjectName>> {
        let mut cycles: Vec<Vec<ProjectName>> = kosaraju_scc(&self.graph)
            .into_iter()
            .filter(|knot| knot.len() > 1 || self.graph.contains_edge(knot[0], knot[0]))
            .filter_map(|knot| self.cycle_from(*knot.iter().min()?))
            .map(|cycle| {
                let names = cycle.into_iter().map(|node| self.graph[node].clone());
                names.collect()
            })
            .collect();
        cycles.sort();
        cycles
    }

    /// Splits the dependencies by whether the image is used.
    ///
    /// # Errors
    ///
    /// A project uses the image of one that is not among its dependencies, direct or transitive.
    pub fn edges(
        &self,
        uses: &BTreeMap<ProjectName, BTreeSet<ProjectName>>,
    ) -> Result<Edges, UndeclaredUses> {
        let mut edges = BTreeMap::new();
        let mut undeclared = Vec::new();
        for project in self.projects() {
            let images = uses.get(project).cloned().unwrap_or_default();
            if !images.is_empty() {
                let declared = self.all_dependencies(project);
                for stranger in images.difference(&declared) {
                    undeclared.push((project.clone(), stranger.clone()));
                }
            }
            let mut triggers = self.dependencies(project);
            triggers.retain(|dependency| !images.contains(dependency));
            edges.insert(
                project.clone(),
                ProjectEdges {
                    uses: images,
                    triggers,
                },
            );
        }
        if undeclared.is_empty() {
            Ok(Edges { edges })
        } else {
            Err(UndeclaredUses(undeclared))
        }
    }

    fn neighbours(&self, of: &ProjectName, direction: Direction) -> BTreeSet<ProjectName> {
        let Some(node) = self.nodes.get(of) else {
            return BTreeSet::new();
        };
        self.graph
            .neighbors_directed(*node, direction)
            .map(|neighbour| self.graph[neighbour].clone())
            .collect()
    }

    fn reach<'a>(
        &self,
        from: impl IntoIterator<Item = &'a ProjectName>,
        direction: Direction,
    ) -> BTreeSet<ProjectName> {
        let mut waiting: Vec<NodeIndex> = from
            .into_iter()
            .filter_map(|name| self.nodes.get(name).copied())
            .collect();
        let mut found: BTreeSet<NodeIndex> = waiting.iter().copied().collect();
        while let Some(node) = waiting.pop() {
            for next in self.graph.neighbors_directed(node, direction) {
                if found.insert(next) {
                    waiting.push(next);
                }
            }
        }
        found
            .into_iter()
            .map(|node| self.graph[node].clone())
            .collect()
    }

    fn path_between(&self, from: NodeIndex, to: NodeIndex) -> Vec<NodeIndex> {
        let mut came_from: BTreeMap<NodeIndex, Option<NodeIndex>> = BTreeMap::from([(from, None)]);
        let mut waiting = VecDeque::from([from]);
        while let Some(node) = waiting.pop_front() {
            if node == to {
                let mut path = vec![to];
                while let Some(Some(before)) = path.last().and_then(|node| came_from.get(node)) {
                    path.push(*before);
                }
                path.reverse();
                return path;
            }
            for next in self.sorted_dependencies(node) {
                came_from.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    Some(node)
                });
            }
        }
        Vec::new()
    }

    /// The shortest cycle through a node, if it is on one.
    fn cycle_from(&self, node: NodeIndex) -> Option<Vec<NodeIndex>> {
        self.sorted_dependencies(node)
            .into_iter()
            .map(|next| {
                let mut cycle = self.path_between(next, node);
                let last = usize::from(!cycle.is_empty());
                cycle.rotate_right(last);
                cycle
            })
            .filter(|cycle| !cycle.is_empty())
            .min_by_key(Vec::len)
    }

    fn sorted_dependencies(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut found: Vec<NodeIndex> = self.graph.neighbors(node).collect();
        found.sort_unstable();
        found
    }
}

/// The dependencies of every project, split in two: those whose image is used, which must be there
/// before, and those whose change only triggers a rebuild, which delay nothing.
///
/// Uses are dependencies, so there is no cycle among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    edges: BTreeMap<ProjectName, ProjectEdges>,
}

/// One project's dependencies of both kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectEdges {
    /// Projects whose image goes in; some may be dependencies of a dependency only.
    pub uses: BTreeSet<ProjectName>,
    /// Direct dependencies whose image does not go in.
    pub triggers: BTreeSet<ProjectName>,
}

impl Edges {
    /// What a project uses and what triggers it; `None` if there is no such project.
    #[must_use]
    pub fn of(&self, project: &ProjectName) -> Option<&ProjectEdges> {
        self.edges.get(project)
    }

    /// The projects that use this one's image, directly.
    #[must_use]
    pub fn users(&self, of: &ProjectName) -> BTreeSet<ProjectName> {
        self.edges
            .iter()
            .filter(|(_, edges)| edges.uses.contains(of))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// These projects and every image that goes into theirs: what building them needs.
    #[must_use]
    pub fn with_used<'a>(
        &'a self,
        projects: impl IntoIterator<Item = &'a ProjectName>,
    ) -> BTreeSet<ProjectName> {
        let mut waiting: Vec<&ProjectName> = projects.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if let Some(edges) = self.edges.get(name)
                && found.insert(name.clone())
            {
                waiting.extend(&edges.uses);
            }
        }
        found
    }
}

/// Projects that use the image of a project which is not among their dependencies: user, used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} project images are used without being dependencies", .0.len())]
pub struct UndeclaredUses(pub Vec<(ProjectName, ProjectName)>);

impl Diagnose for UndeclaredUses {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn problems(&self) -> Vec<Problem> {
        self.0
            .iter()
            .map(|(user, used)| {
                Problem::error(
                    "undeclared-dependency",
                    format!("'{user}' uses the image of '{used}', which is not a dependency of it"),
                )
                .project(user)
                .hint(format!("add '{used}' to the dependencies of '{user}'"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> ProjectName {
        text.parse().unwrap()
    }

    fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<ProjectName> {
        texts.into_iter().map(name).collect()
    }

    fn graph(text: &[(&str, &[&str])]) -> Graph {
        let lists: Vec<(ProjectName, Vec<ProjectName>)> = text
            .iter()
            .map(|(project, list)| (name(project), list.iter().map(|one| name(one)).collect()))
            .collect();
        Graph::from_dependencies(
            lists
                .iter()
                .map(|(project, list)| (project, list.as_slice())),
        )
    }

    fn shown(path: &[ProjectName]) -> String {
        let words: Vec<&str> = path.iter().map(ProjectName::as_str).collect();
        words.join(" ")
    }

    fn sample() -> Graph {
        graph(&[
            ("app", &["web", "api"]),
            ("web", &["log", "ui"]),
            ("api", &["log"]),
            ("ui", &[]),
            ("log", &["base"]),
            ("base", &[]),
        ])
    }

    #[test]
    fn orders_dependencies_first_and_ties_by_name() {
        assert_eq!(shown(&sample().topological()), "base log api ui web app");
        assert_eq!(sample().depth(), 4);
        assert_eq!(graph(&[]).depth(), 0);
    }

    #[test]
    fn reaches_in_both_directions() {
        let graph = sample();
        assert_eq!(graph.dependencies(&name("web")), names(["log", "ui"]));
        assert_eq!(graph.dependents(&name("log")), names(["api", "web"]));
        assert_eq!(
            graph.all_dependencies(&name("web")),
            names(["log", "ui", "base"])
        );
        assert_eq!(
            graph.all_dependents(&name("log")),
            names(["api", "web", "app"])
        );
        let (api, ui) = (name("api"), name("ui"));
        assert_eq!(
            graph.closure([&api, &ui]),
            names(["api", "ui", "log", "base"])
        );
    }

    #[test]
    fn finds_the_shortest_path_first_by_name() {
        let path = |from, to| shown(&sample().shortest_path(&name(from), &name(to)));
        assert_eq!(path("app", "base"), "app api log base");
        assert_eq!(path("app", "app"), "app");
        assert_eq!(path("base", "app"), "");
        assert_eq!(path("app", "nobody"), "");
    }

    #[test]
    fn reports_each_knot_once_by_a_shortest_cycle() {
        let graph = graph(&[
            ("a", &["b"]),
            ("b", &["c", "a"]),
            ("c", &["a"]),
            ("x", &["y", "a"]),
            ("y", &["z"]),
            ("z", &["x"]),
            ("lone", &["a"]),
        ]);
        let cycles: Vec<String> = graph.cycles().iter().map(|cycle| shown(cycle)).collect();
        assert_eq!(cycles, ["a b", "x y z"]);
        assert!(sample().cycles().is_empty());
    }

    #[test]
    fn splits_dependencies_into_uses_and_triggers() {
        let uses = BTreeMap::from([
            (name("app"), names(["log", "web"])),
            (name("web"), names(["base"])),
        ]);
        let edges = sample().edges(&uses).unwrap();
        let app = edges.of(&name("app")).unwrap();
        assert_eq!(app.uses, names(["log", "web"]));
        assert_eq!(app.triggers, names(["api"]));
        assert_eq!(edges.of(&name("ui")), Some(&ProjectEdges::default()));
        assert_eq!(edges.users(&name("base")), names(["web"]));
        let app = name("app");
        assert_eq!(
            edges.with_used([&app]),
            names(["app", "base", "log", "web"])
        );
    }

    #[test]
    fn refuses_the_use_of_what_is_no_dependency() {
        let uses = BTreeMap::from([(name("api"), names(["ui", "api"]))]);
        let error = sample().edges(&uses).unwrap_err();
        assert_eq!(
            error.0,
            [(name("api"), name("api")), (name("api"), name("ui"))]
        );
        assert_eq!(error.problems()[1].code, "undeclared-dependency");
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let lists: Vec<(ProjectName, Vec<ProjectName>)> = (0..20_000)
            .map(|index: usize| {
                let below = index.checked_sub(1).map(|below| name(&format!("p{below}")));
                (name(&format!("p{index}")), below.into_iter().collect())
            })
            .collect();
        let graph =
            Graph::from_dependencies(lists.iter().map(|(project, list)| (project, &list[..])));
        assert_eq!(graph.topological().len(), 20_000);
        assert!(graph.cycles().is_empty());
    }

    proptest! {
        /// Every project comes after its dependencies, and there is an order or a cycle.
        #[test]
        fn order_or_cycle(edges in proptest::collection::vec((0..12_usize, 0..12_usize), 0..20)) {
            let all: Vec<ProjectName> = (0..12).map(|index| name(&format!("p{index}"))).collect();
            let lists: Vec<Vec<ProjectName>> = (0..12)
                .map(|project| {
                    let of = edges.iter().filter(|(from, _)| *from == project);
                    of.map(|(_, to)| all[*to].clone()).collect()
                })
                .collect();
            let graph = Graph::from_dependencies(all.iter().zip(lists.iter().map(Vec::as_slice)));
            let order = graph.topological();
            prop_assert_eq!(order.len() == 12, graph.cycles().is_empty());
            for (index, project) in order.iter().enumerate() {
                for dependency in graph.dependencies(project) {
                    prop_assert!(order[..index].contains(&dependency));
                }
            }
        }
    }
}
