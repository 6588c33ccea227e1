//! The proxy over its real sockets.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
};

use super::*;

/// Answers every connection with `hello` and what it was sent first.
async fn echo_server() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let read = connection.read(&mut buffer).await.expect("reads");
            let answer = format!("hello:{}", String::from_utf8_lossy(&buffer[..read]));
            connection.write_all(answer.as_bytes()).await.expect("writes");
        }
    });
    (address, tasks)
}

async fn ask(socket: &Path, text: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("the proxy listens");
    stream.write_all(text.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    answer
}

fn allow(entries: &[&str]) -> Vec<HostPort> {
    entries
        .iter()
        .map(|entry| entry.parse().expect("host:port"))
        .collect()
}

#[tokio::test]
async fn only_the_allow_list_can_be_reached() {
    let (address, _server) = echo_server().await;
    let proxy = EgressProxy::start(allow(&[&address.to_string()]))
        .await
        .expect("starts");
    let socket = proxy.socket();
    let answer = ask(socket, &format!("CONNECT {address} HTTP/1.1\r\n\r\nping")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello:ping"),
        "{answer}"
    );
    for target in [
        "127.0.0.1:1",
        "example.com:443",
        &format!("127.0.0.2:{}", address.port()),
        &format!("localhost:{}", address.port()),
    ] {
        let answer = ask(socket, &format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_plain_request_goes_on_in_origin_form() {
    let (address, _server) = echo_server().await;
    let proxy = EgressProxy::start(allow(&[&address.to_string()]))
        .await
        .expect("starts");
    let request =
        format!("GET http://{address}/p?q=1 HTTP/1.1\r\nHost: evil\r\nProxy-Connection: x\r\nA: b\r\n\r\n");
    let answer = ask(proxy.socket(), &request).await;
    assert_eq!(
        answer,
        format!("hello:GET /p?q=1 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nA: b\r\n\r\n")
    );
}

#[tokio::test]
async fn what_is_no_proxy_request_is_refused() {
    let proxy = EgressProxy::start(Vec::new()).await.expect("starts");
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT nowhere HTTP/1.1\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\n\r\n",
        "x\r\n\r\n",
    ] {
        assert!(
            ask(proxy.socket(), request).await.starts_with("HTTP/1.1 400 "),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_remote_job_needs_the_secret_of_a_live_grant() {
    let (address, _server) = echo_server().await;
    let listener = EgressListener::bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("binds");
    let grant = listener.grant(allow(&[&address.to_string()]));
    let connect = format!("CONNECT {address} HTTP/1.1\r\n\r\nping");
    let relay = EgressRelay::start(listener.address().to_string(), grant.secret().clone()).expect("starts");
    assert!(ask(relay.socket(), &connect).await.ends_with("hello:ping"));
    let wrong =
        EgressRelay::start(listener.address().to_string(), "guess".to_owned().into()).expect("starts");
    assert!(ask(wrong.socket(), &connect).await.starts_with("HTTP/1.1 407 "));
    drop(grant);
    assert!(ask(relay.socket(), &connect).await.starts_with("HTTP/1.1 407 "));
}
