//! Invariant 7: kill any process at any instant; no step is lost, none runs twice, nothing stays running.
//!
//! The plan of the story (one `git revert`, pushed) is played once for each place of `store::crash::POINTS`; the process
//! that passes the place dies there by SIGKILL, another takes over. What counts is the repository: exactly one revert.

mod incident;
mod outcome;
mod sandbox;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use carapulse::store::crash::POINTS;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::world::{
    ENDS, World,
    process::{Life, Process},
};

/// Cases at a time: each is three processes beside Postgres.
const AT_A_TIME: usize = 3;
/// How long one case may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// A dead router's claim counts as alive for 15 s and is left alone 5 s more; it is aged instead of waited for.
const CLAIM_IS_OVER: Duration = Duration::from_secs(25);

/// One play: for each role, the places at which its processes die, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    name: String,
    helps: bool,
    deaths: Vec<(&'static str, Vec<String>)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_7_a_process_killed_at_any_place_loses_nothing_and_does_nothing_twice() {
    let slots = Arc::new(Semaphore::new(AT_A_TIME));
    let mut playing = JoinSet::new();
    // `CRASH_ONLY=router.after_act` plays the cases of that place alone.
    let only = std::env::var("CRASH_ONLY").unwrap_or_default();
    for case in cases().into_iter().filter(|case| case.name.contains(&only)) {
        let slots = Arc::clone(&slots);
        playing.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            let began = Instant::now();
            let told = play(&case).await;
            format!(
                "{:<52} {told} in {:.1} s",
                case.name,
                began.elapsed().as_secs_f64()
            )
        });
    }
    let mut failed = 0;
    while let Some(ended) = playing.join_next().await {
        match ended {
            Ok(line) => println!("{line}"),
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 0, "cases went wrong; their panics are above");
}

/// Every place on the way to success; and, where a fix that does not help is rolled back, the places of the way back.
fn cases() -> Vec<Case> {
    let of_a_plan = POINTS.iter().filter(|place| !place.starts_with("investigation."));
    let mut all: Vec<Case> = of_a_plan.map(|place| forward(place)).collect();
    let many = [
        ("engine.before_commit", 2),
        ("engine.after_commit", 2),
        ("sequencer.before_commit", 2),
    ];
    all.extend(many.iter().map(|(place, time)| on_the_way(true, place, *time)));
    let back = POINTS.iter().filter(|place| {
        let probing = ["probe", "fence", "settle"]
            .iter()
            .any(|word| place.contains(word));
        place.starts_with("router.") && !probing
    });
    // The second passing is the inverse's.
    all.extend(back.map(|place| on_the_way(false, place, 2)));
    for place in ["engine.before_intent", "engine.after_intent", "engine.after_act"] {
        all.push(on_the_way(false, place, 2));
    }
    for place in ["engine.before_finish", "engine.after_finish", "engine.after_look"] {
        all.push(on_the_way(false, place, 1));
    }
    all
}

fn forward(place: &'static str) -> Case {
    let then = |role, first: &str| (role, vec![first.to_owned(), place.to_owned()]);
    let deaths = match place {
        // Looked at only after somebody died: the first death leads there.
        "engine.before_probe" | "engine.after_probe" => vec![then("orchestrator", "engine.after_intent")],
        "router.before_fence" | "router.after_fence" => vec![
            ("orchestrator", vec!["engine.after_intent".to_owned()]),
            ("tool-router", vec![place.to_owned()]),
        ],
        "router.before_settle" | "router.after_settle" => vec![then("tool-router", "router.after_act")],
        _ => return on_the_way(true, place, 1),
    };
    Case {
        name: format!("{place} after a death before it"),
        helps: true,
        deaths,
    }
}

fn on_the_way(helps: bool, place: &'static str, time: u32) -> Case {
    let role = match place.split('.').next() {
        Some("gateway") => "gateway",
        Some("router") => "tool-router",
        _ => "orchestrator",
    };
    let back = if helps { "" } else { ", fix does not help" };
    Case {
        name: format!("{place}:{time}{back}"),
        helps,
        deaths: vec![(role, vec![format!("{place}:{time}")])],
    }
}

/// Plays a case to its end and checks what is left.
async fn play(case: &Case) -> String {
    let world = World::new().await;
    let mut cast = Cast::new(&world, case);
    cast.enter("gateway").await;
    cast.enter("tool-router").await;
    world.register().await;
    let plan = world.approved_plan(case.helps).await;
    let deadline = Instant::now() + WITHIN;
    let mut execution = world.execute(&plan).await;
    cast.enter("orchestrator").await;
    loop {
        cast.replace_the_dead().await;
        let status = match &execution {
            Ok(id) => world.status(id).await.unwrap_or_default(),
            Err(_) => {
                execution = world.execute(&plan).await;
                String::new()
            }
        };
        let over = ENDS.contains(&status.as_str()) && cast.all_deaths_died();
        if over {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{}: {status:?} {execution:?}, deaths to come {:?}\n{}",
            case.name,
            cast.deaths,
            cast.tails()
        );
        sleep(Duration::from_millis(100)).await;
    }
    let id = execution.unwrap();
    let told = outcome::check(&world, &case.name, &id, case.helps).await;
    cast.everybody_lives();
    told
}

/// The processes of a case.
struct Cast<'a> {
    world: &'a World,
    running: Vec<Process>,
    deaths: Vec<(&'static str, VecDeque<String>)>,
    /// Of each running process, whether it will die.
    doomed: Vec<bool>,
    /// What is held is aged by this when an orchestrator has died; nothing where its leases run out soon enough by themselves.
    lease: Duration,
}

/// What this much time does to leases and claims. The database's clock stays as it is: roles write nothing while theirs
/// is another.
async fn age(world: &World, by: Duration) {
    let aged = format!(
        "UPDATE job SET lease_until = lease_until - interval '{0} s' WHERE lease_until IS NOT NULL;
         UPDATE attempt SET alive_until = alive_until - interval '{0} s', deadline_at = deadline_at - interval '{0} s'
         WHERE status = 'claimed'",
        by.as_secs()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(aged))
        .execute(&mut world.db.owner().await)
        .await
        .unwrap();
}

impl<'a> Cast<'a> {
    fn new(world: &'a World, case: &Case) -> Self {
        let deaths = case.deaths.iter();
        Self {
            world,
            running: Vec::new(),
            lease: Duration::ZERO,
            deaths: deaths
                .map(|(role, places)| (*role, places.clone().into()))
                .collect(),
            doomed: Vec::new(),
        }
    }

    async fn enter(&mut self, role: &'static str) {
        let mut queues = self.deaths.iter_mut();
        let place = queues
            .find(|(of, _)| *of == role)
            .and_then(|(_, places)| places.pop_front());
        let mut process = self.world.start(role, place.as_deref()).await;
        process.ready(&self.world.http).await;
        self.running.push(process);
        self.doomed.push(place.is_some());
    }

    async fn replace_the_dead(&mut self) {
        for index in 0..self.running.len() {
            let process = &mut self.running[index];
            match process.life() {
                Life::Runs => continue,
                Life::Killed => assert!(self.doomed[index], "{} died unasked", process.role),
                Life::Ended => panic!("{} ended: {}", process.role, process.tail()),
            }
            let role = self.running.remove(index).role;
            self.doomed.remove(index);
            age(self.world, self.over_after(role)).await;
            self.enter(role).await;
            return;
        }
    }

    fn pid_of(&self, role: &str) -> i32 {
        let process = self.running.iter().find(|process| process.role == role);
        process.expect("it runs").pid()
    }

    /// How much what the dead one held is aged, so that it is free.
    fn over_after(&self, role: &str) -> Duration {
        match role {
            "tool-router" => CLAIM_IS_OVER,
            "orchestrator" => self.lease,
            _ => Duration::ZERO,
        }
    }

    fn all_deaths_died(&self) -> bool {
        self.deaths.iter().all(|(_, places)| places.is_empty()) && !self.doomed.contains(&true)
    }

    fn everybody_lives(&mut self) {
        for process in &mut self.running {
            assert_eq!(process.life(), Life::Runs, "{}: {}", process.role, process.tail());
        }
    }

    fn tails(&self) -> String {
        let tails = self
            .running
            .iter()
            .map(|p| format!("--- {}\n{}\n", p.role, p.tail()));
        tails.collect()
    }
}
