use jiff::SignedDuration;

use super::*;
use crate::{
    observe::{DrainAnswer, StatefulSetView},
    pods::{DrainPhase, DrainState},
    volumes::ClaimShape,
};

pub(super) fn second(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

pub(super) fn shape(size: &str) -> Shape {
    Shape {
        claims: vec![ClaimShape {
            name: "data".to_owned(),
            storage_class: Some("fast".to_owned()),
            access_modes: vec!["ReadWriteOnce".to_owned()],
            size: size.to_owned(),
        }],
        service_name: "traces-headless".to_owned(),
        pod_management_policy: "Parallel".to_owned(),
    }
}

pub(super) fn desired(replicas: u32) -> Desired {
    Desired {
        replicas,
        is_paused: false,
        soak: Duration::from_secs(60),
        progress_deadline: Duration::from_mins(30),
        shape: Some(shape("10Gi")),
        removal: None,
    }
}

pub(super) fn removal() -> Removal {
    Removal {
        since: second(0),
        timeout: Duration::from_mins(15),
        volumes: VolumePolicy::Delete,
        skipped: None,
        is_secret_missing: false,
        has_finalizer: true,
    }
}

pub(super) fn pod(ordinal: u32, revision: &str) -> PodView {
    let name = format!("traces-{ordinal}");
    PodView {
        uid: format!("uid-{ordinal}"),
        ordinal,
        ip: Some([10, 0, 0, 7].into()),
        revision: Some(revision.to_owned()),
        moved_at: second(-1000),
        is_terminating: false,
        ready_since: Some(second(-900)),
        problem: None,
        drain: DrainAnswer::NotAsked,
        volume: Some(format!("data-{name}")),
        version: None,
        name,
    }
}

pub(super) fn volume(ordinal: u32) -> VolumeView {
    VolumeView {
        name: format!("data-traces-{ordinal}"),
        uid: format!("volume-{ordinal}"),
        ordinal,
        is_bound: true,
        is_lost: false,
        is_terminating: false,
        requested_bytes: 10 << 30,
        capacity_bytes: Some(10 << 30),
        record: None,
    }
}

/// A cluster whose pods are all of revision `old` while `new` is wanted.
pub(super) fn observed(pods: Vec<PodView>) -> Observed {
    Observed {
        now: second(0),
        stateful_set: Some(StatefulSetView {
            name: "traces".to_owned(),
            uid: "set".to_owned(),
            is_terminating: false,
            is_observed: true,
            replicas: u32::try_from(pods.len()).unwrap(),
            update_revision: Some("new".to_owned()),
            has_rolled: true,
            changed_at: second(-10),
            shape: shape("10Gi"),
        }),
        volumes: pods.iter().map(|pod| volume(pod.ordinal)).collect(),
        pods,
        is_namespace_terminating: false,
    }
}

fn set(observed: &mut Observed) -> &mut StatefulSetView {
    observed.stateful_set.as_mut().unwrap()
}

fn trouble(reason: &str) -> Option<Problem> {
    Some(Problem { reason: reason.to_owned(), message: "why".to_owned() })
}

fn drain(phase: DrainPhase, unflushed_blocks: u64) -> DrainAnswer {
    DrainAnswer::State(DrainState {
        phase,
        unflushed_blocks,
        quarantined_blocks: 0,
        damaged_segments: 0,
        last_error: None,
        safe_to_terminate: phase == DrainPhase::Drained,
    })
}

fn reason_of(plan: &Plan) -> (&str, &str) {
    (plan.progress.reason(), &plan.progress.message)
}

#[test]
fn a_settled_cluster_needs_nothing() {
    let plan = plan(&desired(1), &observed(vec![pod(0, "new")]));

    assert_eq!(
        plan,
        Plan {
            action: Action::None,
            progress: Progress::new(Step::Complete, "1 of 1 pods are ready and up to date"),
            data_at_risk: None,
            requeue: LOOK_AGAIN_SETTLED,
        }
    );
}

#[test]
fn a_working_pod_of_an_old_revision_is_flushed_and_evicted() {
    let old = pod(0, "old");

    let plan = plan(&desired(1), &observed(vec![old.clone()]));

    assert_eq!(plan.action, Action::FlushAndEvict { pod: PodRef::from(&old) });
    assert_eq!(reason_of(&plan), ("RollingUpdate", "restarting traces-0; 1 of 1 left"));
}

#[test]
fn nothing_is_done_before_the_controller_has_seen_the_template() {
    let mut unseen = observed(vec![pod(0, "old")]);
    set(&mut unseen).is_observed = false;
    let mut nameless = observed(vec![pod(0, "old")]);
    set(&mut nameless).update_revision = None;
    let mut gone = observed(vec![pod(0, "old")]);
    gone.stateful_set = None;

    let reasons = [unseen, nameless, gone].map(|observed| {
        let plan = plan(&desired(1), &observed);
        assert_eq!(plan.action, Action::Hold);
        plan.progress.reason().to_owned()
    });

    assert_eq!(reasons, ["WaitingForStatefulSet", "WaitingForStatefulSet", "Creating"]);
}

#[test]
fn a_stuck_pod_of_the_wrong_revision_is_replaced_and_one_of_the_right_revision_is_reported() {
    for reason in ["CrashLoopBackOff", "ImagePullBackOff", "CreateContainerConfigError", "Unschedulable"] {
        let stuck = |revision| PodView { ready_since: None, problem: trouble(reason), ..pod(0, revision) };

        let wrong = plan(&desired(1), &observed(vec![stuck("bad")]));
        let right = plan(&desired(1), &observed(vec![stuck("new")]));

        let why = format!("{reason}: why");
        assert_eq!(wrong.action, Action::DeletePod { pod: PodRef::from(&stuck("bad")), why });
        assert_eq!(right.action, Action::Hold);
        assert_eq!(reason_of(&right), (reason, format!("traces-0: {reason}: why").as_str()));
        assert_eq!(right.progress.pods, ["traces-0"]);
    }
}

#[test]
fn a_broken_pod_stops_the_roll_and_the_fix_reaches_it_first() {
    let broken =
        |revision| PodView { ready_since: None, problem: trouble("CrashLoopBackOff"), ..pod(2, revision) };
    let rolling = observed(vec![pod(0, "old"), pod(1, "old"), broken("new")]);
    let fixed = observed(vec![pod(0, "old"), pod(1, "old"), broken("bad")]);

    let holding = plan(&desired(3), &rolling);
    let healing = plan(&desired(3), &fixed);

    assert_eq!(holding.action, Action::Hold);
    assert_eq!(holding.problem(), trouble("CrashLoopBackOff").as_ref());
    let why = "CrashLoopBackOff: why".to_owned();
    assert_eq!(healing.action, Action::DeletePod { pod: PodRef::from(&broken("bad")), why });
}

#[test]
fn pods_that_stop_start_or_are_missing_are_waited_for() {
    let terminating = PodView { is_terminating: true, ..pod(1, "old") };
    let starting = PodView { ready_since: None, ..pod(1, "new") };
    let cases = [
        (vec![pod(0, "old"), terminating], "PodTerminating"),
        (vec![pod(0, "old"), starting], "PodStarting"),
        (vec![pod(0, "old")], "WaitingForPod"),
    ];

    for (pods, reason) in cases {
        let plan = plan(&desired(2), &observed(pods));

        assert_eq!((&plan.action, plan.progress.reason()), (&Action::Hold, reason));
    }
}

#[test]
fn a_restarted_pod_is_watched_before_the_roll_goes_on_or_is_done() {
    let fresh = PodView { ready_since: Some(second(-20)), ..pod(1, "new") };

    let between = plan(&desired(2), &observed(vec![pod(0, "old"), fresh.clone()]));
    let at_the_end = plan(&desired(2), &observed(vec![pod(0, "new"), fresh.clone()]));
    let mut first_start = observed(vec![pod(0, "new"), fresh.clone()]);
    set(&mut first_start).has_rolled = false;
    let created = plan(&desired(2), &first_start);

    for plan in [between, at_the_end] {
        assert_eq!(plan.action, Action::Hold);
        assert_eq!(plan.progress.step, Step::Soaking);
        assert_eq!(plan.requeue, Duration::from_millis(40_100), "when the soak is over");
    }
    assert_eq!(created.progress.step, Step::Complete);
}

#[test]
fn paused_holds_every_restart_and_says_of_whom() {
    let stuck = PodView { ready_since: None, problem: trouble("ErrImagePull"), ..pod(0, "bad") };
    for old in [pod(0, "old"), stuck] {
        let desired = Desired { is_paused: true, ..desired(1) };

        let plan = plan(&desired, &observed(vec![old]));

        assert_eq!(plan.action, Action::Hold);
        assert_eq!(reason_of(&plan), ("Paused", "rollout.paused: traces-0 would be restarted"));
    }
}

#[test]
fn the_deadline_only_changes_what_is_reported() {
    let broken = PodView { ready_since: None, problem: trouble("CrashLoopBackOff"), ..pod(0, "new") };
    let mut observed = observed(vec![broken]);
    let early = plan(&desired(1), &observed);
    observed.now = second(30 * 60);
    let late = plan(&desired(1), &observed);

    assert!(!early.progress.is_past_deadline);
    assert_eq!(late.progress, Progress { is_past_deadline: true, ..early.progress });
    assert_eq!(late.action, early.action);
}

#[test]
fn a_cluster_that_was_quiet_for_days_is_not_late_when_its_pod_turns_unready() {
    let mut observed = observed(vec![PodView { ready_since: None, moved_at: second(0), ..pod(0, "new") }]);
    set(&mut observed).changed_at = second(-1_000_000);

    let plan = plan(&desired(1), &observed);

    assert_eq!((plan.progress.step, plan.progress.is_past_deadline), (Step::PodStarting, false));
}

#[test]
fn a_pod_is_not_taken_away_while_its_volume_is_being_deleted() {
    let stuck = PodView { ready_since: None, problem: trouble("CrashLoopBackOff"), ..pod(0, "old") };
    for old in [pod(0, "old"), stuck] {
        let mut observed = observed(vec![old]);
        observed.volumes[0].is_terminating = true;

        let plan = plan(&desired(1), &observed);

        assert_eq!((plan.action, plan.progress.step), (Action::Hold, Step::VolumeGoing));
        assert_eq!(
            plan.data_at_risk.as_deref(),
            Some("volume data-traces-0 is deleted as soon as its pod stops")
        );
    }
}

#[test]
fn volumes_grow_then_the_template_and_pods_are_left_alone() {
    let larger = Desired { shape: Some(shape("20Gi")), ..desired(1) };
    let mut observed = observed(vec![pod(0, "new")]);
    let grow = plan(&larger, &observed);
    observed.volumes[0].requested_bytes = 20 << 30;
    let recreate = plan(&larger, &observed);
    set(&mut observed).shape = shape("20Gi");
    let resizing = plan(&larger, &observed);
    observed.volumes[0].capacity_bytes = Some(20 << 30);
    let done = plan(&larger, &observed);

    let volumes = vec![VolumeRef::from(&volume(0))];
    assert_eq!(grow.action, Action::GrowVolumes { volumes, size: "20Gi".to_owned() });
    let (name, uid) = ("traces".to_owned(), "set".to_owned());
    assert_eq!(recreate.action, Action::RecreateStatefulSet { name, uid });
    assert_eq!((resizing.action, resizing.progress.step), (Action::Hold, Step::ExpandingVolume));
    assert_eq!(done.progress.step, Step::Complete);
}

#[test]
fn volumes_grow_while_a_pod_is_in_trouble_but_after_a_restart_that_can_be_done() {
    let larger = Desired { shape: Some(shape("20Gi")), ..desired(1) };
    let full = PodView { ready_since: None, problem: trouble("CrashLoopBackOff"), ..pod(0, "new") };

    let troubled = plan(&larger, &observed(vec![full]));
    let outdated = plan(&larger, &observed(vec![pod(0, "old")]));

    assert!(matches!(troubled.action, Action::GrowVolumes { .. }), "{troubled:?}");
    assert_eq!(troubled.progress.reason(), "CrashLoopBackOff", "still the news");
    assert!(matches!(outdated.action, Action::FlushAndEvict { .. }), "{outdated:?}");
}

#[test]
fn volumes_do_not_shrink_and_it_is_said() {
    let smaller = Desired { shape: Some(shape("5Gi")), ..desired(1) };

    let plan = plan(&smaller, &observed(vec![pod(0, "new")]));

    assert_eq!(plan.action, Action::Hold);
    assert_eq!(reason_of(&plan), ("VolumeCannotShrink", "volumes have 10Gi and cannot shrink to 5Gi"));
}

#[test]
fn a_cluster_that_was_made_again_takes_its_drain_back_the_record_first() {
    let left = PodView { ready_since: None, drain: drain(DrainPhase::Drained, 0), ..pod(0, "old") };
    let mut observed = observed(vec![left.clone()]);
    observed.volumes[0].record = Some(Record::Drained { pod_uid: "before".to_owned() });
    let forget = plan(&desired(1), &observed);
    observed.volumes[0].record = None;
    let cancel = plan(&desired(1), &observed);

    assert_eq!(forget.action, Action::ForgetRecord { volume: VolumeRef::from(&volume(0)) });
    assert_eq!(cancel.action, Action::CancelDrain { pod: PodRef::from(&left) });
}

#[test]
fn a_volume_that_nobody_uses_puts_data_at_risk_until_it_is_proved_empty() {
    let mut observed = observed(vec![pod(0, "new")]);
    observed.volumes.push(volume(1));
    let unknown = plan(&desired(1), &observed);
    observed.volumes[1].record = Some(Record::Drained { pod_uid: "gone".to_owned() });
    let proved = plan(&desired(1), &observed);

    assert_eq!(
        unknown.data_at_risk.as_deref(),
        Some("volume data-traces-1 may have spans that were not flushed, and no pod uses it")
    );
    assert_eq!(proved.data_at_risk, None);
}

fn removing(change: impl FnOnce(&mut Removal)) -> Desired {
    let mut removal = removal();
    change(&mut removal);
    Desired { removal: Some(removal), shape: None, ..desired(1) }
}

fn answering(answer: DrainAnswer) -> Observed {
    observed(vec![PodView { drain: answer, ..pod(0, "new") }])
}

#[test]
fn a_deleted_cluster_is_drained_recorded_stopped_and_let_go_in_this_order() {
    let desired = removing(|_| {});
    let mut observed = answering(drain(DrainPhase::Serving, 1));
    let mut steps = Vec::new();
    for _ in 0..7 {
        let plan = plan(&desired, &observed);
        steps.push(plan.progress.step);
        match plan.action {
            Action::Drain { pod } => {
                assert_eq!(pod.uid, "uid-0");
                observed.pods[0].drain = drain(DrainPhase::Flushing, 1);
            }
            Action::Hold if observed.pods[0].is_terminating => observed.pods.clear(),
            Action::Hold => observed.pods[0].drain = drain(DrainPhase::Drained, 0),
            Action::WriteRecord { record, .. } => {
                assert_eq!(record, Record::Drained { pod_uid: "uid-0".to_owned() });
                observed.volumes[0].record = Some(record);
            }
            Action::ScaleToZero { uid, .. } => {
                assert_eq!(uid, "set");
                set(&mut observed).replicas = 0;
                observed.pods[0].is_terminating = true;
            }
            Action::DeleteVolumes { volumes } => {
                assert_eq!(volumes, [VolumeRef::from(&volume(0))]);
                observed.volumes.clear();
            }
            Action::RemoveFinalizer { farewell } => assert_eq!(farewell, Farewell::Drained),
            other => panic!("{other:?}"),
        }
    }

    use Step::{Deleting, Draining, Stopping};
    assert_eq!(steps, [Draining, Draining, Draining, Stopping, Stopping, Deleting, Deleting]);
}

#[test]
fn nothing_is_waited_for_when_the_namespace_goes_or_the_user_says_so() {
    let mut going = answering(drain(DrainPhase::Serving, 1));
    going.is_namespace_terminating = true;
    let asked = removing(|removal| removal.skipped = Some("asked for"));

    let plans = [plan(&removing(|_| {}), &going), plan(&asked, &answering(drain(DrainPhase::Serving, 1)))];

    let reasons = ["the namespace is being deleted", "asked for"];
    for (plan, why) in plans.iter().zip(reasons) {
        let farewell = Farewell::Skipped(why.to_owned());
        assert_eq!(plan.action, Action::RemoveFinalizer { farewell });
    }
}

#[test]
fn a_pod_that_will_not_answer_is_given_up_at_once_and_one_that_may_when_the_time_is_up() {
    let silent = || DrainAnswer::Silent("no connection".to_owned());
    let crashing = |observed: &mut Observed| {
        observed.pods[0].ready_since = None;
        observed.pods[0].problem = trouble("CrashLoopBackOff");
    };
    let record_of = |desired: &Desired, observed: &Observed| match plan(desired, observed).action {
        Action::WriteRecord { record: Record::Unflushed { reason, pod_uid }, .. } => {
            assert_eq!(pod_uid, "uid-0");
            Some(reason)
        }
        Action::Hold => None,
        other => panic!("{other:?}"),
    };
    let mut dead = answering(silent());
    crashing(&mut dead);
    let mut no_secret = answering(silent());
    no_secret.pods[0].ready_since = None;
    let mut late = answering(drain(DrainPhase::Flushing, 2));
    late.now = second(15 * 60);
    let mut quarantined = drain(DrainPhase::Flushing, 1);
    if let DrainAnswer::State(state) = &mut quarantined {
        state.quarantined_blocks = 1;
    }
    let patient = removing(|_| {});

    assert_eq!(record_of(&patient, &answering(silent())), None);
    assert_eq!(record_of(&patient, &answering(drain(DrainPhase::Flushing, 2))), None);
    assert_eq!(record_of(&patient, &dead).unwrap(), "CrashLoopBackOff: why");
    assert_eq!(
        record_of(&removing(|removal| removal.is_secret_missing = true), &no_secret).unwrap(),
        "it is not running, and the Secret that it needs to start is gone"
    );
    assert_eq!(
        record_of(&patient, &late).unwrap(),
        "the time for the drain was up: 2 blocks are not flushed yet"
    );
    assert_eq!(
        record_of(&patient, &answering(quarantined)).unwrap(),
        "1 blocks are quarantined: no try will flush them"
    );
    assert_eq!(record_of(&patient, &answering(DrainAnswer::Unknown)).unwrap(), "its image has no drain");
}

#[test]
fn what_another_pod_proved_is_asked_again_of_the_pod_that_is_there() {
    let mut observed = answering(drain(DrainPhase::Serving, 1));
    observed.volumes[0].record = Some(Record::Drained { pod_uid: "before".to_owned() });

    let plan = plan(&removing(|_| {}), &observed);

    assert!(matches!(plan.action, Action::Drain { .. }), "{plan:?}");
}

#[test]
fn a_volume_without_a_pod_is_waited_for_only_as_long_as_a_pod_may_come() {
    let mut observed = answering(DrainAnswer::NotAsked);
    observed.pods.clear();
    let coming = plan(&removing(|_| {}), &observed);
    set(&mut observed).replicas = 0;
    let never = plan(&removing(|_| {}), &observed);

    assert_eq!((coming.action, coming.progress.step), (Action::Hold, Step::Draining));
    assert!(
        matches!(never.action, Action::WriteRecord { record: Record::Unflushed { .. }, .. }),
        "{:?}",
        never.action
    );
}

#[test]
fn a_volume_with_unflushed_spans_is_kept_and_named_at_the_end() {
    let mut observed = answering(DrainAnswer::NotAsked);
    observed.pods.clear();
    set(&mut observed).replicas = 0;
    let reason = "bucket down".to_owned();
    observed.volumes[0].record =
        Some(Record::Unflushed { pod_uid: "uid-0".to_owned(), reason: reason.clone() });

    let plan = plan(&removing(|_| {}), &observed);

    let farewell = Farewell::Unflushed(vec![("data-traces-0".to_owned(), reason)]);
    assert_eq!(plan.action, Action::RemoveFinalizer { farewell });
    assert!(plan.data_at_risk.is_some());
}

#[test]
fn a_pod_that_does_not_stop_does_not_keep_the_cluster_for_ever() {
    let stopping = PodView { is_terminating: true, ..pod(0, "new") };
    let mut observed = observed(vec![stopping]);
    set(&mut observed).replicas = 0;
    observed.volumes[0].record = Some(Record::Drained { pod_uid: "uid-0".to_owned() });
    let retain = removing(|removal| removal.volumes = VolumePolicy::Retain);
    let patient = plan(&retain, &observed);
    observed.now = second(22 * 60);
    let impatient = plan(&retain, &observed);

    assert_eq!((patient.action, patient.progress.step), (Action::Hold, Step::Stopping));
    assert!(matches!(impatient.action, Action::RemoveFinalizer { .. }), "{impatient:?}");
}

#[test]
fn pods_whose_statefulset_is_gone_are_stopped_by_hand() {
    let mut observed = observed(vec![pod(0, "new")]);
    observed.stateful_set = None;
    observed.volumes[0].record = Some(Record::Drained { pod_uid: "uid-0".to_owned() });

    let plan = plan(&removing(|_| {}), &observed);

    assert!(matches!(plan.action, Action::DeletePod { .. }), "{plan:?}");
}
