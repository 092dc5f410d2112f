//! Records: any bytes that a registry may send are a record or an error.

use waybill::ledger::probe_record;

/// The input is the manifest of a record.
pub(super) fn run(data: &[u8]) {
    let _ = probe_record(data);
}
