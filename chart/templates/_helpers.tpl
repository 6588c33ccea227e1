{{/* Names, labels, images. Every template that is about a role takes (dict "root" $ "role" "tool-router"). */}}

{{- define "carapulse.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "carapulse.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "carapulse.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "carapulse.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what belongs to one role. */}}
{{- define "carapulse.rolename" -}}
{{- printf "%s-%s" (include "carapulse.fullname" .root) .role -}}
{{- end -}}

{{/*
Labels of everything. `part-of` is the same in every release of one installation, so that network policies find
the other roles when each is its own release.
*/}}
{{- define "carapulse.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "carapulse.fullname" . }}
app.kubernetes.io/name: {{ include "carapulse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "carapulse.rolelabels" -}}
{{ include "carapulse.labels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of a role's pods: without the versions, so that a pod is replaced when it changes, not when the chart does. */}}
{{- define "carapulse.podlabels" -}}
app.kubernetes.io/part-of: {{ include "carapulse.fullname" .root }}
{{ include "carapulse.selector" . }}
{{- end -}}

{{/* What a Deployment and its Service select by: never changes over the life of a release. */}}
{{- define "carapulse.selector" -}}
app.kubernetes.io/name: {{ include "carapulse.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Pods of a role, whichever release they come from. */}}
{{- define "carapulse.peer" -}}
app.kubernetes.io/part-of: {{ include "carapulse.fullname" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* The table of roles: files/roles.yaml. */}}
{{- define "carapulse.table" -}}
{{ .Files.Get "files/roles.yaml" }}
{{- end -}}

{{/* One row of the table, as YAML. */}}
{{- define "carapulse.row" -}}
{{- get (include "carapulse.table" .root | fromYaml).roles .role | toYaml -}}
{{- end -}}

{{/*
The settings of one role, as YAML: what values.yaml says for every role at its top level, then the role's own.
Maps are merged, everything else is replaced (a strategy, too: its parts depend on its type); lists whose name begins
with `extra` are joined.
*/}}
{{- define "carapulse.settings" -}}
{{- $values := .root.Values -}}
{{- $own := get $values (include "carapulse.row" . | fromYaml).key | default dict -}}
{{- $all := dict -}}
{{- range $key := list "affinity" "automountServiceAccountToken" "autoscaling" "containerSecurityContext" "dnsConfig" "extraContainers" "extraEnv" "extraEnvFrom" "extraInitContainers" "extraVolumeMounts" "extraVolumes" "imagePullSecrets" "lifecycle" "livenessProbe" "nodeSelector" "pdb" "podAnnotations" "podLabels" "podSecurityContext" "priorityClassName" "readinessProbe" "revisionHistoryLimit" "runtimeClassName" "startupProbe" "strategy" "terminationGracePeriodSeconds" "tmp" "tolerations" "topologySpreadConstraints" -}}
{{- if hasKey $values $key -}}
{{- $_ := set $all $key (deepCopy (get $values $key)) -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $own -}}
{{- $under := get $all $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $under) (ne $key "strategy") -}}
{{- $_ := set $all $key (mergeOverwrite $under (deepCopy $value)) -}}
{{- else if and (hasPrefix "extra" $key) (kindIs "slice" $value) (kindIs "slice" $under) -}}
{{- $_ := set $all $key (concat $under $value) -}}
{{- else -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* registry/repository:tag, or @digest when one is given. Takes root and image. */}}
{{- define "carapulse.image" -}}
{{- $global := .root.Values.global.image -}}
{{- $registry := .image.registry | default $global.registry -}}
{{- $name := .image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" $registry .image.repository -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default $global.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "carapulse.serviceaccount" -}}
{{- $account := (include "carapulse.settings" . | fromYaml).serviceAccount | default dict -}}
{{- $account.name | default (include "carapulse.rolename" .) -}}
{{- end -}}

{{/* The Secret with a role's keys and passwords: given, made by this chart, or expected under its ordinary name. */}}
{{- define "carapulse.secretname" -}}
{{- $own := get .root.Values (include "carapulse.row" . | fromYaml).key -}}
{{- $own.existingSecret | default (include "carapulse.rolename" .) -}}
{{- end -}}

{{- define "carapulse.migration.secretname" -}}
{{- .Values.migration.existingSecret | default (printf "%s-migration" (include "carapulse.fullname" .)) -}}
{{- end -}}

{{/* The port that a listen address such as `:8080` or `0.0.0.0:8080` names. */}}
{{- define "carapulse.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* The port on which a role answers, inside its pod. */}}
{{- define "carapulse.roleport" -}}
{{- $listen := (include "carapulse.row" . | fromYaml).listen -}}
{{- $section := get .root.Values.config $listen.section | default dict -}}
{{- include "carapulse.port" (get $section $listen.key | default (printf ":%d" (int $listen.port))) -}}
{{- end -}}

{{- define "carapulse.canvasport" -}}
{{- include "carapulse.port" (.Values.config.gateway.canvas_addr | default ":8082") -}}
{{- end -}}

{{/* The port of the proxy through which the sandbox's jobs reach managed systems. */}}
{{- define "carapulse.egressport" -}}
{{- include "carapulse.port" (.Values.config.tool_router.egress_addr | default ":8083") -}}
{{- end -}}

{{/* The port of the database, for the network policies. */}}
{{- define "carapulse.databaseport" -}}
{{- $host := urlParse .Values.config.storage.postgres_dsn | dig "host" "" -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $host) | default "5432" -}}
{{- end -}}

{{/* Where the others find a role. */}}
{{- define "carapulse.url" -}}
{{- $service := (get .root.Values (include "carapulse.row" . | fromYaml).key).service -}}
{{- printf "http://%s:%d" (include "carapulse.rolename" .) (int $service.port) -}}
{{- end -}}

{{/* Names of the roles of this release, one a line. */}}
{{- define "carapulse.enabled" -}}
{{- $root := . -}}
{{- range $role, $row := (include "carapulse.table" . | fromYaml).roles }}
{{- if (get $root.Values $row.key).enabled }}
{{ $role }}
{{- end }}
{{- end -}}
{{- end -}}
