//! Random settings, as the text of a configuration file.

use std::fmt::Write;
use std::time::Duration;

use cri_gc_config::Settings;
use fastrand::Rng;

/// One of a few values.
pub fn pick<T: Clone>(random: &mut Rng, values: &[T]) -> T {
    values[random.usize(..values.len())].clone()
}

/// True with that probability.
pub fn chance(random: &mut Rng, probability: f64) -> bool {
    random.f64() < probability
}

/// The text of a random configuration that is valid. `images` are the tags that may be protected.
pub fn random(random: &mut Rng, images: &[String]) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap();
    line(format_args!("[pods]"));
    line(format_args!("runtime_grace = {:?}", pick(random, &["2m", "5m"])));
    line(format_args!("unmanaged = {:?}", pick(random, &["keep", "keep", "collect"])));
    line(format_args!("[container_gc]"));
    line(format_args!("mode = {:?}", mode(random)));
    line(format_args!("min_age = {:?}", pick(random, &["0s", "0s", "1m", "5m"])));
    line(format_args!("min_dead_age = {:?}", pick(random, &["0s", "1m", "1m", "3m"])));
    line(format_args!("created_grace = {:?}", pick(random, &["0s", "2m", "5m"])));
    line(format_args!("max_per_pod_container = {}", pick(random, &[1, 1, 1, 2, 0, -1])));
    line(format_args!("max_containers = {}", pick(random, &[-1, -1, -1, 10, 0])));
    line(format_args!("evict_terminated_pods = {}", chance(random, 0.3)));
    line(format_args!("parallel_removals = {}", random.u8(1..5)));
    line(format_args!("[sandbox_gc]"));
    line(format_args!("mode = {:?}", mode(random)));
    line(format_args!("min_age = {:?}", pick(random, &["0s", "0s", "2m"])));
    line(format_args!("[log_gc]"));
    line(format_args!("mode = {:?}", mode(random)));
    line(format_args!("[image_gc]"));
    line(format_args!("mode = {:?}", mode(random)));
    line(format_args!("min_age = {:?}", pick(random, &["0s", "2m", "5m"])));
    line(format_args!("max_age = {:?}", pick(random, &["0s", "0s", "6m"])));
    line(format_args!("high_threshold_percent = {}", pick(random, &[85, 70])));
    line(format_args!("low_threshold_percent = {}", pick(random, &[60, 65])));
    let protected: Vec<&String> = images.iter().filter(|_| chance(random, 0.15)).collect();
    line(format_args!("protect = {protected:?}"));
    text
}

fn mode(random: &mut Rng) -> &'static str {
    pick(random, &["enforce", "enforce", "enforce", "enforce", "enforce", "report", "off"])
}

/// The same settings, but that every loop may remove things.
pub fn enforcing(text: &str) -> String {
    text.replace("\"report\"", "\"enforce\"").replace("\"off\"", "\"enforce\"")
}

/// The longest that something which has to go may be kept by its age, once all is well.
pub fn longest_grace(settings: &Settings) -> Duration {
    let containers = &settings.container_gc;
    let images = &settings.image_gc;
    [
        containers.min_age,
        containers.min_dead_age,
        containers.created_grace,
        settings.sandbox_gc.min_age,
        settings.pods.runtime_grace,
        images.min_age,
        images.max_age,
    ]
    .into_iter()
    .max()
    .unwrap_or_default()
}
