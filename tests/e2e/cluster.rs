//! A namespace of its own on the real cluster, and narrowly bound credentials for it.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use carapulse::domain::OpCtx;
use serde_json::{Value, json};

use crate::given;

/// The context in the kubeconfigs that targets get.
pub(crate) const CONTEXT: &str = "carapulse";
const ACCESS: &str = include_str!("../../src/cli/demo/kube_access.yaml");

/// Deleted with all that is in it when dropped.
pub(crate) struct Namespace {
    pub(crate) name: String,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

impl Namespace {
    /// Makes it, with the two service accounts in it.
    pub(crate) fn new(purpose: &str) -> Self {
        let ctx = OpCtx::system("e2e", "default".parse().expect("a tenant"));
        let unique = ctx.id::<uuid::Uuid>().simple().to_string();
        let this = Self {
            name: format!("e2e-{purpose}-{}", &unique[20..]),
            kubectl: given("CARAPULSE_TEST_KUBECTL"),
            kubeconfig: given("CARAPULSE_TEST_KUBECONFIG"),
        };
        this.run(&["create", "namespace", &this.name]);
        this.apply(&ACCESS.replace("NAMESPACE", &this.name));
        this
    }

    /// A deployment whose pods are all available.
    pub(crate) fn deploy(&self, name: &str, replicas: u32, image: &str) {
        self.create(name, replicas, image);
        let deployment = format!("deployment/{name}");
        self.run(&["rollout", "status", "--timeout=60s", &deployment]);
    }

    /// A deployment.
    pub(crate) fn create(&self, name: &str, replicas: u32, image: &str) {
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": self.name, "labels": { "app": name } },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [{ "name": name, "image": image,
                        "resources": { "limits": { "memory": "64Mi" }, "requests": { "memory": "64Mi" } } }] },
                },
            },
        });
        self.apply(&manifest.to_string());
    }

    /// Rolls out another image, and does not wait.
    pub(crate) fn roll_out(&self, name: &str, image: &str) {
        self.run(&[
            "set",
            "image",
            &format!("deployment/{name}"),
            &format!("{name}={image}"),
        ]);
    }

    /// Waits until a pod with `image` waits for `reason`.
    pub(crate) async fn until_pod_waits(&self, image: &str, reason: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let pods = self.json(&["get", "pods"]);
            let containers = pods["items"].as_array().into_iter().flatten().flat_map(|pod| {
                pod["status"]["containerStatuses"]
                    .as_array()
                    .into_iter()
                    .flatten()
            });
            let mut found = containers.filter(|c| c["image"] == image);
            if found.any(|c| c["state"]["waiting"]["reason"] == reason) {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "no pod of {image} waits for {reason}: {pods:#}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// A deployment as it is now.
    pub(crate) fn deployment(&self, name: &str) -> Value {
        self.json(&["get", &format!("deployment/{name}")])
    }

    /// A kubeconfig of the service account `carapulse-<role>`, in `folder`: token and certificates inline.
    pub(crate) fn credential(&self, role: &str, folder: &Path) -> String {
        let account = format!("carapulse-{role}");
        let token = self.run(&["create", "token", "--duration=1h", &account]);
        let admin = self.json(&["config", "view", "--raw", "--minify", "--flatten"]);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "none",
            "clusters": [{ "name": "c", "cluster": admin["clusters"][0]["cluster"] }],
            "users": [{ "name": "u", "user": { "token": token.trim() } }],
            "contexts": [{ "name": CONTEXT, "context": { "cluster": "c", "user": "u" } }],
        });
        let path = folder.join(format!("{account}.kubeconfig"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .expect("a file");
        file.write_all(config.to_string().as_bytes()).expect("written");
        format!("file:{}", path.display())
    }

    /// Runs kubectl in the namespace as the cluster's admin.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        self.kubectl(args, None)
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--output=json"]].concat();
        serde_json::from_str(&self.run(&args)).expect("kubectl prints JSON")
    }

    fn apply(&self, manifest: &str) {
        self.kubectl(&["apply", "--filename=-"], Some(manifest));
    }

    fn kubectl(&self, args: &[&str], input: Option<&str>) -> String {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--namespace", &self.name]).args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .expect("kubectl reads");
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl {args:?}: {stdout}{stderr}");
        stdout.into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run(&["delete", "namespace", "--wait=false", &self.name]);
        }
    }
}
