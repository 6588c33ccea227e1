//! What this machine can give a sandbox.

use super::{Error, LayerState, LocalConfig, LocalRunner, Profile};

/// The layers of both profiles: in force, or why not and what to do. Runs nothing but the stages themselves.
pub async fn doctor(config: LocalConfig) -> Vec<LayerState> {
    let cgroup = config.cgroup_parent.is_some();
    let runner = LocalRunner::new(config);
    let mut layers = Vec::new();
    for (profile, name) in [(Profile::Ns, "ns"), (Profile::Pod, "pod")] {
        let (active, detail) = match runner.probe(profile).await {
            Ok(found) => {
                layers.extend(
                    found
                        .into_iter()
                        .filter(|layer| layer.name.starts_with(name) || profile == Profile::Ns),
                );
                (true, "every layer can be had".to_owned())
            }
            Err(Error::Refused {
                layer,
                reason,
                remedy,
            }) => {
                let detail = format!("{reason}; {remedy}");
                layers.push(LayerState {
                    name: layer.clone(),
                    active: false,
                    detail,
                });
                (false, format!("refused for want of {layer}"))
            }
            Err(error) => (false, error.to_string()),
        };
        layers.push(LayerState {
            name: name.to_owned(),
            active,
            detail,
        });
    }
    if !cgroup {
        let detail =
            "sandbox.cgroup_parent is not set: rlimits bound each process, not the job as a whole".to_owned();
        layers.push(LayerState {
            name: "cgroup".to_owned(),
            active: false,
            detail,
        });
    }
    layers
}
