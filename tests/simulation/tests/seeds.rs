//! Seeds of the simulation. `CRI_GC_SIMULATION_SEEDS=1000` runs more of them.

use cri_gc_simulation::{Outcome, Tally, run_all};

fn outcomes(seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let mut all = Vec::new();
    run_all(seeds, |outcome| all.push(outcome));
    all.sort_by_key(|outcome| outcome.seed);
    all
}

#[test]
fn whatever_happens_to_a_node_nothing_is_removed_that_must_be_kept_and_then_it_is_clean() {
    let seeds = std::env::var("CRI_GC_SIMULATION_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut tally = Tally::default();
    for outcome in outcomes(0..seeds) {
        tally.add(&outcome.tally);
        let Outcome { seed, violations, .. } = &outcome;
        assert!(
            violations.is_empty(),
            "seed {seed}: {violations:#?}\nits story: cargo run --profile simulation -p cri-gc-simulation -- --seed {seed}"
        );
    }
    // Runs in which nothing happens would show nothing.
    let Tally { containers, sandboxes, images, log_directories, rpcs, lives, reloads, panics } = tally;
    let lively = containers > 10 * seeds
        && sandboxes > 3 * seeds
        && images > seeds / 2
        && log_directories > 3 * seeds
        && rpcs > 300 * seeds
        && lives > 2 * seeds
        && reloads > 3 * seeds
        && panics > seeds;
    assert!(lively, "{tally:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (once, again) = (outcomes(100..106), outcomes(100..106));
    for (once, again) in once.iter().zip(&again) {
        let differ = once.story.iter().zip(&again.story).find(|(one, other)| one != other);
        assert_eq!((once.digest, differ), (again.digest, None), "seed {}", once.seed);
    }
    assert_ne!(once[0].digest, once[1].digest);
}
