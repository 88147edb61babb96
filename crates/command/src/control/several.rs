//! Several groups that are asked at the same time. It must never know what they are asked.

use super::group::Group;
use std::thread::{Builder, scope};

/// As many are asked at a time, so that some that do not answer do not take the time of all, and so that no number of sockets
/// makes more threads.
const AT_A_TIME: usize = 32;

/// What `ask` gives for each of the groups, in their order; `None` where it has panicked.
pub(super) fn ask_each<T: Send>(
    groups: &[Group],
    ask: impl Fn(&Group) -> T + Sync,
) -> Vec<Option<T>> {
    let mut answers = Vec::with_capacity(groups.len());
    for some in groups.chunks(AT_A_TIME) {
        scope(|scope| {
            let ask = &ask;
            let begin = |group| Builder::new().spawn_scoped(scope, move || ask(group));
            let begun: Vec<_> = some.iter().map(|group| (group, begin(group))).collect();
            answers.extend(begun.into_iter().map(|(group, thread)| match thread {
                Ok(thread) => thread.join().ok(),
                // No more threads may be started: this one asks.
                Err(_) => Some(ask(group)),
            }));
        });
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn answers_are_in_the_order_of_the_groups_and_threads_are_few() {
        let path = |number| format!("/run/wsgi.1.{number}.site.admin").into();
        let groups: Vec<Group> =
            (0..100).filter_map(|number| Group::of_file(path(number))).collect();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let answers = ask_each(&groups, |group| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(group.name.serial, 50, "on purpose");
            group.name.serial
        });
        let expected: Vec<_> = (0..100).map(|number| (number != 50).then_some(number)).collect();
        assert_eq!(answers, expected);
        assert!((1..=AT_A_TIME).contains(&most.load(Ordering::SeqCst)));
    }
}
