//! Where a panic that was caught came from: one that is confined to an actor or a worker is logged by its supervisor, once
//! and with its place, rather than by the process on stderr.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use slog::{Logger, error};

thread_local! {
    /// Whether a panic is caught and reported by the caller.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; if it panics, says what the panic said and where it was. Whatever `work` has touched must be put in order by
/// the caller.
///
/// # Errors
/// The panic, in words.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    done.map_err(|panic| {
        let place = PLACE.take().map(|place| format!(" at {place}")).unwrap_or_default();
        format!("it panicked{place}: {}", text(&*panic))
    })
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// From now on, panics that are caught by [`catch`] are not printed, and all others are logged.
pub fn install(log: Logger) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        if CAUGHT.get() {
            PLACE.set(place);
        } else {
            error!(log, "panic: {}", text(panic.payload()); "at" => place,
                "thread" => std::thread::current().name().unwrap_or("unnamed").to_owned());
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_logged_in_words_and_nothing_else_is_changed() {
        assert_eq!(catch(|| 7), Ok(7));
        let text = catch(|| panic!("on {}", "purpose")).unwrap_err();
        assert!(text.starts_with("it panicked") && text.ends_with(": on purpose"), "{text}");
        assert!(catch(|| panic!("plain")).unwrap_err().ends_with(": plain"));
        assert!(!CAUGHT.get());
    }
}
