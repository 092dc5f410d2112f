//! What waybill and a supervisor say to each other. Both are the same program: there are no
//! versions of it.
//!
//! The request is the command: how many arguments, how many variables, how many milliseconds of
//! grace, then directory, program, arguments, and each variable's name and value. Numbers are four
//! bytes, the least significant first; each text is its length and its bytes. A reply is one byte
//! for its kind, and a number.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use super::Command;

/// What a supervisor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The command runs, as this process and in the process group of that number.
    Started(i32),
    /// It cannot be started, for this error of the system.
    NotStarted(i32),
    /// It ended by itself with this code, and everything is gone.
    Code(i32),
    /// It was ended by this signal from elsewhere, and everything is gone.
    Signal(i32),
    /// It was ended as was asked, and everything is gone.
    Asked,
    /// This process, and maybe others, could not be ended.
    Remains(i32),
}

/// How many bytes a reply has.
const REPLY: usize = 5;

impl Reply {
    /// Whether the supervisor did all it is for before it said so.
    pub(super) fn is_last(self) -> bool {
        !matches!(self, Self::Started(_))
    }

    /// As it goes over the control.
    pub(super) fn encode(self) -> [u8; REPLY] {
        let (kind, number) = match self {
            Self::Started(pid) => (b's', pid),
            Self::NotStarted(error) => (b'n', error),
            Self::Code(code) => (b'c', code),
            Self::Signal(signal) => (b'k', signal),
            Self::Asked => (b'a', 0),
            Self::Remains(pid) => (b'r', pid),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    fn decode([kind, number @ ..]: [u8; REPLY]) -> Option<Self> {
        let number = i32::from_le_bytes(number);
        Some(match kind {
            b's' => Self::Started(number),
            b'n' => Self::NotStarted(number),
            b'c' => Self::Code(number),
            b'k' => Self::Signal(number),
            b'a' => Self::Asked,
            b'r' => Self::Remains(number),
            _ => return None,
        })
    }
}

/// The replies in what a supervisor said in all; one that was cut off is none.
pub(super) fn replies(bytes: &[u8]) -> Vec<Reply> {
    let whole = bytes.as_chunks::<REPLY>().0.iter();
    whole.filter_map(|bytes| Reply::decode(*bytes)).collect()
}

/// The request to run a command.
///
/// # Errors
/// A text or a list is longer than any system takes.
pub(super) fn request(command: &Command) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    put_number(&mut bytes, command.arguments.len())?;
    put_number(&mut bytes, command.environment.len())?;
    put_number(&mut bytes, command.grace.as_millis())?;
    put(&mut bytes, command.directory.as_os_str())?;
    put(&mut bytes, &command.program)?;
    for argument in &command.arguments {
        put(&mut bytes, argument)?;
    }
    for (name, value) in &command.environment {
        put(&mut bytes, name)?;
        put(&mut bytes, value)?;
    }
    Ok(bytes)
}

/// Reads a request.
///
/// # Errors
/// It cannot be read, or ends too early: whoever asked is gone.
pub(super) fn read_request(from: &mut impl Read) -> io::Result<Command> {
    let arguments = number(from)?;
    let variables = number(from)?;
    let grace = Duration::from_millis(number(from)?.into());
    Ok(Command {
        directory: PathBuf::from(text(from)?),
        program: text(from)?,
        arguments: (0..arguments)
            .map(|_| text(from))
            .collect::<io::Result<_>>()?,
        environment: (0..variables)
            .map(|_| Ok((text(from)?, text(from)?)))
            .collect::<io::Result<BTreeMap<_, _>>>()?,
        grace,
    })
}

fn put(bytes: &mut Vec<u8>, text: &OsStr) -> io::Result<()> {
    put_number(bytes, text.len())?;
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_number<N>(bytes: &mut Vec<u8>, number: N) -> io::Result<()>
where
    u32: TryFrom<N, Error = std::num::TryFromIntError>,
{
    let number = u32::try_from(number).map_err(io::Error::other)?;
    bytes.extend_from_slice(&number.to_le_bytes());
    Ok(())
}

fn number(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn text(from: &mut impl Read) -> io::Result<OsString> {
    let length = u64::from(number(from)?);
    let mut bytes = Vec::new();
    // The length is not believed before that many bytes have come.
    let read = from.take(length).read_to_end(&mut bytes)?;
    if u64::try_from(read).map_err(io::Error::other)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            program: OsString::from_vec(b"p\xff".to_vec()),
            arguments: vec!["".into(), "a\nb".into(), "a\0b".into()],
            directory: "/d".into(),
            environment: [("A=".into(), "".into()), ("".into(), "x".into())].into(),
            grace: Duration::from_millis(1234),
        }
    }

    #[test]
    fn a_request_comes_as_it_was_sent() {
        let bytes = request(&command()).unwrap();
        let read = read_request(&mut bytes.as_slice()).unwrap();
        assert!(read == command());
    }

    #[test]
    fn a_request_that_was_cut_off_is_none() {
        let bytes = request(&command()).unwrap();
        for length in 0..bytes.len() {
            assert!(read_request(&mut &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn replies_come_as_they_were_sent() {
        let sent = [
            Reply::Started(4_194_303),
            Reply::NotStarted(2),
            Reply::Code(137),
            Reply::Signal(9),
            Reply::Asked,
            Reply::Remains(1),
        ];
        let mut bytes = sent.map(Reply::encode).concat();
        assert_eq!(replies(&bytes), sent);
        bytes.pop();
        assert_eq!(replies(&bytes), sent[..5]);
    }
}
