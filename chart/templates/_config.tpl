{{/*
The configuration file of one role: its own sections, from the values, as TOML.

`carapulse.config` takes root and role. The chart's part of it (references to the role's secrets, addresses of the
other roles) comes first; what `config` in the values says wins.
*/}}

{{- define "carapulse.config" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $row := include "carapulse.row" . | fromYaml -}}
data_dir = "/var/lib/carapulse"
{{- range $section := $row.sections }}
{{- $lines := include "carapulse.config.section" (dict "root" $root "role" $role "row" $row "section" $section) | fromYaml }}
{{- if $lines }}

[{{ $section }}]
{{- include "carapulse.toml.table" $lines }}
{{- end }}
{{- end }}
{{ end -}}

{{/* One section, as YAML. */}}
{{- define "carapulse.config.section" -}}
{{- $values := .root.Values -}}
{{- $given := deepCopy (get $values.config .section | default dict) -}}
{{- $own := deepCopy (get .row.settings .section | default dict) -}}
{{- if eq .section "database" -}}
{{- $_ := set $own "url" $values.config.storage.postgres_dsn -}}
{{- range $login, $password := .row.logins -}}
{{- $_ := set $own $login (dict "password" (printf "file:secrets/%s" $password)) -}}
{{- end -}}
{{- range $login := list "owner" "gateway" "orchestrator" "tool_router" "sequencer" -}}
{{- if not (hasKey $.row.logins $login) -}}{{- $_ := unset $given $login -}}{{- end -}}
{{- end -}}
{{- else if eq .section "objects" -}}
{{- if $values.objects.existingClaim -}}
{{- $_ := set $own "folder" "/var/lib/carapulse/objects" -}}
{{- $_ := unset $given "s3" -}}
{{- end -}}
{{- else if and (eq .section "tool_router") (ne .role "tool-router") -}}
{{- $_ := set $own "base_url" (include "carapulse.url" (dict "root" .root "role" "tool-router")) -}}
{{- $given = pick $given "base_url" "auth_token" "approval_public_keys" -}}
{{- else if eq .section "tool_router" -}}
{{- $sandbox := dict "kind" "remote" "url" (include "carapulse.url" (dict "root" .root "role" "sandbox")) "public_key" "file:secrets/sealing_key.pub" "signing_public_key" "file:secrets/sandbox_key.pub" -}}
{{- /* Each replica advertises its own address: the Deployment sets it over this one. */ -}}
{{- $_ := set $sandbox "egress" (dict "listen_addr" ($given.egress_addr | default ":8083") "advertised" (printf "%s:%s" (include "carapulse.rolename" .) (include "carapulse.egressport" .root))) -}}
{{- $_ := set $own "sandbox" $sandbox -}}
{{- $given = omit $given "base_url" "egress_addr" -}}
{{- else if eq .section "agent" -}}
{{- $_ := set $own "gateway_url" (include "carapulse.url" (dict "root" .root "role" "gateway")) -}}
{{- else if eq .section "gateway" -}}
{{- $given = omit $given "enable_event_loop" -}}
{{- else if eq .section "orchestrator" -}}
{{- $given = omit $given "temporal_addr" "namespace" "task_queue" -}}
{{- else if eq .section "policy" -}}
{{- with $given.opa_url -}}{{- $_ := set $own "shadow_url" . -}}{{- end -}}
{{- $given = omit $given "opa_url" -}}
{{- else if eq .section "sandbox" -}}
{{- $given = omit $given "enabled" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own $given) -}}
{{- end -}}

{{/* The migration's configuration: the owner's login, and the passwords that it gives to the serving roles. */}}
{{- define "carapulse.config.migration" -}}
{{- $database := dict "owner" (dict "url" "env:POSTGRES_DSN") -}}
{{- if .Values.migration.setPasswords -}}
{{- range $login, $password := (include "carapulse.table" . | fromYaml).migration.passwords -}}
{{- $_ := set $database $login (dict "password" (printf "file:secrets/%s" $password)) -}}
{{- end -}}
{{- end -}}
data_dir = "/tmp"

[log]
{{- include "carapulse.toml.table" .Values.config.log }}

[database]
{{- include "carapulse.toml.table" $database }}
{{ end -}}

{{/* `key = value` lines; what is null is left out. */}}
{{- define "carapulse.toml.table" -}}
{{- $table := . -}}
{{- range $key := keys . | sortAlpha }}
{{- if not (kindIs "invalid" (get $table $key)) }}
{{ include "carapulse.toml.key" $key }} = {{ include "carapulse.toml.value" (get $table $key) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "carapulse.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* Tables within a section are inline. A JSON string is a TOML string, too; a number without a fraction is an integer. */}}
{{- define "carapulse.toml.value" -}}
{{- $value := . -}}
{{- if kindIs "map" . -}}
{{- $parts := list -}}
{{- range $key := keys . | sortAlpha -}}
{{- if not (kindIs "invalid" (get $value $key)) -}}
{{- $parts = append $parts (printf "%s = %s" (include "carapulse.toml.key" $key) (include "carapulse.toml.value" (get $value $key))) -}}
{{- end -}}
{{- end -}}
{ {{- if $parts }} {{ join ", " $parts }} {{ end -}} }
{{- else if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . -}}{{- $parts = append $parts (include "carapulse.toml.value" .) -}}{{- end -}}
[{{ join ", " $parts }}]
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Names of the secrets that a configuration refers to, one a line: these files, and no others, are put beside it. */}}
{{- define "carapulse.config.secrets" -}}
{{- range regexFindAll "file:secrets/[-._A-Za-z0-9]+" . -1 | uniq | sortAlpha }}
{{ trimPrefix "file:secrets/" . }}
{{- end }}
{{- end -}}
