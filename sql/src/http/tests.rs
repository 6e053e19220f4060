use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn get_path(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn readiness_follows_what_the_process_says() {
    let http = start(([127, 0, 0, 1], 0).into()).await.unwrap();
    assert!(get_path(http.address(), "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get_path(http.address(), "/readyz").await.starts_with("HTTP/1.1 503"));
    http.set_ready(true);
    assert!(get_path(http.address(), "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get_path(http.address(), "/metrics").await.starts_with("HTTP/1.1 200"));
    assert!(get_path(http.address(), "/nosuch").await.starts_with("HTTP/1.1 404"));
    http.stop().await;
    assert!(TcpStream::connect(http.address()).await.is_err());
}
