//! The log of one task: what goes to the screen as events and into the record, secrets masked.
//!
//! In the record every line begins with the time and the stream:
//! `2026-01-02T03:04:05.678Z out the line`. A task that is tried again has one log of all attempts.

use std::sync::Arc;

use bytes::Bytes;

use super::process::Stream;
use crate::event::{TaskEvent, TaskSink};
use crate::ledger::PackedLog;
use crate::mask::{MaskStream, Secrets};
use crate::model::TaskId;

/// The most that is kept of the beginning of a log, in bytes before compression.
const MAX_KEPT: usize = 16 << 20;

/// A line that is longer than this is cut in pieces, in bytes.
const MAX_LINE: usize = 64 << 10;

/// Tells the time, RFC 3339 with milliseconds.
pub(super) type Clock = Arc<dyn Fn() -> String + Send + Sync>;

/// Takes a task's output.
pub(super) struct TaskLog {
    task: TaskId,
    sink: TaskSink,
    clock: Clock,
    secrets: Secrets,
    out: Lines,
    error: Lines,
    kept: PackedLog,
}

/// One stream, cut into lines.
struct Lines {
    mask: MaskStream,
    open: Vec<u8>,
}

impl Lines {
    fn new(secrets: &Secrets) -> Self {
        Self {
            mask: secrets.stream(),
            open: Vec::new(),
        }
    }

    /// Takes masked bytes, and gives the lines that are whole by now.
    fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.open.extend_from_slice(bytes);
        let end = self.open.iter().rposition(|byte| *byte == b'\n');
        match end {
            Some(end) => self.open.drain(..=end).collect(),
            None if self.open.len() > MAX_LINE => {
                self.open.push(b'\n');
                std::mem::take(&mut self.open)
            }
            None => Vec::new(),
        }
    }

    /// What is left at the end, as a line.
    fn rest(&mut self) -> Vec<u8> {
        let masked = self.mask.finish();
        self.open.extend_from_slice(&masked);
        if self.open.last().is_some_and(|byte| *byte != b'\n') {
            self.open.push(b'\n');
        }
        std::mem::take(&mut self.open)
    }
}

impl TaskLog {
    pub(super) fn new(task: TaskId, sink: TaskSink, clock: Clock, secrets: Secrets) -> Self {
        Self {
            task,
            sink,
            clock,
            out: Lines::new(&secrets),
            error: Lines::new(&secrets),
            secrets,
            kept: PackedLog::new(MAX_KEPT),
        }
    }

    /// Takes the next output of a stream.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let lines = self.lines(stream);
        let masked = lines.mask.push(bytes);
        let whole = lines.whole(&masked);
        self.show(stream, whole);
    }

    /// The end of both streams: what came last without an end of line.
    pub(super) fn end_streams(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let rest = self.lines(stream).rest();
            self.show(stream, rest);
            let fresh = Lines::new(&self.secrets);
            *self.lines(stream) = fresh;
        }
    }

    /// Notes what waybill itself has to say.
    pub(super) fn note(&mut self, words: &str) {
        let words = self.secrets.mask_text(words);
        let line = format!("{} --- {words}\n", (self.clock)());
        self.kept.keep(line.as_bytes());
    }

    /// The whole log, compressed.
    pub(super) fn finish(self) -> Bytes {
        self.kept.finish()
    }

    fn lines(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.error,
        }
    }

    fn show(&mut self, stream: Stream, lines: Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let is_error = stream == Stream::Err;
        let head = format!(
            "{} {} ",
            (self.clock)(),
            if is_error { "err" } else { "out" }
        );
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.kept.keep(head.as_bytes());
            self.kept.keep(line);
        }
        (self.sink)(TaskEvent::Output {
            task: self.task.clone(),
            is_error,
            bytes: lines,
        });
    }
}
