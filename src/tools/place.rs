//! What a target gives a command: values for placeholders, folders, hosts, and the credential in a file.
//!
//! Cluster, context, namespace, repository and branch come from here and from nowhere else. A credential is read at the
//! moment of use and travels only as a 0600 file of the job.

use std::{collections::BTreeMap, path::Path};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::json;
use url::Url;

use super::{
    Fault,
    catalog::{ActionDef, Class, CredentialKind, Place, Values, is_ref},
};
use crate::{
    connectors::{self, TenantGrants},
    domain::{GitPlace, KubernetesPlace, SecretRef, Target},
    sandbox::{HostPort, JobFile, Mount},
};

/// A target, ready for one action.
#[derive(Debug, Default)]
pub(crate) struct Binding {
    pub(crate) values: Values,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) egress: Vec<HostPort>,
    pub(crate) files: Vec<JobFile>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) prometheus_url: Option<String>,
    /// What arguments may name of this machine; without it, nothing.
    pub(crate) grants: Option<TenantGrants>,
}

impl Binding {
    fn credential(&mut self, def: &ActionDef, kind: CredentialKind, contents: SecretSlice<u8>) {
        let Some(spec) = def.credential.as_ref().filter(|spec| spec.kind == kind) else {
            return;
        };
        self.files.push(JobFile {
            path: spec.file.clone(),
            contents,
            secret: true,
        });
        self.env.extend(spec.env.clone());
    }

    /// Git believes these certificates, instead of the machine's.
    fn authority(&mut self, certificates: SecretString) {
        self.files.push(JobFile {
            path: GIT_AUTHORITY.to_owned(),
            contents: SecretSlice::from(certificates.expose_secret().as_bytes().to_vec()),
            secret: false,
        });
        self.env.insert(
            "GIT_SSL_CAINFO".to_owned(),
            format!("{{{{job_dir}}}}/{GIT_AUTHORITY}"),
        );
    }
}

/// Where a job finds the certificates of a private authority.
const GIT_AUTHORITY: &str = "git/authority.pem";

/// Binds `target` for `def`, reading the credential of the action's class as far as `grants` goes.
pub(crate) fn bind(def: &ActionDef, target: &Target, grants: TenantGrants) -> Result<Binding, Fault> {
    let binding = place(def, target, &grants)?;
    Ok(Binding {
        grants: Some(grants),
        ..binding
    })
}

fn place(def: &ActionDef, target: &Target, grants: &TenantGrants) -> Result<Binding, Fault> {
    let lacks =
        |what: &str| Fault::refused("target_lacks", format!("target `{}` has no {what}", target.name));
    match def.place {
        Place::Git => {
            let place = target.git.as_ref().ok_or_else(|| lacks("git repository"))?;
            git(def, place, grants)
        }
        Place::Kubernetes => {
            let place = target
                .kubernetes
                .as_ref()
                .ok_or_else(|| lacks("Kubernetes API"))?;
            kubernetes(def, place, &target.context.namespace, grants)
        }
        Place::Prometheus => {
            let url = target.prometheus_url.clone().ok_or_else(|| lacks("Prometheus"))?;
            Ok(Binding {
                prometheus_url: Some(url),
                ..Binding::default()
            })
        }
    }
}

fn git(def: &ActionDef, place: &GitPlace, grants: &TenantGrants) -> Result<Binding, Fault> {
    let refused = |message: &str| Fault::refused("target_invalid", format!("git repository: {message}"));
    if !is_ref(&place.branch) {
        return Err(refused("the branch is not a branch name"));
    }
    let mut binding = Binding::default();
    binding
        .values
        .insert("target.branch".into(), place.branch.clone());
    if place.url.starts_with('/') {
        let path = grants
            .repository(Path::new(&place.url))
            .map_err(|e| refused(&e.to_string()))?;
        let text = path
            .to_str()
            .ok_or_else(|| refused("the folder's name is no UTF-8"))?;
        binding.values.insert("target.url".into(), text.to_owned());
        binding.mounts.push(Mount {
            path,
            writable: def.class == Class::Write,
        });
        return Ok(binding);
    }
    binding.values.insert("target.url".into(), place.url.clone());
    let url = Url::parse(&place.url)
        .map_err(|_| refused("the address is neither https:// nor an absolute path"))?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || !plain {
        return Err(refused(
            "the address must be https:// without user, query and fragment, or an absolute path",
        ));
    }
    binding
        .egress
        .push(host_port(&url).ok_or_else(|| refused("the address has no host"))?);
    if let Some(reference) = &place.ca_certificates {
        binding.authority(secret(grants, reference)?);
    }
    let credential = match def.class {
        Class::Read => &place.read_credential,
        Class::Write => &place.write_credential,
    };
    if let Some(reference) = credential {
        let token = secret(grants, reference)?;
        binding.credential(def, CredentialKind::GitHttps, git_credentials(&url, &token));
    } else if def.class == Class::Write {
        return Err(refused("there is no credential for writes"));
    }
    Ok(binding)
}

/// One line of `git credential-store`.
fn git_credentials(url: &Url, token: &SecretString) -> SecretSlice<u8> {
    let encoded: String = url::form_urlencoded::byte_serialize(token.expose_secret().as_bytes()).collect();
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let line = format!(
        "https://x-access-token:{}@{host}{port}\n",
        encoded.replace('+', "%20")
    );
    SecretSlice::from(line.into_bytes())
}

fn kubernetes(
    def: &ActionDef,
    place: &KubernetesPlace,
    namespace: &str,
    grants: &TenantGrants,
) -> Result<Binding, Fault> {
    let refused = |message: &str| Fault::refused("target_invalid", format!("Kubernetes API: {message}"));
    if !super::catalog::is_name(namespace) {
        return Err(refused("the target names no namespace"));
    }
    let reference = match def.class {
        Class::Read => &place.read_credential,
        Class::Write => place
            .write_credential
            .as_ref()
            .ok_or_else(|| refused("there is no credential for writes"))?,
    };
    let text = secret(grants, reference)?;
    let (config, server) = kubeconfig(text.expose_secret(), &place.context, namespace)?;
    let mut binding = Binding::default();
    binding
        .values
        .insert("target.namespace".into(), namespace.to_owned());
    binding
        .egress
        .push(host_port(&server).ok_or_else(|| refused("the server's address has no host"))?);
    binding.credential(def, CredentialKind::Kubeconfig, config);
    Ok(binding)
}

/// Our own kubeconfig: the named context and nothing else, everything inline, through the egress proxy.
fn kubeconfig(text: &str, context: &str, namespace: &str) -> Result<(SecretSlice<u8>, Url), Fault> {
    let refused = |message: String| Fault::refused("credential_refused", message);
    let config = connectors::load_kubeconfig(text, context).map_err(|e| refused(e.to_string()))?;
    let cluster = config.clusters.into_iter().next().and_then(|c| c.cluster);
    let cluster =
        cluster.ok_or_else(|| refused(format!("kubeconfig context `{context}`: has no cluster")))?;
    let user = config
        .auth_infos
        .into_iter()
        .next()
        .and_then(|u| u.auth_info)
        .unwrap_or_default();
    let server = cluster.server.unwrap_or_default();
    let url = Url::parse(&server)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        refused(format!(
            "kubeconfig context `{context}`: its server is no http(s) address"
        ))
    })?;
    let files = [
        cluster.certificate_authority.is_some() && cluster.certificate_authority_data.is_none(),
        user.client_certificate.is_some() && user.client_certificate_data.is_none(),
        user.client_key.is_some() && user.client_key_data.is_none(),
        user.token_file.is_some() && user.token.is_none(),
    ];
    if files.contains(&true) {
        let remedy = "put certificates and token into the kubeconfig itself (`kubectl config view --flatten --minify --raw`)";
        return Err(refused(format!(
            "kubeconfig context `{context}`: refers to other files; {remedy}"
        )));
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        let remedy = "give the cluster's certificate-authority-data";
        return Err(refused(format!(
            "kubeconfig context `{context}`: `insecure-skip-tls-verify` is refused; {remedy}"
        )));
    }
    let exposed = |secret: Option<SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
    let ours = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "target",
        "contexts": [{ "name": "target", "context": { "cluster": "target", "user": "target", "namespace": namespace } }],
        "clusters": [{ "name": "target", "cluster": without_nulls([
            ("server", Some(server)),
            ("proxy-url", Some("{{egress_proxy}}".to_owned())),
            ("tls-server-name", cluster.tls_server_name),
            ("certificate-authority-data", cluster.certificate_authority_data),
        ]) }],
        "users": [{ "name": "target", "user": without_nulls([
            ("token", exposed(user.token)),
            ("username", user.username),
            ("password", exposed(user.password)),
            ("client-certificate-data", user.client_certificate_data),
            ("client-key-data", exposed(user.client_key_data)),
        ]) }],
    });
    Ok((SecretSlice::from(ours.to_string().into_bytes()), url))
}

fn without_nulls<const N: usize>(fields: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    fields
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
        .collect()
}

fn secret(grants: &TenantGrants, reference: &SecretRef) -> Result<SecretString, Fault> {
    grants
        .secret(reference)
        .map_err(|e| Fault::refused("credential_refused", e.to_string()))
}

fn host_port(url: &Url) -> Option<HostPort> {
    let host = url.host()?;
    let text = format!("{host}:{}", url.port_or_known_default()?);
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::catalog::Catalog;

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: other\ncontexts:\n- name: prod\n  context: {{cluster: c, user: u, namespace: kube-system}}\n\
             clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
        )
    }

    #[test]
    fn invariant_6_the_kubeconfig_is_ours_and_holds_only_the_target_s_context() {
        let text = config(
            "server: 'https://10.0.0.1:6443', certificate-authority-data: Q0E=",
            "token: s3cret",
        );
        let (bytes, server) = kubeconfig(&text, "prod", "shop").expect("config");
        assert_eq!(host_port(&server).expect("host").to_string(), "10.0.0.1:6443");
        let ours: serde_json::Value = serde_json::from_slice(bytes.expose_secret()).expect("JSON");
        assert_eq!(ours["contexts"][0]["context"]["namespace"], "shop");
        assert_eq!(ours["clusters"][0]["cluster"]["proxy-url"], "{{egress_proxy}}");
        assert_eq!(ours["users"][0]["user"], json!({ "token": "s3cret" }));
    }

    #[test]
    fn processes_files_and_unchecked_certificates_in_a_kubeconfig_are_refused() {
        for (cluster, user) in [
            ("server: 'https://h'", "exec: {apiVersion: v1, command: sh}"),
            ("server: 'https://h'", "auth-provider: {name: gcp, config: {}}"),
            ("server: 'https://h'", "tokenFile: /var/run/token"),
            (
                "server: 'https://h', certificate-authority: /etc/ca.pem",
                "token: x",
            ),
            ("server: 'https://h', insecure-skip-tls-verify: true", "token: x"),
            ("server: 'unix:///x'", "token: x"),
        ] {
            assert!(
                kubeconfig(&config(cluster, user), "prod", "shop").is_err(),
                "{cluster} {user}"
            );
        }
        assert!(
            kubeconfig(&config("server: 'https://h'", "token: x"), "dev", "shop").is_err(),
            "another context"
        );
    }

    #[test]
    fn git_places_are_https_or_absolute_paths() {
        let catalog = Catalog::builtin();
        let def = catalog.action("git", "log").expect("built in");
        let place = |url: &str, branch: &str| GitPlace {
            url: url.into(),
            branch: branch.into(),
            path: String::new(),
            read_credential: None,
            write_credential: None,
            ca_certificates: None,
        };
        let folder = tempfile::tempdir().expect("folder");
        let local = folder.path().to_str().expect("UTF-8");
        let grants = TenantGrants::new(&Default::default(), &"default".parse().expect("a tenant"));
        let bound = git(def, &place("https://git.example/a.git", "main"), &grants).expect("bound");
        assert_eq!(bound.egress, ["git.example:443".parse().expect("host")]);
        let bound = git(def, &place(local, "main"), &grants).expect("bound");
        assert_eq!((bound.egress.len(), bound.mounts[0].writable), (0, false));
        for (url, branch) in [
            ("ssh://git@h/a.git", "main"),
            ("http://h/a.git", "main"),
            ("https://u:p@h/a.git", "main"),
            ("--upload-pack=x", "main"),
            ("ext::sh -c x", "main"),
            ("https://h/a.git", "--all"),
            ("https://h/a.git", "a..b"),
        ] {
            assert!(git(def, &place(url, branch), &grants).is_err(), "{url} {branch}");
        }
        let revert = catalog.action("git", "revert").expect("built in");
        assert!(
            git(revert, &place("https://h/a.git", "main"), &grants).is_err(),
            "no credential for writes"
        );
    }

    #[test]
    fn a_token_becomes_one_encoded_line() {
        let url = Url::parse("https://git.example:8443/a.git").expect("URL");
        let line = git_credentials(&url, &SecretString::from("a b@/\n"));
        let text = String::from_utf8(line.expose_secret().to_vec()).expect("UTF-8");
        assert_eq!(text, "https://x-access-token:a%20b%40%2F%0A@git.example:8443\n");
    }
}
