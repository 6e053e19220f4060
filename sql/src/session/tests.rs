use super::*;

mod client;
mod copying;
mod executor;
mod extended;
mod garbage;
mod simple;
mod trouble;

use client::Client;
pub(crate) use executor::{Log, ScriptExecutor};

/// Runs a script against a session; both ends live in one task, the session ends with the client.
async fn with_session<T>(script: impl AsyncFnOnce(Client, Log) -> T) -> T {
    with_limits(SessionLimits::default(), 1 << 16, script).await
}

/// As `with_session`, with limits and the size of the pipe between client and session.
async fn with_limits<T>(limits: SessionLimits, pipe: usize, script: impl AsyncFnOnce(Client, Log) -> T) -> T {
    let (near, far) = tokio::io::duplex(pipe);
    let (reader, writer) = tokio::io::split(far);
    let cancel = CancelFlag::default();
    let log = Log::default();
    let executor = ScriptExecutor::new(Log::clone(&log), cancel.clone());
    log.lock().cancel = Some(cancel.clone());
    let session = Session::new(executor, Gate::new(reader), Replies::new(writer), cancel, limits);
    let client = async {
        let mut client = Client::new(near);
        client.until_ready().await;
        script(client, Log::clone(&log)).await
    };
    let (result, ()) = tokio::join!(client, session.run());
    assert!(log.lock().closed, "the executor was not closed");
    result
}
