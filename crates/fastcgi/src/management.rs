//! What an application answers when it is asked about itself (FastCGI 1.0, 4).
//! It must never know a request.

use crate::encoder;
use crate::record::Header;
use crate::record_type::RecordType;
use crate::{Limits, Params, Role, WireError};

/// What this application can do, for web servers that ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Connections served at a time: `FCGI_MAX_CONNS`.
    pub max_conns: u32,
    /// Requests served at a time: `FCGI_MAX_REQS`. The same, as connections are not shared.
    pub max_reqs: u32,
    /// Whether the Authorizer role is played beside Responder. Filter never is: no web server
    /// in use sends its DATA stream.
    pub authorizer: bool,
}

impl Capabilities {
    pub(crate) fn supports_role(&self, role: Role) -> bool {
        match role {
            Role::Responder => true,
            Role::Authorizer => self.authorizer,
            Role::Filter => false,
        }
    }

    /// Appends the answer to a management record.
    pub(crate) fn reply(
        &self,
        record_type: RecordType,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        if record_type != RecordType::GET_VALUES {
            out.extend_from_slice(&encoder::unknown_type(record_type));
            return Ok(());
        }
        // A record is small enough: the limits of a request's params do not apply.
        let asked = Params::parse(content, &UNLIMITED)?;
        let values = [
            ("FCGI_MAX_CONNS", self.max_conns),
            ("FCGI_MAX_REQS", self.max_reqs),
            ("FCGI_MPXS_CONNS", 0),
        ];
        let mut block = Vec::new();
        // Each once, however often it was asked for, or the answer could outgrow a record. Names
        // we do not know are left out, as 4.1 wants.
        for (name, value) in values {
            if asked.get(name.as_bytes()).is_some() {
                let value = value.to_string();
                block.extend_from_slice(&[name.len() as u8, value.len() as u8]);
                block.extend_from_slice(name.as_bytes());
                block.extend_from_slice(value.as_bytes());
            }
        }
        let header = Header::new(RecordType::GET_VALUES_RESULT, 0, block.len() as u16);
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&block);
        Ok(())
    }
}

const UNLIMITED: Limits = Limits {
    params_bytes: usize::MAX,
    params_pairs: usize::MAX,
    name_bytes: usize::MAX,
    stderr_line_bytes: 0,
    head_line_bytes: 0,
    head_bytes: 0,
    head_fields: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Capabilities = Capabilities { max_conns: 15, max_reqs: 15, authorizer: false };

    #[test]
    fn only_known_values_are_answered_and_each_once() {
        let mut asked = b"\x0f\x00FCGI_MPXS_CONNS\x0e\x00FCGI_MAX_CONNS\x05\x00OTHER".to_vec();
        asked.extend_from_slice(&asked.clone());
        let mut out = Vec::new();
        OURS.reply(RecordType::GET_VALUES, &asked, &mut out).unwrap();
        // 8 of header; 2 + 14 + 2, and 2 + 15 + 1 of content.
        assert_eq!(out, b"\x01\x0a\0\0\0\x24\0\0\x0e\x02FCGI_MAX_CONNS15\x0f\x01FCGI_MPXS_CONNS0");
    }

    #[test]
    fn unknown_management_types_are_named_back() {
        let mut out = Vec::new();
        OURS.reply(RecordType(200), b"whatever", &mut out).unwrap();
        assert_eq!(out, [1, 11, 0, 0, 0, 8, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0]);
    }
}
