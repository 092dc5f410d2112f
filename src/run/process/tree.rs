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

use rustix::process::{Pid, Signal, kill_process_group};

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

/// Kills a process group, if it is there.
pub(super) fn kill_group(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{is_gone, kill, remaining, terminate};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::Path;

    use rustix::process::{Pid, Signal, getpgid, getpid, kill_process, kill_process_group};

    /// Asks every process below this one to end, stopped ones included.
    pub(in super::super) fn terminate(_main: Pid) {
        let mut open = vec![getpid()];
        while let Some(parent) = open.pop() {
            for child in children(parent) {
                // One that is gone, or another user's, is not reached: `kill` is next.
                let _ = kill_process(child, Signal::TERM);
                let _ = kill_process(child, Signal::CONT);
                open.push(child);
            }
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

    fn children(parent: Pid) -> Vec<Pid> {
        if Path::new("/proc/thread-self/children").exists() {
            listed_children(parent)
        } else {
            searched_children(parent)
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

    /// The children of a process, where the kernel was built without `PROC_CHILDREN`: all processes
    /// are looked at.
    fn searched_children(parent: Pid) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let found = processes.filter_map(|process| {
            let child = pid(process.file_name().to_str()?)?;
            let status = fs::read(process.path().join("stat")).ok()?;
            (parent_in(&status)? == parent).then_some(child)
        });
        found.collect()
    }

    /// The parent in a process's `stat`: `pid (name) state parent …`, where the name may hold
    /// anything, parentheses included.
    fn parent_in(status: &[u8]) -> Option<Pid> {
        let name_end = status.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&status[name_end + 1..]).ok()?;
        pid(rest.split_whitespace().nth(1)?)
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
            let searched = searched_children(getpid());
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(listed.contains(&expected), "{listed:?}");
            assert!(searched.contains(&expected), "{searched:?}");
            assert!(!listed_children(getpid()).contains(&expected));
        }

        #[test]
        fn a_name_may_look_like_the_rest() {
            let status = b"12 (a) S 1 \xff) R 34 12 12 0";
            assert_eq!(parent_in(status), Pid::from_raw(34));
            assert_eq!(parent_in(b"12 (a) S"), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) use group::{is_gone, kill, remaining, terminate};

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

    /// A process that `kill` could not end.
    pub(in super::super) fn remaining(main: Pid) -> Pid {
        main
    }
}
