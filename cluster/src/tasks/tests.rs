use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

#[tokio::test]
async fn loops_stop_in_reverse_order_each_awaited() {
    let set = TaskSet::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    for name in ["owner", "follower", "front"] {
        let order = Arc::clone(&order);
        set.spawn(name, move |stop| async move {
            stop.requested().await;
            tokio::task::yield_now().await;
            order.lock().push(name);
        });
    }
    assert_eq!(set.len(), 3);
    set.shutdown().await;
    assert_eq!(*order.lock(), ["front", "follower", "owner"]);
    set.spawn("late", |_| async { panic!("nothing starts after shutdown") });
    assert!(set.is_empty());
}

#[tokio::test]
async fn a_panic_is_reported_by_name_and_the_others_go_on() {
    let set = TaskSet::new();
    let mut failures = set.failures();
    set.spawn("steady", |stop| async move { stop.requested().await });
    set.spawn("broken", |_| async { panic!("on purpose") });
    failures.changed().await.expect("the set lives");
    assert_eq!(failures.borrow().as_deref(), Some("broken"));
    assert_eq!(set.len(), 1);
    set.shutdown().await;
}

#[tokio::test]
async fn finished_loops_leave_and_dropping_the_set_aborts_the_rest() {
    let set = TaskSet::new();
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let (done, finished) = tokio::sync::oneshot::channel();
    set.spawn("short", |_| async move {
        let _ = done.send(());
    });
    set.spawn("endless", |_| async move {
        let _keep = sender;
        std::future::pending::<()>().await;
    });
    finished.await.expect("the short loop ran");
    drop(set);
    assert!(receiver.await.is_err(), "the endless loop's state was dropped");
}

#[tokio::test]
async fn blocking_work_that_panics_is_an_error() {
    assert_eq!(blocking(|| 7).await.expect("plain work"), 7);
    let panicked = blocking(|| panic!("on purpose")).await;
    assert!(matches!(panicked, Err(Error::Internal(_))));
}
