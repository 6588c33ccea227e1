{{/* Whom a role may call. Each takes the root, or a dict with root, role, peer (labels by role) and own (its values). */}}

{{- define "carapulse.egress" -}}
{{- $root := .root -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- $callees := dict "gateway" (list "tool-router") "tool-router" (list "sandbox") "orchestrator" (list "tool-router") "agent" (list "gateway") -}}
{{- /* The sandbox gets no name service: it calls the tool-router by address, and its jobs only what that lets them. */ -}}
{{- if ne .role "sandbox" }}
{{ include "carapulse.egress.dns" $root | trim }}
{{- end }}
{{- range $callee := get $callees .role | default list }}
- to:
    - podSelector:
        matchLabels:
          {{- toYaml (get $.peer $callee) | nindent 10 }}
  ports:
    - { protocol: TCP, port: {{ include "carapulse.roleport" (dict "root" $root "role" $callee) }} }
{{- end }}
{{- if eq .role "sandbox" }}
- to:
    - podSelector:
        matchLabels:
          {{- toYaml (get .peer "tool-router") | nindent 10 }}
  ports:
    - { protocol: TCP, port: {{ include "carapulse.egressport" $root }} }
{{- end }}
{{- if has .role (list "gateway" "tool-router" "orchestrator") }}
{{ include "carapulse.egress.database" $root | trim }}
{{- with $policy.objects.to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- toYaml $policy.objects.ports | nindent 4 }}
{{- end }}
{{- if $root.Values.config.policy.opa_url }}
{{- with $policy.policyServer.to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- toYaml $policy.policyServer.ports | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .role "tool-router" }}
{{- with $policy.managedSystems }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- if eq .role "orchestrator" }}
{{- with $policy.receivers }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .own.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "carapulse.egress.dns" -}}
{{- with .Values.networkPolicy.dns.to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
{{- end }}
{{- end -}}

{{- define "carapulse.egress.database" -}}
{{- with .Values.networkPolicy.database.to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - { protocol: TCP, port: {{ $.Values.networkPolicy.database.port | default (include "carapulse.databaseport" $) }} }
{{- end }}
{{- end -}}
