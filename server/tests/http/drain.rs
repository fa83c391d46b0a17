//! The one test with sockets: shutdown lets what is in flight finish, and does not wait for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use candor_server::{ServerOptions, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::world::{World, chat};

/// Status and body of one request on its own connection.
fn ask(
    address: SocketAddr,
    head: &'static str,
    body: String,
) -> JoinHandle<std::io::Result<String>> {
    spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let n = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: candor\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {n}\r\n\r\n{body}"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_drains_under_a_deadline() {
    let options = ServerOptions {
        drain_timeout: Duration::from_secs(20),
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, world.state.clone(), shutdown));
    let health = ask(address, "GET /health", String::new())
        .await
        .unwrap()
        .unwrap();
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");

    let gate = world.hold();
    let in_flight = ask(address, "POST /score", chat().to_string());
    world.until_waiting(1).await;
    // A connection that was kept open and is idle must not hold the drain up.
    let idle = TcpStream::connect(address).unwrap();
    stop.send(()).unwrap();

    // Those who come now are told.
    loop {
        let health = ask(address, "GET /health", String::new())
            .await
            .unwrap()
            .unwrap();
        if health.starts_with("HTTP/1.1 503") {
            assert!(health.contains("draining"), "{health}");
            break;
        }
    }
    let refused = ask(address, "POST /v1/score", chat().to_string())
        .await
        .unwrap()
        .unwrap();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\"code\":\"draining\""), "{refused}");
    assert!(!server.is_finished());

    // What was in flight is finished; then the door closes.
    let start = Instant::now();
    drop(gate);
    let verdict = in_flight.await.unwrap().unwrap();
    assert!(verdict.starts_with("HTTP/1.1 200"), "{verdict}");
    assert!(verdict.contains("\"source\":\"read\""), "{verdict}");
    server.await.unwrap().unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    assert!(
        ask(address, "GET /health", String::new())
            .await
            .unwrap()
            .is_err()
    );
    drop(idle);

    // With work that does not end, the deadline does.
    let options = ServerOptions {
        drain_timeout: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let world = World::with(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, world.state.clone(), shutdown));
    let gate = world.hold();
    let stuck = ask(address, "POST /score", chat().to_string());
    world.until_waiting(1).await;
    let start = Instant::now();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    let took = start.elapsed();
    assert!((200..5000).contains(&took.as_millis()), "{took:?}");
    drop(gate);
    drop(stuck.await);

    // An address that others can reach needs a key.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(listener, world.state.clone(), std::future::pending())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
}
