//! Clients that are wrong, slow or too many: each gets its answer, or its connection is closed; no other client and no loop notices.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Served, read};
use crate::stage::{PERIOD, SECOND, Setup, turns};

/// As many addresses of this machine as have all connections that there may be, and the connections that each of them has.
const ADDRESSES: u8 = 4;
const FROM_ONE_ADDRESS: usize = 4;

#[actix_rt::test]
async fn only_four_paths_and_two_methods_are_answered() {
    let served = Served::start(Setup::new()).await;
    for path in ["/metrics/", "/status", "/../etc/passwd", "//", "/metrics%00"] {
        let answer = served.get(path).await;
        assert_eq!((answer.status, answer.body.contains("/readyz")), (404, true), "{path}: {answer:?}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nsome");
        let answer = served.send(&request).await;
        assert!(answer.status == 405 && answer.head.contains("allow: get, head"), "{method}: {answer:?}");
    }
    for path in ["/", "/metrics", "/healthz", "/readyz?verbose=1"] {
        let (whole, head) =
            (served.get(path).await, served.send(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await);
        assert_eq!((head.status, head.body.as_str()), (whole.status, ""), "{path}");
        assert!(head.head.contains("cache-control: no-store") && head.head.contains("nosniff"), "{head:?}");
        assert!(whole.head.contains("connection: close"), "{whole:?}");
    }
}

#[actix_rt::test]
async fn what_is_no_small_request_is_refused() {
    let served = Served::start(Setup::new()).await;
    let long = |length: usize| format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length));
    assert_eq!(served.send(&long(4_000)).await.status, 200);
    assert_eq!(served.send(&long(9_000)).await.status, 431);
    let many = |count: usize| format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert_eq!(served.send(&many(40)).await.status, 200);
    assert_eq!(served.send(&many(100)).await.status, 431);
    for nonsense in
        ["\r\n\r\n\0\r\n\r\n", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
    {
        let answer = served.send(nonsense).await;
        assert!(matches!(answer.status, 0 | 400 | 505), "{nonsense:?}: {answer:?}");
    }
    assert_eq!(served.get("/healthz").await.status, 200);
}

#[actix_rt::test]
async fn silent_clients_take_all_places_for_five_seconds_only_and_no_loop_notices() {
    let served = Served::start(Setup::new()).await;
    served.stage.step(SECOND).await;
    let mut silent = Vec::new();
    for address in 0..ADDRESSES {
        for number in 0..FROM_ONE_ADDRESS {
            let mut stream = served.connect_from([127, 0, 0, 2 + address]).await;
            if number % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
            }
            silent.push(stream);
        }
    }
    turns(1_000).await;
    // One more is closed at once.
    let (mut refused, mut bytes) = (served.connect().await, [0; 9]);
    assert!(matches!(served.stage.answer("the end", refused.read(&mut bytes)).await, Ok(0) | Err(_)));
    let before = served.stage.passes().await;
    served.stage.step(5 * SECOND).await;
    for mut stream in silent {
        let answer = served.stage.answer("the end", read(&mut stream)).await;
        assert!(matches!(answer.status, 0 | 408), "{answer:?}");
    }
    assert_eq!(served.get("/healthz").await.status, 200);
    served.stage.pass_time(PERIOD).await;
    let made = served.stage.passes().await.iter().zip(before).all(|(now, then)| *now > then);
    assert!(made, "each loop has made a pass");
}

#[actix_rt::test]
async fn silent_clients_of_one_address_take_no_place_of_a_probe() {
    let served = Served::start(Setup::new()).await;
    let mut silent = Vec::new();
    for _ in 0..5 * FROM_ONE_ADDRESS {
        silent.push(served.connect_from([127, 0, 0, 2]).await);
    }
    turns(1_000).await;
    assert_eq!(served.get("/healthz").await.status, 200);
    let mut one_more = served.connect_from([127, 0, 0, 2]).await;
    assert_eq!(served.stage.answer("the end", read(&mut one_more)).await.status, 0);
}

#[actix_rt::test]
async fn a_connection_has_one_request() {
    let served = Served::start(Setup::new()).await;
    let twice = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".repeat(2);
    let answer = served.send(&twice).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}
