//! The scope's extension `tls` (ASGI, "TLS Extension" 0.2), from what mod_ssl exports. It never knows a connection.
#![forbid(unsafe_code)]

use crate::cpython::{Attached, Object, Result};

/// Variables of mod_ssl, as far as the web server has sent them.
#[derive(Default)]
pub(super) struct TlsVariables {
    protocol: Option<String>,
    cipher: Option<String>,
    server_certificate: Option<String>,
    client_certificate: Option<String>,
    client_name: Option<String>,
    client_verify: Option<String>,
    /// What the client has sent beside its own certificate, by the number in the name of the variable.
    chain: Vec<(usize, String)>,
}

/// Names of OpenSSL and numbers of IANA.
const CIPHERS: [(&str, u16); 37] = [
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("TLS_AES_128_CCM_SHA256", 0x1304),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c),
    ("ECDHE-RSA-AES256-GCM-SHA384", 0xc030),
    ("DHE-RSA-AES256-GCM-SHA384", 0x009f),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9),
    ("ECDHE-RSA-CHACHA20-POLY1305", 0xcca8),
    ("DHE-RSA-CHACHA20-POLY1305", 0xccaa),
    ("ECDHE-ECDSA-AES256-CCM", 0xc0ad),
    ("DHE-RSA-AES256-CCM", 0xc09f),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b),
    ("ECDHE-RSA-AES128-GCM-SHA256", 0xc02f),
    ("DHE-RSA-AES128-GCM-SHA256", 0x009e),
    ("ECDHE-ECDSA-AES128-CCM", 0xc0ac),
    ("DHE-RSA-AES128-CCM", 0xc09e),
    ("ECDHE-ECDSA-AES256-SHA384", 0xc024),
    ("ECDHE-RSA-AES256-SHA384", 0xc028),
    ("DHE-RSA-AES256-SHA256", 0x006b),
    ("ECDHE-ECDSA-AES128-SHA256", 0xc023),
    ("ECDHE-RSA-AES128-SHA256", 0xc027),
    ("DHE-RSA-AES128-SHA256", 0x0067),
    ("ECDHE-ECDSA-AES256-SHA", 0xc00a),
    ("ECDHE-RSA-AES256-SHA", 0xc014),
    ("DHE-RSA-AES256-SHA", 0x0039),
    ("ECDHE-ECDSA-AES128-SHA", 0xc009),
    ("ECDHE-RSA-AES128-SHA", 0xc013),
    ("DHE-RSA-AES128-SHA", 0x0033),
    ("AES256-GCM-SHA384", 0x009d),
    ("AES256-CCM", 0xc09d),
    ("AES128-GCM-SHA256", 0x009c),
    ("AES128-CCM", 0xc09c),
    ("AES256-SHA256", 0x003d),
    ("AES128-SHA256", 0x003c),
    ("AES256-SHA", 0x0035),
    ("AES128-SHA", 0x002f),
];

impl TlsVariables {
    /// Notes a variable if it is one of these; `name` is without `SSL_`.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        let place = match name {
            b"PROTOCOL" => &mut self.protocol,
            b"CIPHER" => &mut self.cipher,
            b"SERVER_CERT" => &mut self.server_certificate,
            b"CLIENT_CERT" => &mut self.client_certificate,
            b"CLIENT_S_DN" => &mut self.client_name,
            b"CLIENT_VERIFY" => &mut self.client_verify,
            _ => {
                if let Some(number) = name.strip_prefix(b"CLIENT_CERT_CHAIN_")
                    && let Ok(number) = String::from_utf8_lossy(number).parse()
                {
                    self.chain.push((number, text()));
                }
                return;
            }
        };
        *place = Some(text()).filter(|value| !value.is_empty());
    }

    /// The number of the version in the protocol (RFC 8446, section 4.1.2).
    fn version(&self) -> Option<u16> {
        Some(match self.protocol.as_deref()? {
            "SSLv3" => 0x0300,
            "TLSv1" => 0x0301,
            "TLSv1.1" => 0x0302,
            "TLSv1.2" => 0x0303,
            "TLSv1.3" => 0x0304,
            _ => return None,
        })
    }

    fn cipher_suite(&self) -> Option<u16> {
        let cipher = self.cipher.as_deref()?;
        CIPHERS.iter().find(|(name, _)| *name == cipher).map(|(_, number)| *number)
    }

    /// Why the certificate of the client has not been verified, where it has sent one.
    fn client_error(&self) -> Option<&str> {
        match self.client_verify.as_deref()? {
            "NONE" | "SUCCESS" => None,
            // `SSLVerifyClient optional_no_ca`
            "GENEROUS" => Some("not verified"),
            failed => Some(failed.strip_prefix("FAILED:").unwrap_or(failed)),
        }
    }

    /// The client's certificates, its own first.
    fn client_chain(&self) -> Vec<&str> {
        let mut chain: Vec<_> = self.chain.iter().collect();
        chain.sort_unstable();
        let own = self.client_certificate.as_deref();
        own.into_iter().chain(chain.into_iter().map(|(_, text)| text.as_str())).collect()
    }

    /// The extension; `None` where the web server has not said that the connection has TLS.
    pub(super) fn extension<'py>(&self, py: Attached<'py>) -> Result<'py, Option<Object<'py>>> {
        if self.protocol.is_none() {
            return Ok(None);
        }
        let text = |text: Option<&str>| text.map_or_else(|| Ok(py.none()), |text| py.str(text));
        let number = |number: Option<u16>| {
            number.map_or_else(|| Ok(py.none()), |number| py.int(number.into()))
        };
        let chain = py.list()?;
        for certificate in self.client_chain() {
            chain.append(&py.str(certificate)?)?;
        }
        let tls = py.dict()?;
        let put = |name: &str, value: Object<'py>| tls.set_item(&py.interned(name)?, &value);
        put("server_cert", text(self.server_certificate.as_deref())?)?;
        put("client_cert_chain", chain)?;
        put("client_cert_name", text(self.client_name.as_deref())?)?;
        put("client_cert_error", text(self.client_error())?)?;
        put("tls_version", number(self.version())?)?;
        put("cipher_suite", number(self.cipher_suite())?)?;
        Ok(Some(tls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> TlsVariables {
        let mut variables = TlsVariables::default();
        for (name, value) in pairs {
            variables.note(name.as_bytes(), value.as_bytes());
        }
        variables
    }

    #[test]
    fn version_and_cipher_are_the_numbers_of_the_protocol() {
        let tls = variables(&[("PROTOCOL", "TLSv1.3"), ("CIPHER", "TLS_AES_256_GCM_SHA384")]);
        assert_eq!((tls.version(), tls.cipher_suite()), (Some(0x0304), Some(0x1302)));
        let tls = variables(&[("PROTOCOL", "TLSv1.2"), ("CIPHER", "ECDHE-RSA-AES128-GCM-SHA256")]);
        assert_eq!((tls.version(), tls.cipher_suite()), (Some(0x0303), Some(0xc02f)));
        let tls = variables(&[("PROTOCOL", "TLSv9"), ("CIPHER", "ROT13")]);
        assert_eq!((tls.version(), tls.cipher_suite()), (None, None));
    }

    #[test]
    fn chain_begins_with_the_certificate_of_the_client() {
        let tls = variables(&[
            ("CLIENT_CERT_CHAIN_10", "d"),
            ("CLIENT_CERT_CHAIN_1", "c"),
            ("CLIENT_CERT_CHAIN_0", "b"),
            ("CLIENT_CERT", "a"),
            ("CLIENT_CERT_RFC4523_CEA", "x"),
        ]);
        assert_eq!(tls.client_chain(), ["a", "b", "c", "d"]);
        assert!(variables(&[("CLIENT_CERT", "")]).client_chain().is_empty());
    }

    #[test]
    fn error_of_the_client_is_that_of_its_certificate() {
        for (verify, error) in [
            ("NONE", None),
            ("SUCCESS", None),
            ("GENEROUS", Some("not verified")),
            ("FAILED:certificate has expired", Some("certificate has expired")),
        ] {
            assert_eq!(variables(&[("CLIENT_VERIFY", verify)]).client_error(), error, "{verify}");
        }
        assert_eq!(variables(&[]).client_error(), None);
    }
}
