//! waybill: a container-image build orchestrator for monorepos whose only state is the container
//! registry.
//!
//! # The map
//!
//! The code is in the order in which a command flows through it. *Pure* modules touch no network,
//! file, environment, clock or async runtime.
//!
//! | module | what it is | pure | owns |
//! |---|---|---|---|
//! | [`model`] | names, digests, keys, paths, reasons: the words as types | yes | |
//! | [`problem`] | what a person is told: code, place, message, hint; classes of failure | yes | |
//! | [`manifest`] | what `build_manifest.json` says, and all that is wrong with it | yes | the JSON and YAML parsers, regex |
//! | [`graph`] | projects and their dependencies | yes | petgraph |
//! | [`dockerfile`] | references, rewriting, ignore files, lints | yes | |
//! | [`git`] | facts of the repository | | gix |
//! | [`key`] | inputs of an image, and the key over them | yes | |
//! | [`registry`] | the client, credentials, the embedded registry, Amazon ECR | | reqwest, oci-client, ferro-oci-server, the AWS SDK |
//! | [`ledger`] | records: names, encoding, reading and writing | | |
//! | [`plan`] | facts to decision, with reasons | yes | |
//! | [`gather`] | the I/O that finds the facts that a plan is decided from | | |
//! | [`build`] | contexts out of git, BuildKit through the engine | | bollard, tonic |
//! | [`execute`] | carries a plan out, and records what came of it | | |
//! | [`run`] | carries tasks out: processes, containers | | rustix |
//! | [`event`] | the contract between execution and output | yes | |
//! | [`mask`] | secrets kept out of what is shown and kept | yes | |
//! | [`cli`] | arguments, settings, a file per command, rendering, exit codes | | clap, indicatif |
//!
//! # Invariants, held by tests
//!
//! - Nothing is reused on the ground of an answer that is not there: "could not ask" is an error,
//!   never "absent".
//! - A key is a function of the commit and the release tag alone.
//! - The image goes first, the record last; records are written once.
//! - Only [`cli`] prints or exits; everything below returns values or emits [`event::Event`]s.
//! - A dry run makes the plan, prints it and stops: no code below [`cli`] knows of it.
//! - Each outside library stands in one module only.

pub mod build;
pub mod cli;
pub mod dockerfile;
pub mod event;
pub mod execute;
pub mod gather;
pub mod git;
pub mod graph;
pub mod key;
pub mod ledger;
pub mod manifest;
pub mod mask;
pub mod model;
pub mod plan;
pub mod problem;
pub mod registry;
pub mod run;
pub mod schema;
