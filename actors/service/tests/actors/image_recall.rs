//! What questions learn of images, what passes learn of them, and where that is kept: a question writes nothing and waits for no
//! disk; the answer to a pass is on the disk, or in the runtime directory where the disk refuses.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use actix::System;
use cri_gc_images::store;
use cri_gc_images::{Home, ImageRecords, Origin, Recalled};
use cri_gc_kit::seams::Moment;
use cri_gc_kit::workers::Workers;

use super::bed::{PATIENCE, begun};
use super::image_records::{Desk, STORE, image, images, records_in, records_on_disk, stored};

/// A question, as `status` sends it: answered in real time however the disk is.
async fn recall(
    records: &ImageRecords,
    numbers: std::ops::Range<usize>,
    used: &str,
    seen_at: Moment,
) -> Recalled {
    let uses = [(used.to_owned(), seen_at.wall())];
    let answer = records.recall(images(numbers), uses, seen_at);
    tokio::time::timeout(PATIENCE, answer).await.expect("a question waits for the disk").unwrap()
}

#[test]
fn a_question_gets_the_same_answer_as_a_pass_and_a_hundred_write_nothing() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    desk.keep(async |records| {
        assert_eq!(records.problem().await, None);
        let bytes = fs::read(desk.dir().join(STORE)).unwrap();
        for second in 20..120 {
            let recalled = recall(records, 1..10, "r.io/app:7", desk.moment(second)).await;
            let all = records_in(&recalled.images);
            let of = |number: usize| all[&image(number).id];
            assert_eq!(
                [of(1), of(4), of(7), of(9)],
                [(0, Some(5)), (0, None), (0, Some(second)), (second, None)],
                "each counts as seen for the first time, or used, by its own question only"
            );
            assert_eq!(recalled.problem, None);
        }
        records.flush().await;
        assert!(fs::read(desk.dir().join(STORE)).unwrap() == bytes, "something was written");
        records.seen(["r.io/app:7"], desk.moment(120));
        let known = records.remember(images(1..10), desk.moment(120)).await.unwrap();
        assert_eq!(records_on_disk(&desk.disk()), records_in(&known), "what a pass sees is written");
        assert_eq!(records_in(&known)[&image(9).id], (120, None));
    });
}

#[test]
fn while_the_disk_hangs_questions_are_answered_from_memory() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    System::new().block_on(async {
        let (records, worker) = desk.keeper(Home::Store(desk.dirs(), Origin::default()));
        assert_eq!(records.problem().await, None);
        let (_hold, released) = mpsc::channel::<()>();
        let hung = tokio::spawn(async move { worker.run(move || released.recv()).await });
        tokio::task::yield_now().await;
        // A commit and a pass hang with it.
        records.seen(["r.io/app:7"], desk.moment(50));
        let mut pass = Box::pin(records.remember(images(0..9), desk.moment(60)));
        for _ in 0..10 {
            // Until it is waiting for the disk.
            assert!(begun(pass.as_mut()).await);
            tokio::task::yield_now().await;
        }
        for second in 61..161 {
            let recalled = recall(&records, 0..10, "", desk.moment(second)).await;
            let all = records_in(&recalled.images);
            assert_eq!(
                all[&image(7).id],
                (0, Some(50)),
                "what the pass has seen is known, on the disk or not"
            );
            assert_eq!((all[&image(8).id], all[&image(9).id]), ((60, None), (second, None)));
        }
        assert!(begun(pass.as_mut()).await, "the pass waits for the disk all the same");
        drop(hung);
    });
}

#[test]
fn a_question_before_the_store_was_read_says_so_and_does_not_wait() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    System::new().block_on(async {
        let worker = Workers::start(1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let busy = worker.clone();
        tokio::spawn(async move { busy.run(move || released.recv()).await });
        tokio::task::yield_now().await;
        let records = desk.keeper_with(Home::Store(desk.dirs(), Origin::default()), worker.clone());
        tokio::time::pause();
        // Paused time is run on by itself while nothing else is to be done: by half a second.
        let asked = tokio::time::Instant::now();
        let recalled = recall(&records, 0..8, "r.io/app:7", desk.moment(50)).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        tokio::time::resume();
        let why = recalled.problem.unwrap();
        assert!(why.contains("still being read") && why.contains(STORE), "{why}");
        assert_eq!(records_in(&recalled.images)[&image(7).id], (50, Some(50)));
        drop(release);
        // A pass waits for it.
        let known = records.remember(images(0..8), desk.moment(60)).await.unwrap();
        assert_eq!(records_in(&known)[&image(3).id], (0, Some(5)));
        let recalled = recall(&records, 0..8, "", desk.moment(70)).await;
        assert_eq!((recalled.problem, records_in(&recalled.images)), (None, records_in(&known)));
    });
}

#[test]
fn a_command_that_only_plans_waits_for_its_copy() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    System::new().block_on(async {
        let (records, _) = desk.keeper(Home::Copy(desk.dirs(), Origin::default()));
        let recalled = recall(&records, 0..8, "", desk.moment(50)).await;
        assert_eq!((recalled.problem, records_in(&recalled.images)[&image(3).id]), (None, (0, Some(5))));
    });
}

#[test]
fn where_the_disk_refuses_the_answer_to_a_pass_is_in_the_runtime_directory_at_once() {
    let desk = Desk::new();
    let (state, moved) = (desk.dir(), desk.folder.path().join("away"));
    let in_copy = || store::read_copy(desk.dirs().runtime.as_deref().unwrap(), &Origin::default()).unwrap();
    stored(&desk, 8, 4);
    System::new().block_on(async {
        desk.keep_at(desk.dirs(), async |records| {
            records.remember(images(0..8), desk.moment(50)).await.unwrap();
            // It can't be made either.
            fs::rename(&state, &moved).unwrap();
            fs::write(&state, "a file").unwrap();
            for second in [60, 70, 80] {
                let known = records.remember(images(0..9), desk.moment(second)).await.unwrap();
                assert_eq!(records_on_disk(&in_copy()), records_in(&known), "at {second}");
                let why = records.problem().await.unwrap();
                assert!(why.contains("can't be written") && why.contains("run/state/images.redb"), "{why}");
            }
            let ages = records.ages().await.unwrap();
            assert!(!ages.are_new && ages.lost.is_none(), "{ages:?}");
        })
        .await;
        // The next one continues with the copy until the disk takes it.
        desk.keep_at(desk.dirs(), async |records| {
            let known = records.remember(images(0..10), desk.moment(100)).await.unwrap();
            assert_eq!(records_in(&known)[&image(3).id], (0, Some(5)));
            assert_eq!(
                (records_in(&known)[&image(8).id], records_in(&known)[&image(9).id]),
                ((60, None), (100, None))
            );
            assert_eq!(records_on_disk(&in_copy()), records_in(&known));
            fs::remove_file(&state).unwrap();
            fs::rename(&moved, &state).unwrap();
            let known = records.remember(images(0..10), desk.moment(110)).await.unwrap();
            assert_eq!((records.problem().await, records_on_disk(&desk.disk())), (None, records_in(&known)));
            assert!(!desk.folder.path().join("run/state").join(STORE).exists());
        })
        .await;
    });
    let lines = desk.logged();
    // Each failing disk is an error once, and never said to cost what is in the copy.
    assert!(!lines.iter().any(|line| line.contains("in memory only")), "{lines:#?}");
    let recoveries =
        lines.iter().filter(|line| line.starts_with("INFO the image records are on the disk again"));
    assert_eq!(recoveries.count(), 1, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("ERRO") && line.contains("they are kept in")),
        "{lines:#?}"
    );
}

#[test]
fn whether_nothing_was_recorded_before_is_known() {
    let desk = Desk::new();
    fs::create_dir(desk.dir()).unwrap();
    let ages = |records: &ImageRecords| {
        let records = records.clone();
        async move { records.ages().await.unwrap() }
    };
    desk.keep(async |records| {
        records.remember(images(0..2), desk.moment(10)).await.unwrap();
        assert!(ages(records).await.are_new && ages(records).await.lost.is_none());
    });
    desk.keep(async |records| assert!(!ages(records).await.are_new));
    fs::remove_dir_all(desk.dir()).unwrap();
    desk.keep(async |records| {
        records.remember(images(0..2), desk.moment(20)).await.unwrap();
        assert!(ages(records).await.are_new && ages(records).await.lost.is_some());
    });
}
