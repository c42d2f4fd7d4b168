//! The RPCs that have ended, counted for metrics by method and code. It decides nothing, and knows no object.

use std::collections::BTreeMap;
use std::time::Duration;

use cri_gc_kit::histogram::Histogram;
use tonic::Code;

/// Bounds of how long RPCs take, in seconds: a list from memory, a list of a full node, a removal, a stop with its grace.
const BOUNDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 120.0];

/// The RPCs of one method that ended with one code.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcTotal {
    /// The CRI method.
    pub method: &'static str,
    /// The gRPC code, as gRPC writes it.
    pub code: &'static str,
    /// How many, and how long they took.
    pub took: Histogram,
}

/// All RPCs since the start.
#[derive(Debug, Default)]
pub struct RpcTotals(BTreeMap<(&'static str, &'static str), Histogram>);

impl RpcTotals {
    /// Counts one that has ended.
    pub fn ended(&mut self, method: &'static str, code: Code, took: Duration) {
        let all = self.0.entry((method, name(code)));
        all.or_insert_with(|| Histogram::new(BOUNDS)).observe(took);
    }

    /// A copy.
    pub fn all(&self) -> Vec<RpcTotal> {
        let total = |(&(method, code), took): (&_, &Histogram)| RpcTotal { method, code, took: took.clone() };
        self.0.iter().map(total).collect()
    }
}

/// The code, as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rpcs_are_counted_by_method_and_code() {
        let mut totals = RpcTotals::default();
        totals.ended("ListImages", Code::Ok, Duration::from_millis(3));
        totals.ended("ListImages", Code::Ok, Duration::from_secs(1));
        totals.ended("ListImages", Code::Unavailable, Duration::ZERO);
        let counts: Vec<_> =
            totals.all().into_iter().map(|total| (total.method, total.code, total.took.count())).collect();
        assert_eq!(counts, [("ListImages", "OK", 2), ("ListImages", "UNAVAILABLE", 1)]);
    }
}
