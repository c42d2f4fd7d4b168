//! Tests on every flavour of the embedded runtime.
//!
//! [`on_each_flavour!`](crate::on_each_flavour) makes three tests of a function. The function makes its node with the
//! [`options`] of this module, which know the flavour that the test on this thread is about.

use std::cell::Cell;
use std::io::Write as _;
use std::marker::PhantomData;

pub use cri_gc_sim::Flavour;
use cri_gc_sim::Options;

/// Tests that fail on a flavour today, each for a point of the program that is open. Nothing else may be in here.
pub const KNOWN_OPEN: &[(&str, &[Flavour])] = &[];

thread_local! {
    static CURRENT: Cell<Option<Flavour>> = const { Cell::new(None) };
}

/// A test of one flavour, on the thread that it was made on, until it is dropped.
#[derive(Debug)]
pub struct Entered(PhantomData<*const ()>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Begins a test of that flavour; `None` if it is one of [`KNOWN_OPEN`], after a line on stderr that says so.
#[must_use]
pub fn enter(flavour: Flavour, test: &str) -> Option<Entered> {
    if std::env::var_os("OPEN").is_none()
        && KNOWN_OPEN.iter().any(|(open, on)| *open == test && on.contains(&flavour))
    {
        let line = format!("SKIPPED {test} on {flavour:?}: known to be open\n");
        // Past the capture of the test harness, which hides what a passing test prints.
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    CURRENT.set(Some(flavour));
    Some(Entered(PhantomData))
}

/// The flavour that the test on this thread is about.
#[must_use]
pub fn flavour() -> Flavour {
    CURRENT.get().unwrap_or_default()
}

/// The default options of a node of that flavour.
#[must_use]
pub fn options() -> Options {
    Options { flavour: flavour(), ..Options::default() }
}

/// Makes three tests of each of these functions, one for each flavour of the embedded runtime. For functions that are
/// async the attribute comes first: `on_each_flavour!(#[tokio::test] async: first, second)`. Once in a module.
#[macro_export]
macro_rules! on_each_flavour {
    (#[$test:meta] async: $($name:ident),+ $(,)?) => {
        $crate::on_each_flavour!(@async containerd_16 Containerd16 #[$test] $($name)+);
        $crate::on_each_flavour!(@async containerd_21 Containerd21 #[$test] $($name)+);
        $crate::on_each_flavour!(@async cri_o CriO #[$test] $($name)+);
    };
    (@async $module:ident $flavour:ident #[$test:meta] $($name:ident)+) => {
        mod $module {
            $(#[$test] async fn $name() {
                let flavour = $crate::flavours::Flavour::$flavour;
                if let Some(_on) = $crate::flavours::enter(flavour, stringify!($name)) {
                    super::$name().await;
                }
            })+
        }
    };
    (@sync $module:ident $flavour:ident $($name:ident)+) => {
        mod $module {
            $(#[test] fn $name() {
                let flavour = $crate::flavours::Flavour::$flavour;
                if let Some(_on) = $crate::flavours::enter(flavour, stringify!($name)) {
                    super::$name();
                }
            })+
        }
    };
    ($($name:ident),+ $(,)?) => {
        $crate::on_each_flavour!(@sync containerd_16 Containerd16 $($name)+);
        $crate::on_each_flavour!(@sync containerd_21 Containerd21 $($name)+);
        $crate::on_each_flavour!(@sync cri_o CriO $($name)+);
    };
}
