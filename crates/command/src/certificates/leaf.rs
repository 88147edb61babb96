//! The certificate of a server: for this machine's names, valid for weeks, made anew at each start.

use super::authority::{self, Authority};
use crate::failure::Failure;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Browsers refuse one that is valid for more than 398 days.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Clocks of other machines may be behind.
const EARLIER: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes `https.crt` and `https.key`.
pub(super) fn write(
    authority: &Authority,
    folder: &Path,
    names: &[String],
) -> Result<(PathBuf, PathBuf), Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::server(format!("--https: {why}"));
    let (certificate, pair) = sign(authority, names).map_err(|why| failed(&why))?;
    let (file, key) = (folder.join("https.crt"), folder.join("https.key"));
    for (path, text, mode) in [(&file, certificate, 0o644), (&key, pair, 0o600)] {
        authority::write(path, &text, mode)
            .map_err(|why| failed(&format!("{}: {why}", path.display())))?;
    }
    Ok((file, key))
}

fn sign(authority: &Authority, names: &[String]) -> Result<(String, String), rcgen::Error> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    let name = names.first().map_or("localhost", String::as_str);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + LIFE).into();
    Ok((params.signed_by(&pair, &authority.issuer)?.pem(), pair.serialize_pem()))
}

/// Names and addresses that a server on `host` is reached by: this machine's own, and where it listens to its network,
/// those that it has there.
pub(super) fn names(host: Option<&str>, further: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = machine.trim().to_ascii_lowercase();
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '.')
    };
    if is_name(&machine) {
        if !machine.contains('.') {
            // As multicast DNS has it.
            names.push(format!("{machine}.local"));
        }
        names.push(machine);
    }
    names.extend(host.map(str::to_owned).filter(|host| is_name(host) || host.contains(':')));
    names.extend(further.iter().cloned());
    let unspecified = ["0.0.0.0", "::", "*"];
    let mut known = std::collections::HashSet::new();
    names.retain(|name| !unspecified.contains(&name.as_str()) && known.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_machine_and_each_is_there_once() {
        let found = names(Some("0.0.0.0"), &["192.168.1.7".into(), "localhost".into()]);
        assert_eq!(found[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(found.last().map(String::as_str), Some("192.168.1.7"));
        assert_eq!(found.iter().filter(|name| *name == "localhost").count(), 1);
        assert!(!found.contains(&"0.0.0.0".to_owned()));
        assert!(names(Some("dev.example"), &[]).contains(&"dev.example".to_owned()));
    }

    #[test]
    fn certificate_is_written_with_its_key() {
        let root = std::env::temp_dir().join(format!("leaf-{}", std::process::id()));
        let authority = authority::find_or_make(&root.join("authority")).unwrap();
        let (file, key) = write(&authority, &root, &names(None, &[])).unwrap();
        let texts = [file, key].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::remove_dir_all(&root).unwrap();
        assert!(texts[0].starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(texts[1].starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
