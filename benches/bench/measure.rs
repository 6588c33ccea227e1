//! Closed loops: so many workers, each starting its next operation when the last one ended.
//!
//! A round before the measured ones warms everything up. Rates are the median of the rounds, so that a neighbour on the
//! machine spoils one round and not the result; latencies are over all measured rounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Before anything counts.
    pub warm: Duration,
    /// One round.
    pub round: Duration,
    /// Measured rounds.
    pub rounds: usize,
}

impl Effort {
    /// For numbers that are quoted.
    pub const FULL: Self = Self {
        warm: Duration::from_millis(700),
        round: Duration::from_millis(1200),
        rounds: 5,
    };
    /// To see that everything runs, and the order of magnitude.
    pub const QUICK: Self = Self {
        warm: Duration::from_millis(200),
        round: Duration::from_millis(400),
        rounds: 3,
    };
}

/// Whose processor time is counted.
#[derive(Debug, Clone, Copy)]
pub enum Meter {
    /// Nobody's.
    Off,
    /// This process', the load generator included.
    Own,
    /// A child's, to 10 ms.
    Child(u32),
}

/// What a closed loop did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// Operations a second.
    pub per_sec: f64,
    /// Median latency, in microseconds.
    pub p50_us: f64,
    /// The slowest of a hundred, in microseconds.
    pub p99_us: f64,
    /// Processor time of an operation, in microseconds.
    pub cpu_us: Option<f64>,
}

/// Runs `op(worker, number)` with `workers` workers. The first error ends it.
pub async fn rate<F, R>(effort: Effort, workers: usize, meter: Meter, op: F) -> anyhow::Result<Rate>
where
    F: Fn(usize, u64) -> R + Send + Sync + 'static,
    R: Future<Output = anyhow::Result<()>> + Send,
{
    let (op, number) = (Arc::new(op), Arc::new(AtomicU64::new(0)));
    round(effort.warm, workers, &op, &number).await?;
    let before = cpu(meter)?;
    let (mut latencies, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let began = Instant::now();
        let mut done = round(effort.round, workers, &op, &number).await?;
        rates.push(count(done.len()) / began.elapsed().as_secs_f64());
        latencies.append(&mut done);
    }
    let spent = cpu(meter)?.zip(before).map(|(after, before)| after - before);
    let operations = count(latencies.len());
    Ok(Rate {
        per_sec: percentile(&mut rates, 50),
        p50_us: percentile(&mut latencies, 50),
        p99_us: percentile(&mut latencies, 99),
        cpu_us: spent.map(|spent| spent / operations),
    })
}

async fn round<F, R>(
    length: Duration,
    workers: usize,
    op: &Arc<F>,
    number: &Arc<AtomicU64>,
) -> anyhow::Result<Vec<f64>>
where
    F: Fn(usize, u64) -> R + Send + Sync + 'static,
    R: Future<Output = anyhow::Result<()>> + Send,
{
    let end = Instant::now() + length;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let (op, number) = (Arc::clone(op), Arc::clone(number));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                op(worker, number.fetch_add(1, Ordering::Relaxed)).await?;
                latencies.push(micros(began.elapsed()));
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.append(&mut ended??);
    }
    Ok(all)
}

/// As [`rate`], for what does not wait: one thread, in batches of `batch` calls.
pub fn tight(effort: Effort, batch: u32, mut op: impl FnMut()) -> Rate {
    let (mut latencies, mut rates) = (Vec::new(), Vec::new());
    for measured in 0..=effort.rounds {
        let (began, mut calls) = (Instant::now(), 0_u32);
        while began.elapsed() < effort.round {
            let one = Instant::now();
            for _ in 0..batch {
                op();
            }
            calls += batch;
            if measured > 0 {
                latencies.push(micros(one.elapsed()) / f64::from(batch));
            }
        }
        if measured > 0 {
            rates.push(f64::from(calls) / began.elapsed().as_secs_f64());
        }
    }
    Rate {
        per_sec: percentile(&mut rates, 50),
        p50_us: percentile(&mut latencies, 50),
        p99_us: percentile(&mut latencies, 99),
        cpu_us: None,
    }
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The value below which `percent` of a hundred values lie; 0 of none.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub fn count(items: usize) -> f64 {
    items as f64
}

/// Processor time so far, in microseconds.
fn cpu(meter: Meter) -> anyhow::Result<Option<f64>> {
    match meter {
        Meter::Off => Ok(None),
        Meter::Own => {
            let usage = getrusage(UsageWho::RUSAGE_SELF)?;
            let time = [usage.user_time(), usage.system_time()];
            #[expect(clippy::cast_precision_loss, reason = "microseconds of one run")]
            let micros = time
                .iter()
                .map(|t| t.tv_sec() as f64 * 1e6 + t.tv_usec() as f64)
                .sum();
            Ok(Some(micros))
        }
        Meter::Child(pid) => {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // After the name, which is in brackets and may hold anything: user and system time are fields 12 and 13.
            let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat")?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let ticks: f64 = fields
                .get(11..13)
                .context("/proc/PID/stat")?
                .iter()
                .filter_map(|f| f.parse::<f64>().ok())
                .sum();
            Ok(Some(ticks * 1e4))
        }
    }
}
