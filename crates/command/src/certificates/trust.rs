//! How browsers and programs come to trust the authority: commands to copy, because none of that is done unasked.

use super::authority::Authority;
use std::path::Path;

/// What a person has to do, once.
pub(super) fn note(authority: &Authority) -> String {
    let file = authority.certificate.display();
    if !authority.is_new {
        return format!("HTTPS: the certificate is signed by {file}, which browsers are to trust");
    }
    format!(
        "HTTPS: an authority for development has been made. To trust it, once:\n    {}\n    Chromium: certutil -d \
         sql:$HOME/.pki/nssdb -A -t C,, -n mod_wsgi_rs -i {file}\n    Firefox: Settings, Certificates, View \
         Certificates, Authorities, Import: {file}",
        of_system(&authority.certificate)
    )
}

/// For programs such as curl.
fn of_system(certificate: &Path) -> String {
    let file = certificate.display();
    match Path::new("/etc/pki/ca-trust/source/anchors").is_dir() {
        true => format!("system: sudo trust anchor {file}"),
        false => format!(
            "system: sudo cp {file} /usr/local/share/ca-certificates/mod_wsgi_rs.crt && sudo update-ca-certificates"
        ),
    }
}
