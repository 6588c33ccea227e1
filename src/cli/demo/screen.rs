//! What the demo prints: numbered chapters with a spinner while they run, and the timeline at the end.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// The demo's terminal. Plain lines when it is none.
#[derive(Debug)]
pub(super) struct Screen {
    started: Instant,
    number: u32,
    bar: ProgressBar,
    timeline: Vec<(Duration, String)>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        Self {
            started: Instant::now(),
            number: 0,
            bar,
            timeline: Vec::new(),
        }
    }

    /// Begins a chapter: what is done now.
    pub(super) fn chapter(&mut self, title: &str) {
        self.number += 1;
        self.line(&format!("\n{:>2}. {title}", self.number));
        self.bar.reset();
        self.bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.set_message(title.to_owned());
    }

    /// A line below the chapter.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// Something that belongs into the timeline, too.
    pub(super) fn event(&mut self, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        self.line(&format!("    {text}"));
        self.timeline.push((self.started.elapsed(), text.into_owned()));
    }

    /// The timeline, once everything is over.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        self.line("\n    Timeline (seconds since the start)");
        for (at, text) in &self.timeline {
            self.line(&format!("    {:>6.1}  {text}", at.as_secs_f64()));
        }
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::print_stdout, reason = "the demo is a command that prints")]
    fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}
