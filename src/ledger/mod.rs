//! The ledger: the records in the registry, written and read by name (design, section 4).
//!
//! `names` says what things are called, `artifact` how a record is an OCI artifact, `record` what
//! the facts are; [`Ledger`] is one base's records over the registry client, and [`Bases`] reads
//! the base that is written and its upstream as one.

mod artifact;
mod bases;
mod error;
mod log;
pub mod names;
mod record;
mod release;
mod results;
mod store;
pub mod upkeep;

pub use artifact::{Kind, MAX_LOG, RecordError};
pub use bases::{Bases, Known, WrittenTaint};
pub use error::LedgerError;
pub use log::{PackedLog, unpack_log};
pub use record::{
    BuiltFacts, BuiltRecord, FailedRecord, FailedTaskRecord, Marker, PassedFacts, PassedRecord,
    TaintRecord, breakdown,
};
pub use release::{Edition, Release, Sealed, Shipped};
pub use store::{Ledger, Recorded, Standing};

/// What the decoder of record manifests makes of arbitrary bytes; for tests that feed it such.
pub fn probe_record(bytes: &[u8]) -> Result<BuiltFacts, RecordError> {
    let expected = artifact::Envelope {
        tag: String::new(),
        ledger: String::new(),
        kind: Kind::Built,
        project: None,
        key: None,
    };
    artifact::decode(bytes, &expected).map(|header| header.facts)
}
