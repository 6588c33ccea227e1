//! A real Alertmanager that tells our hook of its alerts.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use carapulse::domain::{Clock as _, SystemClock};

use crate::{
    given,
    installation::{Installation, Process, free_port},
};

/// Ends when dropped.
pub(crate) struct Alertmanager {
    url: String,
    _process: Process,
}

impl Alertmanager {
    /// Starts one whose only receiver is the hook of `installation`, and waits until it is ready.
    pub(crate) async fn start(installation: &Installation) -> Self {
        let folder = installation.folder().join("alertmanager");
        std::fs::create_dir_all(&folder).expect("a folder");
        let token = folder.join("token");
        std::fs::write(&token, &installation.alertmanager.token).expect("written");
        let config = folder.join("alertmanager.yml");
        std::fs::write(&config, configuration(&installation.url, &token)).expect("written");
        let port = free_port();
        let log = folder.join("log");
        let output = std::fs::File::create(&log).expect("a log");
        let mut command = Command::new(given("CARAPULSE_TEST_ALERTMANAGER"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output);
        let url = format!("http://127.0.0.1:{port}");
        let mut process = Process::start("alertmanager", command, log);
        process.ready(&installation.http, &format!("{url}/-/ready")).await;
        Self {
            url,
            _process: process,
        }
    }

    /// Fires an alert, or with `end` says that it has ended.
    pub(crate) fn alert(&self, labels: &[(&str, &str)], ended: bool) {
        let mut command = Command::new(given("CARAPULSE_TEST_AMTOOL"));
        command
            .args(["alert", "add"])
            .arg(format!("--alertmanager.url={}", self.url));
        if ended {
            command.arg(format!("--end={}", SystemClock.now().to_rfc3339()));
        }
        command.args(labels.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg("--annotation=summary=from the end-to-end test");
        let output = command.output().expect("amtool starts");
        assert!(
            output.status.success(),
            "amtool: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn configuration(url: &str, token: &Path) -> String {
    format!(
        "route:
  receiver: carapulse
  group_by: [alertname, service, namespace]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: carapulse
    webhook_configs:
      - url: {url}/v1/hooks/alertmanager
        send_resolved: true
        http_config:
          authorization:
            type: Bearer
            credentials_file: {}
",
        token.display()
    )
}
