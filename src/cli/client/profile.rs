//! Profiles: where gateways are, and where their tokens are kept. The file holds references, never a token.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;
use serde::Deserialize;

use super::Common;
use crate::{
    cli::{Exit, Failure},
    config::resolve,
    domain::SecretRef,
};

const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// `profiles.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    /// The profile that is used when none is named.
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// One gateway and one login.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: Option<String>,
    /// `env:NAME` or `file:PATH`.
    token: Option<SecretRef>,
    /// Shown when a token of another tenant is found: a guard against the wrong profile.
    tenant: Option<String>,
}

/// Where to send requests, and in whose name.
pub(super) struct Login {
    pub(super) url: String,
    pub(super) token: SecretString,
}

/// What the command line, the environment and the profile say, in this order.
pub(super) fn login(common: &Common) -> anyhow::Result<Login> {
    let profile = chosen(common.profile.as_deref(), profiles()?)?;
    let reference = match (&common.token_ref, profile.token) {
        (Some(text), _) => text
            .parse()
            .map_err(|error| usage(format!("--token-ref: {error}")))?,
        (None, Some(reference)) => reference,
        (None, None) => SecretRef::Env("CARAPULSE_TOKEN".to_owned()),
    };
    let token = resolve(&reference).map_err(|error| {
        Failure::of(
            Exit::Auth,
            format!("no token: {error}; set CARAPULSE_TOKEN, or name a `token` in a profile"),
        )
    })?;
    check_tenant(&token, profile.tenant.as_deref())?;
    let url = common
        .url
        .clone()
        .or(profile.url)
        .unwrap_or_else(|| DEFAULT_URL.to_owned());
    let sound =
        url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !sound {
        return Err(usage(format!(
            "`{url}` is no address of a gateway: expected http(s)://host:port"
        )));
    }
    Ok(Login {
        url: url.trim_end_matches('/').to_owned(),
        token,
    })
}

fn chosen(named: Option<&str>, mut profiles: Profiles) -> anyhow::Result<Profile> {
    let Some(name) = named.map(str::to_owned).or(profiles.default) else {
        return Ok(Profile::default());
    };
    let unknown = || {
        let known: Vec<_> = profiles.profile.keys().cloned().collect();
        usage(format!("no profile `{name}`; known: {}", known.join(", ")))
    };
    let error = unknown();
    profiles.profile.remove(&name).ok_or(error)
}

fn profiles() -> anyhow::Result<Profiles> {
    let Some(path) = path() else {
        return Ok(Profiles::default());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::of(Exit::Config, format!("{}: {}", path.display(), error.message()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Profiles::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".config/carapulse/profiles.toml"))
}

fn check_tenant(token: &SecretString, wanted: Option<&str>) -> anyhow::Result<()> {
    use secrecy::ExposeSecret as _;
    let has = token
        .expose_secret()
        .strip_prefix("cpl_")
        .and_then(|rest| rest.split_once('_'))
        .map(|(tenant, _)| tenant);
    match (wanted, has) {
        (Some(wanted), Some(has)) if wanted != has => Err(Failure::of(
            Exit::Auth,
            format!("the profile is for the tenant `{wanted}`, the token is of `{has}`"),
        )),
        _ => Ok(()),
    }
}

fn usage(message: String) -> anyhow::Error {
    Failure::of(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_by_name_or_default_and_holds_no_token() {
        let text = r#"default = "a"
            [profile.a]
            url = "http://a"
            token = "env:A_TOKEN"
            [profile.b]
            url = "http://b""#;
        let read = || toml::from_str::<Profiles>(text).expect("TOML");
        assert_eq!(
            chosen(None, read()).expect("default").url.as_deref(),
            Some("http://a")
        );
        assert_eq!(
            chosen(Some("b"), read()).expect("named").url.as_deref(),
            Some("http://b")
        );
        assert!(chosen(Some("c"), read()).is_err());
        assert!(toml::from_str::<Profiles>("[profile.a]\ntoken = \"cpl_default_secret\"").is_err());
    }

    #[test]
    fn a_token_of_another_tenant_is_refused() {
        let token = SecretString::from("cpl_shop_x".to_owned());
        assert!(check_tenant(&token, Some("shop")).is_ok());
        assert!(check_tenant(&token, None).is_ok());
        assert!(check_tenant(&token, Some("other")).is_err());
    }
}
