use std::time::Duration;

use super::*;

const FALLBACK: Duration = Duration::from_secs(15);

fn sighting(holder: &str, unchanged_since: Instant) -> Sighting {
    let spec = LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        ..LeaseSpec::default()
    };
    Sighting { lease: Lease { metadata: ObjectMeta::default(), spec: Some(spec) }, unchanged_since }
}

#[test]
fn a_missing_lease_is_created() {
    assert_eq!(decide(None, "me", Instant::now(), FALLBACK), Decision::Create);
}

#[test]
fn our_own_lease_is_renewed_however_old_it_is() {
    let seen = Instant::now();

    let decision = decide(Some(&sighting("me", seen)), "me", seen + Duration::from_secs(60), FALLBACK);

    assert_eq!(decision, Decision::Renew);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let seen = Instant::now();

    assert_eq!(decide(Some(&sighting("", seen)), "me", seen, FALLBACK), Decision::Acquire);
}

#[test]
fn anothers_lease_is_respected_until_it_stood_still_for_its_whole_duration() {
    let seen = Instant::now();
    let other = sighting("other", seen);

    let early = decide(Some(&other), "me", seen + Duration::from_secs(14), FALLBACK);
    let late = decide(Some(&other), "me", seen + Duration::from_secs(15), FALLBACK);

    assert_eq!(early, Decision::Yield(Duration::from_secs(1)));
    assert_eq!(late, Decision::Acquire);
}

#[test]
fn the_holders_clock_is_not_believed() {
    let seen = Instant::now();
    let mut ancient = sighting("other", seen);
    if let Some(spec) = ancient.lease.spec.as_mut() {
        spec.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
    }

    let decision = decide(Some(&ancient), "me", seen + Duration::from_secs(5), FALLBACK);

    assert_eq!(decision, Decision::Yield(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn the_fence_falls_by_itself_when_nobody_renews() {
    let leadership = Leadership::none();
    assert!(!leadership.is_held(Instant::now()));

    leadership.extend(Instant::now() + Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(leadership.is_held(Instant::now()));

    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!leadership.is_held(Instant::now()));
}
