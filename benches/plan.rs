//! How long a plan takes, by the number of containers and of images: the time of one object should hardly grow with
//! their number (n log n, for the sorting).
//!
//! `cargo bench --bench plan`; `plan_memory.rs` measures the memory.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark: failing loudly is its job")]

use std::hint::black_box;
use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::{Observation, PlanReport, Policy, decide};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod big_node;

use big_node::Units;

fn containers(c: &mut Criterion) {
    let policy = Settings::default().policy();
    for (name, units, sizes) in [
        ("containers", Units::OfFive, &[1_000, 10_000, 100_000, 1_000_000][..]),
        ("containers/one_unit", Units::One, &[100_000]),
        ("containers/units_of_one", Units::OfOne, &[100_000]),
    ] {
        for &count in sizes {
            plan(c, name, count, &big_node::containers(count, units), &policy);
        }
    }
    // The node limit sorts all that remain once more.
    let mut limited = policy;
    limited.containers.max_per_pod_container = None;
    limited.containers.max_containers = Some(1_000);
    plan(c, "containers/node_limit", 100_000, &big_node::containers(100_000, Units::OfFive), &limited);
}

fn images(c: &mut Criterion) {
    let mut policy = Settings::default().policy();
    policy.images.protect =
        (0..20).map(|i| format!("registry{i}.example/*/protected-{i}:v*").parse().unwrap()).collect();
    for count in [10, 1_000, 10_000, 100_000] {
        plan(c, "images", count, &big_node::images(count, 10_000), &policy);
    }
}

fn report(c: &mut Criterion) {
    let (observation, policy) = (big_node::containers(100_000, Units::OfFive), Settings::default().policy());
    let plan = decide(&observation, &policy);
    let mut group = c.benchmark_group("report");
    group.sample_size(10).throughput(Throughput::Elements(100_000));
    group.bench_function("containers/100000", |b| {
        b.iter(|| black_box(PlanReport::new(black_box(&plan), &observation, &policy)));
    });
    group.finish();
}

fn plan(c: &mut Criterion, name: &str, count: usize, observation: &Observation, policy: &Policy) {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .throughput(Throughput::Elements(u64::try_from(count).unwrap()));
    group.bench_function(BenchmarkId::from_parameter(count), |b| {
        b.iter(|| black_box(decide(black_box(observation), black_box(policy))));
    });
    group.finish();
}

criterion_group!(benches, containers, images, report);
criterion_main!(benches);
