//! Whether an engine can run a platform's programs: a build runs one.
//!
//! Without emulation an engine builds for a foreign platform all the same, with its own programs,
//! and calls the result foreign. So a program of the platform, a few bytes that do nothing but
//! end, is run in a build step before anything is built for that platform.

use std::collections::BTreeMap;

use super::build::ImageBuild;
use super::{Engine, EngineError, unique_id};
use crate::build::tar::ContextStream;
use crate::model::Platform;

const DOCKERFILE: &[u8] = b"FROM scratch\nCOPY probe /probe\nRUN [\"/probe\"]\n";

impl Engine {
    /// Whether the engine can run programs of `platform`, found out by running one, once for each
    /// platform; its own is taken for granted. Platforms for which no program is at hand are
    /// refused.
    pub async fn probe_platform(&self, platform: &Platform) -> Result<(), EngineError> {
        let own = &self.info().platform;
        if own.os == platform.os && own.architecture == platform.architecture {
            return Ok(());
        }
        // Held while the probe runs: who comes second waits for its result.
        let mut probed = self.probed.lock().await;
        let answer = match probed.get(platform) {
            Some(answer) => answer.clone(),
            None => self.probe(platform).await?,
        };
        probed.insert(platform.clone(), answer.clone());
        answer.map_err(|reason| EngineError::PlatformNotRunnable {
            address: self.info().address.clone(),
            engine: own.to_string(),
            platform: platform.to_string(),
            reason,
        })
    }

    /// Runs the program; the inner error is the reason why it did not run.
    async fn probe(&self, platform: &Platform) -> Result<Result<(), String>, EngineError> {
        let Some(program) = program(platform) else {
            return Ok(Err("waybill has no program to try it with".to_owned()));
        };
        let context = ContextStream::spawn(move |tar| {
            tar.bytes(b"Dockerfile", false, DOCKERFILE)?;
            tar.bytes(b"probe", true, &program)
        });
        let request = request(platform)?;
        match self.solve(&request, context, &|_| ()).await {
            Ok(_) => {
                // Every probe makes the same image, and another process may be removing it now.
                let _ = self.remove(&request.tag).await;
                Ok(Ok(()))
            }
            Err(EngineError::BuildFailed { message, .. }) => Ok(Err(message)),
            Err(error) => Err(error),
        }
    }
}

/// Never from a cache: what ran once need not run today.
fn request(platform: &Platform) -> Result<ImageBuild, EngineError> {
    Ok(ImageBuild {
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        platform: platform.clone(),
        cache_from: Vec::new(),
        inline_cache: false,
        no_cache: true,
        tag: format!("waybill-probe:{}", unique_id()?),
        secrets: BTreeMap::new(),
        logins: BTreeMap::new(),
    })
}

/// How an architecture's programs look: what the ELF header states, and the instructions that end
/// a process with status 0 (System V ABI, "Object Files", and each one's supplement).
struct Architecture {
    machine: u16,
    flags: u32,
    wide: bool,
    big_endian: bool,
    exit: &'static [u8],
}

/// Where the program is loaded.
const ADDRESS: u32 = 0x0040_0000;

/// A static program of the platform.
fn program(platform: &Platform) -> Option<Vec<u8>> {
    if platform.os != "linux" {
        return None;
    }
    Some(elf(&architecture(&platform.architecture)?))
}

/// By Go's name of the architecture.
fn architecture(name: &str) -> Option<Architecture> {
    let little = |machine, flags, wide, exit| Architecture {
        machine,
        flags,
        wide,
        big_endian: false,
        exit,
    };
    Some(match name {
        // xor edi, edi; mov eax, 60; syscall
        "amd64" => little(62, 0, true, b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"),
        // xor ebx, ebx; mov eax, 1; int 0x80
        "386" => little(3, 0, false, b"\x31\xdb\xb8\x01\x00\x00\x00\xcd\x80"),
        // mov x0, #0; mov x8, #93; svc #0
        "arm64" => little(
            183,
            0,
            true,
            b"\x00\x00\x80\xd2\xa8\x0b\x80\xd2\x01\x00\x00\xd4",
        ),
        // mov r0, #0; mov r7, #1; svc #0 (EABI version 5)
        "arm" => little(
            40,
            0x0500_0000,
            false,
            b"\x00\x00\xa0\xe3\x01\x70\xa0\xe3\x00\x00\x00\xef",
        ),
        // li a0, 0; li a7, 93; ecall
        "riscv64" => little(
            243,
            0,
            true,
            b"\x13\x05\x00\x00\x93\x08\xd0\x05\x73\x00\x00\x00",
        ),
        // li r0, 1; li r3, 0; sc (ELFv2)
        "ppc64le" => little(
            21,
            2,
            true,
            b"\x01\x00\x00\x38\x00\x00\x60\x38\x02\x00\x00\x44",
        ),
        // lghi r2, 0; svc 1
        "s390x" => Architecture {
            machine: 22,
            flags: 0,
            wide: true,
            big_endian: true,
            exit: b"\xa7\x29\x00\x00\x0a\x01",
        },
        _ => return None,
    })
}

/// An executable of one segment, which holds the headers and the instructions.
fn elf(architecture: &Architecture) -> Vec<u8> {
    let (header, segment) = if architecture.wide {
        (64_u16, 56_u16)
    } else {
        (52, 32)
    };
    let start = u32::from(header + segment);
    let size = start + u32::try_from(architecture.exit.len()).unwrap_or(0);
    let mut out = Fields {
        bytes: b"\x7fELF".to_vec(),
        architecture,
    };
    out.raw(&[
        if architecture.wide { 2 } else { 1 },
        if architecture.big_endian { 2 } else { 1 },
        1,
    ]);
    out.raw(&[0; 9]);
    // e_type (executable), e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags
    out.half(2).half(architecture.machine).word(1);
    out.address(ADDRESS + start)
        .address(header.into())
        .address(0);
    out.word(architecture.flags);
    // e_ehsize, e_phentsize, e_phnum; no sections
    out.half(header)
        .half(segment)
        .half(1)
        .half(0)
        .half(0)
        .half(0);
    // p_type (load); p_flags (read, execute) stands here or further down
    out.word(1);
    if architecture.wide {
        out.word(5);
    }
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz
    out.address(0)
        .address(ADDRESS)
        .address(ADDRESS)
        .address(size)
        .address(size);
    if !architecture.wide {
        out.word(5);
    }
    // p_align
    out.address(0x1_0000);
    out.raw(architecture.exit);
    out.bytes
}

/// The fields of a header, in the architecture's byte order and width.
struct Fields<'a> {
    bytes: Vec<u8>,
    architecture: &'a Architecture,
}

impl Fields<'_> {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn half(&mut self, value: u16) -> &mut Self {
        let big = self.architecture.big_endian;
        self.raw(&if big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        })
    }

    fn word(&mut self, value: u32) -> &mut Self {
        let big = self.architecture.big_endian;
        self.raw(&if big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        })
    }

    fn address(&mut self, value: u32) -> &mut Self {
        let wide = u64::from(value);
        match (self.architecture.wide, self.architecture.big_endian) {
            (true, true) => self.raw(&wide.to_be_bytes()),
            (true, false) => self.raw(&wide.to_le_bytes()),
            (false, _) => self.word(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn knows_the_architectures_that_emulators_know() {
        for name in [
            "amd64", "386", "arm64", "arm", "riscv64", "ppc64le", "s390x",
        ] {
            let platform = format!("linux/{name}").parse().unwrap();
            assert!(program(&platform).is_some(), "{name}");
        }
        assert_eq!(program(&"windows/amd64".parse().unwrap()), None);
        assert_eq!(program(&"linux/vax".parse().unwrap()), None);
    }

    #[test]
    fn headers_are_of_the_right_width_and_byte_order() {
        // e_type, e_machine, e_version; then the number of segments.
        let s390x = elf(&architecture("s390x").unwrap());
        assert_eq!(s390x[..6], *b"\x7fELF\x02\x02");
        assert_eq!(s390x[16..24], [0, 2, 0, 22, 0, 0, 0, 1]);
        assert_eq!(
            (s390x[56..58].to_vec(), s390x.len()),
            (vec![0, 1], 64 + 56 + 6)
        );
        let arm = elf(&architecture("arm").unwrap());
        assert_eq!(arm[..6], *b"\x7fELF\x01\x01");
        assert_eq!(arm[16..24], [2, 0, 40, 0, 1, 0, 0, 0]);
        assert_eq!(
            (arm[44..46].to_vec(), arm.len()),
            (vec![1, 0], 52 + 32 + 12)
        );
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_program_ends_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe");
        std::fs::write(&path, elf(&architecture("amd64").unwrap())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new(&path).status().unwrap().success());
    }
}
