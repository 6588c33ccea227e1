//! `carapulse serve`: runs roles until it is told to stop.

use clap::Args;

use crate::{
    config::Config,
    roles::{self, ServeRole},
};

/// `carapulse serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// A role to run; repeat it for several in one process. Without it: all of them, with actions run by the tool-router
    /// itself
    #[arg(long = "role", value_name = "ROLE", value_enum)]
    roles: Vec<ServeRole>,
}

pub(super) async fn run(serve: Serve, config: Config) -> anyhow::Result<()> {
    let mut chosen = serve.roles;
    if chosen.is_empty() {
        chosen = ServeRole::TOGETHER.to_vec();
    }
    let mut roles = Vec::new();
    for role in chosen {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles::serve(config, &roles).await
}
