//! PromQL as a syntax tree: foreign text can only ever be the value of a matcher.

use std::fmt;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// A metric with matchers.
    Select(Selector),
    /// `rate(selector[window])`.
    Rate(Selector, u32),
    /// `sum by (labels) (inner)`.
    SumBy(Vec<&'static str>, Box<Expr>),
    /// `left / right`.
    Divide(Box<Expr>, Box<Expr>),
}

/// A metric with matchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    metric: String,
    matchers: Vec<(&'static str, Match, String)>,
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// `=`
    Equal,
    /// `=~`, on a pattern made with [`prefix`].
    Pattern,
}

impl Selector {
    /// The series of `metric`; `None` when that is no metric's name.
    #[must_use]
    pub fn new(metric: &str) -> Option<Self> {
        let start = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
        let good = metric.len() <= 200
            && metric.bytes().next().is_some_and(start)
            && metric.bytes().all(|b| start(b) || b.is_ascii_digit());
        good.then(|| Self {
            metric: metric.to_owned(),
            matchers: Vec::new(),
        })
    }

    /// Only those with `label` equal to `value`.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: &str) -> Self {
        self.matchers.push((label, Match::Equal, value.to_owned()));
        self
    }

    /// Only those whose `label` begins with `start` and a dash: pods of a workload.
    #[must_use]
    pub fn with_prefix(mut self, label: &'static str, start: &str) -> Self {
        self.matchers.push((label, Match::Pattern, prefix(start)));
        self
    }
}

fn prefix(start: &str) -> String {
    format!("{}-.*", regex::escape(start))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        for (index, (label, kind, value)) in self.matchers.iter().enumerate() {
            f.write_str(if index == 0 { "{" } else { "," })?;
            let sign = match kind {
                Match::Equal => "=",
                Match::Pattern => "=~",
            };
            write!(f, "{label}{sign}\"{}\"", escape(value))?;
        }
        f.write_str(if self.matchers.is_empty() { "" } else { "}" })
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Select(selector) => write!(f, "{selector}"),
            Self::Rate(selector, window_secs) => write!(f, "rate({selector}[{window_secs}s])"),
            Self::SumBy(labels, inner) => write!(f, "sum by ({}) ({inner})", labels.join(", ")),
            Self::Divide(left, right) => write!(f, "({left}) / ({right})"),
        }
    }
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn trees_print_as_promql() {
        let used = Selector::new("container_cpu_usage_seconds_total").expect("metric");
        let used = used.with("namespace", "shop").with_prefix("pod", "check.out");
        let limit = Selector::new("kube_pod_container_resource_limits").expect("metric");
        let ratio = Expr::Divide(
            Box::new(Expr::SumBy(vec!["pod"], Box::new(Expr::Rate(used, 300)))),
            Box::new(Expr::SumBy(
                vec!["pod"],
                Box::new(Expr::Select(limit.with("resource", "cpu"))),
            )),
        );
        assert_eq!(
            ratio.to_string(),
            r#"(sum by (pod) (rate(container_cpu_usage_seconds_total{namespace="shop",pod=~"check\\.out-.*"}[300s]))) / (sum by (pod) (kube_pod_container_resource_limits{resource="cpu"}))"#
        );
        assert!(Selector::new("up or vector(1)").is_none());
        assert!(Selector::new("1up").is_none());
    }

    proptest! {
        #[test]
        fn a_value_never_leaves_its_quotes(value in any::<String>()) {
            let text = Selector::new("up").expect("metric").with("job", &value).to_string();
            let inner = text.strip_prefix("up{job=\"").and_then(|t| t.strip_suffix("\"}")).expect("quoted");
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '"' && c != '\n');
                if c == '\\' {
                    prop_assert!(chars.next().is_some());
                }
            }
        }
    }
}
