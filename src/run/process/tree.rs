//! The processes below this one, and their end.
//!
//! On Linux `/proc` is asked for the children of a process. Such a list may be out of date when it
//! is read, so SIGKILL is repeated by the caller until the kernel says that no child is left. It
//! goes to direct children and their process groups: a process whose parent was killed becomes a
//! direct child, and is next. A signal to a group reaches all its members at once, also one that is
//! just being forked. Each such group is made of descendants alone: a group lies within a session,
//! and each session here was begun by this process or below it.
//!
//! A process id is used right after it was read. The system gives ids in turn, so one that has
//! just ended is not given to a stranger within that time.

use std::io;

use rustix::process::Signal;

/// The number of the signal that Ctrl-C sends.
pub(super) const INTERRUPT: i32 = Signal::INT.as_raw();

/// Leaves waybill's session, so that nothing the terminal sends arrives here, and becomes the one
/// that orphans come to.
///
/// # Errors
/// The process leads a process group already, as one that a shell started does.
pub(super) fn stand_apart() -> io::Result<()> {
    rustix::process::setsid()?;
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        // The name that `killall waybill` goes by: whoever kills waybill so must not kill this too.
        std::fs::write("/proc/self/comm", "task-supervisor")?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
pub(super) use linux::{is_gone, kill, kill_abandoned, remaining, terminate};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::Path;

    use rustix::process::{Pid, Signal, getpgid, getpid, kill_process, kill_process_group};

    /// Asks every process below this one to end, stopped ones included.
    pub(in super::super) fn terminate(_main: Pid) {
        // All are found before the first is told: what one starts to tidy up is left to its work.
        let mut found = children(getpid());
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            found.extend(children(*parent));
            next += 1;
        }
        for process in found {
            // One that is gone, or another user's, is not reached: `kill` is next.
            let _ = kill_process(process, Signal::TERM);
            let _ = kill_process(process, Signal::CONT);
        }
    }

    /// Kills the direct children of this process, and their process groups.
    pub(in super::super) fn kill(_main: Pid) {
        let own = getpgid(None);
        for child in children(getpid()) {
            let group = getpgid(Some(child));
            let _ = kill_process(child, Signal::KILL);
            if let Ok(group) = group
                && own != Ok(group)
            {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    /// Whether nothing is left, once there is no child: whatever is below has a way up to here.
    pub(in super::super) fn is_gone(_main: Pid) -> bool {
        true
    }

    /// A process that `kill` could not end.
    pub(in super::super) fn remaining(main: Pid) -> Pid {
        children(getpid()).first().copied().unwrap_or(main)
    }

    /// Kills what is left of the session that a supervisor led, which is dead and not waited for.
    /// Says whether nothing was there any more. The id of the command is not needed.
    pub(in super::super) fn kill_abandoned(supervisor: Option<u32>, _command: Option<i32>) -> bool {
        let session = supervisor.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let Some(session) = session else { return true };
        let left = search(Field::Session, session);
        for process in &left {
            let _ = kill_process(*process, Signal::KILL);
        }
        left.is_empty()
    }

    fn children(parent: Pid) -> Vec<Pid> {
        if Path::new("/proc/thread-self/children").exists() {
            listed_children(parent)
        } else {
            search(Field::Parent, parent)
        }
    }

    /// The children of a process, from the lists that the kernel keeps for each of its threads.
    fn listed_children(parent: Pid) -> Vec<Pid> {
        let threads = fs::read_dir(format!("/proc/{}/task", parent.as_raw_pid()));
        let threads = threads.into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| {
            let list = fs::read_to_string(thread.path().join("children")).ok()?;
            Some(list.split_whitespace().filter_map(pid).collect::<Vec<_>>())
        });
        lists.flatten().collect()
    }

    /// Fields of a process's `stat`, by their place after its name.
    #[derive(Clone, Copy)]
    enum Field {
        Parent = 1,
        Session = 3,
    }

    /// The living processes with that in a field. All processes are looked at: for what the kernel
    /// keeps no list of, and where it was built without `PROC_CHILDREN`.
    fn search(field: Field, value: Pid) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let found = processes.filter_map(|process| {
            let id = pid(process.file_name().to_str()?)?;
            let status = fs::read(process.path().join("stat")).ok()?;
            (living(&status, field)? == value).then_some(id)
        });
        found.collect()
    }

    /// A field of a living process's `stat`: `pid (name) state parent group session …`, where the
    /// name may hold anything, parentheses included.
    fn living(status: &[u8], field: Field) -> Option<Pid> {
        let name_end = status.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&status[name_end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_whitespace().take(4).collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        pid(fields.get(field as usize)?)
    }

    fn pid(text: &str) -> Option<Pid> {
        Pid::from_raw(text.parse().ok()?)
    }

    #[cfg(test)]
    mod tests {
        use std::process::{Command, Stdio};

        use super::*;

        #[test]
        fn children_are_found_either_way() {
            // Started by another thread than the one that looks.
            let spawn = || Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let mut child = std::thread::spawn(spawn).join().unwrap();
            let expected = Pid::from_child(&child);
            let listed = listed_children(getpid());
            let searched = search(Field::Parent, getpid());
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(listed.contains(&expected), "{listed:?}");
            assert!(searched.contains(&expected), "{searched:?}");
            assert!(!listed_children(getpid()).contains(&expected));
        }

        #[test]
        fn a_name_may_look_like_the_rest() {
            let status = b"12 (a) S 1 \xff) R 34 56 78 0";
            assert_eq!(living(status, Field::Parent), Pid::from_raw(34));
            assert_eq!(living(status, Field::Session), Pid::from_raw(78));
            assert_eq!(living(b"12 (a) Z 34 56 78 0", Field::Session), None);
            assert_eq!(living(b"12 (a) S", Field::Parent), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) use group::{is_gone, kill, kill_abandoned, remaining, terminate};

/// Where orphans do not come to this process: the command's process group is all that is known.
#[cfg(not(target_os = "linux"))]
mod group {
    use std::thread;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

    /// Asks the command's process group to end, stopped processes included.
    pub(in super::super) fn terminate(main: Pid) {
        let _ = kill_process_group(main, Signal::TERM);
        let _ = kill_process_group(main, Signal::CONT);
    }

    /// Kills the command's process group.
    pub(in super::super) fn kill(main: Pid) {
        let _ = kill_process_group(main, Signal::KILL);
    }

    /// Whether nothing is left of the group, or after a little while is not.
    pub(in super::super) fn is_gone(main: Pid) -> bool {
        let gone = || test_kill_process_group(main).is_err();
        gone() || {
            thread::sleep(Duration::from_millis(5));
            gone()
        }
    }

    /// Kills the process group of a command whose supervisor was killed. Says whether nothing was
    /// there any more.
    pub(in super::super) fn kill_abandoned(_supervisor: Option<u32>, command: Option<i32>) -> bool {
        let command = command.and_then(Pid::from_raw);
        command.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err())
    }

    /// A process that `kill` could not end.
    pub(in super::super) fn remaining(main: Pid) -> Pid {
        main
    }
}
