//! Passes TCP connections on to a service, until it is told to lose something: what the network does to a server.
//!
//! What it is not: a service. Whatever is answered comes from the real one behind it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What does not get through any more.
#[derive(Debug, Default)]
struct Losses {
    /// Bytes that begin the loss when a request has them, and what is lost from then on.
    trigger: Mutex<Option<(Vec<u8>, Lost)>>,
    requests: AtomicBool,
    answers: AtomicBool,
    /// Connections are ended, and no more are made.
    all: AtomicBool,
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing that is sent to the service arrives.
    Requests,
    /// The service is asked, and nobody hears what it answers.
    Answers,
}

impl Losses {
    /// Whether these bytes of a request are lost.
    fn loses_request(&self, bytes: &[u8]) -> bool {
        let mut trigger = locked(&self.trigger);
        let begins =
            |(needle, _): &(Vec<u8>, Lost)| bytes.windows(needle.len()).any(|window| window == needle);
        if trigger.as_ref().is_some_and(begins)
            && let Some((_, lost)) = trigger.take()
        {
            let flag = if lost == Lost::Requests { &self.requests } else { &self.answers };
            flag.store(true, Ordering::SeqCst);
        }
        self.requests.load(Ordering::SeqCst)
    }
}

/// See the file header; it goes on until the process ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    losses: Arc<Losses>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens at an address (port 0: any) for connections to the host and port of a service.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn start(address: SocketAddr, target: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("its address");
        let (losses, streams) = (Arc::new(Losses::default()), Arc::new(Mutex::new(Vec::new())));
        let proxy = Self { address, losses: Arc::clone(&losses), streams: Arc::clone(&streams) };
        let target = target.to_owned();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                let mut streams = locked(&streams);
                if losses.all.load(Ordering::SeqCst) {
                    continue;
                }
                let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                streams.extend([clone(&near), clone(&far)]);
                let (requests, answers) = (Arc::clone(&losses), Arc::clone(&losses));
                let (near_answers, far_answers) = (clone(&near), clone(&far));
                std::thread::spawn(move || pass(near, far, |bytes| requests.loses_request(bytes)));
                std::thread::spawn(move || {
                    pass(far_answers, near_answers, |_| answers.answers.load(Ordering::SeqCst));
                });
            }
        });
        proxy
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses everything of a kind from the request on that has these bytes.
    pub fn lose_from(&self, needle: &str, lost: Lost) {
        *locked(&self.losses.trigger) = Some((needle.as_bytes().to_vec(), lost));
    }

    /// Whether the loss has begun.
    #[must_use]
    pub fn loses(&self) -> bool {
        self.losses.requests.load(Ordering::SeqCst) || self.losses.answers.load(Ordering::SeqCst)
    }

    /// Ends all connections and makes no more.
    pub fn cut(&self) {
        let mut streams = locked(&self.streams);
        self.losses.all.store(true, Ordering::SeqCst);
        for stream in streams.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies until one side ends, without what is lost.
fn pass(mut from: TcpStream, mut to: TcpStream, lost: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !lost(&buffer[..count]) && to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
