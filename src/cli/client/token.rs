//! `carapulse token`: in the database itself, because the first token cannot come from anywhere else.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Output;
use crate::{
    cli::{Exit, Failure},
    config::{Config, resolve},
    domain::{OpCtx, Role, SecretRef, TenantId, TokenId},
    gateway::identity::{self, Holder, NewToken},
    roles::database::{self, Borrowed},
    store::{Address, Db, DbRole},
};

/// Reads the configuration, when it is needed.
pub(super) type Configured<'a> = &'a dyn Fn() -> anyhow::Result<Config>;

/// Subcommands of `token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and show it, once
    Create(Create),
    /// All tokens of a tenant; their texts are stored nowhere
    List(Place),
    /// End a token now
    Revoke(Revoke),
}

/// Which database and which tenant.
#[derive(Debug, Args)]
pub struct Place {
    /// The database: an address, or a reference to one (env:NAME, file:PATH). Default: the configured one
    #[arg(long, value_name = "REF", env = "CARAPULSE_DSN", hide_env_values = true)]
    dsn: Option<String>,
    /// The tenant
    #[arg(long, default_value = "default")]
    tenant: TenantId,
}

/// `token create`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("holder").required(true).args(["person", "service", "source"])))]
pub struct Create {
    #[command(flatten)]
    place: Place,
    /// The name shown to people
    #[arg(long)]
    actor: String,
    /// viewer, operator, approver or admin; source for a webhook source
    #[arg(long)]
    role: Role,
    /// The human being that it stands for; made when missing
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// It stands for a program: it may ask, and never approves
    #[arg(long, requires = "owner")]
    service: bool,
    /// The human being who answers for the program
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// The webhook source that it may deliver: alertmanager
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How long it is good for: 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    expires: Option<i64>,
}

/// `token revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    place: Place,
    /// token_…
    token_id: TokenId,
}

/// Runs a subcommand.
pub(super) async fn run(
    output: &Output,
    command: Command,
    configured: Configured<'_>,
) -> anyhow::Result<Exit> {
    let place = match &command {
        Command::Create(create) => &create.place,
        Command::List(place) => place,
        Command::Revoke(revoke) => &revoke.place,
    };
    let (db, borrowed) = open(place, configured).await?;
    let ctx = OpCtx::system("cli", place.tenant.clone());
    let done = perform(&db, &ctx, output, command).await;
    if let Some(borrowed) = borrowed {
        db.close().await;
        borrowed.give_back().await?;
    }
    done
}

async fn perform(db: &Db, ctx: &OpCtx, output: &Output, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(create) => {
            let new = wanted(&create)?;
            let mut tx = db.begin(&ctx.tenant).await?;
            identity::ensure_tenant(&mut tx, &ctx.tenant)
                .await
                .context("the tenant does not exist yet; only the owner's database role makes it")?;
            let (token_id, text) = identity::create(&mut tx, ctx, &new).await?;
            tx.commit().await?;
            let answer = json!({"token_id": token_id, "token": text, "actor": new.actor, "role": new.role});
            output.show(&answer, |output| output.line(&text))?;
        }
        Command::List(_) => {
            let mut tx = db.begin(&ctx.tenant).await?;
            let rows = serde_json::to_value(identity::list(&mut tx).await?)?;
            tx.commit().await?;
            let columns = [
                ("token", "/token_id"),
                ("actor", "/actor"),
                ("role", "/role"),
                ("kind", "/kind"),
                ("person", "/person"),
                ("expires", "/expires_at"),
                ("revoked", "/revoked_at"),
            ];
            output.show(&rows, |output| {
                output.rows(rows.as_array().map(Vec::as_slice).unwrap_or_default(), &columns);
            })?;
        }
        Command::Revoke(revoke) => {
            let mut tx = db.begin(&ctx.tenant).await?;
            identity::revoke(&mut tx, ctx, revoke.token_id)
                .await
                .map_err(|error| match error {
                    identity::Error::NotFound(_) => Failure::of(Exit::NotFound, error.to_string()),
                    error => error.into(),
                })?;
            tx.commit().await?;
            output.show(&json!({"token_id": revoke.token_id, "revoked": true}), |output| {
                output.line("revoked");
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn wanted(create: &Create) -> anyhow::Result<NewToken> {
    let holder = match (&create.person, create.service, &create.owner, &create.source) {
        (Some(name), false, None, None) => Holder::Person(name.clone()),
        (None, true, Some(owner), None) => Holder::Service { owner: owner.clone() },
        (None, false, None, Some(source)) => Holder::Source(source.clone()),
        _ => {
            return Err(Failure::of(
                Exit::Usage,
                "give one of --person NAME, --service --owner NAME, --source NAME",
            ));
        }
    };
    Ok(NewToken {
        actor: create.actor.clone(),
        role: create.role,
        holder,
        ttl_secs: create.expires,
    })
}

/// The database that was named, else the configured one, else our own, which is started where it does not run.
async fn open(place: &Place, configured: Configured<'_>) -> anyhow::Result<(Db, Option<Borrowed>)> {
    if let Some(dsn) = &place.dsn {
        let (address, role) = given(dsn)?;
        return Ok((Db::open(&address, role, 1).await?, None));
    }
    // Where the gateway's own configuration is, as in its pod, it can be asked for the first token without a password.
    let config = configured()?;
    let borrowed = database::borrow(&config, DbRole::Gateway).await?;
    let none = || {
        Failure::of(
            Exit::Usage,
            format!("{}, or name another by --dsn", database::none_yet(&config)),
        )
    };
    let borrowed = borrowed.ok_or_else(none)?;
    Ok((
        Db::open(&borrowed.address, DbRole::Gateway, 1).await?,
        Some(borrowed),
    ))
}

fn given(dsn: &str) -> anyhow::Result<(Address, DbRole)> {
    let text = match dsn.parse::<SecretRef>() {
        Ok(reference) => {
            use secrecy::ExposeSecret as _;
            resolve(&reference)
                .map_err(|error| Failure::of(Exit::Config, format!("--dsn: {error}")))?
                .expose_secret()
                .to_owned()
        }
        Err(_) => dsn.to_owned(),
    };
    let address: Address = text
        .parse()
        .map_err(|error| Failure::of(Exit::Usage, format!("--dsn: {error}")))?;
    // The gateway's role can do all of this but make a tenant; an address that names another user keeps it.
    let role = if address.user().is_some() {
        DbRole::Owner
    } else {
        DbRole::Gateway
    };
    Ok((address, role))
}

/// `90s`, `30m`, `12h`, `30d` as seconds.
fn parse_ttl(text: &str) -> Result<i64, String> {
    let refused = || format!("`{text}` is no time: expected a number and s, m, h or d, as in 30d");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(refused)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let number: i64 = number.parse().map_err(|_| refused())?;
    number
        .checked_mul(unit)
        .filter(|secs| (1..=10 * 365 * 86_400).contains(secs))
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(parse_ttl("30d"), Ok(2_592_000));
        assert_eq!(parse_ttl("90s"), Ok(90));
        for bad in ["", "d", "30", "-1d", "0h", "1y", "99999999999999999d", "é"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }
}
