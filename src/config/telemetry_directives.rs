//! The lines of `WSGITelemetryService` and `WSGITelemetryOptions`.

use std::time::Duration;

use super::error::quoted;
use super::options::decimal;
use super::suggestion::did_you_mean;
use super::{ConfigError, Line, ProcessConfig, TelemetryOptions, TelemetryService};

/// `WSGITelemetryService unix:/path [interval=seconds]`
pub(super) fn set_service(process: &mut ProcessConfig, line: &Line<'_>) -> Result<(), ConfigError> {
    let (target, interval) = match line.args() {
        [target] => (*target, None),
        [target, interval] => (*target, Some(*interval)),
        _ => return Err(line.arity_error("takes one or two arguments")),
    };
    let socket = target.strip_prefix(b"unix:").filter(|path| path.starts_with(b"/"));
    let Some(socket) = socket else {
        return Err(line.error(format_args!(
            "must be unix:/path, the path of a Unix socket (UDP is not supported), not {}",
            quoted(target)
        )));
    };
    let interval = match interval {
        None => Duration::from_secs(1),
        Some(option) => parse_interval(line, option)?,
    };
    process.telemetry_service = Some(TelemetryService { socket: socket.into(), interval });
    Ok(())
}

fn parse_interval(line: &Line<'_>, option: &[u8]) -> Result<Duration, ConfigError> {
    let Some(seconds) = option.strip_prefix(b"interval=") else {
        return Err(line.error(format_args!(
            "takes interval=seconds as its second argument, not {}",
            quoted(option)
        )));
    };
    decimal(seconds)
        .filter(|seconds| *seconds >= 0.5)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            line.error(format_args!(
                "has interval={}, it must be at least 0.5 seconds",
                quoted(seconds)
            ))
        })
}

/// `WSGITelemetryOptions`: either a list that stands for itself, or signs that change what was set
/// before.
pub(super) fn set_options(process: &mut ProcessConfig, line: &Line<'_>) -> Result<(), ConfigError> {
    let mut words = line.words();
    let list: Vec<Vec<u8>> = std::iter::from_fn(|| words.next_word()).collect();
    let signed = |word: &Vec<u8>| matches!(word.first(), Some(b'+' | b'-'));
    let Some(first) = list.first() else {
        return Err(line.error("needs at least one flag: None | All | CaptureUserAgent"));
    };
    let incremental = signed(first);
    if list.iter().any(|word| signed(word) != incremental) {
        return Err(line.error("cannot mix flags with and without a + or - sign"));
    }
    let mut options = if incremental {
        process.telemetry_options.unwrap_or_default()
    } else {
        Default::default()
    };
    for word in &list {
        let (on, flag) = match word.as_slice() {
            [b'+', flag @ ..] => (true, flag),
            [b'-', flag @ ..] => (false, flag),
            flag => (true, flag),
        };
        match flag.to_ascii_lowercase().as_slice() {
            b"captureuseragent" => options.capture_user_agent = on,
            b"" if incremental => {
                return Err(
                    line.error("has a sign without a flag; the only flag is CaptureUserAgent")
                );
            }
            b"none" | b"all" if incremental => {
                return Err(line.error(format_args!(
                    "cannot have a sign before {}, only before CaptureUserAgent",
                    quoted(flag)
                )));
            }
            b"none" => options = TelemetryOptions::default(),
            b"all" => options = TelemetryOptions { capture_user_agent: true },
            _ => {
                return Err(line.error(format_args!(
                    "has no flag {}{}; there are None | All | CaptureUserAgent",
                    quoted(flag),
                    did_you_mean(flag, ["None", "All", "CaptureUserAgent"])
                )));
            }
        }
    }
    process.telemetry_options = Some(options);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Configuration, configuration};
    use super::*;

    #[test]
    fn a_service_is_a_socket_and_an_interval() {
        for (arguments, millis) in [
            ("unix:/run/t", 1000),
            ("unix:/run/t interval=0.5", 500),
            ("unix:/run/t interval=2", 2000),
        ] {
            let written = configuration(&[&format!("WSGITelemetryService {arguments}")]);
            let service = written.process.telemetry_service.expect("a service is set");
            assert_eq!(&*service.socket, b"/run/t");
            assert_eq!(service.interval, Duration::from_millis(millis));
        }
        for (arguments, refusal) in [
            ("", "takes one or two arguments, "),
            ("unix:/a b c", "takes one or two arguments, "),
            ("udp:localhost:1", "must be unix:/path, "),
            ("unix:run", "must be unix:/path, "),
            ("unix:/a every=1", "takes interval=seconds as its second argument, not \"every=1\""),
            ("unix:/a interval=0.4", "has interval=\"0.4\", it must be at least 0.5 seconds"),
            ("unix:/a interval=x", "has interval=\"x\", it must be at least 0.5 seconds"),
        ] {
            let line = format!("WSGITelemetryService {arguments}");
            let sentence = Configuration::default().refusal(&line);
            assert!(sentence.starts_with(&format!("WSGITelemetryService {refusal}")), "{sentence}");
        }
    }

    #[test]
    fn flags_stand_for_themselves_or_change_what_was_set() {
        for (lines, expected) in [
            (&["None"][..], false),
            (&["All"], true),
            (&["captureuseragent"], true),
            (&["All None"], false),
            (&["+CaptureUserAgent"], true),
            (&["All", "-CaptureUserAgent"], false),
            (&["All", "None"], false),
        ] {
            let lines: Vec<_> =
                lines.iter().map(|it| format!("WSGITelemetryOptions {it}")).collect();
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let options = configuration(&lines).process.telemetry_options;
            assert_eq!(
                options,
                Some(TelemetryOptions { capture_user_agent: expected }),
                "{lines:?}"
            );
        }
        for (arguments, refusal) in [
            ("", "needs at least one flag"),
            ("All +CaptureUserAgent", "cannot mix flags with and without a + or - sign"),
            ("+", "has a sign without a flag"),
            ("+All", "cannot have a sign before \"All\""),
            ("-None", "cannot have a sign before \"None\""),
            ("Everything", "has no flag \"Everything\""),
            ("+Everything", "has no flag \"Everything\""),
        ] {
            let line = format!("WSGITelemetryOptions {arguments}");
            let sentence = Configuration::default().refusal(&line);
            assert!(sentence.starts_with(&format!("WSGITelemetryOptions {refusal}")), "{sentence}");
        }
    }
}
