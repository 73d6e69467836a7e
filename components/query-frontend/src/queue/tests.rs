use futures::{FutureExt, future::join_all};
use prometheus::Registry;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn queue(permits: usize, max_waiting: usize) -> Queue {
    Queue::new(permits, max_waiting, Metrics::register(&Registry::new()).unwrap(), Waits::default())
}

#[tokio::test]
async fn tenants_take_turns_however_many_jobs_one_has() {
    let queue = queue(1, 100);
    let order = Mutex::new(Vec::new());
    let running = queue.enter(&tenant("a")).await.unwrap();

    let jobs = ["a", "a", "a", "b", "b", "c"].map(|name| {
        let (queue, order) = (&queue, &order);
        async move {
            let permit = queue.enter(&tenant(name)).await.unwrap();
            order.lock().push(name);
            drop(permit);
        }
    });
    let release = async move { drop(running) };
    tokio::join!(join_all(jobs), release);

    assert_eq!(*order.lock(), ["a", "b", "c", "a", "b", "a"]);
}

#[tokio::test]
async fn a_full_queue_refuses_that_tenant_only() {
    let queue = queue(1, 2);
    let (a, b) = (tenant("a"), tenant("b"));
    let running = queue.enter(&a).await.unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(queue.enter(&a))).collect();
    for job in &mut waiting {
        assert!(job.now_or_never().is_none());
    }

    let refused = queue.enter(&a).await.unwrap_err();
    let mut other = Box::pin(queue.enter(&b));

    assert_eq!(refused.to_string(), "job queue full");
    assert!((&mut other).now_or_never().is_none());
    drop(running);
    assert!((&mut waiting[0]).now_or_never().is_some());
}

#[tokio::test]
async fn a_queue_without_room_still_serves_when_a_querier_is_free() {
    let queue = queue(1, 0);
    let a = tenant("a");

    let running = queue.enter(&a).await.unwrap();
    let refused = queue.enter(&a).await.unwrap_err();
    drop(running);

    assert_eq!(refused, QueueFull);
    assert!(queue.enter(&a).await.is_ok());
    assert!(queue.shared.state.lock().waiting.is_empty());
}

#[tokio::test]
async fn cancelled_jobs_neither_keep_a_permit_nor_count_as_waiting() {
    let queue = queue(1, 1);
    let a = tenant("a");
    let running = queue.enter(&a).await.unwrap();
    let mut cancelled = Box::pin(queue.enter(&a));
    assert!((&mut cancelled).now_or_never().is_none());
    drop(cancelled);

    let mut next = Box::pin(queue.enter(&a));
    assert!((&mut next).now_or_never().is_none());
    drop(running);
    // It got its permit, but is dropped before it saw that.
    drop(next);

    assert!(queue.enter(&a).now_or_never().is_some());
    assert_eq!(queue.shared.state.lock().free, 1);
}
