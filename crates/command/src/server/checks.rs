//! What the options must be together.

use crate::application::Application;
use crate::failure::Failure;
use crate::options::{Interface, Listener, ServerOptions};
use crate::server::site::AddressBlock;

/// The first thing that is wrong.
pub(crate) fn check(options: &ServerOptions) -> Result<(), Failure> {
    check_tls(&options.listener)?;
    check_proxy_protocol(options)?;
    let listener = &options.listener;
    if listener.server_name.is_none()
        && (!listener.server_alias.is_empty() || listener.allow_localhost)
    {
        return Err(Failure::usage("--server-alias and --allow-localhost need --server-name"));
    }
    let measurement = &options.measurement;
    if let Some(target) = &measurement.telemetry_service {
        if !target.starts_with("unix:") {
            return Err(Failure::usage(format!(
                "--telemetry-service {target}: it must be unix:PATH"
            )));
        }
    } else if measurement.slow_requests.is_some() {
        return Err(Failure::usage("--slow-requests needs --telemetry-service"));
    }
    if measurement.slow_requests.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) {
        return Err(Failure::usage("--slow-requests must be seconds from 0"));
    }
    if options.access.auth_group_script.is_some() && options.access.auth_user_script.is_none() {
        return Err(Failure::usage("--auth-group-script needs --auth-user-script"));
    }
    if measurement.embedded_mode && (options.development.reload || options.development.debug) {
        return Err(Failure::usage(
            "--reload replaces processes of the application, which --embedded-mode has none of",
        ));
    }
    Ok(())
}

/// An option that is for applications of WSGI alone, and why.
pub(crate) fn of_wsgi_alone(options: &ServerOptions) -> Option<(&'static str, &'static str)> {
    let given = [
        (options.measurement.embedded_mode, "--embedded-mode", "ASGI needs processes of its own"),
        (options.capacity.warm_up.is_some(), "--warm-up", "what warms ASGI up is its lifespan"),
        (
            !options.content.add_handler.is_empty(),
            "--add-handler",
            "handler scripts would share the processes of the application",
        ),
        (
            options.entry_point.application_group != "%{GLOBAL}",
            "--application-group",
            "ASGI runs in the main interpreter",
        ),
    ];
    given.into_iter().find(|(is_given, ..)| *is_given).map(|(_, name, why)| (name, why))
}

/// What the options must be for this application.
pub(crate) fn check_interface(
    options: &ServerOptions,
    application: &Application,
) -> Result<(), Failure> {
    if application.interface != Interface::Asgi {
        return Ok(());
    }
    if let Some((name, why)) = of_wsgi_alone(options) {
        return Err(Failure::usage(format!(
            "{name} is for applications of WSGI: {why}; {} is one of ASGI, unless --interface wsgi says otherwise",
            application.name()
        )));
    }
    let timeouts = &options.timeouts;
    if timeouts.interrupt_timeout > 0 && timeouts.request_timeout.unwrap_or(0) == 0 {
        return Err(Failure::usage(
            "--interrupt-timeout needs --request-timeout, which is off for applications of ASGI unless it is given",
        ));
    }
    Ok(())
}

/// What a proxy says of the client is for trusted proxies alone.
fn check_proxy_protocol(options: &ServerOptions) -> Result<(), Failure> {
    let proxying = &options.proxying;
    if !proxying.proxy_protocol {
        return Ok(());
    }
    if proxying.trust_proxy.is_empty() {
        return Err(Failure::usage(
            "--proxy-protocol needs --trust-proxy: any peer could say that it is another client",
        ));
    }
    let is_block = |text: &&String| AddressBlock::parse(text).is_none();
    if let Some(text) = proxying.trust_proxy.iter().find(is_block) {
        return Err(Failure::usage(format!(
            "--trust-proxy {text}: with --proxy-protocol it must be an address, or a network such as 10.1.0.0/16"
        )));
    }
    let is_other = |name: &&String| !name.eq_ignore_ascii_case("X-Forwarded-Proto");
    if let Some(name) = proxying.trust_proxy_header.iter().find(is_other) {
        return Err(Failure::usage(format!(
            "--trust-proxy-header {name}: the PROXY protocol says who the client is; with --proxy-protocol only \
             X-Forwarded-Proto can be trusted beside it"
        )));
    }
    if options.development.is_on() {
        return Err(Failure::usage(
            "--proxy-protocol is for servers behind a proxy, --reload and --debug for development",
        ));
    }
    Ok(())
}

fn check_tls(listener: &Listener) -> Result<(), Failure> {
    let https = listener.https_port.is_some();
    let needs_https = [
        ("--ssl-certificate-file", listener.ssl_certificate_file.is_some()),
        ("--ssl-certificate-key-file", listener.ssl_certificate_key_file.is_some()),
        ("--ssl-certificate", listener.ssl_certificate.is_some()),
        ("--ssl-ca-certificate-file", listener.ssl_ca_certificate_file.is_some()),
        ("--ssl-certificate-chain-file", listener.ssl_certificate_chain_file.is_some()),
        ("--ssl-verify-client", !listener.ssl_verify_client.is_empty()),
        ("--ssl-environment", listener.ssl_environment),
        ("--https-only", listener.https_only),
        ("--hsts-policy", listener.hsts_policy.is_some()),
    ];
    if !https && let Some((name, _)) = needs_https.iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("{name} needs --https-port")));
    }
    if listener.https && has_certificate(listener) {
        return Err(Failure::usage(
            "--https makes a certificate for development; with a certificate of your own use --https-port alone",
        ));
    }
    if https && !listener.https && !has_certificate(listener) {
        return Err(Failure::usage(
            "--https-port needs --ssl-certificate-file and --ssl-certificate-key-file, or --ssl-certificate",
        ));
    }
    if !listener.ssl_verify_client.is_empty() && listener.ssl_ca_certificate_file.is_none() {
        return Err(Failure::usage("--ssl-verify-client needs --ssl-ca-certificate-file"));
    }
    if https && listener.https_port == Some(listener.port) {
        return Err(Failure::usage("--https-port and --port are the same"));
    }
    Ok(())
}

fn has_certificate(listener: &Listener) -> bool {
    listener.ssl_certificate.is_some()
        || (listener.ssl_certificate_file.is_some() && listener.ssl_certificate_key_file.is_some())
}
