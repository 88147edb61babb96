//! The authority of a user: made once, kept with the user's data. Its key never leaves the folder.

use crate::failure::Failure;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const CERTIFICATE: &str = "authority.crt";
const KEY: &str = "authority.key";
/// How long it is valid.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// An authority that can sign.
pub(super) struct Authority {
    /// The file that browsers are to trust.
    pub(super) certificate: PathBuf,
    /// It has just been made, so that no browser trusts it yet.
    pub(super) is_new: bool,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

/// The folder of the authority: in XDG_DATA_HOME, else in ~/.local/share.
pub(super) fn folder(data: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, Failure> {
    // https://specifications.freedesktop.org/basedir-spec/: a relative path is to be ignored.
    let data = data.filter(|path| path.is_absolute());
    let usual = home.filter(|path| path.is_absolute()).map(|path| path.join(".local/share"));
    let base = data.or(usual).ok_or_else(|| {
        Failure::usage("--https keeps its authority in XDG_DATA_HOME or HOME, and neither is set")
    })?;
    Ok(base.join("mod_wsgi_rs/authority"))
}

/// Reads the authority of this folder, or makes one.
pub(super) fn find_or_make(folder: &Path) -> Result<Authority, Failure> {
    let failed = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::server(format!("the authority of --https, {}: {why}", path.display()))
    };
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    let is_new = match std::fs::metadata(&key) {
        Ok(found) if found.mode() & 0o077 != 0 || found.uid() != sys::effective_uid() => {
            return Err(failed(&key, &"it must belong to this user and be readable for no other"));
        }
        Ok(_) => false,
        Err(why) if why.kind() == ErrorKind::NotFound => true,
        Err(why) => return Err(failed(&key, &why)),
    };
    if is_new {
        let (text, pair) = make().map_err(|why| failed(folder, &why))?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|why| failed(folder, &why))?;
        write(&certificate, &text, 0o644).map_err(|why| failed(&certificate, &why))?;
        write(&key, &pair, 0o600).map_err(|why| failed(&key, &why))?;
    }
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|why| failed(path, &why));
    let pair = KeyPair::from_pem(&read(&key)?).map_err(|why| failed(&key, &why))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, pair)
        .map_err(|why| failed(&certificate, &why))?;
    Ok(Authority { certificate, is_new, issuer })
}

/// Its certificate and its key as PEM.
fn make() -> Result<(String, String), rcgen::Error> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("mod_wsgi_rs development, {}", machine.trim());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + LIFE).into();
    Ok((params.self_signed(&pair)?.pem(), pair.serialize_pem()))
}

/// Writes a file in one step; the mode is that from the first byte on.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let part = path.with_extension("new");
    let _ = std::fs::remove_file(&part);
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn authority_is_made_once_and_its_key_is_private() {
        let root = std::env::temp_dir().join(format!("authority-{}", std::process::id()));
        let folder = root.join("data/authority");
        let first = find_or_make(&folder).unwrap();
        let text = std::fs::read(&first.certificate).unwrap();
        let second = find_or_make(&folder).unwrap();
        let same = std::fs::read(&second.certificate).unwrap() == text;
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
        let modes = (mode(folder.clone()), mode(folder.join(KEY)));
        std::fs::set_permissions(folder.join(KEY), PermissionsExt::from_mode(0o640)).unwrap();
        let refused = find_or_make(&folder).err().map(|why| why.to_string());
        std::fs::remove_dir_all(&root).unwrap();
        assert!(first.is_new && !second.is_new && same);
        assert_eq!(modes, (0o700, 0o600));
        assert!(refused.unwrap().contains("readable for no other"));
    }

    #[test]
    fn folder_is_that_of_the_specification() {
        let path = |text: &str| Some(PathBuf::from(text));
        let at = |data, home| folder(data, home).map_err(|why| why.to_string());
        let end = |base: &str| Ok(PathBuf::from(base).join("mod_wsgi_rs/authority"));
        assert_eq!(at(path("/data"), path("/home/a")), end("/data"));
        assert_eq!(at(path("data"), path("/home/a")), end("/home/a/.local/share"));
        assert!(at(None, None).is_err());
    }
}
