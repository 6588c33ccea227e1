{{/* What the schema cannot say. Each message names the value and what to do. */}}

{{- define "carapulse.validate" -}}
{{- include "carapulse.deprecations" . -}}
{{- if regexMatch "://[^/@]*@" .Values.config.storage.postgres_dsn -}}
{{- fail "config.storage.postgres_dsn names a user: it is where the database is, postgres://host:port/database. Each role logs in as itself; the owner's whole address is the key postgres-dsn of the migration's Secret." -}}
{{- end -}}
{{- $drain := (include "carapulse.table" . | fromYaml).drainDeadlineSeconds | int -}}
{{- range $role := splitList "\n" (include "carapulse.enabled" . | trim) -}}
{{- with trim $role -}}
{{- $with := dict "root" $ "role" . -}}
{{- $row := include "carapulse.row" $with | fromYaml -}}
{{- $settings := include "carapulse.settings" $with | fromYaml -}}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 ($settings.lifecycle | default dict) | int -}}
{{- if le (sub (int $settings.terminationGracePeriodSeconds) $sleep) $drain -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, %d of them slept in preStop: what runs may take %d s to end after SIGTERM, and a pod that is killed sooner leaves its steps to be probed. Expected more than %d." $row.key (int $settings.terminationGracePeriodSeconds) $sleep $drain (add $drain $sleep)) -}}
{{- end -}}
{{- if and $settings.pdb $settings.pdb.enabled (not (hasKey $settings.pdb "maxUnavailable")) (not (and $settings.autoscaling $settings.autoscaling.enabled)) (kindIs "float64" $settings.pdb.minAvailable) (ge (int $settings.pdb.minAvailable) (int $settings.replicaCount)) -}}
{{- fail (printf "%s.pdb.minAvailable is %d of %d replicas: no node with such a pod could ever be drained. Run more replicas, or set maxUnavailable." $row.key (int $settings.pdb.minAvailable) (int $settings.replicaCount)) -}}
{{- end -}}
{{- include "carapulse.validate.secret" (dict "root" $ "role" . "row" $row) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.migration.enabled .Values.secrets.create -}}
{{- if not (get (.Values.secrets.migration | default dict) "postgres-dsn") -}}
{{- fail "secrets.create is true and secrets.migration has no postgres-dsn, the database owner's address: `carapulse init --for chart` writes a values file that has it." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* With `secrets.create`, each secret that a role's configuration refers to is among the values. */}}
{{- define "carapulse.validate.secret" -}}
{{- $own := get .root.Values .row.key -}}
{{- if and .root.Values.secrets.create (not $own.existingSecret) -}}
{{- $held := get .root.Values.secrets .row.key | default dict -}}
{{- range $name := splitList "\n" (include "carapulse.config.secrets" (include "carapulse.config" (dict "root" .root "role" .role)) | trim) -}}
{{- if and (trim $name) (not (hasKey $held (trim $name))) -}}
{{- fail (printf "secrets.%s has no %s, which the role's configuration refers to: `carapulse init --for chart` writes a values file with every key; a token or a secret of another service you add yourself." $.row.key (trim $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
With the cluster at hand, a Secret that is missing is named now, and not by pods that wait for it. Where there is
nothing to ask (`helm template`, a namespace that is yet to be made), nothing is said.
*/}}
{{- define "carapulse.preflight" -}}
{{- if and .Values.preflight (not .Values.secrets.create) (lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt") -}}
{{- $missing := list -}}
{{- range $role := splitList "\n" (include "carapulse.enabled" . | trim) -}}
{{- with trim $role -}}
{{- $name := include "carapulse.secretname" (dict "root" $ "role" .) -}}
{{- if not (lookup "v1" "Secret" $.Release.Namespace $name) -}}{{- $missing = append $missing $name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.migration.enabled -}}
{{- $name := include "carapulse.migration.secretname" . -}}
{{- if not (lookup "v1" "Secret" .Release.Namespace $name) -}}{{- $missing = append $missing $name -}}{{- end -}}
{{- end -}}
{{- if $missing -}}
{{- fail (printf "namespace %s has no Secret %s: `carapulse init --for chart` makes them (docs/kubernetes.md). preflight=false installs nevertheless." .Release.Namespace (join ", " $missing)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
