//! Small disks of a test's own, which fill up, turn read-only or are lost. Root is needed to mount one; where
//! the machine cannot, that is said, and the test has nothing to test.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::succeed;

/// A mounted file system, unmounted with its value. A mint that uses it is to be dropped before it.
pub struct SmallDisk {
    mount: PathBuf,
    image: PathBuf,
}

impl SmallDisk {
    /// In memory, with `megabytes` of room, at `mount`.
    pub fn in_memory(mount: PathBuf, megabytes: u32) -> Option<Self> {
        let options = format!("size={megabytes}m");
        Self::mounted(&["-t", "tmpfs", "-o", &options], PathBuf::from("tmpfs"), mount)
    }

    /// An ext4 file system in a file beside `mount`.
    pub fn in_file(mount: PathBuf) -> Option<Self> {
        let image = mount.with_extension("img");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        succeed(Command::new("/sbin/mkfs.ext4").arg("-q").arg(&image));
        Self::mounted(&["-o", "loop"], image, mount)
    }

    fn mounted(options: &[&str], image: PathBuf, mount: PathBuf) -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("needs root, to mount a small file system");
            return None;
        }
        fs::create_dir(&mount).unwrap();
        let mounted = Command::new("mount").args(options).arg(&image).arg(&mount).output().unwrap();
        if !mounted.status.success() {
            eprintln!("cannot mount here: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self { mount, image })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Leaves no room at all.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.mount.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    /// Undoes [`Self::fill`].
    pub fn make_room(&self) {
        fs::remove_file(self.mount.join("filler")).unwrap();
    }

    /// Has the kernel take it for broken and make it read-only, as it does by itself where a write fails. An
    /// orderly `remount,ro` is refused, as is one of a bind mount, while files are open for writing.
    pub fn turn_read_only(&self) {
        self.write_back();
        succeed(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.mount));
    }

    /// Has every access from now on fail, as where the disk is pulled out (`EXT4_IOC_SHUTDOWN`).
    pub fn lose(&self) {
        const SCRIPT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        self.write_back();
        succeed(Command::new("/usr/bin/python3").args(["-c", SCRIPT]).arg(&self.mount));
    }

    /// As time does: from then on a write into memory that is mapped from a file has to ask the disk.
    fn write_back(&self) {
        succeed(Command::new("sync").arg("--file-system").arg(&self.mount));
    }

    /// Unmounts it and mounts it again by `options`, as after a restart of the machine.
    pub fn mount_again(&self, options: &str) {
        succeed(Command::new("umount").arg(&self.mount));
        succeed(Command::new("mount").args(["-o", options]).arg(&self.image).arg(&self.mount));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: where the test failed, the mint may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
