{{/*
Values of the first chart (0.1 of the Go system) that mean nothing any more. A value that is passed over in silence is a
setting that somebody believes in: the installation ends here, and says what to write instead.
*/}}
{{- define "carapulse.deprecations" -}}
{{- $config := .Values.config -}}
{{- if hasKey ($config.gateway | default dict) "enable_event_loop" -}}
{{- fail "config.gateway.enable_event_loop is gone: alerts are taken in always, and each target says what may follow (observe, propose, act). Remove it." -}}
{{- end -}}
{{- range $key := list "temporal_addr" "namespace" "task_queue" -}}
{{- if get ($config.orchestrator | default dict) $key -}}
{{- fail (printf "config.orchestrator.%s is set, but this version runs executions on its own engine, in Postgres: Temporal is not there yet as a second one. Remove it." $key) -}}
{{- end -}}
{{- end -}}
{{- if eq (toString (get ($config.sandbox | default dict) "enabled")) "false" -}}
{{- fail "config.sandbox.enabled=false: there is no way to act without the sandbox. Remove it." -}}
{{- end -}}
{{- $gone := dict
  "context" "what is looked at is registered as a target (`carapulse target propose`)"
  "llm" "nothing here speaks to a language model"
  "connectors" "places and their credentials are registered as targets (`carapulse target propose`); credentials are files of toolRouter.credentialsSecret"
  "chatops" "Slack's settings are config.agent, its secrets gateway_token and slack_signing_secret in the agent's Secret"
  "approvals" "which plans need whose approval, the policy bundle says"
  "scheduler" "schedules are rows, not settings"
-}}
{{- range $key, $instead := $gone -}}
{{- if hasKey $config $key -}}
{{- fail (printf "config.%s is gone: %s. Remove it." $key $instead) -}}
{{- end -}}
{{- end -}}
{{- if .Values.serviceAccount.name -}}
{{- fail "serviceAccount.name is gone: each role has its own account. Set gateway.serviceAccount.name, toolRouter.serviceAccount.name and so on, or leave the names to the chart." -}}
{{- end -}}
{{- if .Values.serviceAccount.annotations -}}
{{- fail "serviceAccount.annotations is gone: each role has its own account. Set gateway.serviceAccount.annotations, toolRouter.serviceAccount.annotations and so on." -}}
{{- end -}}
{{- end -}}
