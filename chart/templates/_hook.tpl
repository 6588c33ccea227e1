{{/* Annotations of what the migration needs: made before the install or upgrade, lighter ones first. */}}
{{- define "carapulse.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ .delete }}
{{- end -}}
