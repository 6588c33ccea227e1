//! Risk and tier of a plan: from typed steps and the target, never from words; more can only raise them.

use crate::domain::{
    EffectKind, Guard, Risk, Target, Tier,
    plan::{Inverse, Step},
};

/// The highest risk of the steps.
pub(super) fn risk_of(steps: &[Step]) -> Risk {
    steps.iter().fold(Risk::Read, |risk, step| risk.raise(step.risk))
}

/// The least approval that the steps need on `target`; policy may ask for more.
pub(super) fn tier_of(steps: &[Step], target: &Target) -> Tier {
    let mut writes = steps
        .iter()
        .filter(|step| step.effect != EffectKind::None)
        .peekable();
    if writes.peek().is_none() {
        return Tier::Read;
    }
    if target.protected || writes.any(needs_admin) {
        return Tier::Elevated;
    }
    Tier::Standard
}

fn needs_admin(step: &Step) -> bool {
    step.risk == Risk::High
        || step.effect == EffectKind::Opaque
        || step.guard == Guard::None
        || matches!(step.inverse, Inverse::Irreversible { .. })
}
