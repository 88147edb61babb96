//! What httpd and its modules say about the configuration.

use crate::doctor::findings::Report;
use crate::doctor::server::Server;

const CHECK: &str = "configuration";

pub(super) fn check(server: &Server, report: &mut Report) {
    if !server.accepted {
        let said: Vec<&str> = server.messages.iter().map(|message| message.text.as_str()).collect();
        let said = if said.is_empty() { "it says nothing".to_owned() } else { said.join(" ") };
        return report.error(CHECK, format!("httpd refuses the configuration: {said}"));
    }
    for message in &server.messages {
        // Another check says more about it.
        if message.text.contains("AH01574: module wsgi_module") {
            continue;
        }
        match message.is_error {
            true => report.error(CHECK, &*message.text),
            false => report.warn(CHECK, &*message.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::server::Message;

    #[test]
    fn what_httpd_says_is_passed_on() {
        let message = |is_error, text: &str| Message { is_error, text: text.to_owned() };
        let mut server = Server::of("", &[]);
        server.messages = vec![
            message(true, "no such group"),
            message(false, "ignored"),
            message(false, "AH01574: module wsgi_module is already loaded, skipping"),
        ];
        let mut report = Report::default();
        check(&server, &mut report);
        assert_eq!(report.sentences(), ["no such group", "ignored"]);
        assert_eq!(report.exit_status(), 2);
        server.accepted = false;
        server.messages.truncate(1);
        let mut report = Report::default();
        check(&server, &mut report);
        assert_eq!(report.sentences(), ["httpd refuses the configuration: no such group"]);
    }
}
