//! The values of options about the interface of applications and about ASGI. It never knows what a process does with them.

use group_config::{EventLoop, Interface, Lifespan};

use super::ConfigError;
use super::options::OptionValue;

/// `interface=`
pub(super) fn interface(value: &OptionValue<'_>) -> Result<Interface, ConfigError> {
    let (wsgi, asgi) = (Interface::Wsgi, Interface::Asgi);
    choice(value, &[("wsgi", wsgi), ("asgi", asgi), ("auto", Interface::Auto)])
}

/// `interface=` of a group; `given` is set.
pub(super) fn interface_of_group(
    given: &mut bool,
    value: &OptionValue<'_>,
) -> Result<Interface, ConfigError> {
    *given = true;
    interface(value)
}

/// One of the words that an option takes, in any case.
fn choice<T: Copy>(value: &OptionValue<'_>, words: &[(&str, T)]) -> Result<T, ConfigError> {
    let text = value.text.to_ascii_lowercase();
    let chosen = words.iter().find(|(word, _)| word.as_bytes() == text);
    chosen.map(|(_, chosen)| *chosen).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        value.error(&format!("must be one of: {}", words.join(" | ")))
    })
}

/// `asgi-lifespan=`
pub(super) fn lifespan(value: &OptionValue<'_>) -> Result<Lifespan, ConfigError> {
    choice(value, &[("auto", Lifespan::Auto), ("on", Lifespan::On), ("off", Lifespan::Off)])
}

/// `asgi-loop=`
pub(super) fn event_loop(value: &OptionValue<'_>) -> Result<EventLoop, ConfigError> {
    let (asyncio, uvloop) = (EventLoop::Asyncio, EventLoop::Uvloop);
    choice(value, &[("auto", EventLoop::Auto), ("asyncio", asyncio), ("uvloop", uvloop)])
}

/// `websocket-limit=`
pub(super) fn websocket_limit(value: &OptionValue<'_>) -> Result<u32, ConfigError> {
    let number = value.number(0..=65_533, "a number of WebSockets")?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// `asgi-concurrency=`
pub(super) fn concurrency(value: &OptionValue<'_>) -> Result<u32, ConfigError> {
    let number = value.number(1..=65_533, "a number of requests")?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
