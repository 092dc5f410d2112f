//! Records: any bytes that a registry may send are a record or an error.

/// The input is the manifest of a record.
pub(super) fn run(data: &[u8]) {
    let _ = data;
}
