//! Properties of the planner: over random states, and over random lives of a model cluster.
//!
//! The model plays the StatefulSet controller, the kubelet, the volumes with what is on them, and the storage. It checks
//! every action against what is true, which the planner does not see.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    tests::{desired, observed, pod, removal, second, shape, volume},
    *,
};
use crate::{
    observe::{DrainAnswer, StatefulSetView},
    pods::{DrainPhase, DrainState},
};

/// What is on a volume.
#[derive(Debug, Clone, Default)]
struct Disk {
    has_unflushed: bool,
    marker: bool,
    record: Option<Record>,
    size_gib: u64,
}

#[derive(Debug, Clone)]
struct Running {
    uid: u64,
    version: u8,
    created_at: i64,
    /// `None`: not ready.
    ready_at: Option<i64>,
    is_crashed: bool,
    stops_at: Option<i64>,
}

#[derive(Debug, Clone)]
struct Set {
    uid: u64,
    version: u8,
    replicas: u32,
    is_observed: bool,
    has_rolled: bool,
    changed_at: i64,
    size_gib: u64,
}

#[derive(Debug)]
struct Model {
    now: i64,
    next_uid: u64,
    wanted: u8,
    size_gib: u64,
    replicas: u32,
    deleted_at: Option<i64>,
    finalizer: bool,
    policy: VolumePolicy,
    set: Option<Set>,
    pods: BTreeMap<u32, Running>,
    disks: BTreeMap<u32, Disk>,
    /// Versions whose pods crash.
    broken: BTreeSet<u8>,
    is_bucket_down: bool,
    restarts: BTreeMap<u32, u32>,
    farewell: Option<Farewell>,
}

#[derive(Debug, Clone)]
enum Event {
    Spec(u8),
    Break(u8),
    Heal(u8),
    Grow,
    Bucket(bool),
    Write,
    Pass(u16),
    Reconcile,
    /// The operator dies between the plan and the action.
    DiesBeforeAction,
    /// The operator dies after the action, before it knows: a second one does it again.
    Twice,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1..4_u8).prop_map(Event::Spec),
        1 => (2..4_u8).prop_map(Event::Break),
        1 => (2..4_u8).prop_map(Event::Heal),
        1 => Just(Event::Grow),
        1 => any::<bool>().prop_map(Event::Bucket),
        2 => Just(Event::Write),
        6 => (1..90_u16).prop_map(Event::Pass),
        8 => Just(Event::Reconcile),
        1 => Just(Event::DiesBeforeAction),
        1 => Just(Event::Twice),
    ]
}

impl Model {
    fn new(replicas: u32) -> Model {
        Model {
            now: 0,
            next_uid: 1,
            wanted: 1,
            size_gib: 10,
            replicas,
            deleted_at: None,
            finalizer: true,
            policy: VolumePolicy::Delete,
            set: None,
            pods: BTreeMap::new(),
            disks: BTreeMap::new(),
            broken: BTreeSet::new(),
            is_bucket_down: false,
            restarts: BTreeMap::new(),
            farewell: None,
        }
    }

    fn uid(&mut self) -> u64 {
        self.next_uid += 1;
        self.next_uid
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Spec(version) => self.wanted = *version,
            Event::Break(version) => drop(self.broken.insert(*version)),
            Event::Heal(version) => drop(self.broken.remove(version)),
            Event::Grow => self.size_gib += 1,
            Event::Bucket(is_down) => self.is_bucket_down = *is_down,
            Event::Write => {
                for (ordinal, pod) in &self.pods {
                    let disk = self.disks.get_mut(ordinal).unwrap();
                    disk.has_unflushed |= pod.ready_at.is_some() && !disk.marker;
                }
            }
            Event::Pass(seconds) => (0..*seconds).for_each(|_| self.second_passes()),
            Event::Reconcile => drop(self.reconcile(1)),
            Event::DiesBeforeAction => drop(self.reconcile(0)),
            Event::Twice => drop(self.reconcile(2)),
        }
    }

    /// StatefulSet controller, kubelet and ingester, one second.
    fn second_passes(&mut self) {
        self.now += 1;
        let now = self.now;
        self.pods.retain(|_, pod| pod.stops_at.is_none_or(|at| at > now));
        if let Some(mut set) = self.set.take() {
            set.is_observed = true;
            for ordinal in 0..set.replicas {
                if !self.pods.contains_key(&ordinal) {
                    let size_gib = set.size_gib;
                    self.disks.entry(ordinal).or_insert_with(|| Disk { size_gib, ..Disk::default() });
                    let uid = self.uid();
                    self.pods.insert(
                        ordinal,
                        Running {
                            uid,
                            version: set.version,
                            created_at: now,
                            ready_at: None,
                            is_crashed: false,
                            stops_at: None,
                        },
                    );
                }
            }
            for (_, pod) in self.pods.iter_mut().filter(|(ordinal, _)| **ordinal >= set.replicas) {
                pod.stops_at.get_or_insert(now + 3);
            }
            self.set = Some(set);
        }
        for (ordinal, pod) in &mut self.pods {
            let disk = self.disks.get_mut(ordinal).unwrap();
            if !self.is_bucket_down && !pod.is_crashed && disk.marker {
                disk.has_unflushed = false;
            }
            if pod.stops_at.is_none() && now >= pod.created_at + 5 {
                pod.is_crashed = self.broken.contains(&pod.version);
                let is_ready = !pod.is_crashed && !disk.marker;
                pod.ready_at = if is_ready { pod.ready_at.or(Some(now)) } else { None };
            }
        }
    }

    fn view(&self) -> Observed {
        let pods = self.pods.iter().map(|(ordinal, running)| {
            let disk = &self.disks[ordinal];
            let is_up = !running.is_crashed && self.now >= running.created_at + 5;
            let is_asked = is_up && running.stops_at.is_none();
            let is_asked = is_asked && (self.deleted_at.is_some() || running.ready_at.is_none());
            PodView {
                uid: running.uid.to_string(),
                moved_at: second(running.created_at),
                is_terminating: running.stops_at.is_some(),
                ready_since: running.ready_at.map(second),
                problem: running
                    .is_crashed
                    .then(|| Problem { reason: "CrashLoopBackOff".to_owned(), message: "broken".to_owned() }),
                drain: if is_asked { answer(disk) } else { DrainAnswer::NotAsked },
                ..pod(*ordinal, &running.version.to_string())
            }
        });
        let volumes = self.disks.iter().map(|(ordinal, disk)| VolumeView {
            requested_bytes: disk.size_gib << 30,
            capacity_bytes: Some(disk.size_gib << 30),
            record: disk.record.clone(),
            ..volume(*ordinal)
        });
        let set = self.set.as_ref().map(|set| StatefulSetView {
            name: "traces".to_owned(),
            uid: set.uid.to_string(),
            is_terminating: false,
            is_observed: set.is_observed,
            replicas: set.replicas,
            update_revision: set.is_observed.then(|| set.version.to_string()),
            has_rolled: set.has_rolled,
            changed_at: second(set.changed_at),
            shape: shape(&format!("{}Gi", set.size_gib)),
        });
        Observed {
            now: second(self.now),
            stateful_set: set,
            pods: pods.collect(),
            volumes: volumes.collect(),
            is_namespace_terminating: false,
        }
    }

    fn desired(&self) -> Desired {
        let removal = self.deleted_at.map(|at| Removal {
            since: second(at),
            volumes: self.policy,
            has_finalizer: self.finalizer,
            ..removal()
        });
        let shape = removal.is_none().then(|| shape(&format!("{}Gi", self.size_gib)));
        Desired { removal, shape, ..desired(self.replicas) }
    }

    /// What the reconciler applies before it plans.
    fn apply(&mut self) {
        if self.deleted_at.is_some() {
            return;
        }
        let (now, wanted, size_gib, replicas) = (self.now, self.wanted, self.size_gib, self.replicas);
        match &mut self.set {
            Some(set) if set.version != wanted || set.replicas != replicas => {
                set.has_rolled |= set.version != wanted;
                (set.version, set.replicas) = (wanted, replicas);
                (set.is_observed, set.changed_at) = (false, now);
            }
            Some(_) => {}
            None => {
                let uid = self.uid();
                self.set = Some(Set {
                    uid,
                    version: wanted,
                    replicas,
                    is_observed: false,
                    has_rolled: false,
                    changed_at: now,
                    size_gib,
                });
            }
        }
    }

    fn reconcile(&mut self, times: u8) -> Plan {
        self.apply();
        let (desired, observed) = (self.desired(), self.view());
        let plan = plan(&desired, &observed);
        assert_sound(&desired, &observed, &plan);
        for _ in 0..times {
            self.act(&plan.action);
        }
        plan
    }

    fn act(&mut self, action: &Action) {
        let now = self.now;
        match action {
            Action::None | Action::Hold => {}
            Action::FlushAndEvict { pod } => {
                let uid = pod.uid.clone();
                if !self.is_bucket_down
                    && let Some((ordinal, _)) = self.pods.iter().find(|(_, pod)| pod.uid.to_string() == uid)
                {
                    self.disks.get_mut(ordinal).unwrap().has_unflushed = false;
                }
                self.stop(&uid, now);
            }
            Action::DeletePod { pod, .. } => self.stop(&pod.uid, now),
            Action::ForgetRecord { volume } => self.disk(volume).record = None,
            Action::CancelDrain { pod } => {
                let ordinal = self.ordinal_of(&pod.uid);
                let disk = self.disks.get_mut(&ordinal).unwrap();
                assert_eq!(disk.record, None, "the record would lie when spans come");
                disk.marker = false;
            }
            Action::Drain { pod } => {
                let ordinal = self.ordinal_of(&pod.uid);
                self.disks.get_mut(&ordinal).unwrap().marker = true;
            }
            Action::GrowVolumes { volumes, size } => {
                let size_gib = size.strip_suffix("Gi").unwrap().parse().unwrap();
                for volume in volumes {
                    let disk = self.disk(volume);
                    assert!(size_gib >= disk.size_gib, "volumes only grow");
                    disk.size_gib = size_gib;
                }
            }
            Action::RecreateStatefulSet { uid, .. } => {
                if self.set.as_ref().is_some_and(|set| set.uid.to_string() == *uid) {
                    self.set = None;
                }
            }
            Action::WriteRecord { volume, record, .. } => {
                let disk = self.disk(volume);
                if matches!(record, Record::Drained { .. }) {
                    assert!(disk.marker && !disk.has_unflushed, "this proof is a lie");
                }
                disk.record = Some(record.clone());
            }
            Action::ScaleToZero { .. } => self.set.as_mut().unwrap().replicas = 0,
            Action::DeleteVolumes { volumes } => {
                for volume in volumes {
                    let ordinal = volume.uid.strip_prefix("volume-").unwrap().parse().unwrap();
                    if let Some(disk) = self.disks.remove(&ordinal) {
                        assert!(!disk.has_unflushed, "unflushed spans are deleted");
                    }
                }
            }
            Action::RemoveFinalizer { farewell } => {
                self.finalizer = false;
                self.farewell = Some(farewell.clone());
            }
        }
    }

    fn disk(&mut self, volume: &VolumeRef) -> &mut Disk {
        let ordinal = volume.uid.strip_prefix("volume-").unwrap().parse().unwrap();
        self.disks.get_mut(&ordinal).unwrap()
    }

    fn ordinal_of(&self, uid: &str) -> u32 {
        *self.pods.iter().find(|(_, pod)| pod.uid.to_string() == uid).unwrap().0
    }

    /// A deletion with a uid: of this pod or of none.
    fn stop(&mut self, uid: &str, now: i64) {
        for (ordinal, pod) in &mut self.pods {
            if pod.uid.to_string() == uid && pod.stops_at.is_none() {
                pod.stops_at = Some(now + 3);
                pod.ready_at = None;
                *self.restarts.entry(*ordinal).or_default() += 1;
            }
        }
    }

    /// Lets time pass until nothing is left to do; says how many reconciles with an action it took.
    fn settle(&mut self) -> usize {
        let mut acted = 0;
        for _ in 0..600 {
            let plan = self.reconcile(1);
            match plan.action {
                Action::None => return acted,
                Action::Hold => {}
                _ => acted += 1,
            }
            self.happens(&Event::Pass(5));
        }
        panic!("not settled: {:?}\n{self:#?}", self.reconcile(0));
    }
}

fn answer(disk: &Disk) -> DrainAnswer {
    let phase = match (disk.marker, disk.has_unflushed) {
        (false, _) => DrainPhase::Serving,
        (true, true) => DrainPhase::Flushing,
        (true, false) => DrainPhase::Drained,
    };
    DrainAnswer::State(DrainState {
        phase,
        unflushed_blocks: u64::from(disk.has_unflushed),
        quarantined_blocks: 0,
        damaged_segments: 0,
        last_error: None,
        safe_to_terminate: phase == DrainPhase::Drained,
    })
}

/// What holds for every plan, whatever is there.
fn assert_sound(desired: &Desired, observed: &Observed, plan: &Plan) {
    let find = |uid: &str| observed.pods.iter().find(|pod| pod.uid == uid).expect("a pod that is there");
    let revision = observed.stateful_set.as_ref().and_then(|set| set.update_revision.as_ref());
    let volume = |pod: &PodView| observed.volume_of(pod);
    match &plan.action {
        Action::FlushAndEvict { pod } => {
            let pod = find(&pod.uid);
            assert!(desired.removal.is_none() && !desired.is_paused);
            assert_ne!(pod.revision.as_ref(), revision, "only outdated pods are restarted");
            assert!(observed.pods.iter().all(PodView::is_ready), "another pod is away: {observed:#?}");
            assert!(observed.pods.len() >= desired.replicas as usize, "a pod is missing");
            assert!(volume(pod).is_some_and(|volume| !volume.is_terminating), "its WAL goes with it");
        }
        Action::DeletePod { pod, .. } => {
            let pod = find(&pod.uid);
            assert!(!pod.is_terminating);
            match desired.removal {
                None => {
                    assert!(!pod.is_ready(), "it serves");
                    assert_ne!(pod.revision.as_ref(), revision);
                    assert!(!desired.is_paused);
                    assert!(volume(pod).is_none_or(|volume| !volume.is_terminating));
                }
                Some(_) => assert!(observed.stateful_set.as_ref().is_none_or(|set| set.is_terminating)),
            }
        }
        Action::DeleteVolumes { volumes } => {
            let removal = desired.removal.as_ref().expect("only when the cluster is deleted");
            assert_eq!(removal.volumes, VolumePolicy::Delete);
            for deleted in volumes {
                let volume = observed.volumes.iter().find(|volume| volume.uid == deleted.uid).unwrap();
                assert!(matches!(volume.record, Some(Record::Drained { .. })), "without proof: {volume:?}");
            }
        }
        Action::ScaleToZero { .. } => {
            assert!(desired.removal.is_some());
            for pod in observed.pods.iter().filter(|pod| !pod.is_terminating) {
                let is_judged = volume(pod).is_none_or(|volume| volume.record.is_some());
                assert!(is_judged, "stopped without a record: {pod:?}");
            }
        }
        Action::GrowVolumes { volumes, size } => {
            for grown in volumes {
                let volume = observed.volumes.iter().find(|volume| volume.uid == grown.uid).unwrap();
                assert!(volume.requested_bytes < crate::volumes::bytes(size).unwrap());
            }
        }
        Action::RecreateStatefulSet { uid, .. } => {
            assert_eq!(Some(uid), observed.stateful_set.as_ref().map(|set| &set.uid));
        }
        Action::CancelDrain { pod } => {
            assert!(desired.removal.is_none());
            assert!(
                volume(find(&pod.uid)).is_none_or(|volume| volume.record.is_none() || volume.is_terminating)
            );
        }
        Action::ForgetRecord { .. } => assert!(desired.removal.is_none()),
        Action::Drain { .. } | Action::WriteRecord { .. } | Action::RemoveFinalizer { .. } => {
            assert!(desired.removal.as_ref().is_some_and(|removal| removal.has_finalizer));
        }
        Action::Hold => {}
        Action::None => assert!(
            plan.progress.is_done() || desired.removal.as_ref().is_some_and(|removal| !removal.has_finalizer),
            "nothing to do, and yet not done: {plan:?}"
        ),
    }
    assert!(!plan.progress.message.is_empty(), "no reason given: {plan:?}");
    assert!(!plan.requeue.is_zero() && plan.requeue <= LOOK_AGAIN_SETTLED, "{:?}", plan.requeue);
}

fn random_pod(ordinal: u32) -> impl Strategy<Value = PodView> {
    let problem =
        prop_oneof![2 => Just(None), 1 => Just(Some("CrashLoopBackOff")), 1 => Just(Some("Unschedulable"))];
    let drain = prop_oneof![
        Just(DrainAnswer::NotAsked),
        Just(DrainAnswer::Unknown),
        Just(DrainAnswer::Silent("no".to_owned())),
        (any::<bool>(), any::<bool>()).prop_map(|(marker, has_unflushed)| answer(&Disk {
            marker,
            has_unflushed,
            ..Disk::default()
        })),
    ];
    let ready = prop_oneof![1 => Just(None), 2 => (-200..0_i64).prop_map(Some)];
    let revision = prop_oneof![Just("old"), Just("new")];
    (revision, ready, problem, drain, prop::bool::weighted(0.2)).prop_map(
        move |(revision, ready, problem, drain, is_terminating)| PodView {
            ready_since: ready.map(second),
            problem: problem.map(|reason| Problem { reason: reason.to_owned(), message: "why".to_owned() }),
            drain,
            is_terminating,
            ..pod(ordinal, revision)
        },
    )
}

fn random_volume(ordinal: u32) -> impl Strategy<Value = VolumeView> {
    let record = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Record::Drained { pod_uid: format!("uid-{ordinal}") })),
        1 => Just(Some(Record::Drained { pod_uid: "before".to_owned() })),
        1 => Just(Some(Record::Unflushed { pod_uid: String::new(), reason: "dead".to_owned() })),
    ];
    let flags = prop::array::uniform3(prop::bool::weighted(0.2));
    (record, flags, 5..15_u64).prop_map(move |(record, [is_lost, is_terminating, is_unbound], gib)| {
        VolumeView {
            record,
            is_lost,
            is_terminating,
            is_bound: !is_unbound,
            requested_bytes: gib << 30,
            ..volume(ordinal)
        }
    })
}

fn random_state() -> impl Strategy<Value = (Desired, Observed)> {
    let pods = (
        prop::option::weighted(0.9, random_pod(0)),
        prop::option::weighted(0.9, random_pod(1)),
        prop::option::weighted(0.9, random_pod(2)),
    );
    let volumes = (random_volume(0), random_volume(1), prop::option::of(random_volume(2)));
    let flags = prop::array::uniform8(any::<bool>());
    let numbers = (1..4_u32, 0..4_u32, 8..13_u64, -10..40_i64);
    (pods, volumes, flags, numbers, 0..6_u8).prop_map(|(pods, volumes, flags, numbers, kind)| {
        let [is_paused, is_removed, has_rolled, delete, secret, finalizer, unobserved, terminating] = flags;
        let (replicas, live_replicas, gib, minutes) = numbers;
        let mut observed = observed([pods.0, pods.1, pods.2].into_iter().flatten().collect());
        observed.volumes = [Some(volumes.0), Some(volumes.1), volumes.2].into_iter().flatten().collect();
        observed.now = second(minutes * 60);
        observed.is_namespace_terminating = is_removed && kind == 1;
        if let Some(set) = &mut observed.stateful_set {
            (set.has_rolled, set.replicas) = (has_rolled, live_replicas);
            set.is_observed = !(unobserved && kind == 2);
            set.is_terminating = terminating && kind == 3;
        }
        if kind == 4 {
            observed.stateful_set = None;
        }
        let removal = is_removed.then(|| Removal {
            volumes: if delete { VolumePolicy::Delete } else { VolumePolicy::Retain },
            is_secret_missing: secret,
            has_finalizer: finalizer || kind != 5,
            skipped: (kind == 0 && secret).then_some("asked for"),
            ..removal()
        });
        let shape = (!is_removed).then(|| shape(&format!("{gib}Gi")));
        (Desired { is_paused, removal, shape, ..desired(replicas) }, observed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_sound((desired, observed) in random_state()) {
        let first = plan(&desired, &observed);

        assert_sound(&desired, &observed, &first);
        prop_assert_eq!(first, plan(&desired, &observed), "the same twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_life_ends_at_the_last_spec_with_no_more_restarts_than_changes(
        replicas in 1..4_u32,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut model = Model::new(replicas);
        for event in &events {
            model.happens(event);
        }
        model.broken.clear();
        model.is_bucket_down = false;

        model.settle();

        let changes = 1 + events.iter().filter(|event| matches!(event, Event::Spec(_))).count();
        for (ordinal, running) in &model.pods {
            prop_assert_eq!(running.version, model.wanted, "pod {}", ordinal);
            prop_assert!(running.ready_at.is_some());
            prop_assert_eq!(model.disks[ordinal].size_gib, model.size_gib);
        }
        prop_assert_eq!(model.pods.len(), replicas as usize);
        prop_assert_eq!(model.set.as_ref().unwrap().size_gib, model.size_gib);
        for (ordinal, restarts) in &model.restarts {
            prop_assert!(*restarts as usize <= changes, "pod {} restarted {} times", ordinal, restarts);
        }
        prop_assert_eq!(model.settle(), 0, "settled is settled");
    }

    #[test]
    fn every_deletion_ends_in_bounded_time_and_deletes_nothing_unflushed(
        replicas in 1..4_u32,
        delete in any::<bool>(),
        life in prop::collection::vec(event(), 0..20),
        end in prop::collection::vec(event(), 0..40),
    ) {
        let mut model = Model::new(replicas);
        model.policy = if delete { VolumePolicy::Delete } else { VolumePolicy::Retain };
        life.iter().for_each(|event| model.happens(event));
        let deleted_at = model.now;
        model.deleted_at = Some(deleted_at);
        end.iter().for_each(|event| model.happens(event));

        model.settle();

        let bound = Duration::from_mins(22).as_secs().cast_signed() + 90 * 40;
        prop_assert!(model.now - deleted_at < bound, "{} seconds", model.now - deleted_at);
        prop_assert!(model.pods.is_empty() || model.farewell.is_some());
        for (ordinal, disk) in &model.disks {
            let is_told = matches!(disk.record, Some(Record::Unflushed { .. }));
            prop_assert!(!disk.has_unflushed || is_told, "volume {} is kept silently", ordinal);
        }
    }

    #[test]
    fn a_cluster_that_is_made_again_serves_again(
        life in prop::collection::vec(event(), 0..20),
        end in prop::collection::vec(event(), 0..20),
    ) {
        let mut model = Model::new(1);
        model.policy = VolumePolicy::Retain;
        life.iter().for_each(|event| model.happens(event));
        model.deleted_at = Some(model.now);
        end.iter().for_each(|event| model.happens(event));
        model.settle();
        // The garbage collector takes what the cluster owned.
        (model.set, model.deleted_at, model.finalizer) = (None, None, true);
        model.pods.clear();
        model.broken.clear();

        model.settle();

        let pod = &model.pods[&0];
        prop_assert!(pod.ready_at.is_some());
        prop_assert!(!model.disks[&0].marker && model.disks[&0].record.is_none());
    }
}
