//! Disks of the tests' own: small ones to fill, others to cut off. They need
//! root; without it the tests that want one are skipped and say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tmpfs, unmounted when dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of this size (as `mount` spells it) below `directory`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn new(directory: &Path, size: &str) -> Result<Self, String> {
        let path = directory.join("tmpfs");
        fs::create_dir(&path).map_err(|problem| problem.to_string())?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path))?;
        Ok(Self(path))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// If it cannot be mounted anew.
    pub fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0)).expect("a mounted tmpfs takes another size");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// An ext4 image on a loop device, unmounted when dropped.
pub struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl LoopDisk {
    /// Makes and mounts one of this size below `directory`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn new(directory: &Path, bytes: u64) -> Result<Self, String> {
        let (image, mount) = (directory.join("image"), directory.join("mount"));
        fs::create_dir(&mount).map_err(|problem| problem.to_string())?;
        fs::File::create(&image).and_then(|file| file.set_len(bytes)).map_err(|problem| problem.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut disk = Self { image, mount, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    /// Cuts the power: `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
    /// In a child, because an ioctl needs what no source file here may hold.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn cut(&self) -> Result<(), String> {
        let program = "import fcntl,os,sys,struct\n\
             fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", program]).arg(&self.mount))
    }

    /// Gives the power back: what had reached the device is there.
    ///
    /// # Panics
    /// If it does not mount any more.
    pub fn restart(&mut self) {
        self.unmount().expect("nobody uses the disk");
        self.mount().expect("the journal recovers");
    }

    fn unmount(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.unmount();
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|problem| format!("{command:?}: {problem}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
