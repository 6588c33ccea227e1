//! The HTTP client that every connector uses.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures::StreamExt;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, quoted};
use crate::domain::is_special;

/// Limits of one client.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// From the first byte sent to the last byte read.
    pub timeout: Duration,
    /// Largest answer read.
    pub max_body_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_body_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A client bound to one system and one base address. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    system: &'static str,
    base: Url,
    bearer: Option<SecretString>,
    client: Client,
    limits: HttpLimits,
}

/// What all clients share: reading the machine's root certificates takes some ten milliseconds. No connection is kept, so
/// that each is made to an address that was just checked.
static SHARED: LazyLock<Result<Client, String>> = LazyLock::new(|| build(same_host_only()));

/// As [`SHARED`], for requests that are never sent on to another address.
static STRAIGHT: LazyLock<Result<Client, String>> = LazyLock::new(|| build(redirect::Policy::none()));

fn build(redirects: redirect::Policy) -> Result<Client, String> {
    Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .pool_max_idle_per_host(0)
        .no_proxy()
        .dns_resolver(Arc::new(CheckedResolver))
        .redirect(redirects)
        .user_agent(concat!("carapulse/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}

impl Http {
    /// A client of `system` at `base` (`http` or `https`, no user, no query).
    ///
    /// Refuses link-local, unspecified and multicast addresses, as literals here and as answers of the resolver later.
    pub fn new(
        system: &'static str,
        base: &str,
        bearer: Option<SecretString>,
        limits: HttpLimits,
    ) -> Result<Self, Error> {
        Self::with_client(&SHARED, system, base, bearer, limits)
    }

    /// As [`Http::new`]; an answer that points elsewhere is the answer.
    pub fn without_redirects(system: &'static str, base: &str, limits: HttpLimits) -> Result<Self, Error> {
        Self::with_client(&STRAIGHT, system, base, None, limits)
    }

    fn with_client(
        client: &Result<Client, String>,
        system: &'static str,
        base: &str,
        bearer: Option<SecretString>,
        limits: HttpLimits,
    ) -> Result<Self, Error> {
        let mut base = Url::parse(base).map_err(|e| Error::Address(e.to_string()))?;
        check_address(&base)?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = client
            .clone()
            .map_err(|e| Error::Refused(format!("cannot build an HTTP client: {e}")))?;
        Ok(Self {
            system,
            base,
            bearer,
            client,
            limits,
        })
    }

    /// Posts a form to `path` below the base address and returns status and body. For reads: retried once when no
    /// connection could be made.
    pub async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<(u16, Vec<u8>), Error> {
        let request = || Ok(self.request(Method::POST, path)?.form(form));
        let response = match request()?.send().await {
            Err(error) if error.is_connect() => request()?.send().await,
            other => other,
        };
        self.read(response.map_err(|e| self.transport(&e))?).await
    }

    /// Posts a JSON document, once.
    pub async fn post_json(&self, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), Error> {
        let request = self
            .request(Method::POST, path)?
            .header("content-type", "application/json");
        let response = request.body(body).send().await;
        self.read(response.map_err(|e| self.transport(&e))?).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let url = self.base.join(path).map_err(|e| Error::Address(e.to_string()))?;
        let request = self.client.request(method, url).timeout(self.limits.timeout);
        Ok(match &self.bearer {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn read(&self, response: Response) -> Result<(u16, Vec<u8>), Error> {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| self.transport(&e))?;
            if body.len() + chunk.len() > self.limits.max_body_bytes {
                return Err(Error::TooLong {
                    system: self.system,
                    cap_bytes: self.limits.max_body_bytes,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn transport(&self, error: &reqwest::Error) -> Error {
        if error.is_timeout() {
            return Error::Timeout {
                system: self.system,
                limit_secs: self.limits.timeout.as_secs(),
            };
        }
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Error::Unreachable {
            system: self.system,
            reason: quoted(&reason, 300),
        }
    }
}

fn same_host_only() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| {
            (first.scheme(), first.host(), first.port_or_known_default())
                == (
                    attempt.url().scheme(),
                    attempt.url().host(),
                    attempt.url().port_or_known_default(),
                )
        });
        if same && attempt.previous().len() <= 3 {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

fn check_address(url: &Url) -> Result<(), Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Address(format!(
            "scheme `{}`: use http or https",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Error::Address(
            "user, password and query do not belong in an address: give a secret reference".into(),
        ));
    }
    let literal = match url.host() {
        None => return Err(Error::Address("no host".into())),
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(url::Host::Domain(_)) => None,
    };
    match literal {
        Some(ip) if !is_callable(ip) => Err(Error::Address(format!(
            "{ip} is link-local, a metadata service or not a host"
        ))),
        _ => Ok(()),
    }
}

/// Whether an address that a target names itself may be called. This machine may: a Prometheus beside the router.
fn is_callable(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback() || !is_special(ip)
}

/// Whether an address to which a name led may be called. Only one name says that it is this machine.
fn is_reached_by(name: &str, ip: IpAddr) -> bool {
    !is_special(ip) || (name == "localhost" && ip.is_loopback())
}

/// Resolves once; the connection goes to an address that was checked.
#[derive(Debug)]
struct CheckedResolver;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| is_reached_by(name.as_str(), a.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address that may be called", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let new = |base: &str| Http::new("prometheus", base, None, HttpLimits::default());
        for good in [
            "http://127.0.0.1:9090",
            "https://prometheus.example",
            "http://10.0.0.1/prom",
        ] {
            assert!(new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://0.0.0.0:9090",
            "file:///etc/passwd",
            "http://user:pw@prometheus",
            "http://prometheus?x=1",
            "prometheus:9090",
        ] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_leads_to_this_machine_only_if_it_says_so() {
        let loopback: IpAddr = "127.0.0.1".parse().expect("an address");
        assert!(is_reached_by("localhost", loopback));
        assert!(!is_reached_by("innocent.example", loopback));
        assert!(!is_reached_by(
            "localhost",
            "169.254.169.254".parse().expect("an address")
        ));
        assert!(is_reached_by(
            "prometheus",
            "10.0.0.7".parse().expect("an address")
        ));
    }
}
