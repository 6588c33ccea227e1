//! Reads a Kubernetes API with a kubeconfig that cannot start a process and cannot leave its context.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod, ResourceQuota},
};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::{Error, quoted};

const SYSTEM: &str = "kubernetes";
const PAGE: u32 = 250;
const TIMEOUT: Duration = Duration::from_secs(15);

/// A client of one cluster, in exactly one context of a kubeconfig.
#[derive(Clone)]
pub struct Kubernetes(Client);

impl Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kubernetes")
    }
}

/// A list that may have been cut at its cap.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// What was read.
    pub items: Vec<T>,
    /// Whether the server had more.
    pub truncated: bool,
}

impl Kubernetes {
    /// Connects with a kubeconfig's text, in its context `context` and no other.
    pub async fn connect(text: &SecretString, context: &str) -> Result<Self, Error> {
        let kubeconfig = load_kubeconfig(text.expose_secret(), context)?;
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            cluster: None,
            user: None,
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|e| Error::Refused(format!("kubeconfig: {}", quoted(&e.to_string(), 300))))?;
        config.connect_timeout = Some(Duration::from_secs(3));
        config.read_timeout = Some(TIMEOUT);
        config.write_timeout = Some(TIMEOUT);
        // A proxy named by the environment would see every answer.
        config.proxy_url = None;
        let client = Client::try_from(config)
            .map_err(|e| Error::Refused(format!("kubeconfig: {}", quoted(&e.to_string(), 300))))?;
        Ok(Self(client))
    }

    /// Pods of `namespace`, at most `cap`.
    pub async fn pods(&self, namespace: &str, cap: usize) -> Result<Listed<Pod>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Deployments of `namespace`, at most `cap`.
    pub async fn deployments(&self, namespace: &str, cap: usize) -> Result<Listed<Deployment>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Replica sets of `namespace`, at most `cap`.
    pub async fn replica_sets(&self, namespace: &str, cap: usize) -> Result<Listed<ReplicaSet>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Events of `namespace`, at most `cap`, in the server's order.
    pub async fn events(&self, namespace: &str, cap: usize) -> Result<Listed<Event>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Resource quotas of `namespace`, at most `cap`.
    pub async fn resource_quotas(&self, namespace: &str, cap: usize) -> Result<Listed<ResourceQuota>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Autoscalers of `namespace`, at most `cap`: whoever owns a replica count.
    pub async fn autoscalers(
        &self,
        namespace: &str,
        cap: usize,
    ) -> Result<Listed<HorizontalPodAutoscaler>, Error> {
        list(Api::namespaced(self.0.clone(), namespace), cap).await
    }

    /// Nodes of the cluster, at most `cap`.
    pub async fn nodes(&self, cap: usize) -> Result<Listed<Node>, Error> {
        list(Api::all(self.0.clone()), cap).await
    }
}

/// Parses a kubeconfig and keeps only `context`, its cluster and its user.
///
/// Refuses entries that start processes (`exec`, `auth-provider`), impersonation and proxies; the message names the remedy.
pub fn load_kubeconfig(text: &str, context: &str) -> Result<Kubeconfig, Error> {
    let mut config = Kubeconfig::from_yaml(text)
        .map_err(|_| Error::Refused("kubeconfig: not a kubeconfig in YAML".into()))?;
    let refuse = |why: String| Err(Error::Refused(format!("kubeconfig context `{context}`: {why}")));

    config.contexts.retain(|c| c.name == context);
    let [named] = config.contexts.as_slice() else {
        return refuse(format!(
            "found {} times, must be there once",
            config.contexts.len()
        ));
    };
    let Some(chosen) = named.context.clone() else {
        return refuse("is empty".into());
    };
    config.clusters.retain(|c| c.name == chosen.cluster);
    config
        .auth_infos
        .retain(|u| Some(&u.name) == chosen.user.as_ref());
    let [cluster] = config.clusters.as_slice() else {
        return refuse(format!("cluster `{}` must be there once", chosen.cluster));
    };
    if config.auth_infos.len() > 1 {
        return refuse("its user is there more than once".into());
    }
    if cluster.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()) {
        return refuse("`proxy-url` is refused: give an address that is reachable directly".into());
    }
    if let Some(user) = config.auth_infos.first().and_then(|u| u.auth_info.as_ref())
        && let Err(why) = check_user(user)
    {
        return refuse(why.into());
    }
    config.current_context = Some(context.to_owned());
    Ok(config)
}

fn check_user(user: &AuthInfo) -> Result<(), &'static str> {
    if user.exec.is_some() {
        return Err(
            "its user starts a process (`exec`), which is refused: create a service account, bind it to a read-only \
             role, and put a token from `kubectl create token` (or a token secret) in the kubeconfig",
        );
    }
    if user.auth_provider.is_some() {
        return Err(
            "its user has an `auth-provider`, which is refused: create a service account with a read-only role and \
             use its token",
        );
    }
    if user.impersonate.is_some() || user.impersonate_groups.is_some() || user.impersonate_uid.is_some() {
        return Err(
            "its user impersonates another (`as`), which is refused: use a narrowly bound service account",
        );
    }
    Ok(())
}

async fn list<K>(api: Api<K>, cap: usize) -> Result<Listed<K>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut items = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut params = ListParams::default().limit(PAGE);
        if let Some(token) = &token {
            params = params.continue_token(token);
        }
        let page = match tokio::time::timeout(TIMEOUT, api.list(&params)).await {
            Ok(Err(kube::Error::Service(_) | kube::Error::HyperError(_))) => {
                tokio::time::timeout(TIMEOUT, api.list(&params)).await
            }
            other => other,
        };
        let page = page
            .map_err(|_| Error::Timeout {
                system: SYSTEM,
                limit_secs: TIMEOUT.as_secs(),
            })?
            .map_err(|e| failure(&e))?;
        items.extend(page.items);
        token = page.metadata.continue_.filter(|t| !t.is_empty());
        if items.len() >= cap || token.is_none() {
            let truncated = items.len() > cap || token.is_some();
            items.truncate(cap);
            return Ok(Listed { items, truncated });
        }
    }
}

fn failure(error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => Error::Status {
            system: SYSTEM,
            status: status.code,
            message: quoted(&status.message, 300),
        },
        kube::Error::SerdeError(e) => Error::Unreadable {
            system: SYSTEM,
            reason: quoted(&e.to_string(), 300),
        },
        other => Error::Unreachable {
            system: SYSTEM,
            reason: quoted(&other.to_string(), 300),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::answering, *};

    const CONFIG: &str = r"
apiVersion: v1
kind: Config
current-context: prod
clusters:
- {name: kind, cluster: {server: 'http://127.0.0.1:8001'}}
- {name: prod, cluster: {server: 'https://prod.example', proxy-url: 'http://proxy:3128'}}
users:
- {name: reader, user: {token: abc}}
- {name: plugin, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/evil}}}
- {name: old, user: {auth-provider: {name: gcp}}}
- {name: as, user: {token: abc, as: 'system:admin'}}
contexts:
- {name: dev, context: {cluster: kind, user: reader, namespace: shop}}
- {name: exec, context: {cluster: kind, user: plugin}}
- {name: gcp, context: {cluster: kind, user: old}}
- {name: as, context: {cluster: kind, user: as}}
- {name: prod, context: {cluster: prod, user: reader}}
- {name: twice, context: {cluster: kind, user: reader}}
- {name: twice, context: {cluster: prod, user: reader}}
- {name: lost, context: {cluster: nowhere, user: reader}}
";

    #[test]
    fn exactly_the_named_context_is_kept() {
        let config = load_kubeconfig(CONFIG, "dev").expect("dev");
        assert_eq!(config.current_context.as_deref(), Some("dev"));
        assert_eq!(
            (
                config.contexts.len(),
                config.clusters.len(),
                config.auth_infos.len()
            ),
            (1, 1, 1)
        );
        assert_eq!(config.clusters[0].name, "kind");
    }

    #[test]
    fn processes_impersonation_proxies_and_ambiguity_are_refused() {
        for (context, word) in [
            ("exec", "kubectl create token"),
            ("gcp", "auth-provider"),
            ("as", "impersonates"),
            ("prod", "proxy-url"),
            ("twice", "found 2 times"),
            ("lost", "nowhere"),
            ("none", "found 0 times"),
        ] {
            let error = load_kubeconfig(CONFIG, context).expect_err(context);
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(load_kubeconfig(": [", "dev").is_err());
    }

    #[tokio::test]
    async fn lists_follow_pages_and_stop_at_the_cap() {
        let address = answering::serve(|path, _| {
            let Some(query) = path.strip_prefix("/api/v1/namespaces/shop/pods?") else {
                let denied = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "nodes is forbidden", "reason": "Forbidden", "code": 403});
                return (403, denied.to_string());
            };
            let (name, next) = if query.contains("continue=") {
                ("b", "")
            } else {
                ("a", "n")
            };
            let page = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": next},
                "items": [{"metadata": {"name": name}}]});
            (200, page.to_string())
        })
        .await;
        let text = CONFIG.replace("http://127.0.0.1:8001", &address);
        let client = Kubernetes::connect(&text.into(), "dev").await.expect("client");
        let all = client.pods("shop", 10).await.expect("pods");
        assert_eq!((all.items.len(), all.truncated), (2, false));
        let one = client.pods("shop", 1).await.expect("pods");
        assert_eq!((one.items.len(), one.truncated), (1, true));
        let error = client.nodes(1).await.expect_err("forbidden");
        assert_eq!(error.to_string(), "kubernetes answered 403: nodes is forbidden");
    }
}
