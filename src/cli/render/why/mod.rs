//! Why a project is built, or what proves that it need not be: whole, for people and as JSON.

mod json;

use std::collections::BTreeMap;
use std::fmt::Display;

pub(in crate::cli) use json::document;
pub(super) use json::last_changes_json;

use super::plain::whole;
use super::plan::sentence;
use crate::cli::output::{Output, Style};
use crate::cli::session::{OpenBases, timestamp};
use crate::gather::{Proof, StandingTaint, Stored, Told, Why};
use crate::git::Commit;
use crate::key::{KeyInputs, Source, VERSION};
use crate::model::Reason;
use crate::plan::Action;

/// The image by a name that lasts.
fn lasting(why: &Why, proof: &Proof, bases: &OpenBases) -> String {
    bases.lasting_reference(&why.planned.name, &proof.image, proof.place, proof.commit)
}

/// The explanation for people.
pub(in crate::cli) fn text(
    why: &Why,
    bases: &OpenBases,
    with_inputs: bool,
    output: &Output,
) -> String {
    let mut page = Page {
        text: String::new(),
        output,
    };
    page.head(why);
    page.reason(&why.told);
    for taint in &why.taints {
        page.taint(taint, bases);
    }
    if let Some(proof) = &why.proof {
        page.proof(why, proof, bases);
    }
    page.row("key", why.planned.key.key);
    if let Some(stored) = why.proof.as_ref().and_then(|proof| proof.stored.as_ref()) {
        page.stored(stored);
    }
    for warning in &why.planned.warnings {
        page.row("warning", whole(&warning.message));
    }
    if with_inputs {
        page.inputs(&why.inputs);
    }
    page.text
}

/// Text in two columns.
struct Page<'a> {
    text: String,
    output: &'a Output,
}

impl Page<'_> {
    fn line(&mut self, line: impl Display) {
        self.text.extend([line.to_string(), "\n".to_owned()]);
    }

    fn row(&mut self, label: &str, value: impl Display) {
        let label = self.output.paint(Style::Dim, format!("{label:<10}"));
        self.line(format_args!("  {label}  {value}"));
    }

    /// A row below another, without a label of its own.
    fn more(&mut self, value: impl Display) {
        self.line(format_args!("  {:10}  {value}", ""));
    }

    fn title(&mut self, title: impl Display) {
        let title = self.output.paint(Style::Bold, title);
        self.line(format_args!("\n{title}"));
    }

    fn head(&mut self, why: &Why) {
        let (style, what) = match &why.planned.action {
            Action::Build(_) => (Style::Yellow, "is built"),
            Action::Reuse { adopt: true, .. } => (Style::Green, "is reused, and adopted"),
            Action::Reuse { .. } => (Style::Green, "is reused"),
            Action::None => (Style::Dim, "has nothing to build"),
        };
        let name = self.output.paint(Style::Bold, &why.planned.name);
        let what = self.output.paint(style, what);
        self.line(format_args!("{name} {what} at {}", naming(&why.commit)));
    }

    fn reason(&mut self, told: &Told) {
        let Reason::InputsChanged {
            ancestor,
            files,
            files_total,
            fields,
            refused: None,
        } = &told.reason
        else {
            self.row("because", whole(&sentence(&told.reason)));
            return self.at_commit(told);
        };
        self.row("because", "its inputs changed since it was last built");
        match &told.commit {
            Some(commit) => self.row("built at", naming(commit)),
            None => self.row("built at", ancestor.short()),
        }
        for file in files {
            self.row("changed", &file.path);
            if let [_, .., dependency] = file.via.as_slice() {
                let names: Vec<&str> = file.via.iter().map(AsRef::as_ref).collect();
                let names = names.join(" → ");
                self.more(format_args!("matches {} of {dependency}", file.pattern));
                self.more(format_args!("reaches it through {names}"));
            } else {
                self.more(format_args!("matches {}", file.pattern));
            }
            if let Some(change) = told.last_changes.get(&file.path) {
                self.more(format_args!(
                    "last by {} in {} ({}) {}",
                    whole(&change.author),
                    change.commit.short(),
                    timestamp(change.time),
                    whole(&change.subject),
                ));
            }
        }
        if *files_total > files.len() {
            self.more(format_args!("and {} more files", files_total - files.len()));
        }
        if !fields.is_empty() {
            self.row("fields", fields.join(", "));
        }
    }

    /// The commit that a reason names, where the proof does not name it anyway.
    fn at_commit(&mut self, told: &Told) {
        let proven = matches!(
            told.reason,
            Reason::Recorded { .. } | Reason::UnchangedSince { .. }
        );
        if let (Some(commit), false) = (&told.commit, proven) {
            self.more(format_args!("at {}", naming(commit)));
        }
    }

    fn taint(&mut self, taint: &StandingTaint, bases: &OpenBases) {
        self.row("tainted", format_args!("{} {}", taint.project, taint.key));
        self.more(whole(&sentence(&taint.told.reason)));
        if let Reason::Forced { by, .. } = &taint.told.reason {
            self.more(format_args!("by {}", whole(by)));
        }
        match (taint.place, &taint.created) {
            (None, _) => self.more("a build writes this taint first"),
            (Some(place), Some(created)) => {
                let (base, created) = (bases.name(place), whole(created));
                self.more(format_args!("written {created} in {base}"));
            }
            (Some(place), None) => self.more(format_args!("in {}", bases.name(place))),
        }
    }

    fn proof(&mut self, why: &Why, proof: &Proof, bases: &OpenBases) {
        let base = bases.name(proof.place);
        let label = if proof.stored.is_some() {
            "record"
        } else {
            "tag"
        };
        self.row(label, format_args!("{base}/{}", proof.name));
        if let Some(stored) = &proof.stored {
            self.more(format_args!("written {}", whole(&stored.created)));
        }
        let at = proof
            .built_at
            .as_ref()
            .map_or_else(|| proof.commit.short(), naming);
        self.row("built at", at);
        self.more(if proof.commit == why.commit.id {
            "this commit"
        } else {
            match proof.is_ancestor {
                Some(true) => "an ancestor of this commit",
                Some(false) => "no ancestor of this commit: the inputs are the same",
                None => "whether it is an ancestor, this clone cannot tell",
            }
        });
        self.row("compared", "the key of its inputs at this commit: the same");
        self.more(match why.planned.key.chain.len() {
            0 => "taints of this key: none".to_owned(),
            1 => "taints: one, and it is the key after it".to_owned(),
            many => format!("taints: {many}, and it is the key after them"),
        });
        for used in &proof.uses {
            self.more(format_args!(
                "{} went in as {}",
                used.project, used.recorded
            ));
            self.more(match used.current {
                Some(current) if current == used.recorded => {
                    format!("{} is current as the same", used.project)
                }
                Some(current) => format!("{} is current as {current}", used.project),
                None => format!("{} is built", used.project),
            });
        }
        self.row("image", lasting(why, proof, bases));
        if bases.is_embedded() {
            self.more(proof.image.split('@').next_back().unwrap_or_default());
        }
    }

    fn stored(&mut self, stored: &Stored) {
        let record = &stored.record;
        let verb = if record.facts.adopted {
            "adopted"
        } else {
            "built"
        };
        self.title(format_args!("It was {verb} then"));
        self.reason(&stored.told);
        for (name, digest) in &record.external {
            self.row("external", format_args!("{} {digest}", whole(name)));
        }
        if !record.durations.is_empty() {
            self.row("took", durations(&record.durations));
        }
        self.row("builder", whole(&record.builder));
    }

    fn inputs(&mut self, inputs: &KeyInputs) {
        let recipe = &inputs.recipe;
        self.title(format_args!("Inputs of the key (format version {VERSION})"));
        self.row("project", &inputs.project);
        self.row("epoch", inputs.epoch);
        self.row("buildDir", &recipe.build_dir);
        self.row("dockerfile", source_or_none(recipe.dockerfile.as_ref()));
        self.row("ignoreFile", source_or_none(recipe.ignore_file.as_ref()));
        self.rows("link", &recipe.links, source);
        self.row("target", text_or_none(recipe.target.as_deref()));
        self.rows("buildArg", &recipe.build_args, |(name, value)| {
            format!("{}={}", whole(name), whole(value))
        });
        self.rows("secret", &recipe.secrets, |id| whole(id));
        self.rows("platform", &recipe.platforms, ToString::to_string);
        self.row("hermetic", recipe.hermetic);
        self.row("registry", text_or_none(recipe.registry.as_deref()));
        self.rows("alias", &recipe.image_aliases, |alias| whole(alias));
        self.row("releaseTag", text_or_none(recipe.release_tag.as_deref()));
        self.rows("source", &inputs.sources, source);
        self.rows("dependency", &inputs.dependencies, |(name, key)| {
            format!("{key} {name}")
        });
    }

    fn rows<T>(
        &mut self,
        label: &str,
        items: impl IntoIterator<Item = T>,
        show: impl Fn(T) -> String,
    ) {
        for item in items {
            self.row(label, show(item));
        }
    }
}

fn source(source: &Source) -> String {
    let mode = source.entry.mode.octal();
    format!("{mode} {} {}", source.entry.id, source.path)
}

fn source_or_none(found: Option<&Source>) -> String {
    found.map_or_else(|| "none".to_owned(), source)
}

fn text_or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), whole)
}

fn durations(durations: &BTreeMap<String, u64>) -> String {
    let each = durations
        .iter()
        .map(|(name, milliseconds)| format!("{} {milliseconds} ms", whole(name)));
    each.collect::<Vec<_>>().join(", ")
}

/// A commit as people know it: its short id, its time, and its subject.
fn naming(commit: &Commit) -> String {
    let (time, subject) = (timestamp(commit.time), whole(commit.subject()));
    format!("{} ({time}) {subject}", commit.id.short())
}
